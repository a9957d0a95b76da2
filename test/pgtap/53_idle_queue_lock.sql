-- A claim locks the queues that have live runs, not all that there are: thousands of idle ones would fill the lock table.
\ir lib/helper.psql
select sluice.create_queue('limited' || i, 1, 1) from generate_series(1, 20) as i;
select task('t');
select sluice.enqueue('t', queue => 'limited7') as run \gset
begin;
select is((select array_agg(run_id) from sluice.claim('w', null, 100)), array[:run]::bigint[], 'a claim over many limited queues');
select is((select array_agg(q.queue) from pg_locks as l join sluice.queue as q on q.queue_id = l.objid::bigint
           where l.locktype = 'advisory' and l.classid = 1936487793), case when :'by_index' then null else '{limited7}'::text[] end, 'locks the one that is not idle, and none where claims go by the index');
commit;
select * from finish();
