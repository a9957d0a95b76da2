-- doctor: each finding is brought about for real, and gone when its cause is.
\ir lib/helper.psql
select login('t_reader', 'sluice_reader');
create function findings(patience text default '0') returns text language sql as $$
    select string_agg(format('%s: %s, %s', severity, what, subject), '; ' order by n)
    from sluice.doctor(patience::interval) with ordinality as d (severity, what, subject, why, what_to_do, n)
    where what <> 'claims go by the tables'
$$;
create function found(phrase text, patience text default '0') returns text language sql as $$
    select string_agg(format('%s: %s -> %s',
        severity, regexp_replace(regexp_replace(regexp_replace(why, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00', 'T', 'g'), '\m\d+ (second|minute)s?\M', 'S', 'g'), 'ackend \d+', 'ackend P'),
        regexp_replace(what_to_do, 'backend\(\d+', 'backend(P')), '; ')
    from sluice.doctor(patience::interval) where what = phrase
$$;
create function stop(session text) returns void language sql as $$ select dblink_disconnect(session) $$;

select is(findings(), null, 'nothing is found where nothing is wrong');
select is(said($$select count(*) from sluice.doctor()$$, 't_reader') ~ '^\d+$', true, 'a reader may ask');
select is(said($$select sluice.doctor('-1 s')$$), 'SL006: patience must not be null or negative [It is how long something may last before it is a finding.]', 'patience is not negative');
select is(left(said($$select sluice.doctor(null)$$), 6), 'SL006:', 'nor null');

-- Queues and workers
select task('t');
select sluice.enqueue('t') as run \gset
select is(findings('5 minutes'), null, 'an external run may wait for a client that does not register');
select is(found('no worker for queue'), 'warning: No registered worker that takes it runs external tasks; 1 run could start, it for S. -> Start a worker for queue task/t and executor external.', 'but not for longer than patience');
select connect('w');
select in_session('w', $$select sluice.register_worker('w', '{"executors": ["process"]}')$$);
select is(found('no worker for executor') ~ '^warning: No registered worker that takes it runs external tasks;', true, 'a worker of another executor does not help');
select is(found('no leader', '5 minutes'), 'warning: No session has the leader''s lock; 0 leases or times to live are over and 0 workers'' sessions have ended, and nobody does anything about it. -> Start sluiced.', 'workers without a leader');
select connect('leads');
select is(in_session('leads', $$select sluice.try_lead('boss')$$), 't', 'somebody leads');
select in_session('w', $$select sluice.register_worker('w', '{"executors": ["external"]}')$$);
select is(findings(), null, 'with the right worker and a leader all is well');
select sluice.create_task('s', target => 'select 1');
select sluice.enqueue('s') as own \gset
select is(findings('5 minutes'), 'warning: no worker for executor, task/s', 'an sql task without sluiced is found at once');
select sluice.cancel(:own);
select sluice.pause('task/t', 'stocktaking');
select is(found('queue is paused'), 'warning: It has been paused since T, because: stocktaking; 1 run could start, it for S. -> select sluice.resume(''task/t'')', 'a pause that keeps a run waiting');
select sluice.cancel(:run);
select is(found('queue is paused') ~ '^notice: It has been paused since T, because: stocktaking; no run waits\.', true, 'one that does not is a notice');
select sluice.resume('task/t');
select is(findings(), null, 'and it is over');

-- Limits
select sluice.create_queue('one', 1), task('o', queue => 'one');
select sluice.enqueue('o'), sluice.enqueue('o');
select take('one', 'holder') as token \gset
select is(found('queue is at its limit'), 'notice: 1 of 1 slots are held: holder since T; 1 run could start, it for S. -> Wait for a slot, or set a higher limit with sluice.create_queue().', 'a queue at its limit');
select sluice.complete(:'token');
select is(findings(), null, 'and below it');
select sluice.create_queue('one', 0);
select is(findings(), 'warning: queue is at its limit, one', 'a limit of 0');
select sluice.cancel(run_id) from sluice.runs where queue = 'one';
select sluice.create_queue('keyed', null, 1), task('k', queue => 'keyed');
select sluice.enqueue('k', concurrency_key => 'a'), sluice.enqueue('k', concurrency_key => 'a');
select take('keyed', 'holder') as token \gset
select is(found('lane is blocked', '5 minutes'), null, 'a lane that is held for a short while is not blocked');
select is(found('lane is blocked'), 'warning: 1 of 1 slots of the lane are held, one for S: holder since T; 1 of its runs wait. -> Cancel the run that holds it with sluice.cancel(run_id), or set a higher limit of keys with sluice.create_queue().', 'for longer than patience it is');
select sluice.complete(:'token');
select is(found('lane is blocked'), null, 'and is not any more');
select sluice.cancel(run_id) from sluice.runs where queue = 'keyed';

-- The leader
select sluice.enqueue('t');
select take('task/t');
select expire();
select is(findings(), 'warning: leader is stale, boss', 'a leader that does not do its duties');
select in_session('leads', $$select expired::text from sluice.expire_leases()$$);
select is(found('leader is stale'), null, 'until it does');
select connect('dies');
select in_session('dies', $$select sluice.register_worker('dies')$$);
select stop('dies');
call wait_until($$select findings() ~ 'leader is stale, boss'$$);
select pass('nor gives back what a dead worker held');
select in_session('leads', 'select reaped::text from sluice.reap_sessions()');
select is(found('leader is stale'), null, 'until it does');
select sluice.cancel(run_id) from sluice.runs where finished_at is null;
select is(findings(), null, 'all is well again');

-- Storage
update sluice.meta set home = 'elsewhere';
select is(found('copy not adopted'), 'error: The storage remembers another cluster or database, so nothing is handed out and nobody leads here. -> select sluice.adopt()', 'a copy');
update sluice.meta set home = sluice._home(), schema_version = schema_version - 1;
select is(findings(), 'error: storage not migrated, ' || current_database(), 'storage of another version');
update sluice.meta set schema_version = sluice._schema_version();
\if :by_index
select is((select count(*)::int from sluice.doctor() where what = 'claims go by the tables'), 0, 'claims go by the index');
\else
select is(found('claims go by the tables'), 'notice: sluice.index_memory is 0. -> Set sluice.index_memory higher and reload; the index is tried again after five minutes.', 'claims go by the tables');
\endif
select format('drop table sluice_storage.%I', 'run' || to_char(date_trunc('week', now(), 'UTC') at time zone 'UTC' + interval '7 days', '"_p"YYYYMMDD')) as drop_next_week \gset
begin;
:drop_next_week;
select is(findings() ~ '^warning: partition is missing, week of \d{4}-\d\d-\d\d$', true, 'the next week has no partition');
rollback;
begin;
insert into sluice.run (run_id, ready_at, claim_key, task_id, queue_id, max_attempts, status, finished_at) values (9000000000000000000, now(), now(), 1, 1, 1, 'canceled', now());
select is(found('rows in DEFAULT'), 'notice: 1 runs were made in a week for which there was no partition. -> They are safe where they are.  Keep a sluiced running, whose leader makes partitions ahead.', 'a run in DEFAULT');
rollback;
select setval('sluice.task_task_id_seq', 2000000000);
select is(found('numbers run out'), 'warning: 2000000000 of 2147483647 are used. -> Define tasks and queues less often: each call of create_task or create_queue uses a number.', 'numbers that run out');
select setval('sluice.task_task_id_seq', 100);
select is(findings(), null, 'all is well again');

-- What holds the horizon
select connect('idle');
select dblink_exec('idle', 'begin isolation level repeatable read');
select in_session('idle', 'select count(*)::text from pg_class');
select is(findings('5 minutes'), null, 'a transaction may be open for a while');
select is(regexp_replace(found('long transaction'), 'what \d+', 'what N'), 'warning: Role postgres has had a transaction open for S; it keeps from vacuum what N transactions left. -> End it, or: select pg_terminate_backend(P)', 'not for longer than patience');
select dblink_exec('idle', 'rollback');
select dblink_exec('idle', 'begin');
select in_session('idle', 'select pg_current_xact_id()::text');
select is(findings() ~ '^warning: long transaction, backend \d+$', true, 'one that has written and holds no snapshot counts too');
select dblink_exec('idle', $$prepare transaction 'half-done'$$);
select is(regexp_replace(found('prepared transaction'), 'what \d+', 'what N'), 'warning: Role postgres prepared it S ago; it keeps its locks, and from vacuum what N transactions left. -> commit prepared ''half-done'', or rollback prepared ''half-done''', 'a prepared transaction');
select dblink_exec('idle', $$rollback prepared 'half-done'$$);
select is(findings(), null, 'all is well again');

-- Vacuum
create function dirty() returns text language sql as $$ select found('autovacuum is behind') $$;
alter table sluice.idempotency_key set (autovacuum_enabled = off);
insert into sluice.idempotency_key select 1, k::text, k, now() from generate_series(1, 3000) as k;
delete from sluice.idempotency_key;
select pg_stat_force_next_flush();
call wait_until($$select dirty() is not null$$);
select is(dirty(), 'warning: It has 3000 dead rows; autovacuum should begin at 50. Its last vacuum was never. -> vacuum sluice.idempotency_key', 'dead rows that nobody removes');
vacuum sluice.idempotency_key;
alter table sluice.idempotency_key reset (autovacuum_enabled);
call wait_until($$select dirty() is null$$);
select is(findings(), null, 'until somebody does');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
