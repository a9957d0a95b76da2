-- Views: complete, in the order in which people read, and right in each state of a run.
\ir lib/helper.psql
select task('t', 3);
select is((select array_agg(attname::text order by attnum) from pg_attribute where attrelid = ('sluice.' || v.view)::regclass and attnum > 0), v.columns, v.view || ' has its columns in order; new ones come last')
from (values ('runs', '{run_id,task,queue,status,attempt,max_attempts,concurrency_key,priority,worker,created_at,ready_at,started_at,finished_at,payload,output,error,tags,metadata,expires_at,max_duration,schedule,external_id,machine,traceparent}'::text[]),
    ('attempts', '{run_id,attempt,outcome,worker,started_at,ended_at,duration,error}'),
    ('resources', '{run_id,attempt,task,machine,enforced_by,memory_limit,peak_memory,cpu_user,cpu_system,wall,read_bytes,written_bytes}'),
    ('queues', '{queue,depth,delayed,executing,concurrency,key_concurrency,oldest,paused_at,pause_reason,granted_to}'),
    ('lanes', '{queue,concurrency_key,depth,delayed,executing,concurrency,oldest}'),
    ('tasks', '{task,executor,target,queue,max_attempts,lease,max_duration,role,options,retry,updated_at,owner,granted_to,ttl,retention,machine,heartbeat,on_lost}'),
    ('schedules', '{schedule,external_id,task,cron,timezone,description,active,next_tick,last_tick,last_run_id,last_status,skipped,problem,catch_up,overlap,spread,payload,options,owner,created_at,updated_at}'),
    ('queue_stats', '{queue,since,claimed,waited,completed,failed,lost,released,retried,conflicts,stale}'),
    ('workers', '{worker,executing,capacity,executors,queues,leader,host,process,version,backend_pid,registered_at,seen_at,memory}')) as v (view, columns);

-- A run in each state
select sluice.enqueue('t') as done, sluice.enqueue('t') as bad, sluice.enqueue('t') as again, sluice.enqueue('t') as going \gset
create temp table got as select run_id, token from sluice.claim('w1', capacity => 4);
select sluice.complete((select token from got where run_id = :done), '{"o": 1}');
select sluice.fail((select token from got where run_id = :bad), '{"message": "bad", "retryable": false}');
select sluice.fail((select token from got where run_id = :again), '{"message": "again"}', now() + interval '1 hour');
select sluice.enqueue('t') as waiting, sluice.enqueue('t', delay => '1h') as later, sluice.enqueue('t') as gone \gset
select sluice.cancel(:gone);
select results_eq('select run_id, status, attempt::int, worker, started_at is not null, finished_at is not null, output, error ->> ''message'' from sluice.runs order by run_id', format(
    $$values (%s::bigint, 'completed', 1, null::text, true, true, '{"o": 1}'::jsonb, null::text), (%s, 'failed', 1, null, true, true, null, 'bad'), (%s, 'retrying', 1, null, true, false, null, 'again'),
             (%s, 'executing', 1, 'w1', true, false, null, null), (%s, 'queued', 0, null, false, false, null, null), (%s, 'delayed', 0, null, false, false, null, null), (%s, 'canceled', 0, null, false, true, null, null)$$,
    :done, :bad, :again, :going, :waiting, :later, :gone), 'runs shows each state of a run');
select is((select count(*) from sluice.runs), (select count(*) from sluice.run), 'and every run once');
select results_eq('select depth::int, delayed::int, executing::int, oldest > interval ''0'' from sluice.queues', 'values (1, 2, 1, true)', 'queues counts what could start, what is to come, and slots');
select results_eq('select concurrency_key, depth::int, delayed::int, executing::int from sluice.lanes', 'values (null::text, 1, 2, 1)', 'lanes too');
select results_eq('select attempt::int, outcome, worker, duration >= interval ''0'', error ->> ''message'' from sluice.attempts order by run_id', $$values (1, 'completed', 'w1', true, null), (1, 'failed', 'w1', true, 'bad'), (1, 'failed', 'w1', true, 'again')$$, 'attempts shows those that have ended');
-- Tables as small as these would be read from end to end, whatever the view is.
create function plan_of(statement text) returns setof text language plpgsql set enable_seqscan = off as $$ begin return query execute 'explain (costs off) ' || statement; end $$;
select is((select string_agg(line, ' ') ~ 'run_pkey|run_p\d+_pkey' and string_agg(line, ' ') ~ 'attempt_pkey|attempt_p\d+_pkey' and string_agg(line, ' ') !~ 'Seq Scan' from plan_of(v) as line), true, 'the attempts of one run are looked up by its id: ' || v)
from unnest(array[format('select * from sluice.attempts where run_id = %s', :done), format('select a.outcome from sluice.runs as r join sluice.attempts as a using (run_id) where r.run_id = %s', :done)]) as v;
select results_eq('select worker, executing::int, registered_at is null from sluice.workers', $$values ('w1', 1, true)$$, 'a client that holds slots is a worker');
select sluice.register_worker('me', '{"host": "h", "version": "0.1.0", "executors": ["sql"], "queues": ["task/t"], "capacity": 3, "pid": 42}');
select results_eq($$select executing::int, capacity, executors, queues, leader, host, backend_pid = pg_backend_pid(), version, seen_at >= registered_at from sluice.workers where worker = 'me'$$,
    $$values (0, 3, 'sql', 'task/t', false, 'h', true, '0.1.0', true)$$, 'a registered one shows what it said of itself');
select sluice.create_queue('empty');
select results_eq($$select depth::int, delayed::int, executing::int, oldest from sluice.queues where queue = 'empty'$$, 'values (0, 0, 0, null::interval)', 'an empty queue is listed');
select is_empty($$select from sluice.lanes where queue = 'empty'$$, 'an empty lane is not');

-- In other settings
set timezone = 'Asia/Kathmandu';
set datestyle = 'SQL, DMY';
select is((select created_at from sluice.runs where run_id = :done), (select sluice._run_time(:done)), 'created_at is the instant inside the id, in any time zone');
reset timezone;
reset datestyle;
select is_empty($$select v.oid::regclass from pg_class as v where v.relnamespace = 'sluice'::regnamespace and v.relkind = 'v' and not exists (select from unnest('{runs,attempts,resources,queues,lanes,tasks,workers,schedules,watches,weeks,queue_stats}'::text[]) as n where n = v.relname)$$, 'there are no other views');
select * from finish();
