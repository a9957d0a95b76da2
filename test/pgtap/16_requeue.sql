-- requeue(): a live run goes back into a queue in one step; nothing of it is lost, doubled or leaked.
\ir lib/helper.psql
select task('t', 3);
select sluice.create_queue('other');
create function row_of(run bigint) returns text language sql as $$
    select format('%s class %s attempt %s priority %s in %s', case when r.status = 'queued' and r.ready_at > clock_timestamp() then 'later' else r.status end, r.class, r.attempt, r.priority, q.queue)
    from sluice.run as r join sluice.queue as q using (queue_id) where r.run_id = run $$;

-- Executing
select sluice.enqueue('t', '{"p": 1}', priority => 9, concurrency_key => 'k', tags => '{x}') as run \gset
select take('task/t') as token \gset
select sluice.requeue(:run);
select is(row_of(:run), 'queued class 1 attempt 0 priority 9 in task/t', 'an executing run is queued again before fresh ones; its attempt is given back and its priority kept');
select ok((select claim_key = ready_at - interval '9 s' and due_at is null and started_at is not null from sluice.run where run_id = :run), 'the columns that claims read fit');
select results_eq(format('select revoked from held_slot where token = %L', :'token'), $$values ('requeued')$$, 'its slot is held by the old worker');
select is(detail_of(format('select sluice.complete(%L)', :'token')), format('Token %s: its run was queued again.', :'token'), 'its token is dead');
select is_empty(format('select * from sluice.attempts where run_id = %s', :run), 'no attempt has ended');
select take('task/t', 'w2') as token2 \gset
select is(run_of(:'token2'), :run::bigint, 'it is handed out again');
select is((select count(*)::int from held_slot where run_id = :run), 2, 'two slots are held: the old and the new');
select is((select answer from sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', 'completed', 'output', 'old'))) where kind = 'ended'), 'stale', 'the old worker''s outcome is stale');
select is((select count(*)::int from held_slot where run_id = :run), 1, 'and frees its slot alone');
select is(sluice.complete(:'token2', '"new"'), 'done', 'the new worker completes it');
select results_eq(format('select status, attempt::int, output, payload, tags, concurrency_key from sluice.runs where run_id = %s', :run), $$values ('completed', 1, '"new"'::jsonb, '{"p": 1}'::jsonb, '{x}'::text[], 'k')$$, 'with its own result, as the first attempt');
select is((select count(*)::int from held_slot), 0, 'no slot is left over');

-- Where it goes, and when
select sluice.enqueue('t') as run \gset
select sluice.requeue(:run, 'other', 77, '1h');
select is(row_of(:run), 'later class 2 attempt 0 priority 77 in other', 'a queued run takes another queue, priority and delay');
select is(status_of(:run), 'delayed', 'and is delayed');
select sluice.requeue(:run);
select is(row_of(:run), 'queued class 2 attempt 0 priority 77 in other', 'requeue without a time is for now, and what is left out stays');
select sluice.requeue(:run, run_at => '2099-01-01 00:00+00');
select ok((select ready_at = '2099-01-01 00:00+00' and due_at = ready_at and claim_key = ready_at - interval '77 s' from sluice.run where run_id = :run), 'run_at is another way to say when');
select sluice.requeue(:run, run_at => '1999-01-01', priority => 0);
select is(row_of(:run), 'queued class 2 attempt 0 priority 0 in other', 'a time in the past is now; a priority of 0 is one');
select is(run_of(take('other')), :run::bigint, 'it is handed out in its new queue');
select sluice.enqueue('t', priority => 8) as run2 \gset
select sluice.requeue(:run2, 'other');
select is(row_of(:run2), 'queued class 2 attempt 0 priority 8 in other', 'another queue alone keeps the priority');
select sluice.cancel(:run2);
select sluice.cancel(:run);

-- Retrying
select sluice.enqueue('t') as run \gset
select sluice.fail(take('task/t'), retry_at => now() + interval '1 hour');
select sluice.requeue(:run);
select is(row_of(:run), 'queued class 1 attempt 1 priority 0 in task/t', 'a retrying run starts now; its ended attempt counts');

-- Deliveries count: a run that loses its workers ends.
select sluice.try_lead('leader');
create function lose() returns void language plpgsql as $$
begin
    perform take('task/t');
    perform expire();
    perform sluice.expire_leases();
end $$;
select lose();
select is(row_of(:run), 'queued class 1 attempt 2 priority 0 in task/t', 'a delivery whose worker is lost counts');
select take('task/t') as token \gset
select sluice.requeue(:run);
select is(row_of(:run), 'queued class 1 attempt 2 priority 0 in task/t', 'one that is requeued does not');
select lose();
select is(status_of(:run), 'system_failure', 'so a run that loses its workers ends after max_attempts');
select is((select count(*)::int from held_slot where run_id = :run), 0, 'and holds no slot');

-- A run that is enqueued while another of the same key is executing is neither lost nor touched by its end.
select sluice.enqueue('t', concurrency_key => 'same') as one \gset
select take('task/t') as token \gset
select sluice.enqueue('t', concurrency_key => 'same') as two \gset
select sluice.complete(:'token');
select is(status_of(:two), 'queued', 'the end of one run takes no other with it');
select is(run_of(take('task/t')), :two::bigint, 'which is handed out');

-- At no moment in two places
begin;
select sluice.requeue(:two);
savepoint s;
select sluice.requeue(:two, 'other');
rollback to s;
select is(row_of(:two), 'queued class 1 attempt 0 priority 0 in task/t', 'a requeue that is rolled back to a savepoint leaves the one before');
rollback;
select is(status_of(:two), 'executing', 'a requeue that is rolled back never was');
select is((select count(*)::int from held_slot where run_id = :two and revoked is null), 1, 'the lease stands');

-- Refusals
select sluice.cancel(:two);
select is(said(format('select sluice.requeue(%s)', :two)), format('SL101: run %s cannot be queued again: it is canceled [A final run never changes; sluice.replay makes a new one.]', :two), 'a final run is not queued again');
select sluice.enqueue('t') as run \gset
select is(said('select sluice.requeue(42)'), 'SL003: run 42 does not exist [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'nor one that does not exist');
select is(said(format('select sluice.requeue(%s, queue => ''none'')', :run)), 'SL001: queue "none" does not exist [Create it with select sluice.create_queue(''none'').]', 'nor into a queue that does not exist');
select is(said(format('select sluice.requeue(%s, priority => -1)', :run)), 'SL006: priority must be 0 to 1000000 [It is a head start in seconds.]', 'nor with a wrong priority');
select is(said(format('select sluice.requeue(%s, delay => ''1h'', run_at => now())', :run)), 'SL006: delay and run_at exclude each other [Give one of them.]', 'nor with two times');
select is(row_of(:run), 'queued class 2 attempt 0 priority 0 in task/t', 'what was refused changed nothing');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
