-- Finish: how attempts end and what becomes of their runs.
--
-- _settle is the one place that decides a run's next state; it locks the run's row first, so of a completion, a
-- cancel and an expiry that meet, the first to commit wins and the others are told.  Completions that come in numbers
-- take a set-based way (_complete_many) with the same rule.
--
-- | outcome                       | with attempts left and retryable | otherwise      |
-- | failed                        | queued after backoff             | failed         |
-- | crashed                       | queued after backoff             | crashed        |
-- | lost (unless its task fails)  | queued at once                   | system_failure |
-- | oom                           | queued after backoff if the task names a larger machine, or the error itself says so | crashed |
-- | timed_out                     |                                  | timed_out      |
-- | released (attempt given back) | queued as it was                 | system_failure after more than 64 in a row |

-- Codes after which another attempt would end the same way.  From the list of Trigger.dev; what is not here is retried.
create function sluice._is_retryable(error jsonb) returns boolean
language sql immutable
begin atomic
    select coalesce(
        case when pg_catalog.jsonb_typeof(error -> 'retryable') = 'boolean' then (error ->> 'retryable')::boolean end,
        coalesce(error ->> 'code', '') not in (
            'COULD_NOT_FIND_EXECUTOR', 'COULD_NOT_FIND_TASK', 'COULD_NOT_IMPORT_TASK', 'CONFIGURED_INCORRECTLY',
            'TASK_ALREADY_RUNNING', 'TASK_PROCESS_SIGKILL_TIMEOUT', 'TASK_PROCESS_SIGSEGV', 'TASK_PROCESS_OOM_KILLED',
            'TASK_PROCESS_MAYBE_OOM_KILLED', 'TASK_RUN_CANCELLED', 'MAX_DURATION_EXCEEDED', 'DISK_SPACE_EXCEEDED',
            'OUTDATED_SDK_VERSION', 'TASK_DID_CONCURRENT_WAIT', 'RECURSIVE_WAIT_DEADLOCK', 'OUTPUT_TOO_LARGE'));
end;
comment on function sluice._is_retryable(jsonb) is 'Whether an error may be tried again: its own "retryable" decides, else its code.';

-- An error as an object with at least a code and a message.
create function sluice._error_object(error jsonb, code text) returns jsonb
language sql immutable
begin atomic
    select pg_catalog.jsonb_build_object('code', code, 'message', '') operator(pg_catalog.||) case pg_catalog.jsonb_typeof(error)
        when 'object' then error
        when 'string' then pg_catalog.jsonb_build_object('message', error)
        when 'null' then '{}'
        else case when error is null then '{}' else pg_catalog.jsonb_build_object('message', error::text) end
    end;
end;
comment on function sluice._error_object(jsonb, text) is 'An error of any JSON shape as an object with code and message.';

