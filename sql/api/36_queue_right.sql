-- Rights to a queue: who may claim from it, pause it and put runs into it, without the right to do so with all.
--
-- Members of sluice_worker claim from every queue, and members of sluice_producer pause every queue and enqueue into it.
-- Others need the queue to be granted to them, beside a role that lets them call the functions.

create function sluice._has_queue(queue_id integer, caller oid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from sluice.queue_grant as g
                   where g.queue_id = _has_queue.queue_id
                     and pg_has_role(caller, sluice._role_id(g.role_id, g.role), 'usage'));
end
$$;
comment on function sluice._has_queue(integer, oid) is 'Whether a queue was granted to a role, or to one that it is a member of.';

create function sluice._refuse_queue(queue text, caller oid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = '42501',
        message = format('permission denied for queue "%s"', left(_refuse_queue.queue, 64)),
        detail  = format('It was not granted to "%s".', pg_get_userbyid(caller)),
        hint    = format('Ask a member of sluice_admin to run select sluice.grant_queue(%L, %L).', left(_refuse_queue.queue, 64),
                         pg_get_userbyid(caller));
end
$$;
comment on function sluice._refuse_queue(text, oid) is 'Raises 42501: the right to a queue is missing.';

create function sluice._own_queue(queue text) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    id     integer := sluice._queue_id(_own_queue.queue);
    caller oid     := sluice._caller();
begin
    if caller <> 0 and not pg_has_role(caller, 'sluice_producer', 'usage') and not sluice._has_queue(id, caller) then
        perform sluice._refuse_queue(_own_queue.queue, caller);
    end if;
    return id;
end
$$;
comment on function sluice._own_queue(text) is 'The number of a queue that the caller may use as it likes; raises SL001 or 42501.';

-- A queue that the caller may put runs into which are in another one by themselves.
create function sluice._open_queue(queue text, by_itself integer) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer := sluice._queue_id(_open_queue.queue);
begin
    return case when id = by_itself then id else sluice._own_queue(_open_queue.queue) end;
end
$$;
comment on function sluice._open_queue(text, integer) is 'The number of a queue that the caller may put runs into; raises SL001 or 42501.';

-- The queues from which a caller who may not claim from all does so.
create function sluice._claimable(queues text[], executors text[], caller oid) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    granted text[] := array(select q.queue from sluice.queue as q
                            where q.dropped_at is null and sluice._has_queue(q.queue_id, _claimable.caller) order by q.queue);
    refused text;
begin
    if _claimable.executors is distinct from '{external}' then
        raise exception using
            errcode = '42501',
            message = format('role "%s" may not claim runs of executors {%s}', pg_get_userbyid(_claimable.caller),
                             left(array_to_string(_claimable.executors, ','), 64)),
            detail  = 'With single queues it may claim runs of external tasks.',
            hint    = 'Leave executors out, or ask to be made a member of sluice_worker.';
    end if;
    if granted = '{}' then
        raise exception using
            errcode = '42501',
            message = format('no queue was granted to role "%s"', pg_get_userbyid(_claimable.caller)),
            hint    = format('Ask a member of sluice_admin to run select sluice.grant_queue(queue, %L).', pg_get_userbyid(_claimable.caller));
    end if;
    select q into refused from unnest(_claimable.queues) as q where q is not null and q <> all (granted) limit 1;
    if found then
        perform sluice._refuse_queue(refused, _claimable.caller);
    end if;
    return coalesce(_claimable.queues, granted);
end
$$;
comment on function sluice._claimable(text[], text[], oid) is
    'Part of claim() and wait_for_work(), for who is no member of sluice_worker: the queues that it may claim from; raises 42501 for others.';

create function sluice.grant_queue(queue text, role name) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.grant_queue(text, name) is
    'Lets a role use a queue: claim runs of external tasks from it, pause it, put runs into it.  The role also needs sluice_claimer, or sluice_caller for the last, which let it call the functions.';

create function sluice._grant_queue(queue text, role name) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    id integer := sluice._queue_id(_grant_queue.queue);
begin
    -- Against drop_queue(), which takes grants away.
    perform from sluice.queue as q where q.queue_id = id for no key update;
    insert into sluice.queue_grant as g (queue_id, role, role_id, granted_by)
    values (id, _grant_queue.role, sluice._existing_role(_grant_queue.role), pg_get_userbyid(sluice._caller()))
    on conflict on constraint queue_grant_pkey do update set role = excluded.role;
end
$$;
comment on function sluice._grant_queue(text, name) is 'Twin of grant_queue().';

create function sluice.revoke_queue(queue text, role name) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.revoke_queue(text, name) is
    'Takes back what grant_queue gave; nothing happens if it was not given.  Attempts that the role holds go on.';

create function sluice._revoke_queue(queue text, role name) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer := sluice._queue_id(_revoke_queue.queue);
begin
    -- By name too: the role may be gone.
    delete from sluice.queue_grant as g
    where g.queue_id = id and (g.role = _revoke_queue.role or g.role_id = (select r.oid from pg_roles as r where r.rolname = _revoke_queue.role));
end
$$;
comment on function sluice._revoke_queue(text, name) is 'Twin of revoke_queue().';
