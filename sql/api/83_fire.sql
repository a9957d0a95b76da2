-- Fire: what schedules are due for is enqueued, by the leader.
--
-- A tick is fired in one transaction: the schedule's row is locked, the run is made, and the next tick is written down.  So
-- whatever crashes, and whoever else tries, each tick makes one run at most.  Ticks are fired many at a time; one
-- schedule that cannot be fired does not hold up the others.
--
-- A tick that is not fired within a minute is missed.  Of ticks that are due at once the last may be on time, the others
-- are missed.

create function sluice._tick_payload(payload jsonb, tick timestamptz, last_tick timestamptz, timezone text, schedule text,
                                     external_id text, upcoming timestamptz[]) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- instants are written the same way wherever the leader runs
as $$
    select coalesce(payload, '{}') || jsonb_build_object(
        'timestamp', tick, 'last_timestamp', last_tick, 'timezone', timezone, 'schedule', schedule, 'external_id', external_id,
        'upcoming', to_jsonb(upcoming))
$$;
comment on function sluice._tick_payload(jsonb, timestamptz, timestamptz, text, text, text, timestamptz[]) is 'The payload of a tick''s run.';

-- What happens to the run of the tick before, if that is not final: 'allow' lets the tick come, 'skip' does not, and 'busy'
-- is to be asked again, since somebody has that run.
create function sluice._make_way(overlap text, last_run_id bigint) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if _make_way.overlap = 'allow' or not exists (
        select from sluice.run as r where r.run_id = _make_way.last_run_id and r.finished_at is null)
    then
        return 'allow';
    elsif _make_way.overlap = 'skip' then
        return 'skip';
    elsif not sluice._lock_free_run(_make_way.last_run_id) then
        return 'busy';
    end if;
    perform sluice._cancel_run(_make_way.last_run_id);
    return 'allow';
end
$$;
comment on function sluice._make_way(text, bigint) is 'Applies a schedule''s overlap rule to the run of the tick before: allow, skip or busy.';

create function sluice._fire(ids bigint[], as_of timestamptz) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
    grace      constant interval := '1 minute';
    most       constant integer := 100; -- ticks of one schedule that catch_up all fires at once
    s          record;
    task       record;
    way        text;
    wanted     timestamptz[];
    -- What is enqueued, those of one task side by side; and what becomes of each schedule.
    due_ids    bigint[] := '{}';
    due_tasks  integer[] := '{}';
    due_ticks  timestamptz[] := '{}';
    payloads   jsonb[] := '{}';
    options    jsonb[] := '{}';
    origins    jsonb[] := '{}';
    run_ids    bigint[] := '{}';
    moved      bigint[] := '{}';
    next_ticks timestamptz[] := '{}';
    skips      bigint[] := '{}';
    problems   text[] := '{}';
