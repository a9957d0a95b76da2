-- Fairness: lanes of a queue take turns whatever their priorities, and no number of blocked lanes stops the others.
\ir lib/helper.psql
-- The keys of the next n claims of one run each, as text.
-- plpgsql sees what take() did only in the next statement.
create function turns(queue text, n int) returns text language plpgsql as $$
declare key text; answer text := ''; got uuid;
begin
    for i in 1 .. n loop
        got := take(queue);
        select r.concurrency_key into key from sluice.run as r where r.run_id = run_of(got);
        answer := answer || coalesce(key, '-');
    end loop;
    return answer;
end $$;
create function sorted(word text) returns text language sql as $$ select string_agg(c, '' order by c) from regexp_split_to_table(word, '') as c $$;

select task('t');
select count(sluice.enqueue('t', concurrency_key => k)) from unnest(array['a', 'b', 'c']) as k, generate_series(1, 100);
select turns('task/t', 300) as turns \gset
select is(sorted(left(:'turns', 3)), 'abc', 'three claims of one run come from three lanes');
select is(:'turns', repeat(left(:'turns', 3), 100), 'and lanes go on taking turns in the same order to the end');

-- Priority is of a lane's own.
select count(sluice.enqueue('t', concurrency_key => 'u', priority => 1000000)), count(sluice.enqueue('t', concurrency_key => 'v')) from generate_series(1, 50);
select is(sorted(turns('task/t', 50)), repeat('u', 25) || repeat('v', 25), 'a lane of the greatest priority does not starve another');
select count(sluice.complete(token)) from held_slot;
select count(*) from sluice.claim('w', '{task/t}', 100);
select count(sluice.complete(token)) from held_slot;

-- Claims of many
select count(sluice.enqueue('t', concurrency_key => k)) from unnest(array['a', 'b', 'c']) as k, generate_series(1, 100);
select array_agg(run_id) as ids from sluice.claim('w', '{task/t}', 30) \gset
select results_eq(format('select concurrency_key, count(*)::int from sluice.run where run_id = any (%L) group by 1 order by 1', :'ids'), $$values ('a', 10), ('b', 10), ('c', 10)$$, 'a claim of thirty takes an even share of each lane');
select sluice.enqueue('t', concurrency_key => 'lonely');
select array_agg(run_id) as ids from sluice.claim('w', '{task/t}', 100) \gset
select is((select count(*)::int from sluice.run where run_id = any (:'ids')), 100, 'where a lane has less than its share, others fill it');
select is((select count(*)::int from sluice.run where run_id = any (:'ids') and concurrency_key = 'lonely'), 1, 'the short lane was among them');

-- The lane without a key is one lane.
select forget_all();
select count(sluice.enqueue('t')), count(sluice.enqueue('t', concurrency_key => 'k')) from generate_series(1, 10);
select is(sorted(turns('task/t', 10)), '-----kkkkk', 'runs without a key share a turn');

-- A lane that comes later gets its turn at once.
select forget_all();
select count(sluice.enqueue('t', concurrency_key => 'big')) from generate_series(1, 500);
select turns('task/t', 10);
select sluice.enqueue('t', concurrency_key => 'x');
select ok(turns('task/t', 2) like '%x%', 'a new lane waits for one turn of each other lane at most');

-- Blocked lanes
select forget_all();
select sluice.create_queue('wide', key_concurrency => 1);
select task('w', queue => 'wide');
select count(sluice.enqueue('w', concurrency_key => 'blocked-' || i)) from generate_series(1, 2500) as i;
select count(*) as got from sluice.claim('w', '{wide}', 10000) \gset first_
do $$
declare got int;
begin
    loop
        select count(*) into got from sluice.claim('w', '{wide}', 10000);
        exit when got = 0;
    end loop;
end $$;
select is((select count(*)::int from held_slot), 2500, 'every one of 2500 lanes of limit 1 gets its run, however many are looked at in one call');
select count(sluice.enqueue('w', concurrency_key => 'blocked-' || i)) from generate_series(1, 2500) as i;
select sluice.enqueue('w', concurrency_key => 'free') as free \gset
create function claims_until_found(run bigint) returns int language plpgsql as $$
begin
    for i in 1 .. 10 loop
        if run_of(take('wide')) = run then return i; end if;
    end loop;
end $$;
select cmp_ok(claims_until_found(:free), '<=', 3, 'behind 2500 blocked lanes a free one is found in three claims, a thousand lanes each');
select is((select sluice._look_for_work('{wide}', '{external}', 'w'))::text like '(work%', true, 'a waiter that looked at a thousand blocked lanes is told to claim, which moves the cursor');

-- Queues
select forget_all();
select task('q1'), task('q2');
select count(sluice.enqueue('q1')), count(sluice.enqueue('q2')) from generate_series(1, 200);
create temp table taken as select (select task from sluice.claim('w', '{task/q1,task/q2}')) as task, i from generate_series(1, 0) as i;
do $$ begin for i in 1 .. 100 loop insert into taken select task, i from sluice.claim('w', '{task/q1,task/q2}'); end loop; end $$;
-- One in 10^12 by chance.
select cmp_ok((select min(n)::int from (select count(*) as n from taken group by task) as c), '>=', 15, 'queues that a worker lists share its claims');
select is((select count(distinct task)::int from taken), 2, 'none is left out');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
