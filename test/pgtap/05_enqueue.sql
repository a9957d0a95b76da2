-- enqueue(): every option, every limit, and that a run exists if and only if its transaction commits.
\ir lib/helper.psql
select task('t', 4);
select sluice.create_queue('other');
create function refusal(arguments text) returns text language sql as $$ select said('select sluice.enqueue(''t'', ' || arguments || ')') $$;

-- The defaults
select sluice.enqueue('t') as run \gset
select results_eq(format($$select task, queue, status, attempt::int, max_attempts::int, concurrency_key, priority, payload, output, error, tags, metadata from sluice.runs where run_id = %s$$, :run),
    $$values ('t', 'task/t', 'queued', 0, 4, null::text, 0, null::jsonb, null::jsonb, null::jsonb, null::text[], null::jsonb)$$, 'a run without options has the defaults of its task');
select is_empty(format('select from sluice.payload where run_id = %s', :run), 'nothing is stored of a run that was given nothing');
select cmp_ok((select created_at from sluice.runs where run_id = :run), '>=', clock_timestamp() - interval '1 minute', 'the id holds the time of creation');
select cmp_ok((select created_at from sluice.runs where run_id = :run), '<=', clock_timestamp(), 'which is not in the future');
select ok(sluice.enqueue('t') > :run, 'a later run has a greater id');

-- All at once
select sluice.enqueue('t', '{"a": [1, null, "ü"]}', queue => 'other', priority => 60, concurrency_key => 'K', run_at => '2099-01-02 03:04:05.678+00', idempotency_key => 'i',
                      idempotency_ttl => '2 days', max_attempts => 250, tags => '{red, green}', metadata => '{"m": 1}') as run \gset
select results_eq(format($$select queue, status, max_attempts::int, concurrency_key, priority, ready_at, payload, tags, metadata from sluice.runs where run_id = %s$$, :run),
    $$values ('other', 'delayed', 250, 'K', 60, timestamptz '2099-01-02 03:04:05.678+00', '{"a": [1, null, "ü"]}'::jsonb, '{red,green}'::text[], '{"m": 1}'::jsonb)$$, 'a run keeps every option');
select results_eq(format($$select claim_key, due_at, lane, class::int from sluice.run where run_id = %s$$, :run),
    $$values (timestamptz '2099-01-02 03:03:05.678+00', timestamptz '2099-01-02 03:04:05.678+00', sluice._lane('K'), 2)$$, 'and the columns that claims read fit');
select results_eq($$select run_id = 0, existing from sluice.enqueue_result('t')$$, 'values (false, false)', 'enqueue_result() also says that the run is new');

-- Payloads of every shape
select is((select payload from made_by(format('sluice.enqueue(''t'', %L)', v))), v::jsonb, 'payload ' || v)
from unnest(array['null', 'true', '0', '"text"', '[]', '{}', '1e300', '"\ud83d\ude00"']) as v;
select sluice.enqueue('t', 'null') as run \gset
select is((select payload from sluice.payload where run_id = :run), 'null', 'a JSON null is a payload and is kept');

-- Priority
select is(refusal('priority => -1'), 'SL006: priority must be 0 to 1000000 [It is a head start in seconds.]', 'priority is not negative');
select is(refusal('priority => 1000001'), 'SL006: priority must be 0 to 1000000 [It is a head start in seconds.]', 'priority is at most a million');
select ok(refusal('priority => 1000000') ~ '^\d+$', 'a priority of a million is accepted');
select ok(refusal('priority => null') ~ '^\d+$', 'a null priority is none');
select is((select priority from made_by($$sluice.enqueue('t', priority => null)$$)), 0, 'and is stored as 0');

-- Delay
create function waits(arguments text) returns interval language plpgsql as $$
begin
    return justify_hours(date_trunc('second', r.ready_at - r.created_at + interval '0.3 s')) from made_by('sluice.enqueue(''t'', ' || arguments || ')') as r;
