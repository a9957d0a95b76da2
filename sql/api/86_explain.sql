-- explain_run: why is this run not running?  One sentence with the numbers, put together from what a claim would look at.
--
-- Nothing here takes a lock or changes anything.  Places are those that limits count: in the index where claims go by it,
-- else in the table of slots.

create function sluice._span(span interval) returns text
language sql immutable
begin atomic
    select case
        when s.n < 60 then pg_catalog.format('%s second%s', s.n, case when s.n <> 1 then 's' end)
        when s.n < 3600 then pg_catalog.format('%s minute%s', s.n / 60, case when s.n / 60 <> 1 then 's' end)
        when s.n < 86400 then pg_catalog.format('%s hour%s %s min', s.n / 3600, case when s.n / 3600 <> 1 then 's' end, s.n % 3600 / 60)
        else pg_catalog.format('%s day%s %s h', s.n / 86400, case when s.n / 86400 <> 1 then 's' end, s.n % 86400 / 3600)
    end
    from (select pg_catalog.floor(pg_catalog.abs(extract(epoch from span)))::bigint as n) as s;
end;
comment on function sluice._span(interval) is 'A span of time in words, such as 3 minutes.';

create function sluice._places(queue_id integer)
returns table (lane bigint, run_id bigint, worker text, since timestamptz, revoked text)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    if sluice._index_serves() then
        return query
        select l.lane, l.run_id, coalesce(s.worker, r.worker), l.claimed_at, l.revoked
        from sluice._index_leases(null) as l
        left join sluice.slot as s on s.token = l.lease_token
        left join sluice.run as r on r.run_id = l.run_id and r.token = l.lease_token
        where l.queue_id = _places.queue_id;
    else
        return query
        select s.lane, s.run_id, s.worker, s.claimed_at, s.revoked
        from sluice.slot as s
        where s.queue_id = _places.queue_id;
    end if;
end
$$;
comment on function sluice._places(integer) is 'The places of a queue that limits count, and who holds each.';

create function sluice._holders(queue_id integer, lane bigint, out held bigint, out who text)
language sql
set search_path = pg_catalog, pg_temp
as $$
    with place as materialized (
        select p.* from sluice._places(_holders.queue_id) as p where p.lane = _holders.lane or _holders.lane is null
    )
    select (select count(*) from place),
           string_agg(format('%s since %s%s', coalesce(t.worker, 'a claim that has not committed'), date_trunc('second', t.since),
                             case when t.revoked is not null then format(' (for run %s, which was %s, and has not let go)', t.run_id, t.revoked) end),
                      ', ' order by t.since, t.run_id)
    from (select p.* from place as p order by p.since, p.run_id limit 3) as t
$$;
comment on function sluice._holders(integer, bigint) is 'How many places of a queue, or of one of its lanes, are held, and who has held the first three for how long.';

create function sluice._live_workers() returns table (worker text, executors text[], queues text[], capacity integer, pid integer)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select w.worker, w.executors, w.queues, w.capacity, w.pid from sluice.worker as w where sluice._session_alive(w.pid, w.session_start)
$$;
comment on function sluice._live_workers() is 'Workers whose registered session exists.';

create function sluice._explain_ended(run_id bigint) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    r    record;
    code text;
    held record;
begin
    select run.status, run.finished_at, run.started_at, run.attempt, run.max_attempts into r
    from sluice.run as run where run.run_id = _explain_ended.run_id;
    select o.error ->> 'code' into code from sluice.output as o where o.run_id = _explain_ended.run_id;
    select s.worker, s.claimed_at into held from sluice.slot as s
    where s.run_id = _explain_ended.run_id and s.revoked is not null order by s.claimed_at limit 1;
    return format('%s at %s, %s after it was enqueued, %s%s%s',
        case r.status when 'completed' then 'completed' when 'canceled' then 'was canceled' when 'expired' then 'expired'
                      else format('ended as %s', r.status) end,
        date_trunc('second', r.finished_at), sluice._span(r.finished_at - sluice._run_time(_explain_ended.run_id)),
        case when r.attempt = 0 then 'before its first attempt' else format('in attempt %s of %s', r.attempt, r.max_attempts) end,
        case when code is not null then format(', with error %s', code) end,
        case when held.worker is not null
             then format('; worker %s, which took it at %s, has not let go of its slot', held.worker, date_trunc('second', held.claimed_at)) end);
end
$$;
comment on function sluice._explain_ended(bigint) is 'Part of explain_run(): what became of a final run.';

create function sluice._explain_executing(run_id bigint) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    as_of   timestamptz := clock_timestamp();
    r       record;
    until   timestamptz;
    session record;
