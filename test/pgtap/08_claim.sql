-- claim(): which runs are handed out, in which order, and to whom.
\ir lib/helper.psql
select task('t');
create function drain(queue text, n int default 100) returns text[] language sql as
    $$ select array_agg(payload #>> '{}' order by i) from sluice.claim('w', array[queue], n) with ordinality as c (token, run_id, attempt, task, payload, lease_until, executor, target, options, i) $$;

-- Order inside a lane
select sluice.enqueue('t', '"first"'), sluice.enqueue('t', '"second"'), sluice.enqueue('t', '"third"');
select is(drain('task/t'), '{first,second,third}', 'runs of a lane are handed out in the order in which they came');
select sluice.enqueue('t', '"plain"'), sluice.enqueue('t', '"by 10"', priority => 10), sluice.enqueue('t', '"by 20"', priority => 20), sluice.enqueue('t', '"also by 10"', priority => 10);
select is(drain('task/t'), '{by 20,by 10,also by 10,plain}', 'priority is a head start; equal ones keep their order');
select sluice.enqueue('t', '"old"') as old \gset
update sluice.run set ready_at = ready_at - interval '1 hour', claim_key = claim_key - interval '1 hour' where run_id = :old;
select rewritten(:old);
select sluice.enqueue('t', '"head start of a minute"', priority => 60), sluice.enqueue('t', '"of two hours"', priority => 7200);
select is(drain('task/t'), '{of two hours,old,head start of a minute}', 'a head start is in seconds: what has waited longer still goes first');
select sluice.enqueue('t', '"fresh, urgent"', priority => 1000000), sluice.enqueue('t', '"retried"') as retried \gset
select sluice.enqueue('t', '"resumed"') as resumed \gset
update sluice.run set class = 1 where run_id = :retried;
update sluice.run set class = 0 where run_id = :resumed;
select rewritten(:retried), rewritten(:resumed);
select is(drain('task/t'), '{resumed,retried,"fresh, urgent"}', 'resumed goes before retried, retried before fresh, whatever the priority');
select sluice.enqueue('t', '"x"'), sluice.enqueue('t', '"y"');
update sluice.run set claim_key = '2026-01-01', ready_at = '2026-01-01', priority = 0 where status = 'queued';
select rewritten(run_id) from sluice.run where status = 'queued';
select is(drain('task/t'), '{x,y}', 'at the same time the id decides');

-- What a claim says
select sluice.create_task('said', 'external', lease => '90 seconds', options => '{"o": 1}');
select sluice.enqueue('said', '{"p": 1}') as run \gset
create temp table got as select * from sluice.claim('me', '{task/said}');
select results_eq('select run_id, attempt, task, payload, executor, target, options from got', format($$values (%s::bigint, 1, 'said', '{"p": 1}'::jsonb, 'external', null::text, '{"o": 1}'::jsonb)$$, :run),
    'a claim gives id, attempt, task, payload, executor, target and options');
select is((select sluice._token_run(token) from got), :run::bigint, 'a token of the run');
select ok((select lease_until between clock_timestamp() + interval '80 s' and clock_timestamp() + interval '90 s' from got), 'and the end of the lease of the task');
select results_eq(format('select status, attempt::int, worker, started_at is not null from sluice.runs where run_id = %s', :run), $$values ('executing', 1, 'me', true)$$, 'the run is executing at that worker');
select results_eq(format('select worker, attempt::int, revoked, reply from held_slot where run_id = %s', :run), $$values ('me', 1, null::text, null::bigint)$$, 'and holds one slot');
select sluice.enqueue('t') as run \gset
select is(take('task/t') = take('task/t'), null, 'a run is handed out once');
select ok((select until - clock_timestamp() between interval '55 s' and interval '60 s' from held_slot where run_id = :run), 'without one of the task the lease is sluice.default_lease');

-- What is not handed out
select sluice.enqueue('t', delay => '1h') as later \gset
select is(take('task/t'), null, 'a delayed run is not handed out');
select sluice.enqueue('t', priority => 1000000, delay => '1h') as urgent_later \gset
select is(take('task/t'), null, 'nor if its head start is longer than its delay');
select make_due(:later);
select is(run_of(take('task/t')), :later::bigint, 'once it is due it is');
begin;
select sluice.enqueue('t') as mine \gset
select is(run_of(take('task/t')), :mine::bigint, 'a transaction claims what it enqueued itself');
rollback;
select is(take('task/t'), null, 'and nothing is left of both');
select sluice.enqueue('t') as run \gset
begin;
select is(run_of(take('task/t')), :run::bigint, 'a claim that is rolled back');
rollback;
select is(status_of(:run), 'queued', 'never was');
select is((select attempt from sluice.run where run_id = :run), 0::smallint, 'and its attempt does not count');
select is((select count(*) from held_slot where run_id = :run), 0::bigint, 'nor has it left a slot');
select is(run_of(take('task/t')), :run::bigint, 'the run is handed out again');

-- Queues, executors, capacity
select task('a'), task('b'), task('c');
select sluice.enqueue(v) from unnest('{a,b,c}'::text[]) as v;
select bag_eq($$select task from sluice.claim('w', '{task/a,task/c,task/none}', 10)$$, $$values ('a'), ('c')$$, 'a worker gets runs of the queues that it lists');
select bag_eq($$select task from sluice.claim('w', null, 10)$$, $$values ('b')$$, 'of all queues if it lists none');
select sluice.enqueue('a');
select is_empty($$select * from sluice.claim('w', '{}', 10)$$, 'of no queue if its list is empty');
select login('t_admin', 'sluice_admin');
select sluice.create_task('s', 'sql', 'select 1'), sluice.create_task('p', 'process', options => '{"shell": "true"}');
select sluice.enqueue('s'), sluice.enqueue('p');
select bag_eq($$select task, executor, target from sluice.claim('w', '{task/a,task/s,task/p}', 10)$$, $$values ('a', 'external', null)$$, 'claim() is for external tasks unless told otherwise');
select bag_eq($$select task, executor, target from sluice.claim('w', null, 10, '{sql}')$$, $$values ('s', 'sql', 'select 1')$$, 'a worker gets runs of the executors that it names');
select is_empty($$select * from sluice.claim('w', null, 10, '{}')$$, 'of none if it names none');
select is_empty($$select * from sluice.claim('w', null, 10, null)$$, 'of none for null');
select bag_eq($$select task from sluice.claim('w', null, 10, '{sql,process,external,wasm}')$$, $$values ('p')$$, 'of all if it names all');
select sluice.create_queue('mixed');
select task('m1', queue => 'mixed'), sluice.create_task('m2', 'sql', 'select 1', queue => 'mixed');
select sluice.enqueue('m2', priority => 100), sluice.enqueue('m1');
select bag_eq($$select task from sluice.claim('w', '{mixed}', 10)$$, $$values ('m1')$$, 'a run of another executor does not stand in the way');
select count(sluice.enqueue('a')) from generate_series(1, 20);
select is((select count(*) from sluice.claim('w', '{task/a}', 7)), 7::bigint, 'no more than the capacity are handed out');
select is((select count(*) from sluice.claim('w', '{task/a}', 10000)), 13::bigint, 'nor more than there are');
select is(said('select sluice.claim(''w'', capacity => ' || v || ')'), 'SL006: capacity must be 1 to 10000 [It is how many runs the worker takes at once.]', 'capacity ' || v) from unnest(array['0', '-1', '10001', 'null']) as v;
select is(said('select sluice.claim(' || v || ')'), 'SL006: worker must have 1 to 200 characters [Give each process a name of its own, such as host:pid.]', 'worker ' || left(v, 10)) from unnest(array['null', '''''', 'repeat(''w'', 201)']) as v;

-- Where a claim is refused
begin isolation level repeatable read;
select is(said($$select sluice.claim('w')$$), 'SL013: runs cannot be claimed at isolation level repeatable read [Claim in a transaction of isolation level read committed.]', 'a claim is refused at repeatable read');
select is(said($$select sluice.exchange('w', capacity => 1)$$), 'SL013: runs cannot be claimed at isolation level repeatable read [Claim in a transaction of isolation level read committed.]', 'so is an exchange that claims');
rollback;
begin isolation level serializable;
select is(said($$select sluice.claim('w')$$), 'SL013: runs cannot be claimed at isolation level serializable [Claim in a transaction of isolation level read committed.]', 'a claim is refused at serializable');
rollback;

-- A run of a task or queue that was dropped at the same moment is still executed.
select sluice.enqueue('a') as run \gset
update sluice.task set dropped_at = now() where task = 'a';
update sluice.queue set dropped_at = now() where queue = 'task/a';
select is((select run_id from sluice.claim('w')), :run::bigint, 'a run that met the drop of its task is handed out');

-- Another session
select connect('other');
select task('z');
select sluice.enqueue('z', to_jsonb(i)) from generate_series(1, 4) as i;
select dblink_exec('other', 'begin');
select is(in_session('other', $$select payload from sluice.claim('o', '{task/z}', 2)$$), E'1\n2', 'another session claims two');
select is(drain('task/z'), '{3,4}', 'this one does not wait and gets the next');
select dblink_exec('other', 'rollback');
select is(drain('task/z'), '{1,2}', 'and what the other gave back');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
