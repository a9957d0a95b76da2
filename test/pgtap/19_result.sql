-- result(): what came of a run, now or within a time.
\ir lib/helper.psql
select task('t', 3);
create function result_of(run bigint) returns text language sql as $$ select format('%s/%s/%s', status, output, error ->> 'message') from sluice.result(run) $$;
select sluice.enqueue('t') as run \gset
select is(result_of(:run), 'queued//', 'a queued run');
select take('task/t') as token \gset
select is(result_of(:run), 'executing//', 'an executing run');
select sluice.fail(:'token', '{"message": "first"}', retry_at => now() + interval '1 hour');
select is(result_of(:run), 'retrying//first', 'a retrying run has the error of its last attempt');
select make_due(:run);
select take('task/t') as token \gset
select is(result_of(:run), 'executing//first', 'so has its next attempt');
select sluice.complete(:'token', '{"o": 1}');
select is(result_of(:run), 'completed/{"o": 1}/', 'a completed run has its output and no error');
select sluice.enqueue('t', delay => '1h') as run \gset
select is(result_of(:run), 'delayed//', 'a delayed run');
select sluice.cancel(:run);
select is(result_of(:run), 'canceled//', 'a canceled run');
select sluice.enqueue('t', max_attempts => 1) as run \gset
select sluice.fail(take('task/t'), '{"message": "over"}');
select is(result_of(:run), 'failed//over', 'a failed run has its error');
select is(said('select sluice.result(42)'), 'SL003: run 42 does not exist [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'a run that does not exist has no result');
select is(said('select sluice.result(null)'), 'SL003: run_id must not be null [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'nor has null');

-- Waiting
select is((select status from sluice.result(:run, '1 hour')), 'failed', 'a final run is not waited for');
select sluice.enqueue('t') as run \gset
select clock_timestamp() as before \gset
select is((select status from sluice.result(:run, '120 milliseconds')), 'queued', 'when the time is over it says how things are');
select cmp_ok(clock_timestamp() - :'before', '>=', interval '120 milliseconds', 'and not sooner');
select is((select status from sluice.result(:run, '-1 s')), 'queued', 'a negative wait is none');
select is((select status from sluice.result(:run, null)), 'queued', 'a null wait is none');
select take('task/t') as token \gset
select connect('waiter');
select dblink_send_query('waiter', format('select status, output from sluice.result(%s, ''20 s'')', :run));
call wait_until($$select exists (select from pg_stat_activity where query like '%sluice.result(%' and wait_event = 'PgSleep')$$);
select sluice.complete(:'token', '"found"');
select is((select s || o from dblink_get_result('waiter') as r (s text, o text)), 'completed"found"', 'a waiter learns of the end from another session');
select * from dblink_get_result('waiter') as r (s text);

-- Where it cannot see the end
begin;
select sluice.enqueue('t') as run \gset
select is((select status from sluice.result(:run)), 'queued', 'a transaction may ask for the state of its own run');
select is(said(format('select sluice.result(%s, ''3 s'')', :run)), format('SL013: this transaction cannot see run %s finish [Commit first, then wait for the result in a transaction of isolation level read committed.]', :run), 'not wait for it');
savepoint s;
select sluice.enqueue('t') as run \gset
select is(said(format('select sluice.result(%s, ''2 s'')', :run)), format('SL013: this transaction cannot see run %s finish [Commit first, then wait for the result in a transaction of isolation level read committed.]', :run), 'not of a subtransaction either');
release s;
select is(said(format('select sluice.result(%s, ''2 s'')', :run)), format('SL013: this transaction cannot see run %s finish [Commit first, then wait for the result in a transaction of isolation level read committed.]', :run), 'nor of one that is over');
rollback;
select sluice.enqueue('t') as run \gset
begin isolation level repeatable read;
select is(said(format('select sluice.result(%s, ''3 s'')', :run)), format('SL013: this transaction cannot see run %s finish [Commit first, then wait for the result in a transaction of isolation level read committed.]', :run), 'nor at repeatable read');
rollback;
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
