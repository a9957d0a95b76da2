-- Machines: who says which, what a claim is told, and on which one a run that ran out of memory is tried again.
\ir lib/helper.psql
create function refusal(statement text) returns text language sql as $$ select said('select sluice.' || statement) $$;
create function machine(run_id bigint) returns text language sql as $$ select machine from sluice.runs as r where r.run_id = $1 $$;
select sluice.create_task('plain', 'process', options => '{"shell": "true"}');
select sluice.create_task('client', 'external', machine => 'small-2x', retry => '{"min_delay": "0", "max_delay": "0", "max_attempts": 3, "out_of_memory": {"machine": "large-1x"}}');
select sluice.create_task('tight', 'external', retry => '{"min_delay": "0", "max_delay": "0", "max_attempts": 2, "out_of_memory": {"machine": "large-1x"}}');
select sluice.create_task('stays', 'external', machine => 'micro', retry => '{"min_delay": "0", "max_delay": "0"}');
select sluice.create_task('query', target => 'select 1');

-- Who says which
select results_eq('select task, machine from sluice.tasks order by task',
    $$values ('client', 'small-2x'), ('plain', 'small-1x'), ('query', null), ('stays', 'micro'), ('tight', null)$$, 'programs have a machine by default, others only if it is said');
select is((select retry -> 'out_of_memory' from sluice.tasks where task = 'client'), '{"machine": "large-1x"}', 'a task shows on which it is tried again');
select ok(not (select retry ? 'out_of_memory' from sluice.tasks where task = 'stays'), 'or says nothing of it');
select is(machine(sluice.enqueue('client')), 'small-2x', 'a run has its task''s');
select is(machine(sluice.enqueue('client', machine => 'micro')), 'micro', 'or its own');
select is(machine(sluice.enqueue('query')), null, 'a query has none');
select results_eq($$select machine(m) from sluice.enqueue_many('plain', '{1,2}', array['{"machine": "medium-2x"}', null]::jsonb[]) as m$$, $$values ('medium-2x'), ('small-1x')$$, 'the same for many at once');
select is(refusal(v.statement), v.want, v.statement)
from (values
    ($$enqueue('client', machine => 'huge')$$, 'SL006: machine "huge" is not known [The machines are micro, small-1x, small-2x, medium-1x, medium-2x, large-1x and large-2x.]'),
    ($$enqueue_many('client', '{1}', array['{"machine": "huge"}']::jsonb[])$$, 'SL006: machine "huge" is not known [The machines are micro, small-1x, small-2x, medium-1x, medium-2x, large-1x and large-2x.]'),
    ($$enqueue('query', machine => 'micro')$$, 'SL006: machine means nothing to a task with executor sql [Leave it out: nothing of it runs on a machine of its own.]'),
    ($$create_task('x', 'external', machine => 'huge')$$, 'SL006: machine "huge" is not known [The machines are micro, small-1x, small-2x, medium-1x, medium-2x, large-1x and large-2x.]'),
    ($$create_task('x', target => 'select 1', machine => 'micro')$$, 'SL006: machine means nothing to a task with executor sql [Leave it out: nothing of it runs on a machine of its own.]'),
    ($$create_task('x', 'external', machine => 'large-1x', retry => '{"out_of_memory": {"machine": "large-1x"}}')$$, 'SL006: the machine of out_of_memory must have more memory than large-1x [It is the machine for a run that ran out of memory.]'),
    ($$create_task('x', 'external', retry => '{"out_of_memory": {"machine": "micro"}}')$$, 'SL006: the machine of out_of_memory must have more memory than small-1x, the default [It is the machine for a run that ran out of memory.]'),
    ($$create_task('x', 'external', retry => '{"out_of_memory": {"machine": "huge"}}')$$, 'SL006: the machine of out_of_memory "huge" is not known [The machines are micro, small-1x, small-2x, medium-1x, medium-2x, large-1x and large-2x.]'),
    ($$create_task('x', 'external', retry => '{"out_of_memory": "large-1x"}')$$, 'SL007: out_of_memory of retry must name a machine, and nothing else [For example {"out_of_memory": {"machine": "large-1x"}}.]'),
    ($$create_task('x', 'external', retry => '{"out_of_memory": {"machine": "large-1x", "max_attempts": 1}}')$$, 'SL007: out_of_memory of retry must name a machine, and nothing else [For example {"out_of_memory": {"machine": "large-1x"}}.]')) as v (statement, want);

-- What a claim is told
select forget_all();
select sluice.enqueue('client', '{"a": 1}'), sluice.enqueue('client', machine => 'medium-1x'), sluice.enqueue('tight');
select results_eq($$select machine from sluice.claim('w', capacity => 3) order by run_id$$, $$values ('small-2x'), ('medium-1x'), (null)$$, 'a claim says the machine of each run');
select forget_all();
select sluice.enqueue('client', machine => 'medium-1x');
select is((select machine from sluice.exchange('w', capacity => 1) where kind = 'claimed'), 'medium-1x', 'and so does an exchange');