begin
    select run.token, run.worker, run.claimed_at, run.attempt, run.max_attempts into r
    from sluice.run as run where run.run_id = _explain_executing.run_id;
    if sluice._index_serves() then
        select l.until into until from sluice._index_lease(r.token) as l;
    else
        select l.until into until from sluice.lease as l where l.token = r.token;
    end if;
    until := until + sluice._clock_offset();
    select sluice._session_alive(w.pid, w.session_start) as is_alive into session from sluice.worker as w where w.worker = r.worker;
    return format('is executing: worker %s began attempt %s of %s at %s, %s ago%s%s', coalesce(r.worker, 'without a name'), r.attempt,
        r.max_attempts, date_trunc('second', r.claimed_at), sluice._span(as_of - r.claimed_at),
        case when until > as_of then format('; its lease runs for another %s, until %s', sluice._span(until - as_of), date_trunc('second', until))
             when until is not null then format('; its lease ended %s ago, at %s, and the leader has not given the run back yet',
                                                sluice._span(as_of - until), date_trunc('second', until)) end,
        case when not session.is_alive then '; the worker''s session has ended, and the leader gives the run back' end);
end
$$;
comment on function sluice._explain_executing(bigint) is 'Part of explain_run(): who executes a run and until when.';

create function sluice._explain_later(run_id bigint) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    r    record;
    last record;
begin
    select run.ready_at, run.attempt, run.max_attempts into r from sluice.run as run where run.run_id = _explain_later.run_id;
    select a.outcome, a.error ->> 'code' as code into last
    from sluice.attempt as a where a.run_id = _explain_later.run_id and a.attempt = r.attempt;
    return format('%s %s, in %s%s',
        case when r.attempt = 0 then 'is delayed until' else format('waits for attempt %s of %s at', r.attempt + 1, r.max_attempts) end,
        date_trunc('second', r.ready_at), sluice._span(r.ready_at - clock_timestamp()),
        case when last.outcome is not null
             then format('; attempt %s ended as %s%s', r.attempt, last.outcome, coalesce(' with error ' || last.code, '')) end);
end
$$;
comment on function sluice._explain_later(bigint) is 'Part of explain_run(): until when a run is delayed.';

-- What stands between a run whose time has come and a worker; empty if nothing does.
create function sluice._obstacles(run_id bigint) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    as_of   timestamptz := clock_timestamp();
    found   text[] := '{}';
    r       record;
    holders record;
    locker  integer;
    needed  bigint;
    most    bigint;
begin
    select run.queue_id, run.lane, run.concurrency_key, run.xmin as writer, run.xmax as locker,
           q.queue, q.concurrency, q.key_concurrency, q.paused_at, q.pause_reason, t.executor,
           coalesce((select p.options ->> 'machine' from sluice.payload as p where p.run_id = _obstacles.run_id), t.machine) as machine
    into r
    from sluice.run as run
    join sluice.queue as q on q.queue_id = run.queue_id
    join sluice.task as t on t.task_id = run.task_id
    where run.run_id = _obstacles.run_id;

    if not exists (select from sluice.meta as m where m.home = sluice._home()) then
        found := found || 'this database is a copy that was not adopted, and hands out nothing'::text;
    end if;
    if sluice._is_own_transaction(r.writer) then
        found := found || 'this transaction, which wrote it, has not committed'::text;
    end if;
    select l.pid into locker from pg_locks as l
    where l.locktype = 'transactionid' and l.transactionid = r.locker and l.granted and l.pid <> pg_backend_pid() limit 1;
    if locker is not null then
        found := found || format('backend %s holds its row in an open transaction', locker);
    end if;
    if r.paused_at is not null then
        found := found || format('queue %s has been paused since %s%s', r.queue, date_trunc('second', r.paused_at),
                                 coalesce(', because: ' || r.pause_reason, ''));
    end if;

    if r.concurrency = 0 then
        found := found || format('the limit of queue %s is 0', r.queue);
    elsif r.concurrency is not null then
        holders := sluice._holders(r.queue_id, null);
        if holders.held >= r.concurrency then
            found := found || format('queue %s is at its limit, with %s of %s slots held: %s', r.queue, holders.held, r.concurrency, holders.who);
        end if;
    end if;
    if r.lane <> 0 and r.key_concurrency = 0 then
        found := found || format('the limit of each concurrency key of queue %s is 0', r.queue);
    elsif r.lane <> 0 and r.key_concurrency is not null then
        holders := sluice._holders(r.queue_id, r.lane);
        if holders.held >= r.key_concurrency then
            found := found || format('its lane, concurrency key "%s" of queue %s, is at its limit, with %s of %s slots held: %s',
                                     r.concurrency_key, r.queue, holders.held, r.key_concurrency, holders.who);
        end if;
    end if;

    if not exists (select from sluice._live_workers() as w where w.queues is null or r.queue = any (w.queues)) then
        found := found || format('no registered worker takes queue %s', r.queue);
    elsif not exists (select from sluice._live_workers() as w
                      where (w.queues is null or r.queue = any (w.queues)) and (w.executors is null or r.executor = any (w.executors)))
    then
        found := found || format('no registered worker that takes queue %s runs %s tasks', r.queue, r.executor);
    else
        needed := sluice._machine_memory(r.machine);
        most := sluice._most_memory(r.executor, r.queue);
        if most < needed then
            found := found || format('no registered worker that takes queue %s has memory for machine %s (%s MiB; the most is %s MiB)',
                                     r.queue, r.machine, needed / 1048576, most / 1048576);
        end if;
    end if;
    return found;
