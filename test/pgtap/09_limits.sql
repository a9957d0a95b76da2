-- Limits: slots of a queue and of each concurrency key are never exceeded and never leak.
\ir lib/helper.psql
create function claims(queue text, n int default 100) returns int language sql as $$ select count(*)::int from sluice.claim('w', array[queue], n) $$;
create function held(queue text) returns int language sql as $$ select executing::int from sluice.queues as q where q.queue = $1 $$;
create function limited(name text, concurrency int, key_concurrency int default null) returns void language sql as
    $$ select sluice.create_queue(name, concurrency, key_concurrency); select task(name, queue => name) $$;

-- Of the queue
select limited('q', 3);
select count(sluice.enqueue('q', concurrency_key => k)) from unnest(array[null, 'a', 'b']) as k, generate_series(1, 5);
select is(claims('q'), 3, 'concurrency bounds the slots of a queue over all its lanes');
select is(claims('q'), 0, 'a full queue hands out nothing');
select is((select coalesce(sum(depth), 0)::int from sluice.queues where queue = 'q'), 12, 'and keeps its runs');
select token as done from held_slot limit 1 \gset
select sluice.complete(:'done');
select is(claims('q'), 1, 'a completion frees one slot');
select count(sluice.fail(token)) from held_slot;
select is(claims('q'), 3, 'so does each failure');
select count(sluice.release(token)) from held_slot;
select is(claims('q', 2), 2, 'so does each release');
select is(held('q'), 2, 'the view shows the slots');

-- Raised and lowered
select sluice.create_queue('q', 5);
select is(claims('q'), 3, 'a raised limit holds at once');
select sluice.create_queue('q', 1);
select is(held('q'), 5, 'a lowered limit kills nothing');
select is(claims('q'), 0, 'nothing starts while more run than it allows');
select count(sluice.complete(token)) from (select token from held_slot limit 4) as s;
select is(claims('q'), 0, 'until the last one over it has ended');
select count(sluice.complete(token)) from held_slot;
select is(claims('q'), 1, 'then the new limit holds');
select sluice.create_queue('q', 0);
select count(sluice.complete(token)) from held_slot;
select is(claims('q'), 0, 'a limit of 0 starts nothing');
select isnt(sluice.enqueue('q'), null, 'and accepts runs');
select sluice.create_queue('q');
select cmp_ok(claims('q'), '>', 3, 'null is unlimited');
select count(sluice.complete(token)) from held_slot;

-- Of each key
select limited('k', null, 2);
select count(sluice.enqueue('k', concurrency_key => k)) from unnest(array[null, 'a', 'b']) as k, generate_series(1, 5);
select is(claims('k'), 9, 'key_concurrency bounds each key on its own and not the runs without one');
select results_eq($$select concurrency_key, depth::int, executing::int, concurrency from sluice.lanes where queue = 'k' order by 1$$, $$values ('a', 3, 2, 2), ('b', 3, 2, 2), (null, 0, 5, null)$$, 'the lanes show it');
select is(claims('k'), 0, 'full lanes hand out nothing');
select sluice.enqueue('k', concurrency_key => 'c'), sluice.enqueue('k', concurrency_key => 'c'), sluice.enqueue('k', concurrency_key => 'c');
select is(claims('k'), 2, 'a full lane does not stand in the way of another');
select sluice.complete((select s.token from held_slot as s join sluice.run as r using (run_id) where r.concurrency_key = 'a' limit 1));
select is(claims('k'), 1, 'an end in one lane frees a slot of that lane');
select is((select executing::int from sluice.lanes where queue = 'k' and concurrency_key = 'a'), 2, 'and of no other');
select limited('k0', null, 0);
select sluice.enqueue('k0', concurrency_key => 'a') as keyed \gset
select is(claims('k0'), 0, 'key_concurrency 0 starts nothing that has a key');
select sluice.enqueue('k0') as keyless \gset
select is(claims('k0'), 1, 'but what has none');
select is(status_of(:keyed) || ' ' || status_of(:keyless), 'queued executing', 'it was the run without a key');

-- Both
select limited('both', 5, 2);
select count(sluice.enqueue('both', concurrency_key => k)) from unnest(array['a', 'b', 'c', 'd']) as k, generate_series(1, 5);
select is(claims('both'), 5, 'with both limits the queue holds its own');
select is((select max(executing)::int from sluice.lanes where queue = 'both'), 2, 'and each lane too');
select limited('both2', 100, 1);
select count(sluice.enqueue('both2', concurrency_key => k)) from unnest(array['a', 'b', 'c', 'd']) as k, generate_series(1, 5);
select is(claims('both2'), 4, 'a wide queue is bounded by its lanes');

-- Slots of dead tokens
select limited('s', 1);
select sluice.enqueue('s') as run1, sluice.enqueue('s') as run2 \gset
select take('s') as token \gset
select sluice.cancel(:run1);
select is(claims('s'), 0, 'a canceled attempt keeps its slot');
select is(held('s'), 1, 'and is counted');
select is((select answer from sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', 'canceled'))) where kind = 'ended'), 'done', 'until its worker acknowledges');
select take('s') as token \gset
select is(run_of(:'token'), :run2::bigint, 'then the next run starts');
select sluice.requeue(:run2);
select is(claims('s'), 0, 'a requeued attempt keeps its slot, also from its own run');
select is(said(format('select sluice.complete(%L)', :'token')), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'a worker that is refused');
select is(claims('s'), 0, 'has told nobody that it stopped: the error undoes all');
select is((select answer from sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', 'completed'))) where kind = 'ended'), 'stale', 'an outcome of a dead token in an exchange is stale');
select take('s') as token \gset
select is(run_of(:'token'), :run2::bigint, 'and says that the worker has let go');
select sluice.requeue(:run2);
select sluice.try_lead('leader');
select expired from sluice.expire_leases() \gset
select is(claims('s'), 0, 'while the lease of a dead token lasts, the slot is held');
select expire();
select sluice.expire_leases();
select is(claims('s'), 1, 'when it ends, the slot is free');
select is_empty(format('select * from sluice.attempts where run_id = %s and outcome = ''lost''', :run2), 'and no attempt was lost');

-- A slot that this transaction freed is its own to use.
begin;
select count(*) from sluice.complete((select token from held_slot join sluice.queue using (queue_id) where queue = 's')) \gset
select sluice.enqueue('s');
select is(claims('s'), 1, 'a transaction uses the slot that it freed');
savepoint x;
select count(sluice.complete(token)) from held_slot join sluice.queue using (queue_id) where queue = 's';
rollback to x;
select is(claims('s'), 0, 'not one whose freeing was undone');
commit;
select connect('other');
select sluice.enqueue('s') from generate_series(1, 3);
select dblink_exec('other', 'begin');
select in_session('other', $$select count(sluice.complete(token)) from held_slot join sluice.queue using (queue_id) where queue = 's'$$);
select is(claims('s'), 0, 'a slot that another transaction is about to free is still taken');
select dblink_exec('other', 'commit');
select is(claims('s'), 1, 'until it commits');

-- A queue that is moved to another: the slot stays where it was taken.
select limited('from', 1), limited('to', 1);
select sluice.enqueue('from') as run \gset
select take('from') as token \gset
select sluice.requeue(:run, queue => 'to');
select is(held('from'), 1, 'the slot of a requeued run stays in the queue where it was taken');
select is(claims('to'), 1, 'the other queue has its own');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