end $$;
select is(waits(format('delay => %L', v.delay)), v.want, 'delay ' || v.delay)
from (values ('1s', interval '1 second'), ('1h30m', '1 hour 30 minutes'), ('1w2d3h4m5s', '9 days 3:04:05'), ('0s', '0'), ('0w0d', '0'), ('90m', '1:30'), ('36500d', '36500 days')) as v (delay, want);
select is(status_of(sluice.enqueue('t', delay => '0s')), 'queued', 'a delay of nothing is none');
select sluice.enqueue('t', delay => '0s') as run \gset
select is((select due_at from sluice.run where run_id = :run), null, 'and no timer is set for it');
select is(status_of(sluice.enqueue('t', delay => '1m')), 'delayed', 'a run with a delay is delayed');
select is(refusal(format('delay => %L', v)), format('SL006: duration "%s" is not understood [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]', v), format('delay %L is not understood', v))
from unnest(array['1', 'h', '1h1h', '30m1h', '1.5h', '-1h', ' 1h', '1h ', '1 hour', 'PT1H', '1H', '٣s']) as v;
select is(refusal('delay => '''''), 'SL006: duration "" is empty [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]', 'an empty delay is refused');
select is(refusal(format('delay => %L', v)), format('SL006: duration "%s" is longer than a century [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]', v), format('delay %s is too long', v))
from unnest(array['36501d', '3153600001s', '99999999999999999999w']) as v;
select is(refusal('delay => ''1h'', run_at => now()'), 'SL006: delay and run_at exclude each other [Give one of them.]', 'a run has a delay or a time, not both');

-- run_at
select is(status_of(sluice.enqueue('t', run_at => v::timestamptz)), 'queued', format('run_at %s means now', v))
from unnest(array['1999-12-31', '4713-01-01 BC', '-infinity', 'epoch']) as v;
select cmp_ok((select ready_at from made_by($$sluice.enqueue('t', run_at => '0044-03-15 BC')$$)), '>', clock_timestamp() - interval '1 minute', 'a time in the past does not put a run before others');
select is(refusal(format('run_at => %L', v)), 'SL006: run_at is more than a century away [Give a time that will come.]', format('run_at %s is refused', v)) from unnest(array['infinity', '294276-01-01', '2999-01-01']) as v;
select is(status_of(sluice.enqueue('t', run_at => now() + interval '36499 days')), 'delayed', 'almost a century is accepted');

-- Keys and numbers
select is(refusal('concurrency_key => repeat(''k'', 513)'), 'SL006: concurrency_key must not be longer than 512 characters [Use a shorter key, such as an id.]', 'a concurrency key has at most 512 characters');
select is(length((select concurrency_key from made_by($$sluice.enqueue('t', concurrency_key => repeat('日', 512))$$))), 512, 'of any width');
select sluice.enqueue('t', concurrency_key => '') as run \gset
select is((select lane from sluice.run where run_id = :run), sluice._lane(''), 'an empty concurrency key is a key');
select is(refusal('idempotency_key => repeat(''k'', 513)'), 'SL006: idempotency_key must have 1 to 512 characters [Use a shorter key, such as a hash.]', 'an idempotency key has at most 512 characters');
select is(refusal('idempotency_key => '''''), 'SL006: idempotency_key must have 1 to 512 characters [Use a shorter key, such as a hash.]', 'and is not empty');
select ok(refusal('idempotency_key => repeat(''日'', 512)') ~ '^\d+$', 'an idempotency key of 512 wide characters is accepted');
select is(refusal(format('idempotency_key => ''x'', idempotency_ttl => %L', v)), 'SL006: idempotency_ttl must be above 0 and at most 3650 days [Leave it out for 30 days.]', 'idempotency_ttl ' || v) from unnest(array['0', '-1 s', '3651 days']) as v;
select is(refusal(format('max_attempts => %s', v)), 'SL006: max_attempts must be 1 to 250 [Leave it out for that of the task.]', format('max_attempts %s', v)) from unnest(array[0, -1, 251]) as v;
select is((select max_attempts::int from made_by($$sluice.enqueue('t', max_attempts => 1)$$)), 1, 'max_attempts of a run override those of its task');