end
$$;
comment on function sluice._obstacles(bigint) is 'Part of explain_run(): what keeps a run whose time has come from being claimed.';

create function sluice._explain_turn(run_id bigint) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    as_of    timestamptz := clock_timestamp();
    most     constant bigint := 10000; -- so many are counted
    r        record;
    ahead    bigint;
    in_queue bigint;
    workers  record;
begin
    select run.queue_id, run.lane, run.class, run.claim_key, q.queue, run.ready_at into r
    from sluice.run as run join sluice.queue as q on q.queue_id = run.queue_id where run.run_id = _explain_turn.run_id;
    select count(*) into ahead from (
        select from sluice.run as o
        where o.finished_at is null and o.queue_id = r.queue_id and o.lane = r.lane
          and (o.class, o.claim_key, o.run_id) < (r.class, r.claim_key, _explain_turn.run_id)
          and o.status = 'queued' and o.ready_at <= as_of
        limit most) as a;
    select count(*) into in_queue from (
        select from sluice.run as o
        where o.finished_at is null and o.queue_id = r.queue_id and o.claim_key <= as_of and o.ready_at <= as_of and o.status = 'queued'
        limit most) as a;
    select count(*) as n, sum(w.capacity) as capacity, sum((select count(*) from sluice._slots_of(w.worker))) as held into workers
    from sluice._live_workers() as w where w.queues is null or r.queue = any (w.queues);
    return format('%s%s ahead of it in its lane, %s%s could start in its queue; %s worker%s queue %s, %s of %s slots taken',
        case when ahead = most then 'at least ' end, case ahead when 0 then 'no run is' when 1 then '1 run is' else ahead || ' runs are' end,
        case when in_queue = most then 'at least ' end, in_queue,
        workers.n, case when workers.n = 1 then ' takes' else 's take' end, r.queue, coalesce(workers.held, 0),
        coalesce(workers.capacity::text, 'an unknown number of'));
end
$$;
comment on function sluice._explain_turn(bigint) is 'Part of explain_run(): what is ahead of a run that nothing stands in the way of.';

create function sluice.explain_run(run_id bigint) returns text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.explain_run(bigint) is
    'Why a run is not running, or what it is, in one sentence with the numbers: delay, retry, pause, limits and who holds the slots, missing workers, runs ahead of it.  Changes nothing.';

create function sluice._explain_run(run_id bigint) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    r         record;
    obstacles text[];
    told      text;
    expires   timestamptz;
begin
    select run.status, run.finished_at, run.ready_at, t.task_id, t.task, q.queue into r
    from sluice.run as run
    join sluice.task as t on t.task_id = run.task_id
    join sluice.queue as q on q.queue_id = run.queue_id
    where run.run_id = _explain_run.run_id;
    if not found then
        perform sluice._no_such_run(_explain_run.run_id);
    end if;
    perform sluice._assert_may_look(r.task_id);

    if r.finished_at is not null then
        told := sluice._explain_ended(_explain_run.run_id);
    elsif r.status = 'executing' then
        told := sluice._explain_executing(_explain_run.run_id);
    elsif r.ready_at > clock_timestamp() then
        told := sluice._explain_later(_explain_run.run_id);
    else
        obstacles := sluice._obstacles(_explain_run.run_id);
        told := format('could have started %s ago: %s', sluice._span(clock_timestamp() - r.ready_at),
                       case when obstacles = '{}' then sluice._explain_turn(_explain_run.run_id) else array_to_string(obstacles, '; ') end);
    end if;
    select e.expires_at into expires
    from sluice.expiry as e join sluice.run as run on run.run_id = e.run_id
    where e.run_id = _explain_run.run_id and run.status = 'queued' and run.started_at is null;
    if found then
        told := told || format('; it expires at %s unless it has started by then', date_trunc('second', expires));
    end if;
    return format('Run %s of task %s in queue %s %s.', _explain_run.run_id, r.task, r.queue, told);
end
$$;
comment on function sluice._explain_run(bigint) is 'Twin of explain_run().';
