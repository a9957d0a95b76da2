-- doctor: what keeps work from being done, one row for each finding, each with what to do.
--
-- Cheap with a million runs: of each queue at most 1000 runs that could start are looked at, through the index of live
-- runs; slots and leases come from shared memory or their small tables; history is looked at by catalog only.  Nothing is
-- locked or changed.  The sessions of others are read without a right to see what they do.

create function sluice._doctor_queues(patience interval)
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    as_of   timestamptz := clock_timestamp();
    most    constant bigint := 1000; -- so many runs of a queue are looked at
    q       record;
    holders record;
    waiting text;
    lacking text;
    serving boolean;
begin
    for q in
        select c.queue_id, c.queue, c.concurrency, c.paused_at, c.pause_reason, w.n, w.oldest, w.executors
        from sluice.queue as c
        cross join lateral (
            select count(*) as n, min(a.ready_at) as oldest, array_agg(distinct a.executor) as executors
            from (select r.ready_at, t.executor
                  from sluice.run as r
                  join sluice.task as t on t.task_id = r.task_id
                  where r.finished_at is null and r.queue_id = c.queue_id and r.claim_key <= as_of and r.ready_at <= as_of
                    and r.status = 'queued'
                  limit most) as a
        ) as w
        where w.n > 0 or c.paused_at is not null
    loop
        waiting := case when q.n = 0 then 'no run waits'
            else format('%s%s could start, %s for %s', q.n, case when q.n = most then ' runs or more' when q.n = 1 then ' run' else ' runs' end,
                        case when q.n = 1 then 'it' else 'one' end, sluice._span(as_of - q.oldest)) end;
        if q.paused_at is not null then
            return query select case when q.n > 0 then 'warning' else 'notice' end, 'queue is paused', q.queue,
                format('It has been paused since %s%s; %s.', date_trunc('second', q.paused_at), coalesce(', because: ' || q.pause_reason, ''), waiting),
                format('select sluice.resume(%L)', q.queue);
            continue;
        end if;

        holders := sluice._holders(q.queue_id, null);
        if holders.held >= q.concurrency then
            return query select case when q.concurrency = 0 then 'warning' else 'notice' end, 'queue is at its limit', q.queue,
                format('%s of %s slots are held%s; %s.', holders.held, q.concurrency, coalesce(': ' || holders.who, ''), waiting),
                'Wait for a slot, or set a higher limit with sluice.create_queue().';
        end if;

        -- Whoever works from a client need not register: its silence counts only after a while.
        serving := exists (select from sluice._live_workers() as w where w.queues is null or q.queue = any (w.queues));
        foreach lacking in array q.executors loop
            continue when exists (select from sluice._live_workers() as w
                                  where (w.queues is null or q.queue = any (w.queues)) and (w.executors is null or lacking = any (w.executors)));
            continue when lacking = 'external' and (holders.held > 0 or q.oldest > as_of - patience);
            return query select 'warning', case when serving then 'no worker for executor' else 'no worker for queue' end, q.queue,
                format('No registered worker that takes it runs %s tasks; %s.', lacking, waiting),
                format('Start a worker for queue %s and executor %s.', q.queue, lacking);
        end loop;
    end loop;
end
$$;
comment on function sluice._doctor_queues(interval) is 'Part of doctor(): queues that are paused, at their limit or without a worker.';

create function sluice._doctor_lanes(patience interval)
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    as_of   timestamptz := clock_timestamp();
    l       record;
    holders record;