-- Tags
select is((select tags from made_by($$sluice.enqueue('t', tags => array['b', ' ', 'a', '', null, 'b'])$$)), array['b', 'a', 'b'], 'blank tags are left out, the others keep their order');
select is((select tags from made_by($$sluice.enqueue('t', tags => '{" ",""}')$$)), null, 'only blank tags are none');
select is((select tags from made_by($$sluice.enqueue('t', tags => '{}')$$)), null, 'no tags are none');
select is(cardinality((select tags from made_by($$sluice.enqueue('t', tags => array_fill(repeat('ü', 128), array[10]))$$))), 10, 'ten tags of 128 characters are accepted');
select is(refusal('tags => array_fill(''x''::text, array[11])'), 'SL202: a run has at most 10 tags of at most 128 characters [Put what is longer into metadata.]', 'an eleventh tag is refused');
select is(refusal('tags => array[repeat(''x'', 129)]'), 'SL202: a run has at most 10 tags of at most 128 characters [Put what is longer into metadata.]', 'a tag of 129 characters is refused');
select is(detail_of($$select sluice.enqueue('t', tags => array['a', repeat('x', 129)])$$), '2 tags were given, the longest with 129 characters.', 'the detail says what was given');

-- Sizes
select ok(refusal('jsonb_build_object(''x'', repeat(''p'', 3 * 1024 * 1024 - 100))') ~ '^\d+$', 'a payload just below the limit is accepted');
select is(refusal('jsonb_build_object(''x'', repeat(''p'', 3 * 1024 * 1024))'), 'SL201: payload has 3145745 bytes, more than 3MB [Store large data elsewhere and enqueue a reference to it, or raise sluice.max_payload.]', 'a payload over the limit is refused');
select is(refusal('metadata => jsonb_build_object(''x'', repeat(''m'', 256 * 1024))'), 'SL201: metadata has 262161 bytes, more than 256kB [Store large data elsewhere and enqueue a reference to it, or raise sluice.max_metadata.]', 'metadata over the limit is refused');
set sluice.max_payload = '1kB';
select is(refusal('jsonb_build_object(''x'', repeat(''p'', 1024))'), 'SL201: payload has 1041 bytes, more than 1kB [Store large data elsewhere and enqueue a reference to it, or raise sluice.max_payload.]', 'the limit is a setting');
select ok(refusal('jsonb_build_object(''x'', repeat(''p'', 1000))') ~ '^\d+$', 'what fits it passes');
reset sluice.max_payload;
create temp table big as select jsonb_build_object('x', repeat('p', 3 * 1024 * 1024)) as payload;
select is(said($$select sluice.enqueue('t', payload) from big$$), 'SL201: payload has 3145745 bytes, more than 3MB [Store large data elsewhere and enqueue a reference to it, or raise sluice.max_payload.]', 'a compressed payload counts with its full size');
select login('t_producer', 'sluice_producer');
select is(said('set local sluice.max_payload = ''1GB''', 't_producer') like '42501:%' or said('set local sluice.max_payload = ''200MB''', 't_producer') like '42501:%', true, 'a producer cannot raise the limit');

