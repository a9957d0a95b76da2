-- enqueue_many(): a run for each payload, in order, with options of its own.
\ir lib/helper.psql
select task('t', 4);
select sluice.create_queue('other');
create function many(arguments text) returns text language sql as $$ select said('select count(*) from sluice.enqueue_many(''t'', ' || arguments || ')') $$;

create temp table made as select id, n from sluice.enqueue_many('t', array['{"n": 1}', null, '{"n": 3}', 'null']::jsonb[]) with ordinality as m (id, n);
select results_eq('select payload from made join sluice.runs on run_id = id order by n', $$values ('{"n": 1}'::jsonb), (null), ('{"n": 3}'), ('null')$$, 'ids come in the order of payloads');
select results_eq('select id from made order by n', 'select id from made order by id', 'and are in order themselves');
select is((select count(*) from made join sluice.payload on run_id = id), 3::bigint, 'nothing is stored for a payload that is null');

-- Options
create temp table opted as select id, n from sluice.enqueue_many('t', array['1', '2', '3']::jsonb[], array[
    '{"queue": "other", "priority": 7, "concurrency_key": "k", "delay": "1h", "max_attempts": 9, "tags": ["x", " ", "y"], "metadata": {"m": 1}}', null,
    '{"run_at": "2099-01-01 00:00+00", "idempotency_key": "a", "idempotency_ttl": "1 hour"}']::jsonb[]) with ordinality as m (id, n);
select results_eq('select queue, priority, concurrency_key, status, max_attempts::int, tags, metadata from opted join sluice.runs on run_id = id order by n',
    $$values ('other', 7, 'k', 'delayed', 9, '{x,y}'::text[], '{"m": 1}'::jsonb), ('task/t', 0, null, 'queued', 4, null, null), ('task/t', 0, null, 'delayed', 4, null, null)$$, 'each run has its own options');
select is((select ready_at from opted join sluice.runs on run_id = id where n = 3), '2099-01-01 00:00+00', 'run_at is one of them');
select cmp_ok((select expires_at from sluice.idempotency_key where key = 'a'), '<', now() + interval '61 minutes', 'idempotency_ttl is one of them');
select is((select count(*) from made_by($$sluice.enqueue_many('t', array['1', '2', '3']::jsonb[], array['{"priority": 5}']::jsonb[])$$) where priority = 5), 3::bigint, 'one element of options is for all');
select is(many($$'{1,2}', '{}'$$), '2', 'no options are none');
select is(many($$'{1,2}', array[null, 'null']::jsonb[]$$), '2', 'null options are none');
select is(many($$'{}'$$), '0', 'no payloads make no runs');
select is(many('null'), '0', 'null payloads make no runs');
select is(many($$'{}', '{"{}"}'$$), '0', 'options without payloads make no runs');

-- Keys
create temp table keyed as select id, n from sluice.enqueue_many('t', array['1', '2', '3', '4', '5']::jsonb[],
    array['{"idempotency_key": "d"}', '{"idempotency_key": "c"}', '{"idempotency_key": "d"}', null, '{"idempotency_key": "d"}']::jsonb[]) with ordinality as m (id, n);
select results_eq('select array_agg(n order by n) from keyed group by id order by 1', $$values ('{1,3,5}'::bigint[]), ('{2}'), ('{4}')$$, 'a key twice in one call is one run');
select is((select payload from keyed join sluice.runs on run_id = id where n = 3), '1', 'with the payload of the first');
select results_eq($$select id = (select id from keyed where n = 1) from sluice.enqueue_many('t', '{7,8}', array['{"idempotency_key": "d"}', null]::jsonb[]) with ordinality as m (id, n) order by n$$,
    'values (true), (false)', 'a key that was used before gives the run that has it');
select is((select payload from keyed join sluice.runs on run_id = id where n = 1), '1', 'which keeps its payload');
select results_eq($$select count(distinct id) from sluice.enqueue_many('t', '{1,2,3}', array['{"idempotency_key": "all"}']::jsonb[]) as id$$, 'values (1::bigint)', 'one key for all is one run');

