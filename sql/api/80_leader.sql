-- The leader: one sidecar at a time does what must be done once, in the session that holds the lock.
--
-- Every duty checks that its own session holds the lock, so a sidecar that only remembers having led can do nothing.
-- Each returns how long until it has to be called again, by the database's clock.

create function sluice._assert_leader() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not sluice._is_leader() then
        raise exception using
            errcode = 'SL105',
            message = 'this session is not the leader',
            detail  = 'The leader''s duties run in the session that holds the leader''s lock.',
            hint    = 'Ask for the lock with select sluice.try_lead(worker).';
    end if;
end
$$;
comment on function sluice._assert_leader() is 'Raises SL105 unless this session holds the leader''s lock.';

create function sluice.try_lead(worker text) returns boolean
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.try_lead(text) is
    'Takes the leader''s lock for this session unless another session has it; true if this session leads.  Ends with the session.';

create function sluice._try_lead(worker text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if sluice._is_leader() then
        return true;
    end if;
    perform sluice._assert_worker_name(_try_lead.worker);
    perform sluice._assert_home();
    -- The keys are those of sluice._is_leader(): "slui" and "lead".
    if not pg_try_advisory_lock(1936487785, 1818583396) then
        return false;
    end if;
    perform sluice._clock_was_followed(null); -- others may have led since this session did
    insert into sluice.leader as l (worker, since, announced_at)
    values (_try_lead.worker, clock_timestamp(), clock_timestamp())
    on conflict on constraint leader_pkey do update set worker = excluded.worker, since = excluded.since;
    return true;
end
$$;
comment on function sluice._try_lead(text) is 'Twin of try_lead().';

-- The leader serves everybody, so it waits for nobody: a client may keep its transaction open for as long as it likes.
-- Runs before leases, as in every completion: the other way round the two deadlocked when they met.
create function sluice._lock_free_run(run_id bigint) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    perform from sluice.run as r where r.run_id = _lock_free_run.run_id for update skip locked;
    return found or not exists (select from sluice.run as r where r.run_id = _lock_free_run.run_id);
end
$$;
comment on function sluice._lock_free_run(bigint) is
    'Locks a run''s row unless another transaction has it; false if so, as its attempt may be ending there.';

create function sluice.reap_sessions(out reaped integer)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.reap_sessions() is
    'Leader''s duty, each second: gives back at once what workers held whose session has ended.';

create function sluice._reap_sessions(out reaped integer)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    dead record;
    held record;
    all_given_back boolean;
begin
    perform sluice._assert_leader();
    perform sluice._follow_clock();
    reaped := 0;
    if not sluice._may_have_ended() then
        return;
    end if;
    for dead in
        select w.worker, w.server_start from sluice.worker as w
        where not sluice._session_alive(w.pid, w.session_start)
        order by w.worker
        for update skip locked
    loop
        all_given_back := true;
        -- A session of before the server's start ended through no fault of the worker's: its leases stand to their
        -- deadlines, so that it can come back for them.
        if dead.server_start = pg_postmaster_start_time() then
            for held in select s.token, s.run_id, s.beat_at from sluice._slots_of(dead.worker) as s loop
                if not sluice._lock_free_run(held.run_id) then
                    all_given_back := false;
                    continue;
                end if;
                perform sluice._settle(held.token, 'lost', null, jsonb_build_object('code', 'TASK_RUN_HEARTBEAT_TIMEOUT',
                    'message', format('worker %s ended while the run was executing', dead.worker),
                    'worker', dead.worker, 'last_heartbeat', held.beat_at), null);
                reaped := reaped + 1;
            end loop;
        end if;
        if all_given_back then
            delete from sluice.worker as w where w.worker = dead.worker;
        else
            perform sluice._keep_looking();
        end if;
    end loop;
end
$$;
comment on function sluice._reap_sessions() is 'Twin of reap_sessions().';

create function sluice.expire_leases(out expired integer, out next_in interval)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.expire_leases() is
    'Leader''s duty: ends attempts whose worker was not heard of in time; their runs are tried again at once.  next_in is the time until the next deadline.';

create function sluice._expire_leases(out expired integer, out next_in interval)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    late      record;
    looked_at integer := 0;
    deadline  timestamptz;
    by_index  constant boolean := coalesce(sluice._index_keeps_leases(), false);
begin
    perform sluice._assert_leader();
    expired := 0;
    if not by_index and not sluice._may_be_late() then
        return; -- nothing can be, and the tables are left alone
    end if;

    for late in
        select l.token, l.run_id, l.lease_seconds, l.beat_at, r.worker from sluice._late_slots() as l
        left join sluice.run as r on r.run_id = l.run_id and r.token = l.token
    loop
        looked_at := looked_at + 1;
        continue when not sluice._lock_free_run(late.run_id) or not sluice._take_if_late(late.token);
        perform sluice._settle(late.token, 'lost', null, jsonb_build_object('code', 'TASK_RUN_HEARTBEAT_TIMEOUT',
            'message', format('worker %s was not heard of for %s seconds', late.worker, trim_scale(late.lease_seconds::numeric)),
            'worker', late.worker, 'last_heartbeat', late.beat_at), null);
        expired := expired + 1;
    end loop;

    -- What is late still is somebody else's just now, and looked at again with the next call.
    deadline := sluice._next_deadline();
    if deadline is not null then -- greatest() passes over null
        next_in := greatest(deadline - sluice._steady_now(), interval '0');
    end if;
    if looked_at = 1000 then
        next_in := interval '0';
    end if;
    -- No lease that begins from here on can be over before the shortest one is.
    perform sluice._late_next(least(next_in, current_setting('sluice.default_lease')::interval, min(t.lease)))
    from sluice.task as t where not by_index;
end
$$;
comment on function sluice._expire_leases() is 'Twin of expire_leases().';

create function sluice.announce_due(out due integer, out next_in interval)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.announce_due() is
    'Leader''s duty: tells clients that LISTEN sluice that delayed or retrying runs fell due.  Workers need no telling: wait_for_work wakes by itself.';

create function sluice._announce_due(out due integer, out next_in interval)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    as_of timestamptz := clock_timestamp();
    since timestamptz;
    next_due timestamptz;
begin
    perform sluice._assert_leader();
    if not sluice._may_be_due() then
        due := 0; -- shared memory knows, and the tables are left alone
        next_in := sluice._next_due() - clock_timestamp();
        return;
    end if;
    select l.announced_at into since from sluice.leader as l;
    select count(*) into due from (
        select from sluice.run as r where r.finished_at is null and r.due_at > since and r.due_at <= as_of limit 1000) as fell_due;
    if due > 0 then
        update sluice.leader as l set announced_at = as_of;
        notify sluice;
    end if;
    select r.due_at into next_due from sluice.run as r where r.finished_at is null and r.due_at > as_of order by r.due_at limit 1;
    if next_due is not null then -- greatest() passes over null
        next_in := greatest(next_due - clock_timestamp(), interval '0');
    end if;
    perform sluice._due_next(next_due); -- strict: not if nothing is to come
end
$$;
comment on function sluice._announce_due() is 'Twin of announce_due().';

create function sluice.expire_idempotency_keys(out expired integer, out next_in interval)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.expire_idempotency_keys() is 'Leader''s duty: removes idempotency keys whose time is over, and debounce keys whose run has started.';

create function sluice._expire_idempotency_keys(out expired integer, out next_in interval)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    debounced record;
begin
    perform sluice._assert_leader();
    delete from sluice.idempotency_key as k
    using (select e.task_id, e.key from sluice.idempotency_key as e
           where e.expires_at < clock_timestamp() order by e.expires_at limit 1000 for update skip locked) as over
    where k.task_id = over.task_id and k.key = over.key;
    get diagnostics expired = row_count;
    select greatest(k.expires_at - clock_timestamp(), interval '0') into next_in
    from sluice.idempotency_key as k order by k.expires_at limit 1;

    debounced := sluice._forget_debounce_keys();
    expired := expired + debounced.forgotten;
    next_in := least(next_in, debounced.next_in);
end
$$;
comment on function sluice._expire_idempotency_keys() is 'Twin of expire_idempotency_keys().';

create function sluice.sweep() returns table (finding text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.sweep() is
    'Leader''s duty, each minute: makes partitions ahead and mends what cannot be, each with a line that says so.';

create function sluice._sweep() returns table (finding text)
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
declare
    made integer;
begin
    perform sluice._assert_leader();

    -- A new partition locks the DEFAULT one, which a long reader may hold: try again in a minute rather than wait.
    begin
        made := sluice._make_partitions(clock_timestamp());
        if made > 0 then
            return query select format('made partitions for %s weeks', made);
        end if;
    exception when lock_not_available then
        return query select 'partitions ahead could not be made now: a table is in use';
    end;

    begin
        perform sluice._rename_roles();
    exception when lock_not_available then
        null; -- a task is being defined: in a minute
    end;

    delete from sluice.lease as l where not exists (select from sluice.slot as s where s.token = l.token)
        and l.until < sluice._steady_now() - interval '1 minute';

    if not sluice._index_serves() then
        made := sluice._write_slots(true);
        if made > 0 then
            return query select format('%s executing runs had no slot and were given one', made);
        end if;
    elsif exists (
        select from sluice._check_leases(null) as once
        join lateral sluice._check_leases(array[once.run_id]) as twice on twice.what = once.what
        where once.what = 'executing run without a lease in the index')
    then
        perform sluice._index_change_storage();
        return query select 'the index had lost a lease and is built anew';
    end if;
end
$$;
comment on function sluice._sweep() is 'Twin of sweep().';
