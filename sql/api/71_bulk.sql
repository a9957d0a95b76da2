-- Bulk: count, cancel, requeue, reschedule and replay all runs that a filter matches.
--
-- One call is one transaction and does at most `batch` runs; it returns how many are left, and is repeated until that is 0.
-- That works where a procedure that commits would not: in a transaction, behind any pool, with the caller's rights and
-- savepoints.  Each action passes over the runs that are already as it would make them, so a call that was cut off is
-- simply repeated.  Runs that somebody has locked are passed over as well, and are among those that are left.
--
-- What the caller may not use is neither changed nor counted.

create function sluice._assert_batch(batch integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(_assert_batch.batch, 0) not between 1 and 100000 then
        perform sluice._refuse('batch', 'must be 1 to 100000', 'It is how many runs one call does at most; repeat the call until remaining is 0.');
    end if;
end
$$;
comment on function sluice._assert_batch(integer) is 'Raises SL006 for a batch that is out of range.';

-- Tasks whose runs the caller may steer; or may read, for a count.
create function sluice._tasks_to_steer(task text, for_reading boolean) returns integer[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    caller  oid := sluice._caller();
    reads   boolean := for_reading and (pg_has_role(caller, 'sluice_reader', 'usage') or pg_has_role(caller, 'pg_monitor', 'usage'));
    task_id integer;
begin
    if _tasks_to_steer.task is null then
        return array(select t.task_id from sluice.task as t where reads or sluice._may_use(t.task_id, caller));
    end if;
    select t.task_id into task_id from sluice.task as t where t.task = _tasks_to_steer.task; -- a dropped one has runs too
    if not found then
        perform sluice._no_such_task(_tasks_to_steer.task);
    end if;
    if not reads then
        perform sluice._assert_may_use(task_id, caller);
    end if;
    return array[task_id];
end
$$;
comment on function sluice._tasks_to_steer(text, boolean) is 'The tasks that a filter may reach: of the caller those that it may use, or read.';

-- A filter as a condition on sluice.run as r.  `allowed` is what the action can do something with.
create function sluice._run_filter(
    allowed text[], for_reading boolean, task text, queue text, status text[], tags text[], concurrency_key text,
    enqueued_after timestamptz, enqueued_before timestamptz, everything boolean) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    live     constant text[] := '{queued,delayed,retrying,executing}';
    final    constant text[] := '{completed,failed,crashed,system_failure,timed_out,expired,canceled}';
    first    constant timestamptz := '2025-01-01 00:00+00'; -- ids begin here, and end with the next
    last     constant timestamptz := '2090-01-01 00:00+00';
    queue_id integer;
    wrong    text;
    parts    text[];
begin
    if coalesce(task, queue, status[1], tags[1], concurrency_key, enqueued_after::text, enqueued_before::text) is null
        and everything is distinct from true
    then
        raise exception using
            errcode = 'SL006',
            message = 'the filter matches every run',
            detail  = 'None of task, queue, status, tags, concurrency_key, enqueued_after and enqueued_before was given.',
            hint    = 'Give one of them, or say everything => true if that is what you want.';
    end if;
    -- An empty list is what a program gives that found nothing: the runs of no status, not those of any.
    if cardinality(status) = 0 then
        perform sluice._refuse('status', 'must not be an empty list', 'Give the statuses that a run may have, or null for any.');
    end if;
    if cardinality(tags) = 0 then
        perform sluice._refuse('tags', 'must not be an empty list', 'Give the tags that a run must have, or null for any.');
    end if;
    select s into wrong from unnest(status) as s where s is null or s <> all (live || final) limit 1;
    if found then
        perform sluice._refuse('status', format('"%s" is not known', left(coalesce(wrong, 'null'), 64)),
                               format('The statuses are %s.', array_to_string(live || final, ', ')));
    end if;
    select s into wrong from unnest(status) as s where s <> all (allowed) limit 1;
    if found then
        perform sluice._refuse('status', format('"%s" is not one that this can change', wrong),
                               format('Give some of %s.', array_to_string(allowed, ', ')));
    end if;
    if exists (select from unnest(tags) as t where t is null) then
        perform sluice._refuse('tags', 'must not contain null', 'Give the tags that a run must have.');
    end if;

    parts := array[format('r.task_id = any (%L::integer[])', sluice._tasks_to_steer(task, for_reading))];
    if queue is not null then
        select q.queue_id into queue_id from sluice.queue as q where q.queue = _run_filter.queue; -- a dropped one has runs too
        if not found then
            perform sluice._queue_id(queue); -- which says so
        end if;
        parts := parts || format('r.queue_id = %s', queue_id);
    end if;
    if not allowed && final then
        parts := parts || 'r.finished_at is null'::text;
    elsif not allowed && live then
        parts := parts || 'r.finished_at is not null'::text;
    end if;
    if coalesce(status, allowed) <> live || final then
        parts := parts || (
            select format('(%s)', string_agg(case s
                when 'queued'   then 'r.status = ''queued'' and r.ready_at <= clock_timestamp()'
                when 'delayed'  then 'r.status = ''queued'' and r.ready_at > clock_timestamp() and r.attempt = 0'
                when 'retrying' then 'r.status = ''queued'' and r.ready_at > clock_timestamp() and r.attempt > 0'
                else format('r.status = %L', s) end, ' or '))
            from unnest(coalesce(status, allowed)) as s);
    end if;
    if concurrency_key is not null then
        parts := parts || format('r.lane = %s and r.concurrency_key = %L', sluice._lane(concurrency_key), concurrency_key);
    end if;
    if enqueued_after is not null then
        parts := parts || format('r.run_id >= %s', sluice._run_id_at(least(greatest(enqueued_after, first), last)));
    end if;
    if enqueued_before is not null then
        parts := parts || format('r.run_id < %s', sluice._run_id_at(least(greatest(enqueued_before, first), last)));
    end if;
    if tags is not null then
        parts := parts || format('exists (select from sluice.payload as p where p.run_id = r.run_id and p.tags @> %L::text[])', tags);
    end if;
    return array_to_string(parts, ' and ');
end
$$;
comment on function sluice._run_filter(text[], boolean, text, text, text[], text[], text, timestamptz, timestamptz, boolean) is
    'A filter of runs as a condition in SQL; raises SL006 for one that matches all of them by omission.';

-- Live runs are found by the index of live runs, whose other end may be behind a long history.
create function sluice._pick_live(filter text, batch integer) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    picked bigint[];
begin
    execute format('select array(select p.run_id from (select r.run_id from sluice.run as r where %s limit $1 for update skip locked) as p order by p.run_id)',
                   _pick_live.filter)
    into picked using _pick_live.batch;
    return picked;
end
$$;
comment on function sluice._pick_live(text, integer) is 'Locks up to so many live runs that match and that nobody else has locked; in order of their ids.';

create function sluice._count_live(filter text) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    matching bigint;
begin
    execute format('select count(*) from sluice.run as r where %s', _count_live.filter) into matching;
    return matching;
end
$$;
comment on function sluice._count_live(text) is 'How many live runs match.';

create function sluice.count_runs(
    task            text        default null,
    queue           text        default null,
    status          text[]      default null,
    tags            text[]      default null,
    concurrency_key text        default null,
    enqueued_after  timestamptz default null,
    enqueued_before timestamptz default null,
    everything      boolean     default false)
returns table (of_task text, of_queue text, of_status text, runs bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.count_runs(text, text, text[], text[], text, timestamptz, timestamptz, boolean) is
    'How many runs a filter matches, by task, queue and status: what cancel_many() and the others would reach.  tags: a run has all of them.';

create function sluice._count_runs(task text, queue text, status text[], tags text[], concurrency_key text, enqueued_after timestamptz,
                                   enqueued_before timestamptz, everything boolean)
returns table (of_task text, of_queue text, of_status text, runs bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    live   constant text[] := '{queued,delayed,retrying,executing}';
    final  constant text[] := '{completed,failed,crashed,system_failure,timed_out,expired,canceled}';
    filter text := sluice._run_filter(live || final, true, task, queue, status, tags, concurrency_key, enqueued_after, enqueued_before, everything);
begin
    if status <@ live then
        set local enable_seqscan = off; -- by the index of live runs
        filter := filter || ' and r.finished_at is null';
    end if;
    return query execute format(
        'select t.task, q.queue, c.status, c.runs
         from (select r.task_id, r.queue_id, count(*) as runs,
                      case when r.status <> ''queued'' or r.ready_at <= %1$L then r.status when r.attempt > 0 then ''retrying'' else ''delayed'' end as status
               from sluice.run as r where %2$s group by 1, 2, 4) as c
         join sluice.task as t on t.task_id = c.task_id
         join sluice.queue as q on q.queue_id = c.queue_id
         order by t.task, q.queue, c.runs desc, c.status', clock_timestamp(), filter);
end
$$;
comment on function sluice._count_runs(text, text, text[], text[], text, timestamptz, timestamptz, boolean) is 'Twin of count_runs().';

create function sluice.cancel_many(
    task            text        default null,
    queue           text        default null,
    status          text[]      default null,
    tags            text[]      default null,
    concurrency_key text        default null,
    enqueued_after  timestamptz default null,
    enqueued_before timestamptz default null,
    everything      boolean     default false,
    batch           integer     default 10000,
    out canceled    bigint,
    out remaining   bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.cancel_many(text, text, text[], text[], text, timestamptz, timestamptz, boolean, integer) is
    'Cancels runs that are not final and match, at most batch of them; repeat it until remaining is 0.  See count_runs() first.';

create function sluice._cancel_many(task text, queue text, status text[], tags text[], concurrency_key text, enqueued_after timestamptz,
                                    enqueued_before timestamptz, everything boolean, batch integer, out canceled bigint, out remaining bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    filter text := sluice._run_filter('{queued,delayed,retrying,executing}', false, task, queue, status, tags, concurrency_key,
                                      enqueued_after, enqueued_before, everything);
    id     bigint;
begin
    perform sluice._assert_batch(batch);
    canceled := 0;
    foreach id in array sluice._pick_live(filter, batch) loop
        canceled := canceled + sluice._cancel(id)::integer;
    end loop;
    remaining := sluice._count_live(filter);
end
$$;
comment on function sluice._cancel_many(text, text, text[], text[], text, timestamptz, timestamptz, boolean, integer) is 'Twin of cancel_many().';

create function sluice._starts_otherwise(start timestamptz) returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
    select case when start is null then 'r.ready_at > clock_timestamp()' else format('r.ready_at <> %L', start) end
$$;
comment on function sluice._starts_otherwise(timestamptz) is 'A condition in SQL: the run starts at another time than this, null is now.';

create function sluice.requeue_many(
    task            text        default null,
    queue           text        default null,
    status          text[]      default null,
    tags            text[]      default null,
    concurrency_key text        default null,
    enqueued_after  timestamptz default null,
    enqueued_before timestamptz default null,
    everything      boolean     default false,
    to_queue        text        default null,
    to_priority     integer     default null,
    run_at          timestamptz default null,
    batch           integer     default 10000,
    out requeued    bigint,
    out remaining   bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.requeue_many(text, text, text[], text[], text, timestamptz, timestamptz, boolean, text, integer, timestamptz, integer) is
    'Puts live runs that match back into their queue, or another, as requeue() does, at most batch of them; repeat it until remaining is 0.  Waiting runs that are already as asked for are passed over.';

create function sluice._requeue_many(task text, queue text, status text[], tags text[], concurrency_key text, enqueued_after timestamptz,
                                     enqueued_before timestamptz, everything boolean, to_queue text, to_priority integer, run_at timestamptz,
                                     batch integer, out requeued bigint, out remaining bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    filter text := sluice._run_filter('{queued,delayed,retrying,executing}', false, task, queue, status, tags, concurrency_key,
                                      enqueued_after, enqueued_before, everything);
    start  timestamptz := sluice._start_time(null, run_at, clock_timestamp());
    id     bigint;
begin
    perform sluice._assert_batch(batch);
    perform sluice._assert_run_options(to_priority, null, null, null, null);
    filter := format('%s and (r.status = ''executing'' or %s%s%s)', filter, sluice._starts_otherwise(start),
                     case when to_queue is not null then ' or r.queue_id <> ' || sluice._queue_id(to_queue) end,
                     ' or r.priority <> ' || to_priority);
    requeued := 0;
    foreach id in array sluice._pick_live(filter, batch) loop
        perform sluice._requeue(id, to_queue, to_priority, null, start);
        requeued := requeued + 1;
    end loop;
    remaining := sluice._count_live(filter);
end
$$;
comment on function sluice._requeue_many(text, text, text[], text[], text, timestamptz, timestamptz, boolean, text, integer, timestamptz, integer) is
    'Twin of requeue_many().';

create function sluice.reschedule_many(
    run_at          timestamptz,
    task            text        default null,
    queue           text        default null,
    status          text[]      default null,
    tags            text[]      default null,
    concurrency_key text        default null,
    enqueued_after  timestamptz default null,
    enqueued_before timestamptz default null,
    everything      boolean     default false,
    batch           integer     default 10000,
    out rescheduled bigint,
    out remaining   bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.reschedule_many(timestamptz, text, text, text[], text[], text, timestamptz, timestamptz, boolean, integer) is
    'Moves the time of runs that wait and match, at most batch of them; repeat it until remaining is 0.  The past means now.';

create function sluice._reschedule_many(run_at timestamptz, task text, queue text, status text[], tags text[], concurrency_key text,
                                        enqueued_after timestamptz, enqueued_before timestamptz, everything boolean, batch integer,
                                        out rescheduled bigint, out remaining bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    filter  text := sluice._run_filter('{queued,delayed,retrying}', false, task, queue, status, tags, concurrency_key, enqueued_after,
                                       enqueued_before, everything);
    start   timestamptz;
    id      bigint;
begin
    perform sluice._assert_batch(batch);
    if run_at is null then
        perform sluice._refuse('run_at', 'must not be null', 'Give the time at which the runs may start.');
    end if;
    start := sluice._start_time(null, run_at, clock_timestamp());
    filter := filter || ' and ' || sluice._starts_otherwise(start);
    rescheduled := 0;
    foreach id in array sluice._pick_live(filter, batch) loop
        perform sluice._reschedule(id, run_at);
        rescheduled := rescheduled + 1;
    end loop;
    remaining := sluice._count_live(filter);
end
$$;
comment on function sluice._reschedule_many(timestamptz, text, text, text[], text[], text, timestamptz, timestamptz, boolean, integer) is
    'Twin of reschedule_many().';

create function sluice.replay_many(
    name            text,
    task            text        default null,
    queue           text        default null,
    status          text[]      default null,
    tags            text[]      default null,
    concurrency_key text        default null,
    enqueued_after  timestamptz default null,
    enqueued_before timestamptz default null,
    everything      boolean     default false,
    batch           integer     default 10000,
    out replayed    bigint,
    out remaining   bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.replay_many(text, text, text, text[], text[], text, timestamptz, timestamptz, boolean, integer) is
    'Makes a new run like each final run that matches, at most batch of them; repeat it until remaining is 0.  Under one name each run is replayed once, for 30 days, and what it makes is not replayed.';

-- The name is in the idempotency key of what is made.  Any row of such a key counts, also of a run that has failed since.
create function sluice._replay_many(name text, task text, queue text, status text[], tags text[], concurrency_key text,
                                    enqueued_after timestamptz, enqueued_before timestamptz, everything boolean, batch integer,
                                    out replayed bigint, out remaining bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_variable
declare
    filter text := sluice._run_filter('{completed,failed,crashed,system_failure,timed_out,expired,canceled}', false, task, queue, status, tags,
                                      concurrency_key, enqueued_after, enqueued_before, everything);
    prefix text;
    ids    bigint[];
    id     bigint;
begin
    perform sluice._assert_batch(batch);
    perform sluice._assert_name('replay', name);
    prefix := format('replay_many/%s/', name);
    filter := filter || format(
        ' and exists (select from sluice.task as t where t.task_id = r.task_id and t.dropped_at is null)
          and exists (select from sluice.queue as q where q.queue_id = r.queue_id and q.dropped_at is null)
          and not exists (select from sluice.idempotency_key as k where k.task_id = r.task_id and k.key = %1$L || r.run_id)
          and not exists (select from sluice.idempotency_key as k where k.run_id = r.run_id and starts_with(k.key, %1$L))', prefix);
    execute format('select array(select r.run_id from sluice.run as r where %s order by r.run_id limit $1)', filter) into ids using batch;
    replayed := 0;
    foreach id in array ids loop
        perform sluice._replay_as(id, null, prefix || id);
        replayed := replayed + 1;
    end loop;
    if replayed < batch then
        remaining := 0;
    else
        execute format('select count(*) from sluice.run as r where %s', filter) into remaining;
    end if;
end
$$;
comment on function sluice._replay_many(text, text, text, text[], text[], text, timestamptz, timestamptz, boolean, integer) is 'Twin of replay_many().';
