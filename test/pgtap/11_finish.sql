-- How attempts end: each row of the table of outcomes, backoff, releases, repeated and stale reports.
\ir lib/helper.psql

-- One attempt of a new run, ended through exchange() with an outcome; `attempts` is how many the run may have.
create function ended(outcome text, attempts int, error jsonb default null, retry_in float default null) returns bigint language plpgsql as $$
declare
    run bigint;
    got uuid;
    said text;
begin
    run := sluice.enqueue('t', max_attempts => attempts);
    got := take('task/t');
    select answer into strict said from sluice.exchange('w', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'token', got, 'outcome', outcome, 'error', ended.error, 'retry_in', ended.retry_in)))) where kind = 'ended';
    if said <> 'done' then raise '%', said; end if;
    return run;
end $$;
create function row_of(run bigint) returns text language sql as $$
    select format('%s class %s attempt %s, %s, %s slots, %s', r.status, r.class, r.attempt,
        coalesce((select string_agg(a.outcome, ' ' order by a.attempt) from sluice.attempts as a where a.run_id = run), 'no attempts'),
        (select count(*) from held_slot as s where s.run_id = run),
        case when r.due_at is null then 'now' else 'later' end)
    from sluice.run as r where r.run_id = run $$;
create function error_of(run bigint) returns jsonb language sql as 'select error from sluice.runs where run_id = run';
select sluice.create_task('t', 'external', retry => '{"min_delay": "30 s", "max_delay": "30 s"}');

-- With attempts left
select is(row_of(ended('completed', 3)), 'completed class 2 attempt 1, completed, 0 slots, now', 'completed: the run is completed');
select is(row_of(ended('failed', 3)), 'queued class 1 attempt 1, failed, 0 slots, later', 'failed with attempts left: retried after backoff, before fresh runs');
select is(row_of(ended('crashed', 3)), 'queued class 1 attempt 1, crashed, 0 slots, later', 'crashed with attempts left: retried after backoff');
select is(row_of(ended('oom', 3)), 'crashed class 2 attempt 1, oom, 0 slots, now', 'oom: the run is crashed, since it would run out of memory again');
select is(row_of(ended('timed_out', 3)), 'timed_out class 2 attempt 1, timed_out, 0 slots, now', 'timed_out: the run is timed_out, attempts left or not');
select is(row_of(ended('released', 3)), 'queued class 2 attempt 0, no attempts, 0 slots, now', 'released: queued as it was, and the attempt is given back');
select sluice.cancel(run_id) from sluice.runs where status in ('queued', 'retrying', 'delayed');

-- At the last attempt
select is(row_of(ended('failed', 1)), 'failed class 2 attempt 1, failed, 0 slots, now', 'failed at the last attempt: the run is failed');
select is(row_of(ended('crashed', 1)), 'crashed class 2 attempt 1, crashed, 0 slots, now', 'crashed at the last attempt: the run is crashed');
select is(row_of(ended('oom', 1)), 'crashed class 2 attempt 1, oom, 0 slots, now', 'oom at the last attempt: the run is crashed');
select is(row_of(ended('timed_out', 1)), 'timed_out class 2 attempt 1, timed_out, 0 slots, now', 'timed_out at the last attempt: the run is timed_out');
select is(row_of(ended('released', 1)), 'queued class 2 attempt 0, no attempts, 0 slots, now', 'released at the last attempt: queued as it was');
select sluice.cancel(run_id) from sluice.runs where status = 'queued';

-- Lost: the leader says so.
create function lost(attempts int) returns bigint language plpgsql as $$
declare run bigint; got uuid;
begin
    run := sluice.enqueue('t', max_attempts => attempts);
    got := take('task/t');
    perform expire(got);
    perform sluice.expire_leases();
    return run;
end $$;
select sluice.try_lead('leader');
select lost(3) as run \gset
select is(row_of(:run), 'queued class 1 attempt 1, lost, 0 slots, now', 'lost with attempts left: queued at once, before fresh runs, and the attempt counts');
select is(error_of(:run) - 'last_heartbeat', '{"code": "TASK_RUN_HEARTBEAT_TIMEOUT", "worker": "w", "message": "worker w was not heard of for 60 seconds"}', 'the error says which worker was lost');
select sluice.cancel(:run);
select lost(1) as run \gset
select is(row_of(:run), 'system_failure class 2 attempt 1, lost, 0 slots, now', 'lost at the last attempt: the run is a system_failure');
select is(error_of(:run) ->> 'code', 'TASK_RUN_HEARTBEAT_TIMEOUT', 'with the error of the last attempt');