begin
    for l in
        select q.queue, q.queue_id, q.key_concurrency, h.lane, h.n, h.since, w.concurrency_key, w.waiting
        from (
            select p.queue_id, p.lane, count(*) as n, min(p.claimed_at) as since
            from (select i.queue_id, i.lane, i.claimed_at from sluice._index_leases(null) as i where sluice._index_serves()
                  union all
                  select s.queue_id, s.lane, s.claimed_at from sluice.slot as s where not sluice._index_serves()) as p
            where p.lane <> 0
            group by p.queue_id, p.lane
        ) as h
        join sluice.queue as q on q.queue_id = h.queue_id
        cross join lateral (
            select count(*) as waiting, min(a.concurrency_key) as concurrency_key
            from (select r.concurrency_key from sluice.run as r
                  where r.finished_at is null and r.queue_id = h.queue_id and r.lane = h.lane and r.claim_key <= as_of
                    and r.ready_at <= as_of and r.status = 'queued'
                  limit 1000) as a
        ) as w
        where h.n >= q.key_concurrency and h.since <= as_of - patience and w.waiting > 0
        order by h.since
        limit 20
    loop
        holders := sluice._holders(l.queue_id, l.lane);
        return query select 'warning', 'lane is blocked', format('%s, key %s', l.queue, l.concurrency_key),
            format('%s of %s slots of the lane are held, one for %s: %s; %s%s of its runs wait.', l.n, l.key_concurrency,
                   sluice._span(as_of - l.since), holders.who, l.waiting, case when l.waiting = 1000 then ' or more' end),
            'Cancel the run that holds it with sluice.cancel(run_id), or set a higher limit of keys with sluice.create_queue().';
    end loop;
end
$$;
comment on function sluice._doctor_lanes(interval) is 'Part of doctor(): the 20 lanes that a long attempt has blocked for longest.';

create function sluice._doctor_leader(patience interval)
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    grace  interval := least(patience, interval '10 seconds'); -- duties are done each second
    before timestamptz := clock_timestamp() - grace;
    leader integer;
    name   text := (select l.worker from sluice.leader as l);
    late   bigint;
    dead   bigint;
begin
    -- The keys are those of sluice._is_leader(): "slui" and "lead".
    select l.pid into leader from pg_locks as l
    where l.locktype = 'advisory' and l.classid = 1936487785 and l.objid = 1818583396 and l.objsubid = 2 and l.granted
      and l.database = (select d.oid from pg_database as d where d.datname = current_database());
    if sluice._index_serves() then
        select count(*) into late from sluice._index_late(sluice._steady_now() - grace, 1000);
    else
        select count(*) into late from sluice.lease as l where l.until < sluice._steady_now() - grace;
    end if;
    late := late + (select count(*) from (select from sluice.expiry as e where e.expires_at < before limit 1000) as o);
    select count(*) into dead from sluice.worker as w where w.seen_at < before and not sluice._session_alive(w.pid, w.session_start);

    if leader is null then
        if late + dead > 0 or exists (select from sluice._live_workers()) then
            return query select 'warning', 'no leader', current_database()::text,
                format('No session has the leader''s lock; %s leases or times to live are over and %s workers'' sessions have ended, and nobody does anything about it.', late, dead),
                'Start sluiced.';
        end if;
    elsif late + dead > 0 then
        return query select 'warning', 'leader is stale', coalesce(name, 'unknown'),
            format('Backend %s has the leader''s lock, but %s leases or times to live are over and %s workers'' sessions have ended for more than %s, and it has done nothing about it.',
                   leader, late, dead, sluice._span(grace)),
            format('Look at the log of worker %s; to let another lead: select pg_terminate_backend(%s)', coalesce(name, 'unknown'), leader);
    end if;
end
$$;
comment on function sluice._doctor_leader(interval) is 'Part of doctor(): whether somebody leads, and does what leaders do.';

create function sluice._doctor_schedules()
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    before timestamptz := clock_timestamp() - interval '1 minute';
    late   record;
begin
    return query
    with allowed as materialized (
        select a.task_id, a.owner, a.owner_id, a.queue, sluice._schedule_problem(a.task_id, a.owner, a.owner_id, a.queue) as problem
        from (select distinct s.task_id, s.owner, s.owner_id, s.options ->> 'queue' as queue from sluice.schedule as s where s.active) as a
    ),
    zone as materialized (
        select z.timezone, sluice._cron_zone(z.timezone) is null as is_unknown
        from (select distinct s.timezone from sluice.schedule as s where s.active) as z
    )
    select 'warning', 'schedule cannot fire', concat_ws(', ', s.schedule, s.external_id), c.problem,
        'Put right what is named; sluice.explain_schedule() says whether that was all.  Or deactivate the schedule.'
    from sluice.schedule as s
    join allowed as a on a.task_id = s.task_id and a.owner = s.owner and a.owner_id is not distinct from s.owner_id
                     and a.queue is not distinct from s.options ->> 'queue'
    join zone as z on z.timezone = s.timezone
    cross join lateral (
        select coalesce(a.problem, case when z.is_unknown then format('time zone "%s" is not known', s.timezone) end, s.problem) as problem
    ) as c
    where s.active and c.problem is not null
    order by s.schedule, s.external_id limit 20;

    select count(*) as n, min(s.fire_at) as oldest into late from sluice.schedule as s where s.fire_at < before;
    if late.n > 0 then
        return query select 'warning', 'schedules are not fired', current_database()::text,
            format('%s schedule%s due, %s %s.', late.n, case when late.n = 1 then ' is' else 's are' end,
                   case when late.n = 1 then 'for' else 'one for' end, sluice._span(clock_timestamp() - late.oldest)),
            'Start sluiced, whose leader fires them; or end the transaction that changes them.';
    end if;
