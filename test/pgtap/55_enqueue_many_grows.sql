-- enqueue_many() with options of its own for each item takes as long for each of many items as for each of few.
\ir lib/helper.psql
select task('t');
create function seconds_for(items int, option text) returns float8 language plpgsql as $$
declare
    payloads jsonb[] := (select array_agg(to_jsonb(i)) from generate_series(1, items) as i);
    options  jsonb[] := (select array_agg(jsonb_build_object(option, option || items || '-' || i)) from generate_series(1, items) as i);
    started  timestamptz := clock_timestamp();
begin
    perform sluice.enqueue_many('t', payloads, options);
    return extract(epoch from clock_timestamp() - started);
end $$;
select seconds_for(100, 'concurrency_key') as warm_up \gset
-- 32 times the items took more than 100 times as long.
select ok(seconds_for(64000, 'concurrency_key') < 70 * greatest(seconds_for(2000, 'concurrency_key'), seconds_for(2000, 'concurrency_key')), 'with concurrency keys');
select ok(seconds_for(64000, 'idempotency_key') < 70 * greatest(seconds_for(2000, 'idempotency_key'), seconds_for(2000, 'idempotency_key')), 'with idempotency keys');
select is((select array_agg(i) from sluice.enqueue_many('t', '{}', array['{"idempotency_key": "k"}']::jsonb[]) as i), null, 'no payloads and an option for all are no runs');
select is((select count(*)::int from sluice.idempotency_key as k where k.key = 'k'), 0, 'and take no key');
select * from finish();
