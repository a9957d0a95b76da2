-- cancel(): at once and for good, whatever the run is doing.
\ir lib/helper.psql
select task('t', 3);

select sluice.enqueue('t') as run \gset
select is(sluice.cancel(:run), true, 'a queued run is canceled');
select results_eq(format('select status, attempt::int, finished_at is not null, output, error from sluice.runs where run_id = %s', :run), $$values ('canceled', 0, true, null::jsonb, null::jsonb)$$, 'and final, without an attempt');
select is(take('task/t'), null, 'it is not handed out');
select is(sluice.cancel(:run), false, 'a second cancel is false');

select sluice.enqueue('t', delay => '1h') as run \gset
select is(sluice.cancel(:run), true, 'a delayed run is canceled');
select make_due(:run);
select is(take('task/t'), null, 'and not handed out when its time comes');

select sluice.enqueue('t') as run \gset
select sluice.fail(take('task/t'), '{"message": "m"}', retry_at => now() + interval '1 hour');
select is(sluice.cancel(:run), true, 'a retrying run is canceled');
select results_eq(format('select status, attempt::int from sluice.runs where run_id = %s', :run), $$values ('canceled', 1)$$, 'and keeps the attempts that it had');

-- Executing
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select is(sluice.cancel(:run), true, 'an executing run is canceled');
select is(status_of(:run), 'canceled', 'at once');
select results_eq(format('select attempt::int, outcome, worker from sluice.attempts where run_id = %s', :run), $$values (1, 'canceled', 'w')$$, 'its attempt was canceled');
select results_eq(format('select revoked, told from held_slot where token = %L', :'token'), $$values ('canceled', false)$$, 'its slot is held');
select is_empty(format('select * from sluice.heartbeat(array[%L]::uuid[])', :'token'), 'its token is dead');
select is(said(format('select sluice.%s(%L)', verb, :'token')), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', verb || ' is refused') from unnest('{complete,fail}'::text[]) as verb;
select is(detail_of(format('select sluice.complete(%L)', :'token')), format('Token %s: its run was canceled.', :'token'), 'and told why');
select is(status_of(:run), 'canceled', 'nothing of it changed the run');
select is(sluice.cancel(:run), false, 'a second cancel is false');
select is((select answer from sluice.exchange('w', heartbeats => array[:'token']::uuid[]) where kind = 'lost'), 'canceled', 'an exchange tells the worker');
select is((select sluice._look_for_work(null, '{}', 'w'))::text, '(,)', 'once told it is not woken again');
select is((select answer from sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', 'canceled'))) where kind = 'ended'), 'done', 'it acknowledges');
select is((select count(*)::int from held_slot), 0, 'and the slot is free');
select is(detail_of(format('select sluice.complete(%L)', :'token')), format('Token %s: its run was canceled.', :'token'), 'later it is still told why');

select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select sluice.cancel(:run);
select is(sluice.release(:'token'), 'done', 'a client without exchange() lets go by release()');
select is((select count(*)::int from held_slot), 0, 'which frees the slot');
select is(status_of(:run), 'canceled', 'and does not bring the run back');
select is(said(format('select sluice.release(%L)', :'token')), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'once');

-- Final
select sluice.enqueue('t') as run \gset
select sluice.complete(take('task/t'), '1');
select is(sluice.cancel(:run), false, 'a completed run is not canceled');
select results_eq(format('select status, output from sluice.runs where run_id = %s', :run), $$values ('completed', '1'::jsonb)$$, 'and not changed');

-- A waiter is woken.
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select sluice.cancel(:run);
select is((select reason from sluice._look_for_work(null, '{}', 'w')), 'revoked', 'a waiting worker is told to ask for its tokens');
select is((select reason from sluice._look_for_work(null, '{}', 'another')), null, 'another worker is not');
select sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', 'canceled')));

-- Transactions
select sluice.enqueue('t') as run \gset
begin;
select sluice.cancel(:run);
select is(status_of(:run), 'canceled', 'a cancel is seen by its own transaction');
rollback;
select is(run_of(take('task/t')), :run::bigint, 'and undone with it');
begin;
select sluice.enqueue('t') as own \gset
select is(sluice.cancel(:own), true, 'a transaction cancels what it enqueued');
commit;
select is(status_of(:own), 'canceled', 'which then exists, canceled');

select is(said('select sluice.cancel(42)'), 'SL003: run 42 does not exist [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'a run that does not exist cannot be canceled');
select is(said('select sluice.cancel(null)'), 'SL003: run_id must not be null [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'nor null');
select is(said('select sluice.cancel(-1)'), 'SL003: run -1 does not exist [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'nor a negative id');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
