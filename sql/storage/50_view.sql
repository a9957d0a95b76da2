-- Views: what people read in psql.
--
-- Replayed by every setup(), as the storage's owner's views; they gain columns only at the end.  They call no function
-- of ours, since a view's functions need a grant to each reader.  Which columns are for readers of payloads alone says
-- sluice._contents().  No view is a barrier: what one leaves out is shown by another, or no secret (test/pgtap/32_reader.sql).

create function sluice._storage_view() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create or replace view sluice.runs as
    select
        r.run_id,
        t.task,
        q.queue,
        case
            when r.status <> 'queued' or r.ready_at <= clock_timestamp() then r.status
            when r.attempt > 0 then 'retrying'
            else 'delayed'
        end as status,
        r.attempt,
        r.max_attempts,
        r.concurrency_key,
        r.priority,
        case when r.status = 'executing' then r.worker end as worker,
        timestamptz '2025-01-01 00:00+00' + (r.run_id >> 22) * interval '1 millisecond' as created_at,
        r.ready_at,
        r.started_at,
        r.finished_at,
        p.payload,
        o.output,
        coalesce(o.error, a.error) as error,
        p.tags,
        p.metadata,
        case when r.status = 'queued' and r.started_at is null then e.expires_at end as expires_at,
        coalesce((p.options ->> 'max_duration')::double precision * interval '1 second', t.max_duration) as max_duration,
        p.options ->> 'schedule' as schedule,
        p.options ->> 'external_id' as external_id,
        coalesce(p.options ->> 'machine', t.machine) as machine,
        p.options ->> 'traceparent' as traceparent
    from sluice.run as r
    join sluice.task as t on t.task_id = r.task_id
    join sluice.queue as q on q.queue_id = r.queue_id
    left join sluice.payload as p on p.run_id = r.run_id
    left join sluice.output as o on o.run_id = r.run_id
    left join sluice.expiry as e on e.run_id = r.run_id
    left join sluice.attempt as a on a.run_id = r.run_id and a.attempt = r.attempt and r.finished_at is null;
    comment on view sluice.runs is 'Every run with its payload and what came of it; the error of a live run is that of its last attempt.';

    create or replace view sluice.attempts as
    select
        a.run_id,
        a.attempt,
        a.outcome,
        a.worker,
        a.started_at,
        a.ended_at,
        a.ended_at - a.started_at as duration,
        a.error
    from sluice.attempt as a
    union all
    -- Of an attempt that completed its run, the run's own row is the record.
    select
        r.run_id,
        r.attempt,
        r.status,
        r.worker,
        r.claimed_at,
        r.finished_at,
        r.finished_at - r.claimed_at,
        null
    from sluice.run as r
    where r.status = 'completed';
    comment on view sluice.attempts is 'Ended attempts that counted, each with its outcome, worker, duration and error.';

    create or replace view sluice.resources as
    select
        u.run_id,
        u.attempt,
        t.task,
        u.machine,
        u.enforced_by,
        u.memory_limit,
        u.peak_memory,
        u.cpu_user * interval '1 second' as cpu_user,
        u.cpu_system * interval '1 second' as cpu_system,
        u.wall * interval '1 second' as wall,
        u.read_bytes,
        u.written_bytes
    from sluice.resource as u
    join sluice.run as r on r.run_id = u.run_id
    join sluice.task as t on t.task_id = r.task_id;
    comment on view sluice.resources is 'What the programs of ended attempts used of their machines: memory, CPU, time, bytes from and to disks.';

    create or replace view sluice.queues as
    select
        q.queue,
        live.depth,
        live.delayed,
        live.executing + held.dead as executing,
        q.concurrency,
        q.key_concurrency,
        clock_timestamp() - live.oldest as oldest,
        q.paused_at,
        q.pause_reason,
        (select array_agg(g.role order by g.role) from sluice.queue_grant as g where g.queue_id = q.queue_id) as granted_to
    from sluice.queue as q
    cross join lateral (
        select
            count(*) filter (where r.status = 'queued' and r.ready_at <= clock_timestamp()) as depth,
            count(*) filter (where r.status = 'queued' and r.ready_at > clock_timestamp()) as delayed,
            count(*) filter (where r.status = 'executing') as executing,
            min(r.ready_at) filter (where r.status = 'queued' and r.ready_at <= clock_timestamp()) as oldest
        from sluice.run as r
        where r.finished_at is null and r.queue_id = q.queue_id
    ) as live
    -- Places whose token is dead and whose worker has not let go.
    cross join lateral (
        select count(*) as dead from sluice.slot as s where s.queue_id = q.queue_id and s.revoked is not null
    ) as held
    where q.dropped_at is null;
    comment on view sluice.queues is
        'Queues with their depth (runs that could start), delayed runs, slots taken, limits, age of the oldest ready run, and pause.';

    create or replace view sluice.lanes as
    select
        q.queue,
        r.concurrency_key,
        count(*) filter (where r.status = 'queued' and r.ready_at <= clock_timestamp()) as depth,
        count(*) filter (where r.status = 'queued' and r.ready_at > clock_timestamp()) as delayed,
        count(*) filter (where r.status = 'executing')
            + (select count(*) from sluice.slot as s where s.queue_id = q.queue_id and s.lane = r.lane and s.revoked is not null) as executing,
        case when r.lane <> 0 then q.key_concurrency end as concurrency,
        clock_timestamp() - min(r.ready_at) filter (where r.status = 'queued' and r.ready_at <= clock_timestamp()) as oldest
    from sluice.run as r
    join sluice.queue as q on q.queue_id = r.queue_id
    where r.finished_at is null
    group by q.queue_id, q.queue, q.key_concurrency, r.lane, r.concurrency_key;
    comment on view sluice.lanes is 'Lanes with live runs: a queue and a concurrency key, with its own share of the limits.';

    create or replace view sluice.tasks as
    select
        t.task,
        t.executor,
        t.target,
        q.queue,
        t.max_attempts,
        t.lease,
        t.max_duration,
        t.role,
        t.options,
        jsonb_build_object('max_attempts', t.max_attempts, 'factor', t.factor::numeric, 'min_delay', t.min_delay,
                           'max_delay', t.max_delay, 'randomize', t.randomize)
            || case when t.oom_machine is null then '{}'
                    else jsonb_build_object('out_of_memory', jsonb_build_object('machine', t.oom_machine)) end as retry,
        t.updated_at,
        t.owner,
        (select array_agg(g.role order by g.role) from sluice.task_grant as g where g.task_id = t.task_id) as granted_to,
        t.ttl,
        t.retention,
        t.machine,
        t.heartbeat,
        t.on_lost
    from sluice.task as t
    join sluice.queue as q on q.queue_id = t.queue_id
    where t.dropped_at is null;
    comment on view sluice.tasks is 'Tasks as they are defined now.';

    create or replace view sluice.workers as
    select
        coalesce(w.worker, s.worker) as worker,
        coalesce(s.executing, 0) as executing,
        w.capacity,
        array_to_string(w.executors, ', ') as executors,
        case when w.worker is not null then coalesce(array_to_string(w.queues, ', '), 'all') end as queues,
        l.worker is not null as leader,
        w.host,
        w.process,
        w.version,
        w.pid as backend_pid,
        w.registered_at,
        w.seen_at,
        w.memory
    from sluice.worker as w
    full join (
        select h.worker, count(*) as executing
        from (select r.worker from sluice.run as r where r.finished_at is null and r.status = 'executing'
              union all
              select s.worker from sluice.slot as s where s.revoked is not null) as h
        group by h.worker
    ) as s on s.worker = w.worker
    left join sluice.leader as l on l.worker = w.worker;
    comment on view sluice.workers is 'Workers with a session, and clients without one that hold slots; which of them leads.';

    create or replace view sluice.schedules as
    select
        s.schedule,
        s.external_id,
        t.task,
        s.cron,
        s.timezone,
        s.description,
        s.active,
        s.next_tick,
        s.last_tick,
        s.last_run_id,
        r.status as last_status,
        s.skipped,
        s.problem,
        s.catch_up,
        s.overlap,
        s.spread,
        s.payload,
        s.options,
        s.owner,
        s.created_at,
        s.updated_at
    from sluice.schedule as s
    join sluice.task as t on t.task_id = s.task_id
    left join sluice.runs as r on r.run_id = s.last_run_id;
    comment on view sluice.schedules is 'Instances of schedules: when they tick, what came of it, and what keeps them from it.';

    create or replace view sluice.watches as
    with watching as (
        select t.tgrelid, t.tgtype, t.tgenabled, a.arguments
        from pg_trigger as t
        join pg_proc as p on p.oid = t.tgfoid and p.proname = 'watched'
        join pg_namespace as n on n.oid = p.pronamespace and n.nspname = 'sluice'
        cross join lateral (
            -- Each argument ends with a zero byte.
            select array_agg(convert_from(decode(m.part[1], 'escape'), current_setting('server_encoding')) order by m.number) as arguments
            from regexp_matches(encode(t.tgargs, 'escape'), '((?:\\\\|\\(?!000)[0-7]{3}|[^\\])*)\\000', 'g') with ordinality as m (part, number)
        ) as a
        where t.tgtype & 1 = 0 -- the statement triggers
    )
    select
        w.tgrelid::regclass as table_name,
        w.arguments[1] as watch,
        array_agg(case when w.tgtype & 4 <> 0 then 'insert' when w.tgtype & 16 <> 0 then 'update' else 'delete' end
                  order by w.tgtype & 16, w.tgtype & 8) as events,
        w.arguments[2] as task,
        nullif(w.arguments[4], '') as columns,
        nullif(w.arguments[5], '') as condition,
        nullif(w.arguments[6], '') as concurrency_key,
        nullif(w.arguments[7], '') as priority,
        nullif(w.arguments[8], '') as only_when_changed,
        case when w.arguments[3] ~ '^[0-9]{1,5}$' then w.arguments[3]::integer end as rows_per_run,
        bool_and(w.tgenabled <> 'D') as enabled,
        array(select u.relid
              from pg_partition_tree(w.tgrelid) as u
              where u.level > 0
                and not exists (select from watching as o where o.tgrelid = u.relid and o.arguments[1] = w.arguments[1])
              order by u.relid::text) as unwatched_partitions
    from watching as w
    where cardinality(w.arguments) = 8
    group by w.tgrelid, w.arguments;
    comment on view sluice.watches is 'Tables that are watched, and what is enqueued when their rows change.';

    create or replace view sluice.weeks as
    select
        to_date(substr(r.relname, 6), 'YYYYMMDD') as week,
        sum(case when c.relname ~ '^run_' then nullif(c.reltuples, -1) end)::bigint as runs,
        sum(pg_total_relation_size(c.oid))::bigint as bytes,
        timestamptz '2025-01-01 00:00+00' + (b.upper[1]::bigint >> 22) * interval '1 millisecond'
            + (select m.retention from sluice.meta as m) as goes_at,
        (select p.blocked_by from sluice.retention_pass as p where p.week = substr(r.relname, 4)) as blocked_by
    from pg_inherits as i
    join pg_class as r on r.oid = i.inhrelid and r.relname ~ '^run_p[0-9]{8}$'
    cross join lateral regexp_match(pg_get_expr(r.relpartbound, r.oid), 'TO \(''([0-9]+)''\)') as b (upper)
    join pg_class as c on c.relnamespace = r.relnamespace and c.relkind = 'r'
        and right(c.relname, 10) = substr(r.relname, 4)
    where i.inhparent = 'sluice.run'::regclass
    group by r.relname, b.upper;
    comment on view sluice.weeks is 'Weeks of runs that are stored, what they take, and when they go.';
end
$storage$;

comment on function sluice._storage_view() is 'Step of setup(), each time: makes the views that people read.';