begin
    for s in
        with due as materialized (
            select d.schedule_id, d.task_id, d.schedule, d.external_id, d.cron, d.timezone, d.next_tick, d.last_tick, d.last_run_id,
                   d.spread_by, d.catch_up, d.overlap, d.payload, d.options, d.owner, d.owner_id,
                   -- A zone may go with a change of Postgres' zone data.
                   case when sluice._cron_zone(d.timezone) is not null then sluice._cron_ticks(d.cron, d.timezone, d.next_tick, 10) end as upcoming
            from sluice.schedule as d
            where d.schedule_id = any (_fire.ids) and d.next_tick is not null
        ),
        allowed as materialized (
            select a.task_id, a.owner, a.owner_id, a.queue, sluice._schedule_problem(a.task_id, a.owner, a.owner_id, a.queue) as problem
            from (select distinct u.task_id, u.owner, u.owner_id, u.options ->> 'queue' as queue from due as u) as a
        )
        select d.schedule_id, d.task_id, d.schedule, d.external_id, d.cron, d.timezone, d.last_tick, d.last_run_id, d.spread_by,
               d.catch_up, d.overlap, d.payload, d.options, d.upcoming,
               coalesce(a.problem, case when d.upcoming is null then format('time zone "%s" is not known', d.timezone) end) as problem,
               m.several,
               case when m.several
                    then sluice._cron_last(d.cron, d.timezone, d.next_tick - interval '1 microsecond', as_of - d.spread_by, most)
                    else array[d.next_tick] end as ticks,
               case when m.several then 1 + sluice._cron_count(d.cron, d.timezone, d.next_tick, as_of - d.spread_by) else 1 end as count
        from due as d
        join allowed as a on a.task_id = d.task_id and a.owner = d.owner and a.owner_id is not distinct from d.owner_id
                         and a.queue is not distinct from d.options ->> 'queue'
        cross join lateral (select coalesce(d.upcoming[1] + d.spread_by <= as_of, false) as several) as m
        order by d.task_id, d.schedule_id
    loop
        wanted := case
            when s.catch_up = 'all' then s.ticks
            when s.catch_up = 'one' or s.ticks[cardinality(s.ticks)] + s.spread_by > as_of - grace then s.ticks[cardinality(s.ticks):]
            else '{}' end;
        way := case
            when s.problem is not null then 'skip'
            when s.overlap = 'allow' or s.last_run_id is null or wanted = '{}' then 'allow'
            else sluice._make_way(s.overlap, s.last_run_id) end;
        continue when way = 'busy';
        if way = 'skip' then
            wanted := '{}';
        end if;

        for i in 1 .. cardinality(wanted) loop
            due_ids := array_append(due_ids, s.schedule_id);
            due_tasks := array_append(due_tasks, s.task_id);
            due_ticks := array_append(due_ticks, wanted[i]);
            payloads := array_append(payloads, sluice._tick_payload(
                s.payload, wanted[i], case when i = 1 then s.last_tick else wanted[i - 1] end, s.timezone, s.schedule, s.external_id,
                case when s.several then sluice._cron_ticks(s.cron, s.timezone, wanted[i], 10) else s.upcoming end));
            options := array_append(options, s.options);
            origins := array_append(origins, jsonb_strip_nulls(jsonb_build_object('schedule', s.schedule, 'external_id', s.external_id)));
        end loop;
        moved := array_append(moved, s.schedule_id);
        problems := array_append(problems, s.problem);
        -- Without its zone nothing is known of its ticks: they are counted when it is back.
        skips := array_append(skips, case when s.upcoming is null then 0 else s.count - cardinality(wanted) end);
        next_ticks := array_append(next_ticks, case when s.several
            then sluice._cron_tick(s.cron, s.timezone, s.ticks[cardinality(s.ticks)]) else s.upcoming[1] end);
    end loop;

    for task in
        select u.task_id, min(u.n) as first, max(u.n) as last, bool_or(u.o is not null) as has_options
        from unnest(due_tasks, options) with ordinality as u (task_id, o, n)
        group by u.task_id order by first
    loop
        run_ids := run_ids || array(
            select e from sluice._enqueue_all(task.task_id, payloads[task.first:task.last],
                                              case when task.has_options then options[task.first:task.last] end,
                                              origins[task.first:task.last]) as e);
    end loop;

    update sluice.schedule as n
    set last_tick = coalesce(r.tick, n.last_tick), last_run_id = coalesce(r.run_id, n.last_run_id), skipped = n.skipped + m.skips,
        problem = m.problem,
        next_tick = case when m.is_lost then n.next_tick else m.next_tick end,
        fire_at = case when m.is_lost then as_of + interval '1 hour' else m.next_tick + n.spread_by end
    from (select u.id, u.skips, u.problem, u.next_tick, u.next_tick is null and u.problem is not null as is_lost
          from unnest(moved, skips, problems, next_ticks) as u (id, skips, problem, next_tick)) as m
    left join (select u.id, max(u.tick) as tick, max(u.run_id) as run_id
               from unnest(due_ids, due_ticks, run_ids) as u (id, tick, run_id) group by u.id) as r on r.id = m.id
    where n.schedule_id = m.id;
    return cardinality(run_ids);
end
$$;
comment on function sluice._fire(bigint[], timestamptz) is
    'Enqueues the ticks of locked schedules that are due, and moves each to its next; returns how many runs were made.';

create function sluice.fire_schedules(out fired integer, out next_in interval)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.fire_schedules() is
    'Leader''s duty: enqueues what schedules are due for, a thousand at a time.  next_in is the time until the next tick.';

