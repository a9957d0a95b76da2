-- Idempotency keys: one run for each task and key, until the key expires or the run has failed.
\ir lib/helper.psql
select task('t', 1), task('u', 1);
create function again(key text) returns boolean language sql as $$ select existing from sluice.enqueue_result('t', idempotency_key => key) $$;

select run_id as first, existing from sluice.enqueue_result('t', '{"n": 1}', idempotency_key => 'a') \gset
select is(:'existing'::boolean, false, 'the first run of a key is new');
select results_eq($$select run_id, existing from sluice.enqueue_result('t', '{"n": 2}', idempotency_key => 'a')$$, format('values (%s::bigint, true)', :first), 'the second enqueue returns the first run');
select is(sluice.enqueue('t', idempotency_key => 'a'), :first::bigint, 'enqueue() returns its id');
select is((select payload from sluice.runs where run_id = :first), '{"n": 1}', 'the run keeps what it was given first');
select is(sluice.enqueue('u', idempotency_key => 'a') = :first, false, 'the same key of another task is another run');
select is(sluice.enqueue('t', idempotency_key => 'A') = :first, false, 'keys that differ in case are two');
select is((select count(*) from sluice.runs where task = 't' and (payload ->> 'n') is not null), 1::bigint, 'no second run was made on the way');

-- What counts, by the state of the run
select take('task/t') as token \gset
select is(run_of(:'token'), :first::bigint, 'the run is executing');
select is(again('a'), true, 'an executing run counts');
select sluice.complete(:'token');
select is(again('a'), true, 'a completed run counts');
select sluice.enqueue('t', idempotency_key => 'c') as run \gset
select sluice.cancel(:run);
select is(again('c'), true, 'a canceled run counts');
select sluice.enqueue('t', delay => '1h', idempotency_key => 'd') as run \gset
select is(again('d'), true, 'a delayed run counts');

select count(sluice.cancel(run_id)) from sluice.runs where finished_at is null;
select sluice.enqueue('t', idempotency_key => 'f') as failed \gset
select sluice.fail(take('task/t'));
select is(status_of(:failed), 'failed', 'a run has failed');
select results_eq($$select run_id = $$ || :failed || $$, existing from sluice.enqueue_result('t', idempotency_key => 'f')$$, 'values (false, false)', 'a failed run does not count: the key goes to a new run');
select is(again('f'), true, 'which has it from then on');
select sluice.cancel(run_id) from sluice.runs where status = 'queued';
create function key_of_a_run_that(final text) returns boolean language plpgsql as $$
declare id bigint := sluice.enqueue('t', idempotency_key => final);
begin
    update sluice.run set status = final, finished_at = clock_timestamp(), attempt = 1, claimed_at = clock_timestamp(), token = sluice._new_token(id) where run_id = id;
    return again(final);
end $$;
select is(key_of_a_run_that(v.status), v.counts, format('a run that is %s %s', v.status, case when v.counts then 'counts' else 'does not count' end))
from (values ('completed', true), ('canceled', true), ('failed', false), ('crashed', false), ('system_failure', false), ('timed_out', false), ('expired', false)) as v (status, counts);

-- Expiry
select sluice.enqueue('t', idempotency_key => 'e', idempotency_ttl => '1 hour') as run \gset
select is(date_trunc('hour', expires_at - clock_timestamp() + interval '1 minute'), interval '1 hour', 'a key lives as long as it is told') from sluice.idempotency_key where key = 'e';
select ok((select expires_at between clock_timestamp() + interval '719 hours' and clock_timestamp() + interval '721 hours' from sluice.idempotency_key where key = 'd'), 'else 30 days');
update sluice.idempotency_key set expires_at = clock_timestamp() - interval '1 second' where key = 'e';
select results_eq($$select run_id = $$ || :run || $$, existing from sluice.enqueue_result('t', idempotency_key => 'e')$$, 'values (false, false)', 'an expired key does not count, whatever its run does');
select is(again('e'), true, 'the new run has it from then on');

-- Inside one transaction
begin;
select sluice.enqueue('t', idempotency_key => 'tx') as run \gset
select is(sluice.enqueue('t', idempotency_key => 'tx'), :run::bigint, 'a key is seen by its own transaction');
savepoint s;
select sluice.enqueue('t', idempotency_key => 'tx2') as lost \gset
rollback to s;
select is(sluice.enqueue('t', idempotency_key => 'tx2') = :lost, false, 'a key that was rolled back is free again');
commit;
select is_empty('select * from sluice.check()', 'check() finds nothing');
-- Among many keys one is looked up, also where the session's plans are of a time when there were next to none
delete from sluice.idempotency_key;
vacuum sluice.idempotency_key;
begin;
select count(sluice.enqueue('t', idempotency_key => 'again')) from generate_series(1, 10);
create temp table made as select e as run_id from sluice.enqueue_many('t', array(select '1'::jsonb from generate_series(1, 500)), array(select jsonb_build_object('idempotency_key', n) from generate_series(1, 500) as n)) as e;
select count(*) as same from sluice.enqueue_many('t', array(select '1'::jsonb from generate_series(1, 500)), array(select jsonb_build_object('idempotency_key', n) from generate_series(1, 500) as n)) as e join made as m on m.run_id = e \gset
select pg_stat_get_xact_tuples_returned('sluice.idempotency_key'::regclass) + pg_stat_get_xact_tuples_returned('sluice.idempotency_key_pkey'::regclass) as reads \gset
rollback;
select is(:same, 500, 'each of many keys has its run');
select cmp_ok(:reads, '<', 5000, 'and none of the others was read for it');
select * from finish();
