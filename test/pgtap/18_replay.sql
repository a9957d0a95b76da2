-- replay(): a new run like an old one.
\ir lib/helper.psql
select task('t', 3);
select sluice.create_queue('other');
select sluice.enqueue('t', '{"p": 1}', queue => 'other', priority => 5, concurrency_key => 'k', delay => '1h', idempotency_key => 'i', max_attempts => 9, tags => '{x,y}', metadata => '{"m": 1}') as old \gset
select sluice.replay(:old) as new \gset
select isnt(:new, :old, 'a replay is another run');
select results_eq(format('select task, queue, status, priority, concurrency_key, payload, tags, metadata, max_attempts::int, attempt::int from sluice.runs where run_id = %s', :new),
    $$values ('t', 'other', 'queued', 5, 'k', '{"p": 1}'::jsonb, '{x,y}'::text[], '{"m": 1}'::jsonb, 3, 0)$$, 'with queue, priority, key, payload, tags and metadata, but neither delay nor max_attempts');
select is(status_of(:old), 'delayed', 'the old run stays as it is');
select is(sluice.enqueue('t', idempotency_key => 'i'), :old::bigint, 'and keeps its idempotency key');
select sluice.replay(:old, '{"p": 2}') as new \gset
select is((select payload from sluice.runs where run_id = :new), '{"p": 2}', 'a payload may be given');
select sluice.cancel(:old);
select isnt(sluice.replay(:old), null, 'a final run can be replayed');
select sluice.enqueue('t') as bare \gset
select sluice.replay(:bare) as new \gset
select is_empty(format('select from sluice.payload where run_id = %s', :new), 'a run of nothing is replayed with nothing');
select is(said('select sluice.replay(42)'), 'SL003: run 42 does not exist [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'a run that does not exist cannot be replayed');
select sluice.cancel(run_id) from sluice.runs where finished_at is null;
select sluice.drop_task('t');
select is(said(format('select sluice.replay(%s)', :old)), 'SL002: task "t" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'nor one whose task was dropped');
select * from finish();