-- Wrong calls
select is(said($$select sluice.enqueue('none')$$), 'SL002: task "none" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'an unknown task is refused');
select is(said($$select sluice.enqueue(null)$$), 'SL002: task must not be null [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'a null task is refused');
select is(refusal('queue => ''none'''), 'SL001: queue "none" does not exist [Create it with select sluice.create_queue(''none'').]', 'an unknown queue is refused');
select is(left(refusal('''{"a": }'''), 6), '22P02:', 'text that is not JSON is a standard error');
select is(left(refusal('jsonb_build_object(chr(0), 1)'), 6), '54000:', 'a NUL character is a standard error');
select is(left(refusal($$'"\u0000"'$$), 6), '22P05:', 'an escaped NUL is a standard error');
select is(left(refusal($$concurrency_key => convert_from('\xff', 'UTF8')$$), 6), '22021:', 'bytes that are no text are a standard error');
select is(said($$select sluice.enqueue('t', prority => 3)$$) like '42883:%', true, 'a misspelt option is a standard error');
select is(said(format('select sluice.enqueue(%L)', $$'; drop table sluice.run; --$$)), 'SL002: task "''; drop table sluice.run; --" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'a name is never run as SQL');

-- Transactions
create function runs() returns bigint language sql as 'select count(*) from sluice.run';
select runs() as n \gset
begin;
select sluice.enqueue('t', '{}', idempotency_key => 'gone');
select is(runs(), :n + 1::bigint, 'a run is seen by its own transaction');
rollback;
select is(runs(), :n::bigint, 'a run that was rolled back never existed');
select is_empty($$select from sluice.idempotency_key where key = 'gone'$$, 'nor did its key');
begin;
select sluice.enqueue('t') as kept \gset
savepoint s;
select sluice.enqueue('t') as dropped \gset
rollback to s;
select sluice.enqueue('t') as also_kept \gset
savepoint s2;
select sluice.enqueue('t') as released \gset
release s2;
commit;
select bag_eq(format('select run_id from sluice.run where run_id in (%s, %s, %s, %s)', :kept, :dropped, :also_kept, :released), format('values (%s::bigint), (%s), (%s)', :kept, :also_kept, :released),
    'what was enqueued after a savepoint goes with it');
do $$
begin
    perform sluice.enqueue('t', tags => '{inner}');
    perform 1 / 0;
exception when division_by_zero then
    perform sluice.enqueue('t', tags => '{handler}');
end $$;
select results_eq($$select tags[1] from sluice.payload where tags && '{inner,handler}'$$, $$values ('handler')$$, 'what a block enqueued is undone with its exception; what the handler enqueued stays');
do $$
begin
    begin
        perform sluice.enqueue('t', priority => -1);
    exception when sqlstate 'SL006' then null;
    end;
    perform sluice.enqueue('t', tags => '{after}');
end $$;
select is((select count(*) from sluice.payload where tags && '{after}'), 1::bigint, 'after a refusal that was caught, the same transaction enqueues');

begin;
select sluice.enqueue('t', '{"by": "prepared"}', concurrency_key => 'p', idempotency_key => 'p') as run \gset
prepare transaction 't1_prepared';
select is_empty(format('select from sluice.runs where run_id = %s', :run), 'a run of a prepared transaction is not seen');
commit prepared 't1_prepared';
select is(status_of(:run), 'queued', 'until that is committed');
begin;
select sluice.enqueue('t') as run \gset
prepare transaction 't1_prepared';
rollback prepared 't1_prepared';
select is_empty(format('select from sluice.runs where run_id = %s', :run), 'a prepared transaction that is rolled back leaves no run');

begin isolation level repeatable read;
select sluice.enqueue('t') as run \gset
select is(status_of(:run), 'queued', 'enqueue works at repeatable read');
commit;
begin isolation level serializable;
select sluice.enqueue('t', idempotency_key => 'serial') as run2 \gset
commit;
select is(status_of(:run2), 'queued', 'and at serializable');
begin read only;
select is(said($$select sluice.enqueue('t')$$), '25006: cannot execute nextval() in a read-only transaction []', 'a read-only transaction gives the standard error');
rollback;

-- A trigger of the user's own may enqueue.
create table orders (id int);
create function on_order() returns trigger language plpgsql as $$ begin perform sluice.enqueue('t', to_jsonb(new), tags => '{order}'); return new; end $$;
create trigger receipt after insert on orders for each row execute function on_order();
insert into orders select generate_series(1, 3);
select is((select count(*) from sluice.payload where tags = '{order}'), 3::bigint, 'a trigger enqueues for each row');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