end
$$;
comment on function sluice._doctor_schedules() is 'Part of doctor(): the first 20 schedules that cannot make runs, and whether they are fired at all.';

create function sluice._doctor_storage()
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    as_of   timestamptz := clock_timestamp();
    meta    record;
    stats   record := sluice._index_stats();
    rows_in bigint;
begin
    select m.home, m.schema_version into meta from sluice.meta as m;
    if meta.home <> sluice._home() then
        return query select 'error', 'copy not adopted', current_database()::text,
            'The storage remembers another cluster or database, so nothing is handed out and nobody leads here.', 'select sluice.adopt()';
    end if;
    if meta.schema_version <> sluice._schema_version() then
        return query select 'error', 'storage not migrated', current_database()::text,
            format('The storage has version %s, these functions work with version %s.', meta.schema_version, sluice._schema_version()), 'select sluice.setup()';
    end if;
    if stats.mode = 'table' then
        return query select 'notice', 'claims go by the tables', current_database()::text, coalesce(stats.why, 'The index is not used.') || '.',
            'Set sluice.index_memory higher and reload; the index is tried again after five minutes.';
    elsif stats.leases > 0.8 * stats.lease_room then
        return query select 'warning', 'memory runs out', 'sluice.index_memory',
            format('The index has room for %s leases and holds %s; with more attempts at once claims go by the tables.', stats.lease_room, stats.leases),
            format('Set sluice.index_memory above %s and reload, or claim less at once.', current_setting('sluice.index_memory'));
    end if;
    return query
    select 'warning', 'partition is missing', format('week of %s', w.monday::date),
        'Runs of that week go to the DEFAULT partitions until it is there.', 'Start sluiced, whose leader makes partitions ahead.'
    from generate_series(date_trunc('week', as_of, 'UTC') at time zone 'UTC',
                         date_trunc('week', as_of, 'UTC') at time zone 'UTC' + interval '7 days', interval '7 days') as w (monday)
    where to_regclass(format('sluice_storage.%I', to_char(w.monday, '"run_p"YYYYMMDD'))) is null;
    -- Older ones were moved there when their week went.
    select count(*) into rows_in from (select from sluice_storage.run_default as r
                                       where r.run_id >= (select coalesce(min(w.lowest), 0) from sluice._weeks() as w) limit 1000) as d;
    if rows_in > 0 then
        return query select 'notice', 'rows in DEFAULT', 'sluice_storage.run_default',
            format('%s%s runs were made in a week for which there was no partition.', rows_in, case when rows_in = 1000 then ' or more' end),
            'They are safe where they are.  Keep a sluiced running, whose leader makes partitions ahead.';
    end if;
    return query
    select 'warning', 'numbers run out', 'sluice.' || s.name, format('%s of 2147483647 are used.', s.used),
        'Define tasks and queues less often: each call of create_task or create_queue uses a number.'
    from (values ('task_task_id_seq', pg_sequence_last_value('sluice.task_task_id_seq')),
                 ('queue_queue_id_seq', pg_sequence_last_value('sluice.queue_queue_id_seq'))) as s (name, used)
    where s.used > 1700000000;
end
$$;
comment on function sluice._doctor_storage() is 'Part of doctor(): copies, versions, table mode, partitions, numbers that run out.';

create function sluice._doctor_retention(patience interval)
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    as_of   timestamptz := clock_timestamp();
    general interval := (select m.retention from sluice.meta as m);
