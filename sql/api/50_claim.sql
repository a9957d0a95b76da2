-- Claim: which runs may start now, and the lease that a worker gets with one.
--
-- There are two ways to claim with one contract.  The table claim works everywhere and is the oracle of every test; the
-- claim by the ready index (extension/index/claim.cpp) takes its place where there is shared memory.  The rest of this
-- page is about the table claim.
--
-- Order: inside a lane by class, claim_key and id.  Lanes of a queue take turns, whatever their priorities: a cursor
-- (sluice.rotation) remembers the lane that was looked at last, and the next claim goes on behind it.  Of the queues a
-- worker lists, each call begins with a random one.
--
-- Limits are exact because a claim of a limited queue holds that queue's advisory lock until it commits, and counts
-- slots in statements of their own after it has the lock.  (In one statement the count used a snapshot from before the
-- lock: limit 1 gave 2.)  Only the first lock of a call waits, later ones are tried: so two
-- transactions with one claim each cannot deadlock.
--
-- Statements bound the id, so that only the partitions in question are opened, and find rows by id = any (array), never
-- by a join, which became a merge join over history.  `now` is a value: clock_timestamp() in a qualification is no
-- index bound.  The functions ask for generic plans and no sequential scans, since a plan made while the tables were
-- empty would be kept.

create function sluice._assert_isolation() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'SL013',
            message = format('runs cannot be claimed at isolation level %s', current_setting('transaction_isolation')),
            detail  = 'Limits are counted after a lock is taken, with a snapshot that is newer than the lock.',
            hint    = 'Claim in a transaction of isolation level read committed.';
    end if;
end
$$;
comment on function sluice._assert_isolation() is 'Raises SL013 under an isolation level above read committed.';

-- The tasks that a worker with these executors can run; null for all.
create function sluice._task_ids(executors text[]) returns integer[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from sluice.task as t where t.executor <> all (coalesce(_task_ids.executors, '{}'))) then
        return null;
    end if;
    return coalesce((select array_agg(t.task_id) from sluice.task as t where t.executor = any (_task_ids.executors)), '{}');
end
$$;
comment on function sluice._task_ids(text[]) is 'The tasks of some executors; null when that is all of them.';

-- Lanes of a queue that could start a run now, from behind the cursor once around.  `free` is how many slots the lane
-- has left; `looked_at` ends with the last lane that was examined.
create function sluice._ready_lanes(
    queue_id integer, key_concurrency integer, cursor_lane bigint, wanted integer, tasks integer[], as_of timestamptz,
    out lanes bigint[], out free integer[], out last_lane bigint, out looked_at integer)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_variable
declare
    first_lane constant bigint := -9223372036854775808;
    here    bigint := cursor_lane;
    wrapped boolean := false;
    room    integer;
    ready   boolean;
begin
    lanes := '{}';
    free := '{}';
    looked_at := 0;

    -- Back at the cursor, that was once around.
    while looked_at < 1000 and cardinality(lanes) < wanted and not (wrapped and here = cursor_lane) loop
        select r.lane into here
        from sluice.run as r
        where r.finished_at is null and r.queue_id = _ready_lanes.queue_id and r.lane > here
        order by r.lane
        limit 1;

        if not found then
            exit when wrapped or cursor_lane = first_lane; -- from the first lane on, those were all
            wrapped := true;
            here := first_lane;
            continue;
        end if;
        exit when wrapped and here > cursor_lane;

        looked_at := looked_at + 1;
        last_lane := here;
        room := wanted;
        if key_concurrency is not null and here <> 0 then
            select key_concurrency - count(*) into room
            from sluice.slot as s
            where s.queue_id = _ready_lanes.queue_id and s.lane = here;
        end if;
        continue when room <= 0;

        select true into ready
        from (values (0::smallint), (1::smallint), (2::smallint)) as c (class)
        cross join lateral (
            select from sluice.run as r
            where r.finished_at is null and r.queue_id = _ready_lanes.queue_id and r.lane = here and r.class = c.class
              and r.claim_key <= as_of and r.ready_at <= as_of and r.status = 'queued'
              and (tasks is null or r.task_id = any (tasks))
            limit 1
        ) as found_run
        limit 1;
        if ready then
            lanes := lanes || here;
            free := free || room;
        end if;
    end loop;
end
$$;
comment on function sluice._ready_lanes(integer, integer, bigint, integer, integer[], timestamptz) is
    'Lanes of a queue that have a run to start and a free slot, in turn behind a cursor; at most 1000 are looked at.';