create function sluice._fire_schedules(out fired integer, out next_in interval)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    most    constant integer := 1000;
    as_of   timestamptz := clock_timestamp();
    ids     bigint[];
    id      bigint;
    message text;
begin
    perform sluice._assert_leader();
    perform sluice._assert_home();
    fired := 0;
    -- Whoever changes a schedule just now does so before its tick or behind it, and is not waited for.
    ids := array(
        select d.schedule_id
        from (select s.schedule_id from sluice.schedule as s where s.fire_at <= as_of order by s.fire_at limit most for update skip locked) as d);
    if ids <> '{}' then
        begin
            fired := sluice._fire(ids, as_of);
        exception when others then
            -- One of them cannot be fired: each for itself.
            foreach id in array ids loop
                begin
                    fired := fired + sluice._fire(array[id], as_of);
                exception when others then
                    get stacked diagnostics message = message_text;
                    update sluice.schedule as s
                    set problem = message, skipped = s.skipped + 1, next_tick = n.tick, fire_at = n.tick + s.spread_by
                    from (select sluice._cron_tick(i.cron, i.timezone, greatest(as_of, i.next_tick)) as tick
                          from sluice.schedule as i where i.schedule_id = id) as n
                    where s.schedule_id = id;
                end;
            end loop;
        end;
    end if;

    select greatest(s.fire_at - clock_timestamp(), interval '0') into next_in
    from sluice.schedule as s where s.fire_at > as_of order by s.fire_at limit 1;
    if exists (select from sluice.schedule as s where s.fire_at <= as_of) then
        next_in := case when cardinality(ids) = most and fired > 0 then interval '0' else least(next_in, interval '1 second') end;
    end if;
end
$$;
comment on function sluice._fire_schedules() is 'Twin of fire_schedules().';

create function sluice.explain_schedule(schedule text, external_id text default null) returns text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.explain_schedule(text, text) is 'When a schedule fires next, or why it does not, in words.';

create function sluice._explain_schedule(schedule text, external_id text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    instance bigint := sluice._schedule_id(_explain_schedule.schedule, _explain_schedule.external_id);
    s        record;
    problem  text;
    said     text;
    late     interval;
begin
    select i.active, i.next_tick, i.fire_at, i.spread_by, i.description, i.timezone, i.skipped, i.last_tick, i.problem, i.task_id, i.owner, i.owner_id, i.options
    into s from sluice.schedule as i
    where i.schedule_id = instance;
    if not found then
        perform sluice._no_such_schedule(_explain_schedule.schedule, _explain_schedule.external_id);
    end if;
    perform sluice._assert_may_look(s.task_id);
    late := clock_timestamp() - s.fire_at;
    problem := coalesce(sluice._schedule_problem(s.task_id, s.owner, s.owner_id, s.options ->> 'queue'),
                        case when sluice._cron_zone(s.timezone) is null then format('time zone "%s" is not known', s.timezone) end);
    said := case
        when not s.active then format('It is inactive: select sluice.activate_schedule(%s) lets it tick again.',
                                      concat_ws(', ', quote_literal(_explain_schedule.schedule), quote_literal(_explain_schedule.external_id)))
        when problem is not null then format('It makes no runs: %s.', problem)
        when exists (select from sluice.meta as m where m.home <> sluice._home()) then
            'It does not tick: this database is a copy that was not adopted.'
        when s.next_tick is null then 'It has no tick to come.'
        when late > interval '10 seconds' then
            format('Its tick of %s is due for %s and was not fired: no sidecar leads, or somebody has a transaction open that changed it.',
                   s.next_tick at time zone s.timezone, sluice._span(late))
        else format('It fires in %s, at %s by the clocks of %s.', sluice._span(greatest(-late, interval '0')), s.fire_at at time zone s.timezone, s.timezone) end;
    return concat_ws(' ',
        format('Schedule "%s" ticks %s.', _explain_schedule.schedule, s.description), said,
        case when s.active and problem is null and s.problem is not null then format('Its last tick made no run: %s.', s.problem) end,
        case when s.skipped > 0 then format('%s ticks were skipped so far.', s.skipped) end);
end
$$;
comment on function sluice._explain_schedule(text, text) is 'Twin of explain_schedule().';