begin
    return query
    select 'warning', 'retention is blocked', sluice._week_name(p.week),
        format('It could go since %s, but %s.', date_trunc('second', p.blocked_since), p.blocked_by),
        'End what uses the tables of sluice for so long; the leader tries again each five seconds.'
    from sluice.retention_pass as p
    where p.blocked_since < as_of - _doctor_retention.patience and p.blocked_by is not null
    order by p.week;

    return query
    select 'warning', 'retention is behind', sluice._week_name(w.week),
        format('Its runs are over since %s, and it is still there.', date_trunc('second', sluice._run_time(w.highest) + general)),
        'Keep a sluiced running, whose leader removes it; its log says why it did not.'
    from sluice._weeks() as w
    where sluice._run_time(w.highest) + general < as_of - interval '1 day'
      -- Of a week that is looked through, or of which much is kept, nothing is late.
      and not exists (select from sluice.retention_pass as p
                      where p.week = w.week and (p.blocked_by is not null or p.next_at > as_of - interval '1 hour'))
    order by w.week;
end
$$;
comment on function sluice._doctor_retention(interval) is 'Part of doctor(): weeks that should have gone.';

create function sluice._doctor_horizon(patience interval)
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    before timestamptz := clock_timestamp() - patience;
    most   constant integer := 1000000; -- transactions: so far a reader may be behind, since nothing tells for how long it is
begin
    return query
    select 'warning', 'long transaction', format('backend %s', t.pid),
        format('Role %s has had a transaction open for %s; it keeps from vacuum what %s transactions left.', t.role::regrole,
               sluice._span(clock_timestamp() - t.started_at), age(t.oldest)),
        format('End it, or: select pg_terminate_backend(%s)', t.pid)
    from sluice._open_transactions() as t
    where t.started_at < before and t.oldest is not null and not exists (select from pg_stat_progress_vacuum as v where v.pid = t.pid)
    order by t.started_at limit 20;

    return query
    select 'warning', 'prepared transaction', x.gid,
        format('Role %s prepared it %s ago; it keeps its locks, and from vacuum what %s transactions left.', x.owner,
               sluice._span(clock_timestamp() - x.prepared), age(x.transaction)),
        format('commit prepared %L, or rollback prepared %L', x.gid, x.gid)
    from pg_prepared_xacts as x
    where x.database = current_database() and x.prepared < before
    order by x.prepared limit 20;

    return query
    select 'warning', 'replication slot', s.slot_name::text,
        format('%s; it keeps from vacuum what %s transactions left in tables and %s in catalogs.',
               case when s.active then format('Its reader, backend %s, lags', s.active_pid) else 'Nobody reads from it' end, s.rows_age, s.catalog_age),
        case when s.active then 'See to it that its reader keeps up; if that is a standby, end the long queries there, or set hot_standby_feedback off.'
             else format('Connect its reader, or: select pg_drop_replication_slot(%L)', s.slot_name) end
    from (select p.*, coalesce(age(p.xmin), 0) as rows_age, coalesce(age(p.catalog_xmin), 0) as catalog_age from pg_replication_slots as p) as s
    where (s.xmin is not null or s.catalog_xmin is not null) and (not s.active or greatest(s.rows_age, s.catalog_age) > most);

    return query
    select 'warning', 'standby', format('backend %s', b.pid),
        format('Role %s replicates to a standby whose queries keep from vacuum what %s transactions left.', b.role::regrole, age(b.oldest)),
        'End the long queries there, or set hot_standby_feedback off there.'
    from sluice._standbys() as b
    where age(b.oldest) > most;
end
$$;
comment on function sluice._doctor_horizon(interval) is 'Part of doctor(): what keeps vacuum from removing dead rows.';

