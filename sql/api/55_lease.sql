-- Leases and slots: move a deadline, give a place back, mark a token dead, and say who holds what.
--
-- Where claims go by the index, leases are in shared memory, and the table of slots has only those whose token is dead
-- while the place is held, so that a restart does not forget them.  Otherwise all are in tables.  Nothing outside this
-- page, the table claim and adopt() knows the difference.  Deadlines are times of the steady clock (extension/clock.hpp), so
-- that no lease ends, or lives on, because the wall clock was set; what others see is shifted to the wall clock.

create function sluice._beat(worker text, tokens uuid[]) returns table (token uuid, lease_until timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    by_index constant boolean := sluice._index_keeps_leases();
    as_of timestamptz := sluice._steady_now();
    moved uuid[];
    stood integer;
begin
    if by_index then
        return query select b.token, b.lease_until from sluice._index_beat(_beat.worker, _beat.tokens) as b;
        return;
    elsif by_index is null then
        raise exception using
            errcode = 'SL013',
            message = 'leases are not known in this transaction',
            detail  = 'Nobody has claimed since the server started, and this transaction cannot read the tables anew.',
            hint    = 'Send the heartbeat again, on its own and at isolation level read committed.';
    end if;
    with held as materialized (
        select s.token, as_of + s.lease_seconds * interval '1 second' as until
        from sluice.slot as s
        where s.token = any (_beat.tokens) and s.revoked is null
          and (_beat.worker is null or s.worker = _beat.worker)
    ),
    beats as (
        insert into sluice.lease as l (token, until)
        select h.token, h.until from held as h order by h.token
        on conflict on constraint lease_pkey do update set until = excluded.until
    )
    select array_agg(h.token) into moved from held as h;

    -- The insert may have waited for the leader to end the attempt: only what still has its slot stands.
    return query
    select s.token, as_of + s.lease_seconds * interval '1 second' + sluice._clock_offset()
    from sluice.slot as s
    where s.token = any (moved) and s.revoked is null;
    get diagnostics stood = row_count;
    if stood < cardinality(moved) then
        delete from sluice.lease as l where l.token = any (moved) and not exists (select from sluice.slot as s where s.token = l.token);
    end if;
end
$$;
comment on function sluice._beat(text, uuid[]) is 'Moves the deadlines of the leases that stand; returns those.';

create function sluice._delete_slots(tokens uuid[]) returns void
language plpgsql -- which keeps its plans; language sql would plan anew in each call
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
    delete from sluice.slot as s where s.token = any (_delete_slots.tokens);
    delete from sluice.lease as l where l.token = any (_delete_slots.tokens);
end
$$;
comment on function sluice._delete_slots(uuid[]) is 'Deletes the rows of places that were given back.';

create function sluice._free_slots(tokens uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if sluice._index_end(_free_slots.tokens) then
        perform sluice._delete_slots(_free_slots.tokens);
    end if;
end
$$;
comment on function sluice._free_slots(uuid[]) is 'Gives the places of attempts back.';

create function sluice._free_slot(token uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._free_slots(array[_free_slot.token]);
end
$$;
comment on function sluice._free_slot(uuid) is 'Gives the place of an attempt back.';

create function sluice._revoke_slot(token uuid, why text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update sluice.slot as s set revoked = _revoke_slot.why where s.token = _revoke_slot.token;
    if not found then
        -- In the index until now; from here on a restart must know of it.
        insert into sluice.slot (token, run_id, lane, claimed_at, reply, lease_seconds, queue_id, attempt, worker, revoked)
        select r.token, r.run_id, r.lane, r.claimed_at, l.reply,
               coalesce(l.lease_seconds, extract(epoch from t.lease), extract(epoch from current_setting('sluice.default_lease')::interval)),
               r.queue_id, r.attempt, r.worker, _revoke_slot.why
        from sluice.run as r
        join sluice.task as t on t.task_id = r.task_id
        left join sluice._index_lease(_revoke_slot.token) as l on true
        where r.run_id = sluice._token_run(_revoke_slot.token) and r.token = _revoke_slot.token and r.status = 'executing';
    end if;
    perform sluice._index_revoke(_revoke_slot.token, _revoke_slot.why);
end
$$;
comment on function sluice._revoke_slot(uuid, text) is
    'Marks the token of an attempt dead while its worker still holds the place.  Before its run changes.';

create function sluice._slot(token uuid, out run_id bigint, out attempt smallint, out revoked text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if sluice._index_serves() then
        select l.run_id, l.attempt, l.revoked into run_id, attempt, revoked from sluice._index_lease(_slot.token) as l;
    else
        select s.run_id, s.attempt, s.revoked into run_id, attempt, revoked from sluice.slot as s where s.token = _slot.token;
    end if;
end
$$;
comment on function sluice._slot(uuid) is 'The place that a token holds; nulls if it holds none.';

create function sluice._slots_of(worker text) returns table (token uuid, run_id bigint, reply bigint, revoked text, beat_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if sluice._index_serves() then
        return query select l.lease_token, l.run_id, l.reply, l.revoked, l.until - l.lease_seconds * interval '1 second' + sluice._clock_offset()
        from sluice._index_leases(_slots_of.worker) as l order by l.run_id;
    else
        return query select s.token, s.run_id, s.reply, s.revoked, l.until - s.lease_seconds * interval '1 second' + sluice._clock_offset()
        from sluice.slot as s left join sluice.lease as l on l.token = s.token where s.worker = _slots_of.worker order by s.run_id;
    end if;
end
$$;
comment on function sluice._slots_of(text) is 'What a worker holds, in order of runs, and when it was heard of last for each.';

create function sluice._mark_told(token uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update sluice.slot as s set told = true where s.token = _mark_told.token and not s.told;
    perform sluice._index_told(_mark_told.token);
end
$$;
comment on function sluice._mark_told(uuid) is 'Its worker knows that the token is dead.';

create function sluice._late_slots() returns table (token uuid, run_id bigint, lease_seconds double precision, beat_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    as_of timestamptz := sluice._steady_now();
begin
    if sluice._index_serves() then
        return query select l.lease_token, l.run_id, l.lease_seconds, l.until - l.lease_seconds * interval '1 second' + sluice._clock_offset()
        from sluice._index_late(as_of, 1000) as l;
        return;
    end if;

    -- Leases are unlogged: after a crash there are none, and every slot gets one more period.
    insert into sluice.lease (token, until)
    select s.token, as_of + s.lease_seconds * interval '1 second' from sluice.slot as s
    where not exists (select from sluice.lease as l where l.token = s.token)
    on conflict on constraint lease_pkey do nothing;

    return query
    select l.token, s.run_id, s.lease_seconds, l.until - s.lease_seconds * interval '1 second' + sluice._clock_offset()
    from sluice.lease as l join sluice.slot as s on s.token = l.token
    where l.until < as_of
    order by s.run_id
    limit 1000;
end
$$;
comment on function sluice._late_slots() is 'Up to 1000 places whose worker was not heard of in time, in order of runs.';

-- A beat may have come in between, or be on its way in another transaction; the slot is locked too, since an exchange
-- that was told of the token's death holds it, and may be waiting for a run that we hold.
create function sluice._take_if_late(token uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if sluice._index_keeps_leases() then
        if exists (select from sluice.slot as s where s.token = _take_if_late.token) then
            perform from sluice.slot as s where s.token = _take_if_late.token for update skip locked;
            if not found then
                return false;
            end if;
        end if;
        return sluice._index_end_if_late(_take_if_late.token);
    end if;
    perform from sluice.slot as s join sluice.lease as l on l.token = s.token
    where s.token = _take_if_late.token and l.until < sluice._steady_now() for update skip locked;
    return found;
end
$$;
comment on function sluice._take_if_late(uuid) is 'Whether a place is taken from its worker now.  The caller has locked the run''s row.';

create function sluice._next_deadline() returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if sluice._index_serves() then
        return sluice._index_next_deadline(sluice._steady_now());
    end if;
    return (select l.until from sluice.lease as l where l.until > sluice._steady_now() order by l.until limit 1);
end
$$;
comment on function sluice._next_deadline() is 'When the next lease ends that nobody renews.';

-- What table claims count.  A run that somebody has locked may be about to end: then it is not for us to say that its slot
-- is held, and the switch has to wait; unless it must be made now, when a slot too many ends with its lease.
create function sluice._write_slots(all_of_them boolean) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    missing uuid[];
    mine    uuid[];
    behind  uuid[];
    moved   uuid[];
begin
    select coalesce(array_agg(r.token), '{}') into missing
    from sluice.run as r
    where r.finished_at is null and r.status = 'executing'
      and not exists (select from sluice.slot as s where s.token = r.token);
    select coalesce(array_agg(l.token), '{}') into mine
    from (select r.token from sluice.run as r
          where r.finished_at is null and r.status = 'executing' and r.token = any (missing)
          for update skip locked) as l;
    -- Rows of an earlier time in table mode: beats since then have moved the deadlines in memory only.
    select coalesce(array_agg(l.token), '{}') into behind
    from sluice.lease as l join sluice._index_leases(null) as i on i.lease_token = l.token
    where l.until < i.until;
    select coalesce(array_agg(o.token), '{}') into moved
    from (select l.token from sluice.lease as l where l.token = any (behind) for update skip locked) as o;
    if not all_of_them and (cardinality(mine) < cardinality(missing) or cardinality(moved) < cardinality(behind)) then
        return -1;
    end if;

    update sluice.lease as l set until = i.until
    from sluice._index_leases(null) as i
    where l.token = any (moved) and i.lease_token = l.token;

    with slots as (
        insert into sluice.slot (token, run_id, lane, claimed_at, lease_seconds, queue_id, attempt, worker, reply)
        select r.token, r.run_id, r.lane, r.claimed_at,
               coalesce(extract(epoch from t.lease), extract(epoch from current_setting('sluice.default_lease')::interval)),
               r.queue_id, r.attempt, coalesce(r.worker, 'unknown'), l.reply
        from sluice.run as r
        join sluice.task as t on t.task_id = r.task_id
        left join sluice._index_leases(null) as l on l.lease_token = r.token
        where r.finished_at is null and r.status = 'executing' and r.token = any (missing)
        on conflict on constraint slot_pkey do nothing
        returning token, lease_seconds
    )
    insert into sluice.lease (token, until)
    select s.token, coalesce(l.until, sluice._steady_now() + s.lease_seconds * interval '1 second')
    from slots as s
    left join sluice._index_leases(null) as l on l.lease_token = s.token
    on conflict on constraint lease_pkey do nothing;

    -- Of an earlier time in table mode, and ended by the index since.
    delete from sluice.slot as s
    where s.token in (
        select o.token from sluice.slot as o
        where o.revoked is null
          and not exists (select from sluice.run as r where r.run_id = o.run_id and r.token = o.token and r.status = 'executing')
        for update skip locked);
    return cardinality(missing);
end
$$;
comment on function sluice._write_slots(boolean) is
    'Gives every executing run a row in the table of slots and returns how many had none; -1 if that cannot be done now, because somebody has locked one.';