-- Out of memory
create function ends(outcome text, error jsonb default null, run_task text default 'client', run_machine text default null) returns bigint language plpgsql as $$
declare run bigint; held uuid;
begin
    perform forget_all();
    run := sluice.enqueue(run_task, '{"a": 1}', machine => run_machine);
    select token into held from sluice.claim('w');
    perform sluice.exchange('w', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('token', held, 'outcome', outcome, 'error', error))));
    return run;
end
$$;
create function state(run_id bigint) returns text language sql as $$ select format('%s %s %s', status, attempt, machine) from sluice.runs as r where r.run_id = $1 $$;
select is(state(ends('oom')), 'queued 1 large-1x', 'a run that ran out of memory is tried again on the larger machine');
select is((select payload from sluice.runs), '{"a": 1}', 'with its payload');
select is((select outcome || ' ' || (error ->> 'code') from sluice.attempts), 'oom TASK_PROCESS_OOM_KILLED', 'and its attempt says so');
select token as held from sluice.claim('w') \gset
select sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'held', 'outcome', 'oom')));
select is((select state(run_id) from sluice.runs), 'crashed 2 large-1x', 'on the larger one it is not tried again');
select is(state(ends('oom', run_machine => 'large-2x')), 'crashed 1 large-2x', 'nor is one that has a machine as large, which stays');
select is(state(ends('oom', run_machine => 'medium-1x')), 'queued 1 large-1x', 'one with a smaller machine of its own is');
select is(state(ends('oom', run_task => 'stays')), 'crashed 1 micro', 'without a larger machine there is no retry');
select is(state(ends('failed', '{"message": "std::bad_alloc in a reply", "retryable": true}', run_task => 'stays')), 'queued 1 micro', 'unless the error says that it may be tried again');
select is(state(ends('failed', '{"name": "MemoryError", "retryable": true}')), 'queued 1 large-1x', 'which it is on the larger machine, where there is one');
select is(state(ends('failed', '{"name": "MemoryError", "retryable": false}')), 'crashed 1 small-2x', 'nor is one whose error says that it may not');
select is(state(ends('failed', '{"message": "x"}')), 'queued 1 small-2x', 'another failure changes no machine');
select ends('oom', run_task => 'tight') as run \gset
select is(state(:run), 'queued 1 large-1x', 'a task without a machine counts as the default');
select is((select count(*)::int from sluice.payload), 1, 'in the row of its payload');
select forget_all();
select sluice.enqueue('tight', max_attempts => 1) as run \gset
select token as held from sluice.claim('w') \gset
select sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'held', 'outcome', 'oom')));
select is(state(:run), 'crashed 1 ', 'at the last attempt there is no retry, and the machine stays');
select forget_all();
select sluice.enqueue('tight') as run \gset
select token as held from sluice.claim('w') \gset
select sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'held', 'outcome', 'oom')));
select is(state(:run), 'queued 1 large-1x', 'a run without a payload gets a row for its machine');
select is((select machine from sluice.claim('w')), 'large-1x', 'which the next claim is told');
select is(machine(sluice.replay(ends('oom'))), 'small-2x', 'a replay begins on the task''s machine');

-- What a worker says of a failure
create function outcome_of(error jsonb) returns text language plpgsql as $$
declare run bigint := ends('failed', error);
begin
    return (select outcome from sluice.attempts as a where a.run_id = run);
end
$$;
select is(outcome_of(v.error), v.want, v.error::text)
from (values ('{"message": "MANUAL_OOM_KILL_ERROR"}'::jsonb, 'oom'), ('"ffmpeg was killed with signal SIGKILL"', 'oom'), ('{"name": "MemoryError"}', 'oom'),
             ('{"code": "TASK_PROCESS_MAYBE_OOM_KILLED", "message": "x"}', 'oom'), ('{"name": "Error", "message": "Process exited with code -1 after signal SIGKILL."}', 'oom'),
             ('{"name": "UnexpectedExitError", "message": "Unexpected exit with code -1", "stackTrace": "after signal SIGKILL"}', 'oom'), ('{"name": "OutOfSharedMemoryError"}', 'failed'),
             ('{"name": "P0001", "message": "java.lang.OutOfMemoryError"}', 'failed'), ('{"name": "53200", "message": "out of memory"}', 'oom'),
             ('{"message": "Cannot allocate memory"}', 'failed'), ('{"message": "x"}', 'failed'), ('7', 'failed')) as v (error, want);
create function after_signal(signal text) returns text language plpgsql as $$
declare run bigint := ends('failed', jsonb_build_object('code', 'TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE', 'message', 'Process exited with code -1 after signal ' || signal || '.'));
begin
    return (select format('%s %s %s', r.status, a.outcome, a.error ->> 'code') from sluice.runs as r join sluice.attempts as a using (run_id) where r.run_id = run);