create function sluice._doctor_vacuum()
returns table (severity text, what text, subject text, why text, what_to_do text)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select 'warning', 'autovacuum is behind', format('%I.%I', s.schemaname, s.relname),
        format('It has %s dead rows; autovacuum should begin at %s. Its last vacuum was %s.', s.n_dead_tup, s.due,
               coalesce('at ' || date_trunc('second', greatest(s.last_vacuum, s.last_autovacuum))::text, 'never')),
        format('vacuum %I.%I', s.schemaname, s.relname)
    from (
        select t.*, (current_setting('autovacuum_vacuum_threshold')::bigint
                     + current_setting('autovacuum_vacuum_scale_factor')::double precision * greatest(c.reltuples, 0))::bigint as due
        from pg_stat_all_tables as t
        join pg_class as c on c.oid = t.relid
        where t.schemaname in ('sluice', 'sluice_storage')
    ) as s
    where s.n_dead_tup > 1000 and s.n_dead_tup > 2 * s.due
    order by s.n_dead_tup desc limit 20
$$;
comment on function sluice._doctor_vacuum() is 'Part of doctor(): tables with more than twice the dead rows at which autovacuum should begin.';

create function sluice._doctor_machines()
returns table (severity text, what text, subject text, why text, what_to_do text)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select 'warning', 'machine is too large', t.task,
           format('Machine %s needs %s MiB, and no registered worker that runs %s tasks of queue %s has more than %s MiB.',
                  t.machine, t.needed / 1048576, t.executor, t.queue, t.most / 1048576),
           format('Start a sidecar with more memory (process.memory) for queue %s, or give the task a smaller machine.', t.queue)
    from (select d.task, d.executor, q.queue, m.machine, sluice._machine_memory(m.machine) as needed, sluice._most_memory(d.executor, q.queue) as most
          from sluice.task as d
          join sluice.queue as q on q.queue_id = d.queue_id
          cross join lateral (values (d.machine), (d.oom_machine)) as m (machine)
          where d.dropped_at is null and m.machine is not null
          limit 1000) as t
    where t.needed > t.most
    order by t.needed desc, t.task limit 20
$$;
comment on function sluice._doctor_machines() is 'Part of doctor(): tasks for whose machines no registered worker has memory.';

-- What a worker has found is told by its code alone: its words may quote what the task is about.
create function sluice._doctor_tasks()
returns table (severity text, what text, subject text, why text, what_to_do text)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select 'warning', 'task cannot run', t.task,
           format('Worker%s %s would be handed its runs, and would fail them: %s.', case when count(*) > 1 then 's' end,
                  string_agg(w.worker, ', ' order by w.worker), string_agg(distinct p.code, ', ')),
           'Look into the log of the worker: it says what is missing there.'
    from sluice._live_workers() as l
    join sluice.worker as w on w.worker = l.worker
    cross join lateral jsonb_each_text(w.problems) as p (task, code)
    join sluice.task as t on t.task = p.task and t.dropped_at is null
    group by t.task
    order by t.task limit 20
$$;
comment on function sluice._doctor_tasks() is 'Part of doctor(): tasks that a worker has found it cannot run.';

create function sluice.doctor(patience interval default '5 minutes')
returns table (severity text, what text, subject text, why text, what_to_do text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.doctor(interval) is
    'What keeps work from being done: one row for each finding with what to do, the worst first, none when all is well.  patience is how long a wait, a lane''s block or a transaction may last before it counts.';

create function sluice._doctor(patience interval)
returns table (severity text, what text, subject text, why text, what_to_do text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if _doctor.patience is null or _doctor.patience < interval '0' then
        perform sluice._refuse('patience', 'must not be null or negative', 'It is how long something may last before it is a finding.');
    end if;
    return query
    select f.* from (
        select s.* from sluice._doctor_storage() as s
        union all select l.* from sluice._doctor_leader(_doctor.patience) as l
        union all select s.* from sluice._doctor_schedules() as s
        union all select q.* from sluice._doctor_queues(_doctor.patience) as q
        union all select l.* from sluice._doctor_lanes(_doctor.patience) as l
        union all select r.* from sluice._doctor_retention(_doctor.patience) as r
        union all select m.* from sluice._doctor_machines() as m
        union all select t.* from sluice._doctor_tasks() as t
        union all select h.* from sluice._doctor_horizon(_doctor.patience) as h
        union all select v.* from sluice._doctor_vacuum() as v
    ) as f
    order by array_position('{error,warning,notice}'::text[], f.severity), f.what, f.subject;
end
$$;
comment on function sluice._doctor(interval) is 'Twin of doctor().';
