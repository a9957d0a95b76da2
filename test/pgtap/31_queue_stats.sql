-- Statistics of queues: each thing that happens is counted once, where it happens; nothing is known where claims go by the tables.
\ir lib/helper.psql
select task('t', 2);
select sluice.create_queue('idle');
create function counted(queue text default 'task/t') returns text language sql as $$ select format('claimed %s, completed %s, failed %s, lost %s, released %s, retried %s', claimed, completed, failed, lost, released, retried) from sluice.queue_stats() as s where s.queue = $1 $$;
select count(*) from sluice.claim('nobody');
-- The view
select login('t_monitor', 'pg_monitor'), login('t_reader', 'sluice_reader'), login('t_producer', 'sluice_producer');
select sluice.enqueue('t');
select sluice.complete(take('task/t'));
select bag_eq('table sluice.queue_stats', 'select * from sluice.queue_stats()', 'the view has the rows of the function');
select is(said('select count(*) from sluice.queue_stats', v.role), v.want, v.role || ' and the view') from (values ('t_monitor', '2'), ('t_reader', '2'), ('t_producer', '42501: permission denied for view queue_stats []')) as v (role, want);
select connect('looker');
select dblink_exec('looker', 'begin');
select is(in_session('looker', 'select count(*) from sluice.queue_stats'), '2', 'another session looks');
select is(in_session('looker', $$select string_agg(distinct c.relname, ',') from pg_locks as l join pg_class as c on c.oid = l.relation where l.pid = pg_backend_pid() and c.relkind in ('r', 'p') and c.relnamespace in ('sluice'::regnamespace, 'sluice_storage'::regnamespace)$$),
    'queue', 'and reads no table but that of queues, however many runs there are');
select dblink_exec('looker', 'rollback');
select is((select count(*)::int from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = 'sluice.queue_stats'::regclass and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'), 1, 'it belongs to the extension');
select is(pg_get_userbyid(relowner), (select pg_get_userbyid(extowner) from pg_extension where extname = 'sluice'), 'and to whom owns that') from pg_class where oid = 'sluice.queue_stats'::regclass;

-- What is counted
\if :by_index
select sluice.reset_queue_stats();
select is(counted('idle'), 'claimed 0, completed 0, failed 0, lost 0, released 0, retried 0', 'a queue in which nothing happened has zeros');
select bag_eq('select queue from sluice.queue_stats()', 'select queue from sluice.queues', 'there is a row for each queue');
select count(sluice.enqueue('t')) from generate_series(1, 8);
select is(counted(), 'claimed 0, completed 0, failed 0, lost 0, released 0, retried 0', 'an enqueue is not counted');
select sluice.complete(token) from sluice.claim('w', capacity => 2);
select is(counted(), 'claimed 2, completed 2, failed 0, lost 0, released 0, retried 0', 'claims and completions are');
select count(*) from sluice.exchange('w', capacity => 1);
select token from held_slot \gset
select count(*) from sluice.exchange('w', format('[{"token": "%s", "outcome": "completed", "output": 1}]', :'token')::jsonb);
select is(counted(), 'claimed 3, completed 3, failed 0, lost 0, released 0, retried 0', 'also those of an exchange');
select sluice.complete(:'token');
select is(counted(), 'claimed 3, completed 3, failed 0, lost 0, released 0, retried 0', 'each once, however often it is reported');
select sluice.fail(take('task/t'));
select is(counted(), 'claimed 4, completed 3, failed 1, lost 0, released 0, retried 1', 'a failure, and that it is tried again');
select sluice.fail(take('task/t'));
select is(counted(), 'claimed 5, completed 3, failed 2, lost 0, released 0, retried 1', 'or not');
select sluice.release(take('task/t'));
select is(counted(), 'claimed 6, completed 3, failed 2, lost 0, released 1, retried 1', 'a release');
select sluice.try_lead('me');
select take('task/t') as token \gset
select expire();
select sluice.expire_leases();
select is(counted(), 'claimed 7, completed 3, failed 2, lost 1, released 1, retried 2', 'a lease that was lost');
select is(counted('idle'), 'claimed 0, completed 0, failed 0, lost 0, released 0, retried 0', 'another queue has its own');

-- Waits and conflicts
select sluice.cancel(run_id) from sluice.runs where finished_at is null;
select sluice.reset_queue_stats();
select ok((select since between now() - interval '1 minute' and clock_timestamp() and claimed = 0 and waited = '0' from sluice.queue_stats() where queue = 'task/t'), 'after a reset all begins anew, and it says since when');
select sluice.enqueue('t', priority => 1000) as run \gset
update sluice.run set ready_at = ready_at - interval '1 hour', claim_key = claim_key - interval '1 hour' where run_id = :run;
select rewritten(:run);
select take('task/t') as token \gset
select ok((select waited between interval '1 hour' and interval '1 hour 1 minute' from sluice.queue_stats() where queue = 'task/t'), 'how long a run had been ready is counted, without its head start');
select sluice.complete(:'token');
select sluice.enqueue('t') as run \gset
select connect('locker');
select dblink_exec('locker', 'begin');
select in_session('locker', format('select run_id from sluice.run where run_id = %s for update', :run));
select is(take('task/t'), null, 'a run that somebody has locked is not handed out');
select is((select conflicts from sluice.queue_stats() where queue = 'task/t'), 1::bigint, 'which is a conflict');
select dblink_exec('locker', 'rollback');

-- A build keeps them
select sluice.rebuild_index();
select count(*) from sluice.claim('nobody', '{idle}');
select is((select format('%s %s', claimed, conflicts) from sluice.queue_stats() where queue = 'task/t'), '1 1', 'they survive a build of the index');
\else
select is((select format('%s %s', count(*), count(coalesce(since::text, claimed::text, waited::text, completed::text, failed::text, lost::text, released::text, retried::text, conflicts::text, stale::text))) from sluice.queue_stats()), '2 0', 'by the tables there is a row for each queue, and nothing is known');
select sluice.enqueue('t');
select sluice.fail(take('task/t'));
select is((select count(claimed)::int from sluice.queue_stats()), 0, 'nor counted');
select lives_ok('select sluice.reset_queue_stats()', 'and there is nothing to reset');
\endif
select bag_eq('table sluice.queue_stats', 'select * from sluice.queue_stats()', 'the view shows what the function does');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
