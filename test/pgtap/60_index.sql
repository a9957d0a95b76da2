-- The ready index as its own functions show it: what it holds, what becomes of hints, and what a transaction gives back.
\ir lib/helper.psql
\if :by_index
select task('t', 3);
create function stat(name text) returns text language sql as $$ select to_jsonb(s) ->> name from sluice.index_stats() as s $$;

-- Before and after the first claim
select is((select mode from sluice.index_stats()), 'unbuilt', 'before the first claim there is no index');
select is(stat('why'), null, 'for no reason');
select is(take('task/t'), null, 'a claim of nothing');
select results_eq('select mode, why, entries::int, lanes::int, leases::int, builds::int, build_due from sluice.index_stats()', $$values ('index', null::text, 0, 0, 0, 1, false)$$, 'builds it');
select ok((select bytes between 60000000 and 70000000 and entry_room > 1000000 and lease_room > 50000 and built_at is not null and build_ms > 0 from sluice.index_stats()), 'as large as sluice.index_memory says');

-- What it holds
select sluice.enqueue('t'), sluice.enqueue('t', concurrency_key => 'k'), sluice.enqueue('t', delay => '1h');
select results_eq('select entries::int, leases::int from sluice.index_stats()', 'values (2, 0)', 'what could start is in it');
select ok((select next_due between clock_timestamp() + interval '59 minutes' and clock_timestamp() + interval '1 hour' from sluice.index_stats()), 'when the next run falls due it knows');
select take('task/t') as token \gset
select results_eq('select entries::int, leases::int from sluice.index_stats()', 'values (1, 1)', 'a claim takes a run out and holds a lease');
select sluice.complete(:'token');
select results_eq('select leases::int from sluice.index_stats()', 'values (0)', 'its end lets the lease go');
select sluice.cancel(run_id) from sluice.runs where finished_at is null;
select is(take('task/t'), null, 'nothing is left');
select is(stat('entries'), '0', 'stale hints are dropped as they are met');
select cmp_ok(stat('stale_hints')::int, '>', 0, 'and counted');

-- Hints that are wrong, or there twice
select sluice.enqueue('t') as run \gset
select rewritten(:run), rewritten(:run);
select is(stat('entries'), '3', 'one run is in the index three times');
select results_eq($$select run_id from sluice.claim('w', '{task/t}', 10)$$, format('values (%s::bigint)', :run), 'and is handed out once');
select is_empty($$select from sluice.claim('w', '{task/t}', 10)$$, 'and not again');
select count(sluice.complete(token)) from held_slot;
select is((select sum(held) from sluice._index_lanes()), null, 'no slot is held for a hint');
select sluice.enqueue('t', '"first"') as one, sluice.enqueue('t', '"second"') as two \gset
select sluice.reschedule(:one, now() + interval '1 hour');
select is(run_of(take('task/t')), :two::bigint, 'a run that was rescheduled is passed over');
select sluice.reschedule(:one, now());
select is(run_of(take('task/t')), :one::bigint, 'and back when it is rescheduled again');
select sluice.requeue(:one);
select sluice.requeue(:one, priority => 5);
select is(run_of(take('task/t')), :one::bigint, 'a run that was queued twice over is handed out');
select is(take('task/t'), null, 'once');
select sluice.cancel(:one);
select sluice.replay(:one) as again \gset
select is(run_of(take('task/t')), :again::bigint, 'a replayed run is handed out');
select forget_all();

-- Savepoints
select sluice.create_queue('one', 1);
select task('o', queue => 'one');
select connect('other');
create function other_takes() returns text language sql as $$ select in_session('other', $i$select run_id::text from sluice.claim('o', '{one}', 5)$i$) $$;
select sluice.enqueue('o') as a, sluice.enqueue('o') as b \gset
begin;
savepoint s;
select is(run_of(take('one')), :a::bigint, 'a claim under a savepoint');
rollback to s;
select results_eq('select leases::int from sluice.index_stats()', 'values (0)', 'that is rolled back gives its slot back');
select is(run_of(take('one')), :a::bigint, 'and the run');
savepoint s;
select sluice.complete(token) from held_slot;
rollback to s;
select is(take('one'), null, 'a completion that is rolled back gives no slot');
select sluice.complete(token) from held_slot;
select is(run_of(take('one')), :b::bigint, 'one that stands gives its slot to its own transaction');
select is(other_takes(), null, 'and to no other');
commit;
select is(other_takes(), null, 'also when it has committed, since the slot was used again');
select sluice.complete(token) from held_slot;
select sluice.enqueue('o') as c \gset
select is(other_takes(), :'c', 'but once it is free');
select sluice.complete(token) from held_slot;
begin;
select sluice.enqueue('o') as own \gset
savepoint s;
select sluice.enqueue('o') as undone \gset
rollback to s;
select is(run_of(take('one')), :own::bigint, 'a transaction claims what it enqueued');
select sluice.complete(token) from held_slot;
select is(take('one'), null, 'and not what it took back');
rollback;
select is(take('one'), null, 'nothing of that is left');
do $$ begin
    for i in 1 .. 20 loop
        begin
            perform sluice.enqueue('o');
            perform sluice.complete(take('one'));
            if i % 2 = 0 then raise 'undone'; end if;
        exception when raise_exception then null;
        end;
    end loop;
