-- Rights: who may use which task.
--
-- To use a task is to enqueue it, to watch a table for it, and to see and steer its runs.  The EXECUTE right on the
-- functions says what a role may do at all; what is here says with which task.  enqueue's quick way asks the same in
-- C++ (extension/right.cpp) and leaves everything but a yes to this.

-- The role that an oid and a name stand for.  The oid is the role, whatever it is called by now; in a copy on another
-- cluster, which hands out nothing before adopt(), it says nothing, and the name decides.
create function sluice._role_id(id oid, name text) returns oid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_roles as r where r.oid = _role_id.id and r.rolname = _role_id.name) then
        return _role_id.id;
    end if;
    if exists (select from sluice.meta as m where split_part(m.home, '/', 1) = split_part(sluice._home(), '/', 1)) then
        return (select r.oid from pg_roles as r where r.oid = _role_id.id);
    end if;
    return (select r.oid from pg_roles as r where r.rolname = _role_id.name);
end
$$;
comment on function sluice._role_id(oid, text) is 'The role that was stored by oid and name; null if it is gone.';

create function sluice._may_use(task_id integer, caller oid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    used record;
begin
    select t.executor, t.owner, t.owner_id into used from sluice.task as t where t.task_id = _may_use.task_id;
    return caller = 0 -- no public function was called: this is the storage's owner
        or used.executor <> 'sql' and pg_has_role(caller, 'sluice_producer', 'usage')
        or pg_has_role(caller, 'sluice_admin', 'usage')
        or coalesce(pg_has_role(caller, sluice._role_id(used.owner_id, used.owner), 'member'), false)
        or exists (select from sluice.task_grant as g
                   where g.task_id = _may_use.task_id
                     and pg_has_role(caller, sluice._role_id(g.role_id, g.role), 'usage'));
end
$$;
comment on function sluice._may_use(integer, oid) is 'Whether a role may use a task.';

create function sluice._assert_may_use(task_id integer, caller oid) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    used record;
begin
    if sluice._may_use(_assert_may_use.task_id, _assert_may_use.caller) then
        return;
    end if;
    select t.task, t.owner, t.executor into used from sluice.task as t where t.task_id = _assert_may_use.task_id;
    raise exception using
        errcode = '42501',
        message = format('permission denied for task "%s"', used.task),
        detail  = case used.executor
            when 'sql' then format('It runs as role "%s"; "%s" is not a member of it, and was not granted the task.',
                                   used.owner, pg_get_userbyid(_assert_may_use.caller))
            else format('Role "%s" is not a member of sluice_producer, and was not granted the task.',
                        pg_get_userbyid(_assert_may_use.caller)) end,
        hint    = format('Ask a member of "%s" to run select sluice.grant_task(%L, %L).', coalesce(used.owner, 'sluice_producer'),
                         used.task, pg_get_userbyid(_assert_may_use.caller));
end
$$;
comment on function sluice._assert_may_use(integer, oid) is 'Raises 42501 unless a role may use a task.';

-- A watch of another task than an sql task needs no right of the table's owner: that its triggers are there says that a
-- producer made them.
create function sluice._assert_may_watch(task_id integer, table_owner oid) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from sluice.task as t where t.task_id = _assert_may_watch.task_id and t.executor = 'sql') then
        perform sluice._assert_may_use(_assert_may_watch.task_id, _assert_may_watch.table_owner);
    end if;
end
$$;
comment on function sluice._assert_may_watch(integer, oid) is 'Raises 42501 unless changes of a table of that owner may enqueue a task.';

create function sluice._assert_may_read(task_id integer) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_has_role(sluice._caller(), 'sluice_payload_reader', 'usage') then
        perform sluice._assert_may_use(_assert_may_read.task_id, sluice._caller());
    end if;
end
$$;
comment on function sluice._assert_may_read(integer) is 'Raises 42501 unless the caller may see what came of a task''s runs.';

create function sluice._assert_may_look(task_id integer) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_has_role(sluice._caller(), 'sluice_reader', 'usage') and not pg_has_role(sluice._caller(), 'pg_monitor', 'usage') then
        perform sluice._assert_may_use(_assert_may_look.task_id, sluice._caller());
    end if;
end
$$;
comment on function sluice._assert_may_look(integer) is 'Raises 42501 unless the caller may see how a task''s runs fare.';

-- What grant_task, revoke_task and set_retention begin with.  The lock is that of a definition, which may take grants away.
create function sluice._grantable_task(task text, what text default 'grant or revoke') returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    caller oid := sluice._caller();
    given  record;
