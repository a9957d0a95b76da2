-- enqueue_many() with options of its own for each of very many items: each item keeps its own.  (Built from arrays by
-- subscript this took quadratic time: half a minute for as many as here.)
\ir lib/helper.psql
select task('t');
select is((select count(*)::int from sluice.enqueue_many('t',
    (select array_agg(to_jsonb(i)) from generate_series(1, 30000) as i),
    (select array_agg(jsonb_build_object('concurrency_key', 'lane' || i, 'idempotency_key', 'key' || i)) from generate_series(1, 30000) as i)) as run),
    30000, 'each item makes a run');
select is((select count(*)::int from sluice.runs as r where r.concurrency_key = 'lane' || r.payload::text), 30000, 'each run has the concurrency key of its own item');
select is((select count(*)::int from sluice.idempotency_key as k join sluice.payload as p on p.run_id = k.run_id where k.key = 'key' || p.payload::text),
    30000, 'and its idempotency key');
-- Said again and again, all keys being taken: what is told apart item by item must not be looked up among all others.
create table said_again as select * from generate_series(1, 6) as call, lateral sluice.enqueue_many('t',
    (select array_agg(to_jsonb(i)) from generate_series(1, case call when 6 then 30000 else 10 end) as i),
    (select array_agg(jsonb_build_object('idempotency_key', 'key' || i)) from generate_series(1, case call when 6 then 30000 else 10 end) as i)) with ordinality as r (run_id, n);
select is((select count(*)::int from said_again as s join sluice.payload as p on p.run_id = s.run_id and p.payload = to_jsonb(s.n)), 30050, 'again: each item gets the run that has its key');
select is((select count(*)::int from sluice.runs), 30000, 'and none makes one');
select is((select array_agg(i) from sluice.enqueue_many('t', '{}', array['{"idempotency_key": "k"}']::jsonb[]) as i), null, 'no payloads and an option for all are no runs');
select is((select count(*)::int from sluice.idempotency_key as k where k.key = 'k'), 0, 'and take no key');
select * from finish();