end
$$;
select is(after_signal('SIGTERM'), 'queued crashed TASK_PROCESS_SIGTERM', 'a worker''s word about SIGTERM is a crash, which is tried again');
select is(after_signal('SIGSEGV'), 'crashed crashed TASK_PROCESS_SIGSEGV', 'and about SIGSEGV one that is not');

-- What attempts used
select forget_all();
select sluice.enqueue('client') as run, sluice.enqueue('client') as other, sluice.enqueue('stays') as third, sluice.enqueue('stays') as fourth \gset
create temp table held as select run_id, token from sluice.claim('w', capacity => 4);
create function usage(run_id bigint, outcome text) returns jsonb language sql as $$
    select jsonb_build_object('token', token, 'outcome', outcome, 'usage', '{"machine": "micro", "enforced_by": "cgroup", "wall": 2.5, "cpu_user": 0.25,
        "cpu_system": 0.125, "memory_limit": 268435456, "peak_memory": 1000, "read_bytes": 512, "written_bytes": 1024}'::jsonb) from held as h where h.run_id = $1
$$;
select sluice.exchange('w', jsonb_build_array(usage(:run, 'completed'), usage(:other, 'completed')));
select is((select row(attempt, task, machine, enforced_by, memory_limit, peak_memory, cpu_user, cpu_system, wall, read_bytes, written_bytes)::text from sluice.resources where run_id = :run),
    '(1,client,micro,cgroup,268435456,1000,00:00:00.25,00:00:00.125,00:00:02.5,512,1024)', 'use is kept with a completion');
select is((select count(*)::int from sluice.resources), 2, 'of each');
select sluice.exchange('w', jsonb_build_array(usage(:run, 'completed'), usage(:third, 'oom'), usage(:fourth, 'released')));
select results_eq('select run_id from sluice.resources order by run_id', format('values (%s::bigint), (%s), (%s)', :run, :other, :third), 'and with other outcomes, once, but not for what did not count');
select sluice.exchange('w', jsonb_build_array(usage(:run, 'completed') || '{"token": "00000000-0000-8000-8000-000000000000"}'));
select is((select count(*)::int from sluice.resources), 3, 'a token that owns nothing records nothing');

-- A machine for which nobody has memory
select forget_all();
select sluice.register_worker('small', '{"memory": 1073741824, "executors": ["external"], "capacity": 1}');
select is((select memory from sluice.workers where worker = 'small'), 1073741824::bigint, 'a worker says how much memory it has');
select sluice.enqueue('client', machine => 'large-2x') as run \gset
create function give_back() returns text language plpgsql as $$
declare held uuid; run bigint; before timestamptz := clock_timestamp();
begin
    select token, run_id into held, run from sluice.exchange('small', capacity => 1, seen_reply => 0) where kind = 'claimed';
    perform sluice.exchange('small', jsonb_build_array(jsonb_build_object('token', held, 'outcome', 'released', 'error', '{"code": "MACHINE_TOO_LARGE"}'::jsonb)), array[held]);
    if exists (select from sluice.runs where run_id = run and finished_at is null and ready_at > before + interval '1 second') then -- by now that may be past
        perform sluice.reschedule(run, clock_timestamp());
        return 'waits';
    end if;
    return (select status from sluice.runs where run_id = run);
end
$$;
select matches(sluice.explain_run(:run), 'no registered worker that takes queue task/client has memory for machine large-2x \(16384 MiB; the most is 1024 MiB\)', 'explain_run names the machine');
select is(array(select give_back() from generate_series(1, 8)), array_fill('waits'::text, array[8]), 'what nobody has memory for waits');
select is((select attempt::integer from sluice.runs where run_id = :run), 0, 'without an attempt that counts');
select is(give_back(), 'failed', 'and fails in the end');
select is((select error ->> 'message' from sluice.runs where run_id = :run),
    'machine large-2x needs 16384 MiB, and no sidecar that takes queue task/client has more than 1024 MiB for its attempts', 'with an error that says why');
select results_eq($$select severity, subject, why from sluice.doctor() where what = 'machine is too large'$$,
    $$values ('warning', 'client', 'Machine large-1x needs 8192 MiB, and no registered worker that runs external tasks of queue task/client has more than 1024 MiB.'),
             ('warning', 'tight', 'Machine large-1x needs 8192 MiB, and no registered worker that runs external tasks of queue task/tight has more than 1024 MiB.')$$,
    'doctor names tasks whose machines are too large');
select sluice.register_worker('small', '{"memory": 34359738368, "executors": ["external"], "capacity": 1}');
select sluice.enqueue('client', machine => 'large-2x') as run \gset
select is(array(select give_back() from generate_series(1, 12)), array_fill('waits'::text, array[12]), 'where a worker has memory for it a run waits for that one');
select is_empty($$select 1 from sluice.doctor() where what = 'machine is too large'$$, 'and doctor has nothing to say');
select * from finish();
