-- traceparent: the trace of whoever enqueued a run, on its way to its worker.
\ir lib/helper.psql
select task('t', 2);
\set given 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
select sluice.enqueue('t', traceparent => :'given') as run \gset
select is((select traceparent from sluice.runs where run_id = :run), :'given', 'runs shows it');
select results_eq($$select run_id, traceparent from sluice.claim('w')$$, format('values (%s::bigint, %L)', :run, :'given'), 'a claim tells it');
select sluice.fail(token, retry_at => '1999-01-01') from sluice.run where run_id = :run;
select results_eq($$select run_id, attempt, traceparent from sluice.exchange('w', capacity => 1) where kind = 'claimed'$$, format('values (%s::bigint, 2, %L)', :run, :'given'), 'an exchange too, and of each attempt');
select sluice.complete(token) from sluice.run where run_id = :run;
select sluice.replay(:run) as replayed \gset
select is((select traceparent from sluice.runs where run_id = :replayed), null, 'a replay begins a trace of its own');
select sluice.enqueue('t', '1', traceparent => null) as bare \gset
select is((select array_agg(traceparent) from sluice.claim('w', capacity => 9)), array[null, null], 'without one there is none');
select sluice.create_task('p', 'process', options => '{"argv": ["/bin/true"]}');
select sluice.enqueue('p', traceparent => :'given', machine => 'micro', max_duration => '1 minute');
select results_eq($$select machine, max_duration_seconds, traceparent from sluice.claim('w', executors => '{process}')$$, format($$values ('micro', 60::float8, %L)$$, :'given'), 'beside other options of the run');

-- Many at once, debounced or not
select sluice.enqueue_many('t', '{1,2,3}', array[jsonb_build_object('traceparent', :'given'), '{}', null]);
select sluice.enqueue_many('t', '{4}', array[jsonb_build_object('traceparent', :'given', 'debounce', '{"key": "k", "delay": "1s"}'::jsonb)]);
select results_eq($$select payload, traceparent is not null from sluice.runs where payload in ('1', '2', '3', '4') and status <> 'executing' order by run_id$$, $$values ('1'::jsonb, true), ('2', false), ('3', false), ('4', true)$$, 'items have traces of their own');

-- What is none
select is(said(format('select sluice.enqueue(''t'', traceparent => %L)', v)), 'SL006: traceparent must be that of W3C trace context, version 00 [Write it as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, in lower case; no id is all zeros.]', format('%L is no traceparent', v))
from unnest(array['', '00', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7', '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01', '01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', '00-00000000000000000000000000000000-00f067aa0ba902b7-01', '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x', '00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bg-01', ' 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', E'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n']) as v;
select is(left(said($$select sluice.enqueue_many('t', '{1}', '{"{\"traceparent\": \"x\"}"}')$$), 17), 'SL006: traceparen', 'nor in an item');
select is(said($$select sluice.create_schedule('s', 't', '@daily', options => '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}')$$) ~ '^SL006: .*traceparent', true, 'a schedule continues no trace');
select * from finish();
