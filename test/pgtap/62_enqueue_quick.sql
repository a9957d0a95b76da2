-- The quick ways of enqueue(), enqueue_result() and enqueue_many(), which make rows without statements: which calls they
-- take, that their rows are those of the twins, and that whatever a statement would heed is heeded.
\ir lib/helper.psql
select task('t', 4);
select sluice.create_task('mortal', 'external', ttl => '1h');

-- How often a twin was called by a statement.
create function twins(statement text) returns integer
language plpgsql
set track_functions = 'all'
as $$
declare
    before bigint;
    calls  text := 'select coalesce(sum(pg_stat_get_xact_function_calls(oid)), 0) from pg_proc where proname in (''_enqueue_result'', ''_enqueue_many'')';
    now_   bigint;
begin
    execute calls into before;
    execute statement;
    execute calls into now_;
    return now_ - before;
end
$$;
select is(twins(format('select sluice.%s', call)), want, call)
from (values
    ($$enqueue('t')$$, 0),
    ($$enqueue('t', '{"a": 1}')$$, 0),
    ($$enqueue('t', 'null')$$, 0),
    ($$enqueue('t', priority => null)$$, 0),
    ($$enqueue('t', to_jsonb(repeat('x', 100000)))$$, 0),
    ($$enqueue_result('t', '1')$$, 0),
    ($$enqueue_many('t', '{1,2}')$$, 0),
    ($$enqueue_many('t', '{null,2}')$$, 0),
    ($$enqueue('t', priority => 1)$$, 0),
    ($$enqueue('t', concurrency_key => 'k')$$, 0),
    ($$enqueue('t', delay => '1h')$$, 0),
    ($$enqueue('t', run_at => now())$$, 0),
    ($$enqueue('t', max_attempts => 1)$$, 0),
    ($$enqueue('t', concurrency_key => repeat('ä', 400))$$, 1),
    ($$enqueue('t', queue => 'task/t')$$, 1),
    ($$enqueue('t', idempotency_key => 'k')$$, 1),
    ($$enqueue('t', idempotency_ttl => '1 hour')$$, 1),
    ($$enqueue('t', tags => '{}')$$, 1),
    ($$enqueue('t', metadata => '1')$$, 1),
    ($$enqueue('t', ttl => '0')$$, 1),
    ($$enqueue('t', max_duration => '5 s')$$, 1),
    ($$enqueue('t', machine => 'micro')$$, 1),
    ($$enqueue('t', debounce => '{"key": "k", "delay": "1s"}')$$, 1),
    ($$enqueue('t', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')$$, 1),
    ($$enqueue('mortal')$$, 1),
    ($$enqueue_many('mortal', '{1}')$$, 1),
    ($$enqueue_many('t', '{1,2}', '{null}')$$, 1)) as v (call, want);

-- The same rows.  A queue that is named makes no difference but the way.
create function rows_of(run bigint) returns jsonb
language sql
as $$
    select jsonb_build_array(to_jsonb(r) - '{run_id,ready_at,claim_key}'::text[], r.ready_at = r.claim_key,
                             abs(extract(epoch from r.ready_at - sluice._run_time(r.run_id))) < 1, to_jsonb(p) - 'run_id')
    from sluice.run as r left join sluice.payload as p on p.run_id = r.run_id where r.run_id = run
$$;
select is(rows_of(sluice.enqueue('t', payload)), rows_of(sluice.enqueue('t', payload, queue => 'task/t')), 'the rows are the twin''s, payload ' || coalesce(payload::text, '(none)'))
from unnest(array[null, '{"a": [1, 2]}', 'null']::jsonb[]) as payload;
select is(rows_of(m.id), rows_of(sluice.enqueue('t', m.payload, queue => 'task/t')), format('and those of item %s of many', m.n))
from (select * from rows from (sluice.enqueue_many('t', '{1,null,"null"}'), unnest('{1,null,"null"}'::jsonb[])) with ordinality as u (id, payload, n)) as m;
-- With what a run may be told beside its payload; times are compared with one another.
create function times_of(run bigint, named timestamptz) returns jsonb
language sql
as $$
    select jsonb_build_array(to_jsonb(r) - '{run_id,ready_at,claim_key,due_at}'::text[], r.ready_at - r.claim_key, r.due_at = r.ready_at,
                             r.ready_at = named, round(extract(epoch from r.ready_at - sluice._run_time(r.run_id))))
    from sluice.run as r where r.run_id = run
$$;
select is(times_of(sluice.enqueue('t', priority => v.priority, concurrency_key => v.key, delay => v.delay, run_at => v.run_at, max_attempts => v.attempts), v.run_at),
          times_of(sluice.enqueue('t', priority => v.priority, concurrency_key => v.key, delay => v.delay, run_at => v.run_at, max_attempts => v.attempts, queue => 'task/t'), v.run_at),
          'the rows are the twin''s, told ' || coalesce(to_jsonb(v) #>> '{}', ''))
from (values (7, null, null, null::timestamptz, null), (null, 'k', null, null, 3), (1000000, '', '1h30m', null, 250), (0, 'ä€𝄞', '0s', null, 1),
             (null, null, '36500d', null, null), (3, 'k', null, now() + interval '1 day', null), (3, 'k', null, now() - interval '1 day', null),
             (null, null, null, '-infinity', null), (null, null, null, '2000-01-01 00:00+00', null), (null, null, null, 'epoch', 9)) as v (priority, key, delay, run_at, attempts);
select is(said(format('select sluice.enqueue(''t'', %s)', told)), want, 'the twin refuses ' || told)
from (values ('priority => -1', 'SL006: priority must be 0 to 1000000 [It is a head start in seconds.]'),
             ('priority => 1000001', 'SL006: priority must be 0 to 1000000 [It is a head start in seconds.]'),
             ('max_attempts => 0', 'SL006: max_attempts must be 1 to 250 [Leave it out for that of the task.]'),
             ('max_attempts => 65537', 'SL006: max_attempts must be 1 to 250 [Leave it out for that of the task.]'),
             ('concurrency_key => repeat(''ä'', 513)', 'SL006: concurrency_key must not be longer than 512 characters [Use a shorter key, such as an id.]'),
             ('delay => ''1h'', run_at => now()', 'SL006: delay and run_at exclude each other [Give one of them.]'),
             ('run_at => ''infinity''', 'SL006: run_at is more than a century away [Give a time that will come.]'),
             ('run_at => now() + interval ''36501 days''', 'SL006: run_at is more than a century away [Give a time that will come.]')) as v (told, want);
select is(left(said($$select sluice.enqueue('t', delay => 'soon')$$), 6), left(said($$select sluice._enqueue('t', null, null, null, null, 'soon', null, null, null, null, null, null, null, null, null, null, null)$$), 6), 'and no duration');
select results_eq($$select existing, run_id > 0 from sluice.enqueue_result('t', '1')$$, 'values (false, true)', 'enqueue_result() says that its run is new');
select is((select count(*)::int from (select sluice.enqueue('t', to_jsonb(i)) from generate_series(1, 200) as i) as u), 200, 'a statement may make many');
create temp table many as select id, n from sluice.enqueue_many('t', (select array_agg(case when i % 3 > 0 then to_jsonb(i) end order by i) from generate_series(1, 1000) as i)) with ordinality as u (id, n);
select is((select count(*)::int from many join sluice.run as r on r.run_id = id left join sluice.payload as p on p.run_id = id where p.payload is not distinct from case when n % 3 > 0 then to_jsonb(n) end), 1000, 'each of many has its own payload or none');
select is((select payload from sluice.payload where run_id = sluice.enqueue('t', to_jsonb(repeat('x', 500000)))), null, 'within its statement a run is not seen yet');
select sluice.enqueue('t', to_jsonb(repeat('x', 500000))) as run \gset
select is((select length(payload #>> '{}') from sluice.payload where run_id = :run), 500000, 'a large payload is stored whole');
create temp table large as select to_jsonb(string_agg(md5(i::text), '')) as value from generate_series(1, 10000) as i;
select sluice.enqueue('t', value) as run from large \gset
select ok((select p.payload = l.value from sluice.payload as p, large as l where p.run_id = :run), 'also one that came from another table''s storage');

-- They can be claimed, in order, or never were
select task('c');
begin;
select sluice.enqueue('c', '"gone"') as run \gset
rollback;
begin;
select sluice.enqueue('c', '"kept"') as run \gset
savepoint s;
select sluice.enqueue('c', '"undone"') as run, sluice.enqueue_many('c', '{4}') as one_of_many \gset
rollback to savepoint s;
commit;
select count(*) as made from sluice.enqueue_many('c', (select array_agg(to_jsonb(i) order by i) from generate_series(1, 200) as i)) \gset
select results_eq($$select payload #>> '{}' from sluice.claim('w', '{task/c}', 300)$$,
    $$select 'kept' union all select i::text from (select i from generate_series(1, 200) as i order by i) as o$$, 'what was committed is claimed, and no more');

-- A task as this transaction has it
select is((select status_of(sluice.enqueue(name)) from (select task('new'), 'new' as name offset 0) as made), 'queued', 'a task of the same statement is known');
select count(sluice.cancel(run_id)) as canceled from sluice.runs where task = 'new' \gset
begin;
select sluice.drop_task('new') as dropped \gset
select is(said($$select sluice.enqueue('new')$$), 'SL002: task "new" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'one that this transaction has dropped is not');
rollback;
select is(status_of(sluice.enqueue('new')), 'queued', 'unless that was undone');
select is(said('select sluice.enqueue(null)'), 'SL002: task must not be null [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'no task is refused by the twin');
select is(said($$select sluice.enqueue('t', to_jsonb(repeat('x', 3 * 1024 * 1024)))$$), 'SL201: payload has 3145740 bytes, more than 3MB [Store large data elsewhere and enqueue a reference to it, or raise sluice.max_payload.]', 'and so is a payload that is too large');
begin read only;
select is(left(said($$select sluice.enqueue('t')$$), 6), '25006:', 'a transaction that only reads makes no run');
commit;

-- What a statement would heed
select is(left(said($$insert into sluice.run (run_id, ready_at, claim_key, task_id, queue_id, max_attempts, status) values (1, now(), now(), 1, 1, 1, 'executing')$$), 6), '23514:', 'a row that does not fit is refused');
alter table sluice.run add constraint no_more check (task_id < 0) not valid;
select is(left(said($$select sluice.enqueue('t')$$), 6), '23514:', 'a constraint that is new to the session holds');
select is(left(said($$select sluice.enqueue_many('t', '{1}')$$), 6), '23514:', 'for many too');
alter table sluice.run drop constraint no_more;
select ok(said($$select sluice.enqueue('t')$$) ~ '^\d+$', 'and is gone when it was dropped');
create function may(task_id integer) returns boolean language sql immutable as 'select true';
alter table sluice.run add constraint function_says_so check (public.may(task_id));
grant execute on function may to public;
select ok(said($$select sluice.enqueue('t')$$) ~ '^\d+$', 'a constraint may ask a function');
create or replace function may(task_id integer) returns boolean language sql immutable as 'select false';
select is(left(said($$select sluice.enqueue('t')$$), 6), '23514:', 'which is asked anew when it was replaced');
create or replace function may(task_id integer) returns boolean language plpgsql immutable as 'begin return true; end';
select ok(said($$select sluice.enqueue('t')$$) ~ '^\d+$', 'in whatever language');
create or replace function may(task_id integer) returns boolean language sql volatile as 'select false';
select is(left(said($$select sluice.enqueue('t')$$), 6), '23514:', 'each time');
alter table sluice.run drop constraint function_says_so;

create function keep_out() returns trigger language plpgsql as $$ begin raise exception 'not here'; end $$;
create trigger keep_out before insert on sluice.run for each row execute function keep_out();
select is(said($$select sluice.enqueue('t')$$), 'P0001: not here []', 'a trigger fires');
drop trigger keep_out on sluice.run;
create trigger keep_out after insert on sluice.payload for each row execute function keep_out();
select is(said($$select sluice.enqueue('t', '1')$$), 'P0001: not here []', 'also one on payloads');
drop trigger keep_out on sluice.payload;
alter table sluice.run add column noted text default 'noted';
select sluice.enqueue('t') as run \gset
select is((select noted from sluice.run where run_id = :run), 'noted', 'a column that was added has its default');
alter table sluice.run drop column noted;
select is(rows_of(sluice.enqueue('t', '1')), rows_of(sluice.enqueue('t', '1', queue => 'task/t')), 'one that was dropped does no harm');

-- Partitions
select sluice.enqueue('t') as run \gset
select is((select tableoid::regclass::text from sluice.run where run_id = :run),
    to_char(date_trunc('week', now(), 'UTC') at time zone 'UTC', '"sluice_storage.run_p"YYYYMMDD'), 'a run is in the partition of its week');
do $$
declare
    part text;
begin
    for part in select format('sluice.%I detach partition sluice_storage.%I', t.name, t.name || to_char(date_trunc('week', now(), 'UTC') at time zone 'UTC', '"_p"YYYYMMDD'))
                from unnest('{run,payload}'::text[]) as t (name) loop
        execute 'alter table ' || part;
    end loop;
end $$;
select sluice.enqueue('t', '1') as run \gset
select is((select tableoid::regclass::text from sluice.run where run_id = :run), 'sluice_storage.run_default', 'and in the DEFAULT where there is none');
select is(twins($$select sluice.enqueue('t', '1')$$), 0, 'the quick way finds it there');
select * from finish();