-- A whole life
select task('life', 3);
select sluice.enqueue('life') as run \gset
select sluice.fail(take('task/life'), '{"message": "one"}');
select sluice.fail(take('task/life'), '{"message": "two"}');
select is(error_of(:run) ->> 'message', 'two', 'a live run shows the error of its last attempt');
select sluice.fail(take('task/life'), '{"message": "three"}');
select results_eq(format('select attempt::int, outcome, worker, error ->> ''message'' from sluice.attempts where run_id = %s order by attempt', :run),
    $$values (1, 'failed', 'w', 'one'), (2, 'failed', 'w', 'two'), (3, 'failed', 'w', 'three')$$, 'every attempt that counted is kept');
select is(row_of(:run), 'failed class 1 attempt 3, failed failed failed, 0 slots, now', 'after max_attempts the run is failed');
select is(error_of(:run) ->> 'message', 'three', 'with the error of the last');

-- Errors of any shape
select is(error_of(ended('failed', 1, v.error::jsonb)), v.want::jsonb, 'error ' || v.error)
from (values ('{"code": "X", "message": "m", "more": [1]}', '{"code": "X", "message": "m", "more": [1]}'),
             ('{"message": "m"}', '{"code": "TASK_EXECUTION_FAILED", "message": "m"}'),
             ('"text"', '{"code": "TASK_EXECUTION_FAILED", "message": "text"}'),
             ('[1]', '{"code": "TASK_EXECUTION_FAILED", "message": "[1]"}'),
             ('7', '{"code": "TASK_EXECUTION_FAILED", "message": "7"}'),
             ('{}', '{"code": "TASK_EXECUTION_FAILED", "message": ""}')) as v (error, want);
select is(error_of(ended(v.outcome, 1)), jsonb_build_object('code', v.code, 'message', ''), 'without an error ' || v.outcome || ' has the code ' || v.code)
from (values ('failed', 'TASK_EXECUTION_FAILED'), ('crashed', 'TASK_RUN_CRASHED'), ('oom', 'TASK_PROCESS_OOM_KILLED'), ('timed_out', 'MAX_DURATION_EXCEEDED')) as v (outcome, code);
select is(error_of(ended('failed', 1, 'null')), '{"code": "TASK_EXECUTION_FAILED", "message": ""}', 'a null error too');

-- What is tried again
create function retried(outcome text, error jsonb) returns boolean language plpgsql as $$
declare run bigint := ended(outcome, 3, error); again boolean;
begin
    again := status_of(run) = 'retrying';
    perform sluice.cancel(run);
    return again;
end $$;
select is(retried('failed', jsonb_build_object('code', code)), false, code || ' is not retried')
from unnest('{COULD_NOT_FIND_EXECUTOR,COULD_NOT_FIND_TASK,COULD_NOT_IMPORT_TASK,CONFIGURED_INCORRECTLY,TASK_ALREADY_RUNNING,TASK_PROCESS_SIGKILL_TIMEOUT,TASK_PROCESS_SIGSEGV,TASK_PROCESS_OOM_KILLED,TASK_PROCESS_MAYBE_OOM_KILLED,TASK_RUN_CANCELLED,MAX_DURATION_EXCEEDED,DISK_SPACE_EXCEEDED,OUTDATED_SDK_VERSION,TASK_DID_CONCURRENT_WAIT,RECURSIVE_WAIT_DEADLOCK,OUTPUT_TOO_LARGE}'::text[]) as code;
select is(retried('crashed', jsonb_build_object('code', code)), true, code || ' is retried')
from unnest('{GRACEFUL_EXIT_TIMEOUT,HANDLE_ERROR_ERROR,TASK_INPUT_ERROR,TASK_OUTPUT_ERROR,POD_EVICTED,POD_UNKNOWN_ERROR,TASK_EXECUTION_ABORTED,TASK_EXECUTION_FAILED,TASK_RUN_CRASHED,TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE,TASK_PROCESS_SIGTERM,ANYTHING_ELSE}'::text[]) as code;
select is(retried('failed', '{"retryable": false}'), false, '"retryable": false ends the run');
select is(retried('failed', '{"retryable": true, "code": "TASK_PROCESS_SIGSEGV"}'), true, '"retryable": true wins over the code');
select is(retried('failed', '{"retryable": "no"}'), true, 'a retryable that is no boolean is not read');
select is(retried('crashed', '{"code": "TASK_PROCESS_SIGSEGV"}'), false, 'a crash with a code that is not retried ends the run');
select is(row_of(ended('crashed', 3, '{"retryable": false}')), 'crashed class 2 attempt 1, crashed, 0 slots, now', 'as crashed');

