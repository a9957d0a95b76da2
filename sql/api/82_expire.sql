-- Times to live: a run that has not started in time expires.
--
-- Only one that never started: it is queued and was never handed out.  So an attempt that was released or requeued keeps
-- its run alive, and whether a claim or the leader comes first is decided by the lock on the run's row.  The leader waits
-- for nobody: what somebody else has locked is looked at again in a moment.

create function sluice._duration_text(duration interval) returns text
language sql immutable
begin atomic
    select coalesce(nullif(pg_catalog.concat(
        case when s.n >= 86400 then s.n / 86400 || 'd' end, case when s.n % 86400 >= 3600 then s.n % 86400 / 3600 || 'h' end,
        case when s.n % 3600 >= 60 then s.n % 3600 / 60 || 'm' end, case when s.n % 60 > 0 then s.n % 60 || 's' end), ''), '0s')
    from (select pg_catalog.floor(extract(epoch from duration))::bigint as n) as s;
end;
comment on function sluice._duration_text(interval) is 'A duration as people write it, such as 1h30m.';

-- Whoever moves a run's time has locked its row.
create function sluice._move_expiry(run_id bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
    update sluice.expiry as e
    set expires_at = r.ready_at + e.ttl
    from sluice.run as r
    where e.run_id = _move_expiry.run_id and r.run_id = _move_expiry.run_id;
    if found then
        perform sluice._has_time_to_live();
    end if;
end
$$;
comment on function sluice._move_expiry(bigint) is 'The time to live of a run begins anew with its new time.';

create function sluice.expire_runs(out expired integer, out next_in interval)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.expire_runs() is
    'Leader''s duty: ends runs that did not start within their time to live as expired.  next_in is the time until the next one may be.';

create function sluice._expire_runs(out expired integer, out next_in interval)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    as_of     timestamptz := clock_timestamp();
    late      record;
    looked_at integer := 0;
    busy      integer := 0;
    deadline  timestamptz;
begin
    perform sluice._assert_leader();
    expired := 0;
    if not sluice._follow_clock() then
        next_in := interval '100 milliseconds';
        return;
    end if;
    if not sluice._may_expire() then
        return; -- shared memory knows, and the table is left alone
    end if;
    for late in
        select e.run_id, e.ttl from sluice.expiry as e
        where e.expires_at <= as_of
        order by e.expires_at
        limit 1000
        for update skip locked
    loop
        looked_at := looked_at + 1;
        if not sluice._lock_free_run(late.run_id) then
            busy := busy + 1;
            continue;
        end if;
        if exists (select from sluice.run as r where r.run_id = late.run_id and r.status = 'queued' and r.started_at is null) then
            perform sluice._leave_place(late.run_id);
            perform sluice._finish_run(late.run_id, 'expired', null, jsonb_build_object('code', 'TTL_EXPIRED',
                'message', format('the run did not start within its ttl of %s', sluice._duration_text(late.ttl))));
            expired := expired + 1;
        end if;
        delete from sluice.expiry as e where e.run_id = late.run_id;
    end loop;

    if looked_at = 1000 then
        next_in := interval '0';
        perform sluice._expires_next(next_in);
        return;
    end if;
    select e.expires_at into deadline from sluice.expiry as e where e.expires_at > as_of order by e.expires_at limit 1;
    next_in := greatest(deadline - clock_timestamp(), interval '0');
    if deadline is null then
        next_in := null; -- greatest() passes over null
    end if;
    if busy > 0 then
        next_in := least(next_in, interval '100 milliseconds');
    end if;
    perform sluice._expires_next(next_in); -- strict: not if nothing is to come
end
$$;
comment on function sluice._expire_runs() is 'Twin of expire_runs().';