-- Why a token does not own its attempt: it finished it (already_done), or it lost it.
create function sluice._why_stale(token uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    ended text;
begin
    ended := (sluice._slot(_why_stale.token)).revoked;
    if ended is not null then
        return ended;
    end if;
    -- A run that is final keeps the token that ended it; only the status tells a completion from a cancel.
    if exists (select from sluice.run as r
               where r.run_id = sluice._token_run(_why_stale.token) and r.token = _why_stale.token and r.status = 'completed')
    then
        return 'already_done';
    end if;
    select a.outcome into ended from sluice.attempt as a
    where a.run_id = sluice._token_run(_why_stale.token) and a.token = _why_stale.token;
    return case
        when not found then 'ended'
        when ended = 'lost' then 'expired'
        when ended = 'canceled' then 'canceled'
        else 'already_done'
    end;
end
$$;
comment on function sluice._why_stale(uuid) is
    'What became of a dead token: already_done (it finished its attempt), expired, canceled, requeued or ended.';

create function sluice._write_attempt(run_id bigint, attempt integer, outcome text, token uuid, worker text,
                                      started_at timestamptz, error jsonb) returns void
language plpgsql -- which keeps its plan; language sql would plan anew in each call
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into sluice.attempt (run_id, attempt, outcome, token, worker, started_at, ended_at, error)
    values (_write_attempt.run_id, _write_attempt.attempt, _write_attempt.outcome, _write_attempt.token,
            _write_attempt.worker, _write_attempt.started_at, clock_timestamp(), _write_attempt.error);
end
$$;
comment on function sluice._write_attempt(bigint, integer, text, uuid, text, timestamptz, jsonb) is 'Records an ended attempt that counts and did not complete its run.';

create function sluice._finish_run(run_id bigint, status text, output jsonb, error jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update sluice.run as r
    set status = _finish_run.status, finished_at = clock_timestamp()
    where r.run_id = _finish_run.run_id;
    if output is not null or error is not null then
        insert into sluice.output (run_id, output, error) values (_finish_run.run_id, _finish_run.output, _finish_run.error);
    end if;
end
$$;
comment on function sluice._finish_run(bigint, text, jsonb, jsonb) is 'Makes a run final.  The caller has locked its row.';

create function sluice._push_run(run_id bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._index_push(r.run_id, r.queue_id, r.lane, r.class, r.claim_key, coalesce(r.due_at, '-infinity'), t.executor)
    from sluice.run as r
    join sluice.task as t on t.task_id = r.task_id
    where r.run_id = _push_run.run_id;
    perform sluice._wake();
end
$$;
comment on function sluice._push_run(bigint) is 'Hands a run that was queued again to the index when this transaction commits.';

create function sluice._leave_place(run_id bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._index_moved(r.run_id, r.queue_id, r.lane, r.class, r.claim_key, coalesce(r.due_at, '-infinity'), t.executor)
    from sluice.run as r
    join sluice.task as t on t.task_id = r.task_id
    where r.run_id = _leave_place.run_id and r.status = 'queued';
end
$$;
comment on function sluice._leave_place(bigint) is 'Before a queued run is canceled or queued elsewhere.  The caller has locked its row.';

-- Puts a run back into its queue to start at an instant; null is now.
create function sluice._queue_again(run_id bigint, start timestamptz, class integer, attempt integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    as_of timestamptz := clock_timestamp();
begin
    update sluice.run as r
    set status = 'queued', token = null, class = _queue_again.class, attempt = _queue_again.attempt,
        ready_at = coalesce(start, as_of), claim_key = coalesce(start, as_of) - r.priority * interval '1 second', due_at = start
    where r.run_id = _queue_again.run_id;
    perform sluice._push_run(_queue_again.run_id);
end
$$;
comment on function sluice._queue_again(bigint, timestamptz, integer, integer) is 'Queues a run again.  The caller has locked its row.';

-- Ends the attempt of a token.  Answers done, already_done or stale, and frees the slot in every case.
create function sluice._settle(token uuid, outcome text, output jsonb, error jsonb, retry_at timestamptz) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_variable
declare
    r        record;
    policy   record;
    why      text;
    problem  jsonb;
    as_of    timestamptz := clock_timestamp();
    start    timestamptz;
    larger   text;
    told     text;
    wish     boolean; -- of whoever says whether it is to be tried again
begin
    select run.run_id, run.attempt, run.max_attempts, run.releases, run.task_id, run.claimed_at, run.worker, run.queue_id into r
    from sluice.run as run
    where run.run_id = sluice._token_run(token) and run.token = _settle.token and run.status = 'executing'
    for update;
    if not found then
        why := sluice._why_stale(token);
        perform sluice._free_slot(token);
        perform sluice._wake();
        return case why when 'already_done' then why else 'stale' end;
    end if;
    perform sluice._free_slot(token);
    perform sluice._wake();
    if outcome <> 'canceled' then
        perform sluice._index_count(r.queue_id, outcome);
    end if;

    if outcome = 'completed' and sluice._size(output) > sluice._limit_bytes('sluice.max_output') then
        outcome := 'failed';
        error := jsonb_build_object('code', 'OUTPUT_TOO_LARGE', 'message',
            format('the output has %s bytes, more than %s', sluice._size(output), current_setting('sluice.max_output')));
        output := null;
    end if;

    if outcome = 'released' then
        if error ->> 'code' = 'MACHINE_TOO_LARGE' then
            perform sluice._give_to_larger(r.run_id, r.attempt, error);
        elsif r.releases < 64 then
            update sluice.run as run
            set status = 'queued', token = null, attempt = r.attempt - 1, releases = r.releases + 1
            where run.run_id = r.run_id;
            perform sluice._push_run(r.run_id);
            -- The next attempt has this one's number, and its lines theirs.
            delete from sluice.log as l where l.run_id = r.run_id and l.attempt = r.attempt;
        else
            perform sluice._finish_run(r.run_id, 'system_failure', null, jsonb_build_object(
                'code', 'TASK_RELEASED_TOO_OFTEN', 'message', 'workers gave the run back more than 64 times in a row'));
        end if;
        return 'done';
    end if;

    if outcome = 'completed' then
        perform sluice._finish_run(r.run_id, 'completed', output, null);
        return 'done';
    end if;

    -- What a worker has seen of a child, or a program says itself, counts as much as what sluiced has established.
    told := case when outcome in ('failed', 'crashed') then sluice._told_death(error) end;
    if told in ('TASK_PROCESS_SIGTERM', 'TASK_PROCESS_SIGSEGV') then
        outcome := 'crashed';
        error := sluice._error_object(error, told) || jsonb_build_object('code', told);
    elsif told is not null then
        outcome := 'oom';
    end if;
    wish := case when jsonb_typeof(error -> 'retryable') = 'boolean' then (error ->> 'retryable')::boolean end;
    if outcome = 'oom' and r.attempt < r.max_attempts and wish is distinct from false then
        larger := sluice._larger_machine(r.run_id);
    end if;
    problem := sluice._error_object(error, case outcome
        when 'failed' then 'TASK_EXECUTION_FAILED'
        when 'crashed' then 'TASK_RUN_CRASHED'
        when 'oom' then 'TASK_PROCESS_OOM_KILLED'
        when 'timed_out' then 'MAX_DURATION_EXCEEDED'
        else 'TASK_RUN_HEARTBEAT_TIMEOUT' end);
    perform sluice._write_attempt(r.run_id, r.attempt, outcome, token, r.worker, r.claimed_at, problem);

    if outcome = 'canceled' then
        perform sluice._finish_run(r.run_id, 'canceled', null, null);
    elsif outcome = 'lost' and r.attempt < r.max_attempts
        and (select t.on_lost from sluice.task as t where t.task_id = r.task_id) = 'retry' then
        perform sluice._queue_again(r.run_id, null, 1, r.attempt);
        perform sluice._index_count(r.queue_id, 'retried');
    elsif larger is not null
        or (outcome in ('failed', 'crashed') or outcome = 'oom' and wish) and r.attempt < r.max_attempts and sluice._is_retryable(problem) then
        if larger is not null then
            perform sluice._set_machine(r.run_id, larger); -- only now that it is tried again
        end if;
        select t.factor, t.min_delay, t.max_delay, t.randomize into policy from sluice.task as t where t.task_id = r.task_id;
        start := coalesce(retry_at, as_of + sluice._backoff(r.attempt, policy.factor, policy.min_delay, policy.max_delay,
                                                            case when policy.randomize then 1 + random() else 1 end));
        perform sluice._queue_again(r.run_id, case when start > as_of then start end, 1, r.attempt);
        perform sluice._index_count(r.queue_id, 'retried');
    else
        perform sluice._finish_run(r.run_id, case outcome
            when 'failed' then 'failed'
            when 'timed_out' then 'timed_out'
            when 'lost' then 'system_failure'
            else 'crashed' end, null, problem);
    end if;
    -- An attempt that counts ends a row of releases.
    if r.releases > 0 then
        update sluice.run as run set releases = 0 where run.run_id = r.run_id;
    end if;
    return 'done';
end
$$;
comment on function sluice._settle(uuid, text, jsonb, jsonb, timestamptz) is
    'Ends the attempt of a token with an outcome and moves its run on; answers done, already_done or stale.';

-- The same for completions: those that come in numbers, or alone, end here in one statement for each table.
create function sluice._complete_many(tokens uuid[], outputs jsonb[]) returns uuid[]
language c volatile as 'MODULE_PATHNAME', 'sluice_complete_many'
set search_path = pg_catalog, pg_temp;
comment on function sluice._complete_many(uuid[], jsonb[]) is
    'Completes the attempts of the tokens that still own them; returns those tokens.';

-- The single verbs

create function sluice._raise_lease_lost(token uuid, why text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'SL102',
        message = 'the lease is lost: this token does not own an attempt',
        detail  = format('Token %s: %s.', token, case why
            when 'canceled' then 'its run was canceled'
            when 'requeued' then 'its run was queued again'
            when 'expired' then 'its worker was not heard of in time, and the run was tried again'
            else 'its run has moved on, or it was never handed out' end),
        hint    = 'Stop the work and throw away its result; nothing was changed.';
end
$$;
comment on function sluice._raise_lease_lost(uuid, text) is 'Raises SL102.';

create function sluice._settle_one(token uuid, outcome text, output jsonb, error jsonb, retry_at timestamptz) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    owns   boolean;
    answer text;
    why    text;
begin
    if _settle_one.token is null then
        perform sluice._refuse('token', 'must not be null', 'Pass the token that the claim returned.');
    end if;
    perform sluice._index_before_end();
    why := sluice._why_stale(_settle_one.token);
    answer := sluice._settle(_settle_one.token, _settle_one.outcome, _settle_one.output, _settle_one.error, _settle_one.retry_at);
    if answer = 'stale' then
        perform sluice._raise_lease_lost(_settle_one.token, why);
    end if;
    return answer;
end
$$;
comment on function sluice._settle_one(uuid, text, jsonb, jsonb, timestamptz) is 'Ends one attempt; raises SL102 for a stale token.';

create function sluice.complete(token uuid, output jsonb default null) returns text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.complete(uuid, jsonb) is
    'Ends an attempt as completed: done, or already_done if this token did so before.  Raises SL102 if the lease is lost.';

create function sluice._complete(token uuid, output jsonb) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The common case first; whatever it is not, the long way knows.
    if sluice._size(_complete.output) <= sluice._limit_bytes('sluice.max_output')
        and sluice._complete_many(array[_complete.token], array[_complete.output]) <> '{}'
    then
        return 'done';
    end if;
    return sluice._settle_one(_complete.token, 'completed', _complete.output, null, null);
end
$$;
comment on function sluice._complete(uuid, jsonb) is 'Twin of complete().';

create function sluice.fail(token uuid, error jsonb default null, retry_at timestamptz default null) returns text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.fail(uuid, jsonb, timestamptz) is
    'Ends an attempt as failed.  It is retried by the task''s policy unless the error says {"retryable": false} or has a code that is not retried; retry_at overrides the delay.';

create function sluice._fail(token uuid, error jsonb, retry_at timestamptz) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if _fail.retry_at > clock_timestamp() + interval '36500 days' then
        perform sluice._refuse('retry_at', 'is more than a century away', 'Give a time that will come.');
    end if;
    return sluice._settle_one(_fail.token, 'failed', null, coalesce(_fail.error, 'null'), _fail.retry_at);
end
$$;
comment on function sluice._fail(uuid, jsonb, timestamptz) is 'Twin of fail().';

create function sluice.release(token uuid) returns text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.release(uuid) is
    'Lets go of an attempt: a live one is queued again as if it had not been claimed (after more than 64 times in a row the run ends as system_failure); one whose run was canceled or requeued frees its slot.';

create function sluice._release(token uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from sluice.slot as s where s.token = _release.token and s.revoked is not null) then
        return sluice._acknowledge(_release.token);
    end if;
    return sluice._settle_one(_release.token, 'released', null, null, null);
end
$$;
comment on function sluice._release(uuid) is 'Twin of release().';

create function sluice.heartbeat(tokens uuid[]) returns table (token uuid, lease_until timestamptz)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.heartbeat(uuid[]) is
    'Moves the deadlines of leases and returns those that stand.  A token that is missing from the answer is dead: stop its work.';

create function sluice._heartbeat(tokens uuid[]) returns table (token uuid, lease_until timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return query select b.token, b.lease_until from sluice._beat(null, _heartbeat.tokens) as b;
end
$$;
comment on function sluice._heartbeat(uuid[]) is 'Twin of heartbeat().';

create function sluice.claim(worker text, queues text[] default null, capacity integer default 1, executors text[] default '{external}')
returns table (token uuid, run_id bigint, attempt integer, task text, payload jsonb, lease_until timestamptz,
               executor text, target text, options jsonb, max_duration_seconds double precision, machine text,
               heartbeat_seconds double precision, traceparent text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.claim(text, text[], integer, text[]) is
    'Hands out up to capacity runs of tasks with these executors, each with a token to heartbeat and to finish it with, and how many seconds it may take and may be silent at most.';

create function sluice._claim(worker text, queues text[], capacity integer, executors text[])
returns table (token uuid, run_id bigint, attempt integer, task text, payload jsonb, lease_until timestamptz,
               executor text, target text, options jsonb, max_duration_seconds double precision, machine text,
               heartbeat_seconds double precision, traceparent text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._assert_worker_name(_claim.worker);
    if coalesce(_claim.capacity, 0) not between 1 and 10000 then
        perform sluice._refuse('capacity', 'must be 1 to 10000', 'It is how many runs the worker takes at once.');
    end if;
    if sluice._caller() <> 0 and not pg_has_role(sluice._caller(), 'sluice_worker', 'usage') then
        queues := sluice._claimable(_claim.queues, _claim.executors, sluice._caller());
    end if;
    return query
    select c.token, c.run_id, c.attempt, c.task, c.payload, c.lease_until, c.executor, c.target, c.options,
           c.max_duration_seconds, c.machine, c.heartbeat_seconds, c.traceparent
    from sluice._claim_runs(_claim.worker, _claim.queues, _claim.capacity, _claim.executors, null) as c;
end
$$;
comment on function sluice._claim(text, text[], integer, text[]) is 'Twin of claim().';

-- The sql executor

create procedure sluice.perform(token uuid, inout answer text default null, clean boolean default false)
language c as 'MODULE_PATHNAME', 'sluice_perform';
comment on procedure sluice.perform(uuid, text, boolean) is
    'Runs the sql task of a token under the task''s role and completes the attempt in the same transaction; clean => true has the session forget afterwards what the task left in it.';

create function sluice._refuse_sql_job(token uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    executor text;
begin
    select t.executor into executor
    from sluice.run as r
    join sluice.task as t on t.task_id = r.task_id
    where r.run_id = sluice._token_run(_refuse_sql_job.token) and r.token = _refuse_sql_job.token and r.status = 'executing';
    if executor <> 'sql' then
        perform sluice._refuse('perform', format('cannot run a task with executor %s', executor), 'Only sql tasks run inside the database.');
    end if;
    perform sluice._raise_lease_lost(_refuse_sql_job.token, sluice._why_stale(_refuse_sql_job.token));
end
$$;
comment on function sluice._refuse_sql_job(uuid) is 'Says why perform() cannot run a token: its task is none in SQL, or the lease is lost (SL102).';

create function sluice.clean_session() returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_clean_session';
comment on function sluice.clean_session() is
    'What discard all does to this session, but for its plans: for a session in which sql tasks of several roles run one after another.';

-- Unlike complete(), which answers already_done to a repeated call, this must be the call that ends the attempt: it
-- commits what the task did, and the attempt may have been ended in between, by another perform() or as crashed.
create function sluice._complete_performed(token uuid, output jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if sluice._complete(_complete_performed.token, _complete_performed.output) <> 'done' then
        perform sluice._raise_lease_lost(_complete_performed.token, 'ended');
    end if;
end
$$;
comment on function sluice._complete_performed(uuid, jsonb) is 'Completes the attempt that perform() ran where C++ leaves that to it; raises SL102 unless this call ends it.';
