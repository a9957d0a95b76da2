-- reschedule(): moves the time of a run that waits.
\ir lib/helper.psql
select task('t', 3);
select sluice.enqueue('t', delay => '1h', priority => 5) as run \gset
select sluice.reschedule(:run, '2099-01-01 00:00+00');
select results_eq(format('select ready_at, due_at, claim_key, status, class::int, priority from sluice.run where run_id = %s', :run), $$values (timestamptz '2099-01-01 00:00+00', timestamptz '2099-01-01 00:00+00', timestamptz '2098-12-31 23:59:55+00', 'queued', 2, 5)$$, 'a delayed run takes the new time');
select sluice.reschedule(:run, '1999-01-01');
select is(status_of(:run), 'queued', 'a time in the past is now');
select is((select due_at from sluice.run where run_id = :run), null, 'and needs no timer');
select sluice.reschedule(:run, now() + interval '1 hour');
select is(status_of(:run), 'delayed', 'a queued run is put off');
select is(take('task/t'), null, 'and not handed out');
select sluice.reschedule(:run, now());
select take('task/t') as token \gset
select is(run_of(:'token'), :run::bigint, 'until its time has come');
select is(said(format('select sluice.reschedule(%s, now())', :run)), format('SL101: run %s cannot be rescheduled: it is executing [Only a run that waits has a time to move; sluice.requeue takes one back that is executing.]', :run), 'an executing run has no time to move');
select sluice.fail(:'token', retry_at => now() + interval '1 hour');
select sluice.reschedule(:run, now());
select results_eq(format('select status, class::int, attempt::int from sluice.run where run_id = %s', :run), $$values ('queued', 1, 1)$$, 'a retrying run starts now and keeps class and attempt');
select sluice.cancel(:run);
select is(said(format('select sluice.reschedule(%s, now())', :run)), format('SL101: run %s cannot be rescheduled: it is canceled [Only a run that waits has a time to move; sluice.requeue takes one back that is executing.]', :run), 'a final run has none either');
select sluice.enqueue('t') as run \gset
select is(said(format('select sluice.reschedule(%s, null)', :run)), 'SL006: run_at must not be null [Give the time at which the run may start.]', 'a time is wanted');
select is(said(format('select sluice.reschedule(%s, ''infinity'')', :run)), 'SL006: run_at is more than a century away [Give a time that will come.]', 'one that will come');
select is(said('select sluice.reschedule(42, now())'), 'SL003: run 42 does not exist [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'of a run that exists');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