-- Backoff: min(max_delay, r * min_delay * factor^(attempt - 1)), r in [1, 2) when randomized.
create function backoff(attempt int, retry jsonb) returns double precision language plpgsql as $$
declare run bigint; answer double precision;
begin
    perform sluice.create_task('b', 'external', retry => retry || '{"max_attempts": 250}');
    run := sluice.enqueue('b');
    update sluice.run as r set attempt = backoff.attempt - 1 where r.run_id = run;
    perform sluice.fail(take('task/b'));
    select extract(epoch from r.ready_at - a.ended_at) into answer from sluice.run as r join sluice.attempt as a using (run_id) where r.run_id = run;
    perform sluice.cancel(run);
    return answer;
end $$;
-- The instant is read a little before the attempt's end is written.
select ok(abs(backoff(attempt, '{"min_delay": 1, "max_delay": 60, "factor": 2, "randomize": false}') - want) < 0.5, format('plain backoff after attempt %s is %s s', attempt, want))
from (values (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (249, 60)) as v (attempt, want);
create temp table delays as select backoff(3, '{"min_delay": 10, "max_delay": 3600, "factor": 2}') as s from generate_series(1, 60);
select cmp_ok(min(s), '>=', 39.5::double precision, 'randomized backoff is never below the plain one') from delays;
select cmp_ok(max(s), '<', 80::double precision, 'and below twice that') from delays;
-- 60 draws all in one half: once in 10^18.
select ok(min(s) < 60 and max(s) > 60, 'and it varies') from delays;
select is(max(backoff(9, '{"min_delay": 10, "max_delay": 60}')) <= 60, true, 'randomized backoff too is at most max_delay') from generate_series(1, 10);
select is(backoff(1, '{"min_delay": 0, "max_delay": 0}') < 0.5, true, 'without a delay the run is ready at once');
select is((select task from sluice.claim('w', '{task/b}')), null, 'before: nothing to claim');
select sluice.create_task('b', 'external');
select sluice.enqueue('b') as run \gset
select sluice.fail(take('task/b'));
select is(status_of(:run), 'retrying', 'a run between attempts is retrying');
select is(take('task/b'), null, 'and is not handed out');
select make_due(:run);
select status_of(:run) as s \gset
select is(:'s'::text, 'queued', 'until its time has come');
select is(run_of(take('task/b')), :run::bigint, 'then it is');

-- retry_at and retry_in
select sluice.enqueue('b') as run \gset
select sluice.fail(take('task/b'), retry_at => '2099-01-01 00:00+00');
select is((select ready_at from sluice.runs where run_id = :run), '2099-01-01 00:00+00', 'retry_at overrides the delay');
select sluice.enqueue('b') as run \gset
select sluice.fail(take('task/b'), retry_at => '1999-01-01');
select is(status_of(:run), 'queued', 'a retry_at in the past is now');
select is(run_of(take('task/b')), :run::bigint, 'and the run is handed out');
select sluice.enqueue('b', max_attempts => 1) as run \gset
select take('task/b') as token \gset
select is(said(format('select sluice.fail(%L, retry_at => ''infinity'')', :'token')), 'SL006: retry_at is more than a century away [Give a time that will come.]', 'retry_at is not infinity');
select sluice.fail(:'token', retry_at => now() + interval '1 hour');
select is(status_of(:run), 'failed', 'retry_at does not give another attempt');
select ended('failed', 3, null, 3600) as run \gset
select ok((select ready_at between clock_timestamp() + interval '59 minutes' and clock_timestamp() + interval '1 hour' from sluice.run where run_id = :run), 'retry_in overrides the delay in an exchange');
select is(status_of(ended('failed', 3, null, 1e12)), 'retrying', 'an endless retry_in is a long one');
select is(status_of(ended('failed', 3, null, -5)), 'queued', 'a negative retry_in is now');
select sluice.cancel(run_id) from sluice.runs where status in ('queued', 'retrying') and task = 't';

-- Releases
select sluice.enqueue('t', concurrency_key => 'r', priority => 5) as run \gset
select claim_key as key from sluice.run where run_id = :run \gset
create function release_times(n int) returns void language plpgsql as $$ begin for i in 1 .. n loop perform sluice.release(take('task/t')); end loop; end $$;
select release_times(64);
select is(row_of(:run), 'queued class 2 attempt 0, no attempts, 0 slots, now', 'a run may be released 64 times in a row');
select is((select claim_key from sluice.run where run_id = :run), :'key', 'and keeps its place in the queue');
select release_times(1);
select is(row_of(:run), 'system_failure class 2 attempt 1, no attempts, 0 slots, now', 'the 65th time it is a system_failure');
select is(error_of(:run), '{"code": "TASK_RELEASED_TOO_OFTEN", "message": "workers gave the run back more than 64 times in a row"}', 'and says why');
select sluice.enqueue('t') as run \gset
select release_times(64);
select sluice.fail(take('task/t'), retry_at => '1999-01-01');
select release_times(64);
select is(row_of(:run), 'queued class 1 attempt 1, failed, 0 slots, now', 'an attempt that counts ends a row of releases');
select sluice.cancel(:run);

-- Repeated and stale
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select is(sluice.complete(:'token', '1'), 'done', 'the first completion is done');
select is(sluice.complete(:'token', '2'), 'already_done', 'a repeated one is already_done');
select is((select output from sluice.runs where run_id = :run), '1', 'and changes nothing');
select is(sluice.fail(:'token'), 'already_done', 'another verb of the token that finished is already_done');
select is(sluice.release(:'token'), 'already_done', 'so is a release');
select is(status_of(:run), 'completed', 'a final status never changes');
select is(sluice._complete_many(array[:'token']::uuid[], array['3']::jsonb[]), '{}', 'nor do completions in numbers end it again');
select is((select answer from sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', v))) where kind = 'ended'), want, v || ' repeated in an exchange is ' || want)
from (values ('completed', 'already_done'), ('failed', 'already_done'), ('timed_out', 'already_done'), ('released', 'already_done'), ('canceled', 'done')) as v (v, want);
select is((select answer from sluice.exchange('w', heartbeats => array[:'token']::uuid[]) where kind = 'lost'), 'ended', 'a heartbeat for it is told that it ended');
select is(sluice.cancel(:run), false, 'a cancel comes too late');
select is(left(said(format('select sluice.requeue(%s)', :run)), 6), 'SL101:', 'so does a requeue');
select isnt(sluice.replay(:run), :run::bigint, 'a replay is a new run');
select take('task/t') as again \gset
select isnt(:'again'::uuid, :'token'::uuid, 'with a token of its own');
select is(sluice.complete(:'token'), 'already_done', 'and the old token still stands for the old run');
select is(sluice.complete(:'again'), 'done', 'while the new run has an end of its own');
select results_eq(format('select attempt::int, outcome, worker, started_at = (select claimed_at from sluice.run where run_id = %1$s), ended_at = (select finished_at from sluice.runs where run_id = %1$s), error from sluice.attempts where run_id = %1$s', :run), $$values (1, 'completed', 'w', true, true, null::jsonb)$$, 'its one attempt is shown as it was');
select is((select output from sluice.runs where run_id = :run), '1', 'with the output of the first completion');
select is_empty(format('select from sluice.attempt where run_id = %s', :run), 'and no row of its own');
-- A token that ended its run otherwise stays known as that.
select ended('failed', 1) as run \gset
select token as old from sluice.run where run_id = :run \gset
select is(sluice.complete(:'old'), 'already_done', 'the token of a failed run has ended its attempt');
select is(status_of(:run), 'failed', 'which stays failed');
select sluice.enqueue('t') as run \gset
select take('task/t') as old \gset
select sluice.cancel(:run);
select sluice._acknowledge(:'old');
select is(sluice._complete_many(array[:'old']::uuid[], array['3']::jsonb[]), '{}', 'a canceled run is not completed by the token that it keeps');
select is(detail_of(format('select sluice.complete(%L)', :'old')), format('Token %s: its run was canceled.', :'old'), 'whose owner is told of the cancel');
select is(status_of(:run), 'canceled', 'canceled it stays');
select sluice.enqueue('t') as run \gset
select take('task/t') as old \gset
select sluice.requeue(:run);
select sluice._acknowledge(:'old');
select is((select token from sluice.run where run_id = :run), null, 'a requeued run forgets its token');
select sluice.complete(take('task/t'));
select is(left(said(format('select sluice.complete(%L)', :'old')), 6), 'SL102:', 'so the old one does not pass for the one that completed it');
-- What the constraint refuses: a status that does not go with the token and the end that are stored beside it.
create function refused(change text, run bigint) returns text language plpgsql as $$
declare rule text;
begin
    execute format('update sluice.run set %s where run_id = %s', change, run);
    return 'nothing';
exception when check_violation then
    get stacked diagnostics rule = constraint_name;
    return rule;
end $$;
select is(refused(change, :run), rule, 'refused: ' || change)
from (values ('token = null', 'run_status_fits'), ('status = ''queued''', 'run_status_fits'), ('status = ''executing''', 'run_status_fits'),
             ('status = ''done''', 'run_status_fits'), ('finished_at = null', 'run_status_fits'),
             ('status = ''queued'', finished_at = null', 'run_status_fits'), ('status = ''executing'', finished_at = null, token = null', 'run_status_fits'),
             ('status = ''completed'', finished_at = null, token = null', 'run_status_fits'),
             ('attempt = -1', 'run_attempts_within_limit'), ('attempt = max_attempts + 1', 'run_attempts_within_limit'),
             ('status = ''canceled'', token = null', 'nothing')) as v (change, rule);
select ended('failed', 3, null, -1) as run \gset
select token as old from sluice.attempt where run_id = :run \gset
select take('task/t') as token \gset
select is(sluice.fail(:'old'), 'already_done', 'a repeated failure is already_done');
select is(sluice.complete(:'old', '"late"'), 'already_done', 'so is a completion by the token that failed');
select is(status_of(:run), 'executing', 'and the next attempt goes on');
select is(sluice.complete(:'token'), 'done', 'to its end');
create function lease_lost(token text) returns text language sql as $$ select said(format('select sluice.%s(%L)', verb, token)) from unnest('{complete,fail,release}'::text[]) as verb group by 1 $$;
select is(lease_lost(v), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'complete, fail and release refuse ' || d)
from (values (sluice._new_token(1)::text, 'a token that was never handed out'), (gen_random_uuid()::text, 'a UUID that is no token'), ('00000000-0000-0000-0000-000000000000', 'the nil UUID')) as v (v, d);
select is(said(format('select sluice.%s(null)', verb)), 'SL006: token must not be null [Pass the token that the claim returned.]', verb || ' wants a token') from unnest('{complete,fail,release}'::text[]) as verb;
select is(left(said('select sluice.complete(''x'')'), 6), '22P02:', 'text that is no UUID is a standard error');
select lost(3) as run \gset
select token as old from sluice.attempt where run_id = :run \gset
select is(detail_of(format('select sluice.complete(%L)', :'old')), format('Token %s: its worker was not heard of in time, and the run was tried again.', :'old'), 'the detail says that the lease had expired');

-- In numbers
select task('many', 3);
select array_agg(sluice.enqueue('many') order by n) as runs from generate_series(1, 4) as n \gset
select array_agg(token order by run_id desc) as tokens from sluice.claim('w', '{task/many}', 3) \gset
select is((select array_agg(t order by t) from unnest(sluice._complete_many(:'tokens'::uuid[] || array[null, sluice._new_token((:'runs'::bigint[])[4]), gen_random_uuid()] || :'tokens'::uuid[], array['"three"', null, '"one"', '"no"', '"no"', '"no"']::jsonb[])) as t), (select array_agg(t order by t) from unnest(:'tokens'::uuid[]) as t), 'of many tokens those are completed that own an attempt, each once');
select results_eq(format('select status, output from sluice.runs where run_id = any (%L) order by run_id', :'runs'), $$values ('completed', '"one"'::jsonb), ('completed', null), ('completed', '"three"'), ('queued', null)$$, 'each with its output');
select is((select count(*)::int from held_slot where token = any (:'tokens')), 0, 'and their slots are free');
select sluice.cancel((:'runs'::bigint[])[4]);

-- Undone with its transaction
select take('task/t') as token \gset
begin;
select sluice.complete(:'token', '1');
select is(status_of(:run), 'completed', 'a completion is seen by its own transaction');
rollback;
select is(status_of(:run), 'executing', 'and undone with it');
begin isolation level repeatable read;
select is(sluice.complete(:'token', '1'), 'done', 'an attempt can be completed at repeatable read, with the transaction that did the work');
commit;
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