begin
    lock table sluice.task in share row exclusive mode;
    select t.task_id, t.owner, sluice._role_id(t.owner_id, t.owner) as owner_id, t.executor into given
    from sluice.task as t where t.task = _grantable_task.task and t.dropped_at is null;
    if not found then
        perform sluice._no_such_task(_grantable_task.task);
    end if;
    if not pg_has_role(caller, 'sluice_admin', 'usage')
        and (sluice._is_for_admins(given.executor)
             or given.owner is not null and not coalesce(pg_has_role(caller, given.owner_id, 'member'), false)) then
        raise exception using
            errcode = '42501',
            message = format('role "%s" may not %s task "%s"', pg_get_userbyid(caller), _grantable_task.what, _grantable_task.task),
            hint    = format('Ask a member of "%s" or of sluice_admin.', given.owner);
    end if;
    return given.task_id;
end
$$;
comment on function sluice._grantable_task(text, text) is 'The number of a task that the caller may grant; raises SL002 or 42501.';

create function sluice._existing_role(role name) returns oid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    id oid;
begin
    select r.oid into id from pg_roles as r where r.rolname = _existing_role.role;
    if not found then
        raise exception using
            errcode = '42704',
            message = case when _existing_role.role is null then 'role must not be null'
                           else format('role "%s" does not exist', _existing_role.role) end,
            hint    = 'Give the name of a role; there is no granting to public.';
    end if;
    return id;
end
$$;
comment on function sluice._existing_role(name) is 'The oid of a role; raises 42704 if there is none of that name.';

create function sluice.grant_task(task text, role name) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.grant_task(text, name) is
    'Lets a role use a task: enqueue it, watch a table for it, see and steer its runs.  The role also needs sluice_caller or sluice_producer, which let it call the functions.';

create function sluice._grant_task(task text, role name) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    insert into sluice.task_grant as g (task_id, role, role_id, granted_by)
    select sluice._grantable_task(_grant_task.task), _grant_task.role, sluice._existing_role(_grant_task.role),
           pg_get_userbyid(sluice._caller())
    on conflict on constraint task_grant_pkey do update set role = excluded.role;
end
$$;
comment on function sluice._grant_task(text, name) is 'Twin of grant_task().';

create function sluice.revoke_task(task text, role name) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.revoke_task(text, name) is 'Takes back what grant_task gave; nothing happens if it was not given.';

create function sluice._revoke_task(task text, role name) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer := sluice._grantable_task(_revoke_task.task);
begin
    -- By name too: the role may be gone.
    delete from sluice.task_grant as g
    where g.task_id = id and (g.role = _revoke_task.role or g.role_id = (select r.oid from pg_roles as r where r.rolname = _revoke_task.role));
end
$$;
comment on function sluice._revoke_task(text, name) is 'Twin of revoke_task().';

-- Names are what finds roles again in another cluster, so they follow a rename.
create function sluice._rename_roles() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update sluice.task as t
    set owner = r.rolname, role = case when t.role is not null then r.rolname end
    from pg_roles as r where r.oid = t.owner_id and r.rolname <> t.owner;
    update sluice.task_grant as g set role = r.rolname from pg_roles as r where r.oid = g.role_id and r.rolname <> g.role;
    update sluice.queue_grant as g set role = r.rolname from pg_roles as r where r.oid = g.role_id and r.rolname <> g.role;
    update sluice.schedule as s set owner = r.rolname from pg_roles as r where r.oid = s.owner_id and r.rolname <> s.owner;
end
$$;
comment on function sluice._rename_roles() is 'Writes down anew what roles are called that were renamed.';

-- A step of adopt().  In another cluster an oid is another role; there, and for a task whose role there was not, the name
-- decides once.
create function sluice._find_roles() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    moved boolean := exists (select from sluice.meta as m where split_part(m.home, '/', 1) <> split_part(sluice._home(), '/', 1));
begin
    if moved then
        with found as (delete from sluice.task_grant as g returning g.*)
        insert into sluice.task_grant (task_id, role, role_id, granted_by, granted_at)
        select f.task_id, f.role, r.oid, f.granted_by, f.granted_at
        from found as f
        join pg_roles as r on r.rolname = f.role;
        with found as (delete from sluice.queue_grant as g returning g.*)
        insert into sluice.queue_grant (queue_id, role, role_id, granted_by, granted_at)
        select f.queue_id, f.role, r.oid, f.granted_by, f.granted_at
        from found as f
        join pg_roles as r on r.rolname = f.role;
    else
        perform sluice._rename_roles();
    end if;
    update sluice.task as t set owner_id = (select r.oid from pg_roles as r where r.rolname = t.owner)
    where moved or t.owner_id is null and t.owner is not null;
    update sluice.schedule as s set owner_id = (select r.oid from pg_roles as r where r.rolname = s.owner)
    where moved or s.owner_id is null;
end
$$;
comment on function sluice._find_roles() is 'Step of adopt(): finds the roles of tasks and schedules in this cluster, by their names.';