-- Arrays whose subscripts do not begin at 1
create temp table bounds as select id, n from sluice.enqueue_many('t', '[5:6]={10,20}'::jsonb[], ('[0:1]={' || '"{\"priority\": 1, \"idempotency_key\": \"b1\"}","{\"priority\": 2, \"idempotency_key\": \"b2\"}"' || '}')::jsonb[]) with ordinality as m (id, n);
select results_eq('select payload, priority from bounds join sluice.runs on run_id = id order by n', $$values ('10'::jsonb, 1), ('20', 2)$$, 'arrays are read from their first element, whatever its subscript');

-- Refusals
select is(many($$'{1,2,3}', array['{}', '{}']::jsonb[]$$), 'SL006: options must have one element for each payload, or one for all [There are 3 payloads and 2 options.]', 'the numbers must fit');
select is(many($$'{{1,2},{3,4}}'$$), 'SL006: payloads and options must be arrays of one dimension [Flatten them.]', 'arrays have one dimension');
select is(many($$'{1,2}', array['{}', '{"prio": 1}']::jsonb[]$$), 'SL006: options of item 2 have an unknown name "prio" [They are named as the arguments of sluice.enqueue.]', 'an unknown option names its item');
select is(many($$'{1,2}', array['{}', '[]']::jsonb[]$$), 'SL006: options of item 2 are not a JSON object [For example {"priority": 5}.]', 'options that are no object name their item');
select is(many($$'{1,2}', array['{}', '{"priority": -1}']::jsonb[]$$), 'SL006: priority must be 0 to 1000000 [It is a head start in seconds.]', 'a priority out of range is refused');
select is(many($$'{1,2}', array['{}', '{"queue": "none"}']::jsonb[]$$), 'SL001: queue "none" does not exist [Create it with select sluice.create_queue(''none'').]', 'an unknown queue is refused');
select is(many($$'{1}', array['{"delay": "soon"}']::jsonb[]$$), 'SL006: duration "soon" is not understood [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]', 'a delay that is not understood is refused');
select is(many($$'{1}', array['{"delay": "1h", "run_at": "2099-01-01"}']::jsonb[]$$), 'SL006: delay and run_at exclude each other [Give one of them.]', 'delay and run_at exclude each other');
select is(many($$'{1}', array['{"tags": ["a","b","c","d","e","f","g","h","i","j","k"]}']::jsonb[]$$), 'SL202: a run has at most 10 tags of at most 128 characters [Put what is longer into metadata.]', 'an eleventh tag is refused');
select is(many($$array['1', jsonb_build_object('x', repeat('p', 3 * 1024 * 1024))]$$), 'SL201: payload of item 2 has 3145745 bytes, more than 3MB [Store large data elsewhere and enqueue a reference to it, or raise sluice.max_payload.]', 'a payload over the limit names its item');
select is(many($$'{1,2}', array[null, jsonb_build_object('metadata', repeat('p', 256 * 1024))]$$), 'SL201: metadata of item 2 has 262156 bytes, more than 256kB [Store large data elsewhere and enqueue a reference to it, or raise sluice.max_metadata.]', 'metadata over the limit names its item');
select is(said($$select sluice.enqueue_many('none', '{1}')$$), 'SL002: task "none" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'an unknown task is refused');
select is(left(many($$'{1}', array['{"priority": "high"}']::jsonb[]$$), 6), '22P02:', 'a number that is none is a standard error');

select count(*) as before from sluice.run \gset
select is(left(many($$'{1,2,3}', array['{}', '{}', '{"priority": -1}']::jsonb[]$$), 5), 'SL006', 'one wrong item');
select is((select count(*) from sluice.run), :before::bigint, 'and none of the call is enqueued');

-- Many
create temp table ten_thousand as select id, n from sluice.enqueue_many('t', (select array_agg(to_jsonb(i) order by i) from generate_series(1, 10000) as i)) with ordinality as m (id, n);
select is((select count(distinct id) from ten_thousand), 10000::bigint, 'ten thousand payloads make ten thousand runs');
select is((select count(*) from ten_thousand join sluice.payload on run_id = id where payload = to_jsonb(n)), 10000::bigint, 'each with its own payload');
select is((select count(*) from (select sluice.enqueue_many('t', '{1,2,3}')) as in_select_list), 3::bigint, 'it may stand in a select list');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
