-- Control: cancel, requeue, reschedule, replay.
--
-- A run is one row, so each of these is one atomic step: at no moment is a run nowhere, or its slot held by nobody.
-- An executing run's token dies at once; its slot is held until the worker lets go or its lease ends.
--
-- People call these for thousands of runs in one statement.  Left to itself Postgres plans each of their statements anew
-- for each run, since a plan for one partition looks cheaper than one for all, and that takes longer than the rest.

create function sluice._no_such_run(run_id bigint) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'SL003',
        message = case when _no_such_run.run_id is null then 'run_id must not be null'
                       else format('run %s does not exist', _no_such_run.run_id) end,
        hint    = 'The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.';
end
$$;
comment on function sluice._no_such_run(bigint) is 'Raises SL003.';

create function sluice._wrong_state(run_id bigint, status text, what text, hint text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'SL101',
        message = format('run %s cannot be %s: it is %s', _wrong_state.run_id, _wrong_state.what, _wrong_state.status),
        hint    = _wrong_state.hint;
end
$$;
comment on function sluice._wrong_state(bigint, text, text, text) is 'Raises SL101.';

create function sluice.cancel(run_id bigint) returns boolean
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.cancel(bigint) is
    'Cancels a run that is not final.  True if this call did; false if the run was final already, which changes nothing.';

-- Of a run that is not final and whose row is locked.
create function sluice._cancel_run(run_id bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    r record;
begin
    select run.run_id, run.status, run.token, run.attempt, run.claimed_at, run.worker into r
    from sluice.run as run where run.run_id = _cancel_run.run_id;
    perform sluice._leave_place(r.run_id);
    if r.status = 'executing' then
        perform sluice._revoke_slot(r.token, 'canceled');
        perform sluice._wake();
        perform sluice._write_attempt(r.run_id, r.attempt, 'canceled', r.token, r.worker, r.claimed_at, null);
    end if;
    perform sluice._finish_run(r.run_id, 'canceled', null, null);
end
$$;
comment on function sluice._cancel_run(bigint) is 'Cancels a run that is locked and not final; an executing one''s token dies.';

create function sluice._cancel(run_id bigint) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    r record;
begin
    select run.task_id, run.run_id, run.status into r
    from sluice.run as run where run.run_id = _cancel.run_id for update;
    if not found then
        perform sluice._no_such_run(_cancel.run_id);
    end if;
    perform sluice._assert_may_use(r.task_id, sluice._caller());
    if r.status not in ('queued', 'executing') then
        return false;
    end if;
    perform sluice._cancel_run(r.run_id);
    return true;
end
$$;
comment on function sluice._cancel(bigint) is 'Twin of cancel().';

create function sluice.requeue(run_id bigint, queue text default null, priority integer default null,
                               delay text default null, run_at timestamptz default null) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.requeue(bigint, text, integer, text, timestamptz) is
    'Puts a live run back into its queue, or another, in one step.  An executing attempt is given back and its token dies.  Priority stays unless given.';

create function sluice._requeue(run_id bigint, queue text, priority integer, delay text, run_at timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    r     record;
    start timestamptz;
begin
    perform sluice._assert_run_options(_requeue.priority, null, null, null, null);
    start := sluice._start_time(_requeue.delay, _requeue.run_at, clock_timestamp());

    select run.task_id, run.run_id, run.status, run.token, run.attempt, run.class into r
    from sluice.run as run where run.run_id = _requeue.run_id for update;
    if not found then
        perform sluice._no_such_run(_requeue.run_id);
    end if;
    perform sluice._assert_may_use(r.task_id, sluice._caller());
    if r.status not in ('queued', 'executing') then
        perform sluice._wrong_state(r.run_id, r.status, 'queued again', 'A final run never changes; sluice.replay makes a new one.');
    end if;

    perform sluice._leave_place(r.run_id);
    if r.status = 'executing' then
        perform sluice._revoke_slot(r.token, 'requeued');
        delete from sluice.log as l where l.run_id = r.run_id and l.attempt = r.attempt; -- the next one has its number
        r.attempt := r.attempt - 1;
        r.class := 1;
    end if;
    update sluice.run as run
    set priority = coalesce(_requeue.priority, run.priority),
        queue_id = case when _requeue.queue is null then run.queue_id else sluice._open_queue(_requeue.queue, run.queue_id) end
    where run.run_id = r.run_id and (_requeue.priority is not null or _requeue.queue is not null);
    perform sluice._queue_again(r.run_id, start, r.class, r.attempt);
    perform sluice._move_expiry(r.run_id);
end
$$;
comment on function sluice._requeue(bigint, text, integer, text, timestamptz) is 'Twin of requeue().';

create function sluice.reschedule(run_id bigint, run_at timestamptz) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.reschedule(bigint, timestamptz) is 'Moves the time of a run that waits (delayed, retrying or queued); the past means now.';

create function sluice._reschedule(run_id bigint, run_at timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    r     record;
    start timestamptz;
begin
    if _reschedule.run_at is null then
        perform sluice._refuse('run_at', 'must not be null', 'Give the time at which the run may start.');
    end if;
    start := sluice._start_time(null, _reschedule.run_at, clock_timestamp());
    select run.task_id, run.run_id, run.status, run.attempt, run.class into r
    from sluice.run as run where run.run_id = _reschedule.run_id for update;
    if not found then
        perform sluice._no_such_run(_reschedule.run_id);
    end if;
    perform sluice._assert_may_use(r.task_id, sluice._caller());
    if r.status <> 'queued' then
        perform sluice._wrong_state(r.run_id, r.status, 'rescheduled', 'Only a run that waits has a time to move; sluice.requeue takes one back that is executing.');
    end if;
    perform sluice._leave_place(r.run_id);
    perform sluice._queue_again(r.run_id, start, r.class, r.attempt);
    perform sluice._move_expiry(r.run_id);
end
$$;
comment on function sluice._reschedule(bigint, timestamptz) is 'Twin of reschedule().';

create function sluice.replay(run_id bigint, payload jsonb default null) returns bigint
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.replay(bigint, jsonb) is
    'Makes a new run like an old one, with its queue, priority, concurrency key, tags, metadata and payload unless another is given.  Idempotency key, delay, ttl, max_attempts, max_duration and machine are not taken over.';

create function sluice._replay_as(run_id bigint, payload jsonb, idempotency_key text) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    r record;
begin
    select t.task, q.queue, run.priority, run.concurrency_key, p.payload, p.tags, p.metadata into r
    from sluice.run as run
    join sluice.task as t on t.task_id = run.task_id
    join sluice.queue as q on q.queue_id = run.queue_id
    left join sluice.payload as p on p.run_id = run.run_id
    where run.run_id = _replay_as.run_id;
    if not found then
        perform sluice._no_such_run(_replay_as.run_id);
    end if;
    return sluice._enqueue(r.task, coalesce(_replay_as.payload, r.payload), r.queue, r.priority, r.concurrency_key, null, null,
                           _replay_as.idempotency_key, null, null, r.tags, r.metadata, null, null, null, null, null);
end
$$;
comment on function sluice._replay_as(bigint, jsonb, text) is
    'Makes a new run like an old one, under an idempotency key if one is given.';

create function sluice._replay(run_id bigint, payload jsonb) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return sluice._replay_as(_replay.run_id, _replay.payload, null);
end
$$;
comment on function sluice._replay(bigint, jsonb) is 'Twin of replay().';