end $$;
select is((select string_agg(format('%s %s', status, n), ', ') from (select status, count(*) as n from sluice.runs where queue = 'one' and run_id > :own group by status) as s), 'completed 10', 'ten of twenty subtransactions stand');
select results_eq('select leases::int from sluice.index_stats()', 'values (0)', 'and hold nothing');

-- A row that somebody has locked
select sluice.enqueue('o') as locked \gset
select dblink_exec('other', 'begin');
select in_session('other', format('select status from sluice.run where run_id = %s for update', :locked));
select is(take('one'), null, 'a run that is locked is passed over');
select cmp_ok(stat('rested')::int, '>', 0, 'and rests');
select dblink_exec('other', 'commit');
call wait_until($$select take('one') is not null$$, 2);
select is(status_of(:locked), 'executing', 'and is handed out soon after');
select sluice.complete(token) from held_slot;

-- Limits and executors while runs wait
select sluice.create_queue('many', 2);
select task('m', queue => 'many');
select count(sluice.enqueue('m')) from generate_series(1, 10);
create function claims(n int) returns int language sql as $$ select count(*)::int from sluice.claim('w', '{many}', n) $$;
begin;
select is(claims(10), 2, 'two of ten at a limit of two');
select sluice.create_queue('many', 5);
commit;
select is(claims(10), 3, 'three more once it is five');
select sluice.create_queue('many', 1);
select is(claims(10), 0, 'none when it is one');
select sluice.pause('many');
select count(sluice.complete(token)) from held_slot;
select is(claims(10), 0, 'nor while the queue is paused');
begin;
select sluice.resume('many');
rollback;
select is(claims(10), 0, 'or its resuming was undone');
select sluice.resume('many');
select is(claims(10), 1, 'then one');
select sluice.create_task('m', 'process', options => '{"shell": "true"}', queue => 'many');
select sluice.create_queue('many');
select is(claims(10), 0, 'runs of a task that got another executor');
select is((select count(*)::int from sluice.claim('p', '{many}', 10, '{process}')), 4, 'go to workers of that');
select is_empty('select * from sluice.check()', 'check() finds nothing');
update sluice.queue set concurrency = 7 where queue = 'many'; -- by hand, which the index is not told
select results_eq('select what, run_id from sluice.check()', $$values ('limits in the index that are not those of the queue', null::bigint)$$, 'check() finds limits that are old');
select sluice.create_queue('many', concurrency => 8);
select is(claims(10), 0, 'once they are set again, which the index is told,');
select is_empty('select * from sluice.check()', 'it finds nothing again');
select forget_all();

-- Built anew
select sluice.enqueue('t') as run, sluice.enqueue('t', delay => '1h') as later \gset
select take('task/t') as token \gset
select count(sluice.enqueue('t')) from generate_series(1, 5);
truncate sluice.run;
select sluice.rebuild_index();
select is(stat('build_due'), 'true', 'rebuild_index() says that it is due');
call wait_until($$select take('task/t') is null and not (select build_due from sluice.index_stats())$$, 5);
select results_eq('select entries::int, leases::int, lanes::int from sluice.index_stats()', 'values (0, 0, 0)', 'what was truncated is forgotten');
select is_empty('select * from sluice.check()', 'check() finds nothing');

-- The storage is dropped and made anew in this session.
select sluice.enqueue('t') from generate_series(1, 3);
select take('task/t') as token \gset
select sluice.teardown(current_database());
select sluice.setup();
select task('t', 3);
select is(take('task/t'), null, 'new storage is empty');
select sluice.enqueue('t') as run \gset
select is(run_of(take('task/t')), :run::bigint, 'and hands out its own runs');
drop extension sluice cascade;
create extension sluice;
select sluice.setup();
select sluice.create_task('t', 'external');
select sluice.enqueue('t') as run \gset
select is((select run_id from sluice.claim('w')), :run::bigint, 'so does a storage of an extension that was dropped and created');
select is_empty('select * from sluice.check()', 'check() finds nothing');
\else
select results_eq('select mode from sluice.index_stats()', $$values ('unbuilt')$$, 'before the first claim nobody knows');
select sluice.create_task('t', 'external');
select is(take('task/t'), null, 'a claim of nothing');
select results_eq('select mode, why is not null, leases from sluice.index_stats()', $$values ('table', true, null::bigint)$$, 'settles that claims go by the tables, and index_stats() says why');
select sluice.rebuild_index();
select sluice.enqueue('t') as run \gset
select is(run_of(take('task/t')), :run::bigint, 'rebuild_index() changes nothing');
\endif
select * from finish();
