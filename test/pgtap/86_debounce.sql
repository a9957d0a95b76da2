-- Debounce: of calls with one key one run is made, whose time each call puts off until it has started.
\ir lib/helper.psql
select task('t', 3), task('u', 3);
create function bounced(payload text, settings text default '{"delay": "1h"}', task text default 't') returns bigint
language sql as $$ select sluice.enqueue(task, payload::jsonb, debounce => '{"key": "k"}' || settings::jsonb) $$;
create function minutes_left(run_id bigint) returns int language sql as $$ select round(extract(epoch from ready_at - clock_timestamp()) / 60) from sluice.runs as r where r.run_id = $1 $$;
create function older(run_id bigint, by_ interval) returns void language sql as $$
    update sluice.debounce_key as k set since = since - by_, look_at = look_at - by_ where k.run_id = $1
$$;

-- One run
select bounced('1') as run \gset
select results_eq($$select run_id, existing from sluice.enqueue_result('t', '2', debounce => '{"key": "k", "delay": "2h"}')$$, format('values (%s::bigint, true)', :run), 'a second call returns the first run and says so');
select is(minutes_left(:run), 120, 'and puts it off');
select is((select payload from sluice.runs where run_id = :run), '2', 'the latest payload counts');
select is(bounced('3', '{"delay": "1m"}'), :run::bigint, 'a shorter delay');
select is(minutes_left(:run), 120, 'does not bring it forward');
select is(bounced('4', '{"delay": "3h", "mode": "leading"}'), :run::bigint, 'where the first leads');
select results_eq(format('select payload, minutes_left(run_id) from sluice.runs where run_id = %s', :run), $$values ('3'::jsonb, 180)$$, 'the payload stays and the time moves');
select isnt(bounced('1', task => 'u'), :run::bigint, 'the key of another task is another run');
select isnt(sluice.enqueue('t', debounce => '{"key": "K", "delay": "1h"}'), :run::bigint, 'and so is another key');
select is((select count(*)::int from sluice.runs), 3, 'no other run was made');

-- What the latest call says, and what stays
select sluice.enqueue('t', '1', priority => 5, concurrency_key => 'c', tags => '{a}', metadata => '1', ttl => '10m', max_attempts => 9, max_duration => '10 s', debounce => '{"key": "all", "delay": "1h"}') as run \gset
select is(sluice.enqueue('t', '2', priority => 7, concurrency_key => 'd', tags => '{b}', metadata => '2', ttl => '20m', max_attempts => 8, max_duration => '20 s', debounce => '{"key": "all", "delay": "2h"}'), :run::bigint, 'with every option');
select results_eq(format('select payload, tags, metadata, max_duration, priority, concurrency_key, max_attempts::int, expires_at - ready_at from sluice.runs where run_id = %s', :run),
    $$values ('2'::jsonb, '{b}'::text[], '2'::jsonb, interval '20 s', 5, 'c', 9, interval '10 m')$$, 'payload, tags, metadata and max_duration are the latest; the rest is the first''s, and its time to live moves');
select is(sluice.enqueue('t', debounce => '{"key": "all", "delay": "3h"}'), :run::bigint, 'a call that gives nothing');
select is_empty(format('select from sluice.payload where run_id = %s', :run), 'takes away what was given');

-- max_delay
select bounced('1', '{"key": "m", "delay": "10m", "max_delay": "15m"}') as run \gset
select older(:run, '10 m');
select bounced('2', '{"key": "m", "delay": "10m", "max_delay": "15m"}');
select is(minutes_left(:run), 10, 'the time that has come already is not taken back');
select older(:run, '1 m');
select sluice.reschedule(:run, now() + interval '1 second');
select bounced('3', '{"key": "m", "delay": "10m", "max_delay": "15m"}');
select is(minutes_left(:run), 4, 'max_delay bounds what calls can put off, from the first one on');
select older(:run, '1 h');
select sluice.reschedule(:run, now());
select is(bounced('4', '{"key": "m", "delay": "10m", "max_delay": "15m"}'), :run::bigint, 'a run that is due and has not started is the one still');
select is(minutes_left(:run), 0, 'and is put off no more');
select results_eq($$select run_id, payload from sluice.claim('w', '{task/t}')$$, format($$values (%s::bigint, '4'::jsonb)$$, :run), 'it starts with the latest payload');