-- The runs to start: of each lane at most its number, locked.  Rows that somebody else has locked are passed over.
create function sluice._pick(queue_id integer, lanes bigint[], amounts integer[], wanted integer, tasks integer[],
                             as_of timestamptz, already bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_variable
declare
    picked bigint[];
begin
    with pick as materialized (
        select chosen.run_id
        from unnest(lanes, amounts) as l (lane, amount)
        cross join lateral (
            select in_class.run_id
            from (values (0::smallint), (1::smallint), (2::smallint)) as c (class)
            cross join lateral (
                select r.run_id
                from sluice.run as r
                where r.finished_at is null and r.queue_id = _pick.queue_id and r.lane = l.lane and r.class = c.class
                  and r.claim_key <= as_of and r.ready_at <= as_of and r.status = 'queued'
                  and (tasks is null or r.task_id = any (tasks))
                  and r.run_id <> all (already)
                order by r.claim_key, r.run_id
                limit l.amount
                for update skip locked
            ) as in_class
            limit l.amount
        ) as chosen
        limit wanted
    )
    select coalesce(array_agg(p.run_id), '{}') into picked from pick as p;
    return picked;
end
$$;
comment on function sluice._pick(integer, bigint[], integer[], integer, integer[], timestamptz, bigint[]) is
    'Locks and returns runs to start, in order, of each lane at most its amount.';

-- Takes up to `wanted` runs of one queue.  Returns their ids in order.
create function sluice._pick_from_queue(queue_id integer, wanted integer, tasks integer[], as_of timestamptz, may_wait boolean,
                                        out picked bigint[], out waited boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_variable
declare
    limits      record;
    cursor_lane bigint;
    found_lanes record;
    share       integer;
    more        bigint[];
begin
    picked := '{}';
    waited := false;

    select q.concurrency, q.key_concurrency into limits
    from sluice.queue as q where q.queue_id = _pick_from_queue.queue_id and q.paused_at is null;
    if not found or limits.concurrency = 0 then
        return;
    end if;
    -- An idle queue needs no lock: with thousands of them the server's table of locks would overflow.
    -- Queries in ifs of their own: a condition with a query in it is started as a query, even where it is not reached.
    if limits.concurrency is not null or limits.key_concurrency is not null then
        if not exists (select from sluice.run as r where r.finished_at is null and r.queue_id = _pick_from_queue.queue_id) then
            return;
        end if;
    end if;
    if limits.key_concurrency = 0 then
        if not exists (
            select from sluice.run as r
            where r.finished_at is null and r.queue_id = _pick_from_queue.queue_id and r.lane = 0)
        then
            return;
        end if;
    end if;

    if limits.concurrency is not null or limits.key_concurrency is not null then
        -- Class "sluq": the number of a queue is the second key.
        if may_wait then
            perform pg_advisory_xact_lock(1936487793, queue_id);
            waited := true;
        elsif not pg_try_advisory_xact_lock(1936487793, queue_id) then
            return;
        end if;
        -- Somebody may have changed the limits while we waited.
        select q.concurrency, q.key_concurrency into limits
        from sluice.queue as q where q.queue_id = _pick_from_queue.queue_id and q.paused_at is null;
        if not found then
            return;
        end if;
    end if;

    if limits.concurrency is not null then
        select least(wanted, limits.concurrency - count(*)) into wanted
        from sluice.slot as s where s.queue_id = _pick_from_queue.queue_id;
    end if;
    if wanted <= 0 then
        return;
    end if;

    select r.lane into cursor_lane from sluice.rotation as r where r.queue_id = _pick_from_queue.queue_id;
    found_lanes := sluice._ready_lanes(queue_id, limits.key_concurrency, coalesce(cursor_lane, -9223372036854775808),
                                       wanted, tasks, as_of);

    if cardinality(found_lanes.lanes) > 0 then
        -- An even share of each lane first, then whatever the lanes still have.
        share := ceil(wanted::numeric / cardinality(found_lanes.lanes));
        picked := sluice._pick(queue_id, found_lanes.lanes,
                               (select array_agg(least(f, share) order by n) from unnest(found_lanes.free) with ordinality as u (f, n)),
                               wanted, tasks, as_of, picked);
        if cardinality(picked) < wanted and cardinality(found_lanes.lanes) > 1 then
            more := sluice._pick(queue_id, found_lanes.lanes,
                                 (select array_agg(f - coalesce(taken.n, 0) order by u.n)
                                  from unnest(found_lanes.free, found_lanes.lanes) with ordinality as u (f, lane, n)
                                  left join (select r.lane, count(*)::integer as n from sluice.run as r
                                             where r.run_id = any (picked) group by r.lane) as taken on taken.lane = u.lane),
                                 wanted - cardinality(picked), tasks, as_of, picked);
            picked := picked || more;
        end if;
    end if;

    -- Move the cursor on, without ever waiting for somebody who moves it too.
    if cursor_lane is null and found_lanes.last_lane is not null then
        if pg_try_advisory_xact_lock(1936487793, queue_id) then
            insert into sluice.rotation as r (queue_id, lane) values (_pick_from_queue.queue_id, found_lanes.last_lane)
            on conflict on constraint rotation_pkey do nothing;
        end if;
    elsif found_lanes.last_lane <> cursor_lane then
        update sluice.rotation as r set lane = found_lanes.last_lane
        where r.queue_id = (select c.queue_id from sluice.rotation as c
                            where c.queue_id = _pick_from_queue.queue_id for update skip locked);
    end if;
end
$$;
comment on function sluice._pick_from_queue(integer, integer, integer[], timestamptz, boolean) is
    'Locks and returns runs of a queue that may start now under its limits; waits for the queue''s lock only if told to.';

-- The queues that a worker asks for, from a random one once around.
create function sluice._queues_in_turn(queues text[]) returns integer[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    ids   integer[];
    start integer;
begin
    select array_agg(q.queue_id order by array_position(_queues_in_turn.queues, q.queue), q.queue) into ids
    from sluice.queue as q
    where q.paused_at is null and (_queues_in_turn.queues is null or q.queue = any (_queues_in_turn.queues));
    if ids is null then
        return '{}';
    end if;
    start := floor(random() * cardinality(ids))::integer;
    return ids[start + 1 : cardinality(ids)] || ids[1 : start];
end
$$;
comment on function sluice._queues_in_turn(text[]) is 'Numbers of the queues to look at that are not paused, beginning with a random one.';

create function sluice._claim_from_table(worker text, queues text[], capacity integer, executors text[], reply bigint)
returns table (token uuid, run_id bigint, attempt integer, task text, payload jsonb, lease_until timestamptz,
               executor text, target text, options jsonb, lease_seconds double precision, max_duration_seconds double precision,
               machine text, heartbeat_seconds double precision, traceparent text)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    as_of    timestamptz := clock_timestamp();
    tasks    integer[];
    in_turn  integer[];
    one      integer;
    got      record;
    picked   bigint[] := '{}';
    may_wait boolean := true;
    lowest   bigint;
    highest  bigint;
    lease_default double precision := extract(epoch from current_setting('sluice.default_lease')::interval);
begin
    tasks := sluice._task_ids(_claim_from_table.executors);
    if tasks = '{}' or coalesce(_claim_from_table.capacity, 0) <= 0 then
        return;
    end if;

    in_turn := sluice._queues_in_turn(_claim_from_table.queues);
    foreach one in array in_turn loop
        exit when cardinality(picked) >= _claim_from_table.capacity;
        got := sluice._pick_from_queue(one, _claim_from_table.capacity - cardinality(picked), tasks, as_of, may_wait);
        picked := picked || got.picked;
        may_wait := may_wait and not got.waited;
    end loop;
    if picked = '{}' then
        return;
    end if;
    perform sluice._index_took();
    as_of := clock_timestamp(); -- leases begin after the wait for a queue's lock, not before

    -- Values, not subqueries: only bounds that are known when a statement starts keep it from opening every partition.
    select min(u), max(u) into lowest, highest from unnest(picked) as u;

    return query
    with claimed as (
        update sluice.run as r
        set status = 'executing', attempt = r.attempt + 1, token = sluice._new_token(r.run_id),
            worker = _claim_from_table.worker,
            claimed_at = as_of, started_at = coalesce(r.started_at, as_of)
        where r.run_id = any (picked)
          and r.run_id between lowest and highest
          and r.status = 'queued'
        returning r.run_id, r.token, r.attempt, r.task_id, r.queue_id, r.lane
    ),
    held as materialized (
        select c.*, t.task, t.executor, t.target, t.options, extract(epoch from t.max_duration)::double precision as max_seconds,
               coalesce(extract(epoch from t.lease)::double precision, lease_default) as lease_seconds, t.machine,
               extract(epoch from t.heartbeat)::double precision as beat_seconds
        from claimed as c
        join sluice.task as t on t.task_id = c.task_id
    ),
    slots as (
        insert into sluice.slot (token, run_id, lane, claimed_at, reply, lease_seconds, queue_id, attempt, worker)
        select h.token, h.run_id, h.lane, as_of, _claim_from_table.reply, h.lease_seconds, h.queue_id, h.attempt, _claim_from_table.worker
        from held as h
    ),
    leases as (
        insert into sluice.lease (token, until)
        select h.token, sluice._steady_now() + h.lease_seconds * interval '1 second' from held as h
    )
    select h.token, h.run_id, h.attempt::integer, h.task, p.payload,
           as_of + h.lease_seconds * interval '1 second', h.executor, h.target, h.options, h.lease_seconds,
           coalesce((p.options ->> 'max_duration')::double precision, h.max_seconds), coalesce(p.options ->> 'machine', h.machine),
           coalesce(h.beat_seconds, least(15, h.lease_seconds / 4)), p.options ->> 'traceparent'
    from held as h
    left join sluice.payload as p on p.run_id = h.run_id and p.run_id between lowest and highest
    order by array_position(picked, h.run_id);
end
$$;
comment on function sluice._claim_from_table(text, text[], integer, text[], bigint) is
    '_claim_runs() by the tables.';

create function sluice._claim_runs(worker text, queues text[], capacity integer, executors text[], reply bigint)
returns table (token uuid, run_id bigint, attempt integer, task text, payload jsonb, lease_until timestamptz,
               executor text, target text, options jsonb, lease_seconds double precision, max_duration_seconds double precision,
               machine text, heartbeat_seconds double precision, traceparent text)
language c volatile as 'MODULE_PATHNAME', 'sluice_claim_runs'
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off;
comment on function sluice._claim_runs(text, text[], integer, text[], bigint) is
    'Claims up to capacity runs for a worker: marks them executing, takes their slots and starts their leases.';

-- Why a waiting worker should stop waiting, or how long it may sleep.
create function sluice._look_for_work(queues text[], executors text[], worker text, out reason text, out sleep_ms integer)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    as_of     timestamptz := clock_timestamp();
    tasks     integer[];
    one       record;
    lanes     record;
    next_due  timestamptz;
begin
    perform sluice._assert_home();
    if exists (select from sluice.slot as s where s.worker = _look_for_work.worker and s.revoked is not null and not s.told) then
        reason := 'revoked';
        return;
    end if;

    tasks := sluice._task_ids(_look_for_work.executors);
    if tasks = '{}' then
        return;
    end if;
    for one in
        select q.queue_id, q.concurrency, q.key_concurrency, c.lane as cursor_lane,
               (select count(*) from sluice.slot as s where s.queue_id = q.queue_id) as held
        from sluice.queue as q
        left join sluice.rotation as c on c.queue_id = q.queue_id
        where q.paused_at is null and (_look_for_work.queues is null or q.queue = any (_look_for_work.queues))
    loop
        continue when one.concurrency <= one.held;
        lanes := sluice._ready_lanes(one.queue_id, one.key_concurrency, coalesce(one.cursor_lane, -9223372036854775808),
                                     1, tasks, as_of);
        -- A thousand lanes without a free slot: let a claim move the cursor on.
        if cardinality(lanes.lanes) > 0 or lanes.looked_at >= 1000 then
            reason := 'work';
            return;
        end if;
    end loop;

    select r.due_at into next_due from sluice.run as r
    where r.finished_at is null and r.due_at > as_of order by r.due_at limit 1;
    if found then -- greatest() passes over null: without a run to come this was 1
        sleep_ms := ceil(least(86400000, greatest(1, extract(epoch from next_due - clock_timestamp()) * 1000)))::integer;
    end if;
end
$$;
comment on function sluice._look_for_work(text[], text[], text) is
    'Whether a worker should claim (work) or ask for its tokens (revoked); otherwise the milliseconds until the next run falls due.';

create procedure sluice.wait_for_work(
    queues       text[]   default null,
    timeout      interval default '30 seconds',
    executors    text[]   default '{external}',
    worker       text     default null,
    inout reason text     default null)
language c as 'MODULE_PATHNAME', 'sluice_wait_for_work';
comment on procedure sluice.wait_for_work(text[], interval, text[], text, text) is
    'Sleeps, without a transaction, until there is work to claim (work), a token of the worker has died (revoked), or the time is over (timeout).';
