-- What becomes of a run whose worker was lost, how often workers are to beat, and who is told to have lost it.
\ir lib/helper.psql
select task('again', 3);
select sluice.create_task('once', 'external', on_lost => 'fail', lease => '20 s', heartbeat => '2 s');
select sluice.try_lead('me');

-- How often
select sluice.create_task('short', 'external', lease => '4 s'), sluice.create_task('long', 'external', lease => '1 day');
select sluice.enqueue(t) from unnest('{again,once,short,long}'::text[]) as t;
select results_eq($$select task, heartbeat_seconds from sluice.claim('w', capacity => 9) order by task$$, $$values ('again', 15::float8), ('long', 15), ('once', 2), ('short', 1)$$, 'a claim says how often to beat: as its task says, else a quarter of the lease, at most 15 seconds');
select count(sluice.cancel(run_id)) from sluice.runs;
select sluice.enqueue(t) from unnest('{again,once,short,long}'::text[]) as t;
select results_eq($$select task, heartbeat_seconds, lease_seconds from sluice.exchange('x', capacity => 9) where kind = 'claimed' order by task$$, $$values ('again', 15::float8, 60::float8), ('long', 15, 86400), ('once', 2, 20), ('short', 1, 4)$$, 'and so does an exchange');
select forget_all();
select results_eq($$select heartbeat, on_lost from sluice.tasks where task in ('again', 'once') order by task$$, $$values (null::interval, 'retry'), ('2 s', 'fail')$$, 'the view shows both');
select is(said(format('select sluice.create_task(''x'', ''external'', lease => ''10 s'', %s)', v.told)), 'SL006: ' || v.want, v.told)
from (values ($$heartbeat => '5.1 s'$$, 'heartbeat must be 0.1 seconds to half of the lease [One that is lost on the way must not end the lease.]'),
             ($$heartbeat => '0'$$, 'heartbeat must be 0.1 seconds to half of the lease [One that is lost on the way must not end the lease.]'),
             ($$on_lost => 'ignore'$$, 'on_lost must be "retry" or "fail" [With retry a run whose worker was lost is tried again while it has attempts left; with fail it ends as system_failure.]'),
             ($$on_lost => null$$, 'on_lost must be "retry" or "fail" [With retry a run whose worker was lost is tried again while it has attempts left; with fail it ends as system_failure.]')) as v (told, want);

-- A deadline that passed
select sluice.enqueue('again') as again, sluice.enqueue('once') as once \gset
create temp table got as select run_id, token, clock_timestamp() as at from sluice.claim('client', capacity => 9);
select expire();
select is((select expired from sluice.expire_leases()), 2, 'two attempts were not heard of in time');
select results_eq(format('select status, attempt::int, error ->> ''code'' from sluice.runs where run_id in (%s, %s) order by run_id', :again, :once),
    $$values ('queued', 1, 'TASK_RUN_HEARTBEAT_TIMEOUT'), ('system_failure', 1, 'TASK_RUN_HEARTBEAT_TIMEOUT')$$, 'one run is tried again, the other''s task says that it fails');
select results_eq(format('select outcome, worker, error ->> ''worker'', error ->> ''message'', started_at <= ended_at, (error ->> ''last_heartbeat'')::timestamptz < ended_at from sluice.attempts where run_id = %s', :once),
    $$values ('lost', 'client', 'client', 'worker client was not heard of for 20 seconds', true, true)$$, 'the attempt says who lost it, when it began and ended, and when its worker was heard of last');
select sluice.cancel(:again);

-- A session that ended
select connect('w');
select in_session('w', $$select sluice.register_worker('dead')$$);
select sluice.enqueue('again') as again, sluice.enqueue('once') as once \gset
select in_session('w', $$select count(*) from sluice.exchange('dead', capacity => 9)$$);
select clock_timestamp() as claimed_by \gset
select dblink_disconnect('w');
call wait_until($$select reaped = 2 from sluice.reap_sessions()$$);
select results_eq(format('select status, attempt::int from sluice.runs where run_id in (%s, %s) order by run_id', :again, :once), $$values ('queued', 1), ('system_failure', 1)$$, 'of a worker that has died it is the same');
select results_eq(format('select outcome, worker, error ->> ''message'', (error ->> ''last_heartbeat'')::timestamptz between started_at - interval ''1 s'' and %L from sluice.attempts where run_id = %s', :'claimed_by', :once),
    $$values ('lost', 'dead', 'worker dead ended while the run was executing', true)$$, 'and its attempt says so');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