-- Started
select isnt(bounced('5', '{"key": "m", "delay": "10m"}'), :run::bigint, 'once it has started a call makes a new run');
select bounced($$1$$, $${"key": "r", "delay": "1h"}$$) as run \gset
select sluice.reschedule(:run, now());
select sluice.release(take('task/t'));
select isnt(bounced('2', '{"key": "r", "delay": "1h"}'), :run::bigint, 'also if it was given back');
select bounced('1', '{"key": "c", "delay": "1h"}') as run \gset
select sluice.cancel(:run);
select bounced('2', '{"key": "c", "delay": "1h"}') as new \gset
select isnt(:new, :run, 'and after a cancel');
select is((select payload from sluice.runs where run_id = :run), '1', 'the old one keeps what it had');
begin;
select bounced('1', '{"key": "tx", "delay": "1h"}') as run \gset
select is(bounced('2', '{"key": "tx", "delay": "1h"}'), :run::bigint, 'a transaction sees its own');
savepoint s;
select is(bounced('3', '{"key": "tx", "delay": "9h"}'), :run::bigint, 'also in a savepoint');
rollback to s;
select results_eq(format('select payload, minutes_left(run_id) from sluice.runs where run_id = %s', :run), $$values ('2'::jsonb, 60)$$, 'whose rollback takes it back');
rollback;
select isnt(bounced('4', '{"key": "tx", "delay": "1h"}'), :run::bigint, 'what is rolled back holds no key');

-- Many at once
create temp table many as select id, n from sluice.enqueue_many('t', '{1,2,3,4,5,6}', array['{"debounce": {"key": "x", "delay": "1h"}}', '{"debounce": {"key": "y", "delay": "1h", "mode": "leading"}}', '{"priority": 3}',
    '{"debounce": {"key": "x", "delay": "2h"}}', null, '{"debounce": {"key": "y", "delay": "2h", "mode": "leading"}}']::jsonb[]) with ordinality as m (id, n);
select is((select array_agg((select min(o.n) from many as o where o.id = m.id) order by m.n) from many as m), '{1,2,3,1,5,2}', 'items with one key are one run');
select results_eq('select payload, priority, minutes_left(run_id) > 0 from sluice.runs join (select distinct id from many) as m on id = run_id order by payload', $$values ('2'::jsonb, 0, true), ('3', 3, false), ('4', 0, true), ('5', 0, false)$$, 'by the same rules');

-- What is refused
select is(said(format('select sluice.enqueue(''t'', debounce => %L)', v.settings)), 'SL006: ' || v.want, 'debounce ' || v.settings)
from (values ('[]', 'debounce must be a JSON object [For example {"key": "order-1", "delay": "5s", "mode": "leading", "max_delay": "1m"}.]'),
             ('{"delay": "1s"}', 'debounce needs a key of 1 to 512 characters [For example {"key": "order-1", "delay": "5s", "mode": "leading", "max_delay": "1m"}.]'),
             ('{"key": "", "delay": "1s"}', 'debounce needs a key of 1 to 512 characters [For example {"key": "order-1", "delay": "5s", "mode": "leading", "max_delay": "1m"}.]'),
             ('{"key": "k"}', 'debounce needs a delay above 0 [For example {"key": "order-1", "delay": "5s", "mode": "leading", "max_delay": "1m"}.]'),
             ('{"key": "k", "delay": "0s"}', 'debounce needs a delay above 0 [For example {"key": "order-1", "delay": "5s", "mode": "leading", "max_delay": "1m"}.]'),
             ('{"key": "k", "delay": "1s", "mode": "both"}', 'debounce knows the modes "leading" and "trailing" [With leading the first payload stays, with trailing the latest one counts.]'),
             ('{"key": "k", "delay": "9s", "max_delay": "8s"}', 'debounce has a max_delay below its delay [For example {"key": "order-1", "delay": "5s", "mode": "leading", "max_delay": "1m"}.]'),
             ('{"key": "k", "wait": "9s"}', 'debounce has no setting "wait" [Its settings are key, delay, mode and max_delay.]')) as v (settings, want);
select is(said(format($$select sluice.enqueue('t', debounce => '{"key": "k", "delay": "1s"}', %s)$$, v)), 'SL006: debounce excludes delay, run_at and idempotency_key [Its delay is one of its settings, and so is its key.]', v || ' besides')
from unnest(array[$$delay => '1h'$$, 'run_at => now()', $$idempotency_key => 'k'$$]) as v;
select is(left(said($$select sluice.enqueue_many('t', '{1}', array['{"debounce": {"key": "k"}}']::jsonb[])$$), 29), 'SL006: debounce needs a delay', 'for many too');

-- Keys go
select sluice.try_lead('me');
select bounced('1', '{"key": "over", "delay": "1h"}') as run \gset
select sluice.cancel(:run);
update sluice.debounce_key set look_at = clock_timestamp();
select is((select expired from sluice.expire_idempotency_keys()), 1, 'the key of a run that has started is removed by the leader');
select is((select count(*)::int from sluice.debounce_key as k join sluice.run as r using (run_id) where r.status <> 'queued' or r.started_at is not null), 0, 'those of runs that wait are not');
select ok((select next_in between interval '50 s' and interval '4 h' from sluice.expire_idempotency_keys()), 'and are looked at again later');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
