-- The leader's duties: only in the session that leads, each once and for all.
\ir lib/helper.psql
select task('t', 3);
create function duty(name text) returns text language sql as $$ select said('select * from sluice.' || name || '()') $$;

-- Who leads
select is(duty(v), 'SL105: this session is not the leader [Ask for the lock with select sluice.try_lead(worker).]', v || '() is for the leader') from unnest('{reap_sessions,expire_leases,expire_runs,fire_schedules,announce_due,expire_idempotency_keys,remove_old_runs,sweep}'::text[]) as v;
select connect('other');
select is(in_session('other', $$select sluice.try_lead('other')$$), 't', 'one session gets the lock');
select is(in_session('other', $$select sluice.try_lead('other')$$), 't', 'and may ask again');
select is(sluice.try_lead('me'), false, 'another does not');
select is(duty('sweep'), 'SL105: this session is not the leader [Ask for the lock with select sluice.try_lead(worker).]', 'nor may it do the duties');
select is((select string_agg(worker, ',') from sluice.leader), 'other', 'the leader is known');
select dblink_disconnect('other');
call wait_until($$select sluice.try_lead('me')$$);
select is((select string_agg(worker, ',') from sluice.leader), 'me', 'when its session ends another takes over');
select is(said($$select sluice.try_lead(null)$$), 'true', 'a leader needs no name to be told that it leads');
select sluice.register_worker('me', '{}');
select is((select leader from sluice.workers where worker = 'me'), true, 'the view shows it');
select sluice.reap_sessions(); -- writes down what the clock is
select sluice.reap_sessions(); -- and sees that it is there
begin;
select pg_stat_get_xact_numscans('sluice.leader'::regclass) as looks \gset
select sluice.reap_sessions(), sluice.expire_runs();
select pg_stat_get_xact_numscans('sluice.leader'::regclass) - :looks as looks \gset
commit;
select is(:looks, 0, 'that the clock was not set is known without a look into a table');

-- Leases
select is((select format('%s %s', expired, next_in) from sluice.expire_leases()), '0 ', 'without leases nothing expires');
select sluice.create_task('l', 'external', lease => '100 s');
select sluice.enqueue('l') as run \gset
select token from sluice.claim('w', '{task/l}') \gset
select ok((select expired = 0 and next_in between interval '90 s' and interval '100 s' from sluice.expire_leases()), 'it says when the next lease ends');
select expire();
select is((select format('%s %s', expired, next_in) from sluice.expire_leases()), '1 ', 'a lease that is over expires');
select is((select format('%s %s', status, attempt) from sluice.run where run_id = :run), 'queued 1', 'its run is queued again');
select token from sluice.claim('w', '{task/l}') \gset
\if :by_index
\else
delete from sluice.lease;
select sluice._lease_news();
select ok((select expired = 0 and next_in between interval '90 s' and interval '100 s' from sluice.expire_leases()), 'a slot without a lease, as after a crash, gets one more period');
\endif
select sluice.complete(:'token');
select is((select count(*)::int from held_slot) + (select count(*)::int from sluice.lease), 0, 'no lease is left over');
select count(sluice.enqueue('t')) from generate_series(1, 1500);
select count(*) from sluice.claim('w', capacity => 1500);
select expire();
select results_eq('select expired, next_in from sluice.expire_leases()', $$values (1000, interval '0')$$, 'a thousand at a time, and at once again');
select is((select expired from sluice.expire_leases()), 500, 'until none is left');
select sluice.cancel(run_id) from sluice.runs where finished_at is null;

-- Due runs
select is((select due from sluice.announce_due()), 0, 'nothing is due');
select sluice.enqueue('t', delay => '1h') as run \gset
select ok((select due = 0 and next_in between interval '59 minutes' and interval '1 hour' from sluice.announce_due()), 'it says when the next run falls due');
listen sluice;
create procedure fall_due(run_id bigint) language plpgsql as $$
begin
    perform sluice.reschedule(run_id, clock_timestamp() + interval '0.1 s');
    commit;
    call wait_until(format('select ready_at <= clock_timestamp() from sluice.runs where run_id = %s', run_id));
end $$;
call fall_due(:run);
select format('%s %s', due, next_in) as said from sluice.announce_due() \gset
select is(:'said'::text, '1 ', 'a run that fell due is announced');
select is((select due from sluice.announce_due()), 0, 'once');
select connect('listener');
select dblink_exec('listener', 'listen sluice');
select sluice.enqueue('t', delay => '1h') as run \gset
call fall_due(:run);
select sluice.announce_due();
call wait_until($$select exists (select from dblink_get_notify('listener') where notify_name = 'sluice')$$);
select pass('those who listen are told');
select sluice.cancel(:run);
select sluice.enqueue('t', delay => '1h') as run \gset
call fall_due(:run);
select sluice.cancel(:run);
select is((select due from sluice.announce_due()), 0, 'a run that was canceled does not fall due');
unlisten *;

-- Idempotency keys
select is((select format('%s %s', expired, next_in) from sluice.expire_idempotency_keys()), '0 ', 'no keys');
select sluice.enqueue('t', idempotency_key => 'a', idempotency_ttl => '1 h'), sluice.enqueue('t', idempotency_key => 'b', idempotency_ttl => '2 h');
select ok((select expired = 0 and next_in between interval '59 minutes' and interval '1 hour' from sluice.expire_idempotency_keys()), 'it says when the next key expires');
update sluice.idempotency_key set expires_at = clock_timestamp() - interval '1 s' where key = 'a';
select is((select expired from sluice.expire_idempotency_keys()), 1, 'an expired key is removed');
select is((select string_agg(key, ',') from sluice.idempotency_key), 'b', 'another is not');

-- Sessions
select connect('w');
select in_session('w', $$select sluice.register_worker('dead')$$);
select in_session('w', $$select count(*) from sluice.exchange('dead', capacity => 2)$$);
select take('task/t', 'client') as client_token \gset
select token as held from held_slot where worker = 'dead' limit 1 \gset
select is((select reaped from sluice.reap_sessions()), 0, 'the leases of a living session stand');
select dblink_disconnect('w');
call wait_until($$select not exists (select from sluice.worker as w where w.worker = 'dead' and sluice._session_alive(w.pid, w.session_start))$$);
select is((select reaped from sluice.reap_sessions()), 2, 'those of one that has ended are given back at once');
select is((select format('%s %s', status, attempt) from sluice.run where run_id = run_of(:'held')), 'queued 1', 'their attempts were lost and count');
select is((select error - 'last_heartbeat' from sluice.attempts where run_id = run_of(:'held')), '{"code": "TASK_RUN_HEARTBEAT_TIMEOUT", "worker": "dead", "message": "worker dead ended while the run was executing"}', 'and say why');
select is((select count(*)::int from sluice.workers where worker = 'dead'), 0, 'the worker is no longer listed');
select is((select reaped from sluice.reap_sessions()), 0, 'once');
select sluice.enqueue('t');
select token as client_token from sluice.claim('client') \gset
select sluice.reap_sessions();
select is(status_of(run_of(:'client_token')), 'executing', 'a client without a session keeps its leases');
select connect('w');
select in_session('w', $$select sluice.register_worker('crashed')$$);
select in_session('w', $$select token from sluice.exchange('crashed', capacity => 1) where kind = 'claimed'$$) as token \gset
update sluice.worker set session_start = pg_postmaster_start_time() - interval '1 hour', server_start = pg_postmaster_start_time() - interval '2 hours' where worker = 'crashed';
select is((select reaped from sluice.reap_sessions()), 0, 'a session of before the server''s start ended through no fault of the worker');
select is(status_of(run_of(:'token')), 'executing', 'its leases stand to their ends');

-- Sweep
select is_empty('select * from sluice.sweep()', 'a sweep of a sound storage finds nothing');
\if :by_index
\else
delete from sluice.slot where token = :'token';
select results_eq('select * from sluice.sweep()', $$values ('1 executing runs had no slot and were given one')$$, 'a run without a slot is given one, and the sweep says so');
select is((select worker from sluice.slot where token = :'token'), 'crashed', 'with its worker');
select is_empty('select * from sluice.sweep()', 'once');
\endif
insert into sluice.lease values (gen_random_uuid(), clock_timestamp() - interval '2 minutes');
select sluice.sweep();
select is((select count(*)::int from sluice.lease as l where not exists (select from sluice.slot as s where s.token = l.token)), 0, 'a lease without a slot is removed');
do $$ declare t text; begin for t in select format('drop table %s', inhrelid::regclass) from pg_inherits where inhrelid::regclass::text ~ '_p\d+$' and inhparent in (select format('sluice.%I', name)::regclass from sluice._partitioned_tables()) and substring(inhrelid::regclass::text from '\d+$') > to_char(now() + interval '8 days', 'YYYYMMDD') loop execute t; end loop; end $$;
select matches((select string_agg(finding, ',') from sluice.sweep() as s (finding)), '^made partitions for [23] weeks$', 'missing weeks ahead are made, and the sweep says so');
-- A new partition locks the DEFAULT one, which a reader may hold.
select connect('reader');
create procedure drop_last_week() language plpgsql as $$
declare name text;
begin
    for name in select format('sluice_storage.%I', t.name || substring(c.relname from '_p.*$')) from sluice._partitioned_tables() as t, lateral (
        select relname from pg_class where relnamespace = 'sluice_storage'::regnamespace and relname ~ '^run_p\d+$' order by relname desc limit 1) as c
    loop execute 'drop table ' || name; end loop;
end $$;
call drop_last_week();
select dblink_exec('reader', 'begin');
select in_session('reader', 'select count(*) from sluice_storage.run_default');
select results_eq('select * from sluice.sweep()', $$values ('partitions ahead could not be made now: a table is in use')$$, 'a sweep does not wait for a reader, in front of whom everybody else would wait');
select dblink_exec('reader', 'commit');
select results_eq('select * from sluice.sweep()', $$values ('made partitions for 1 weeks')$$, 'the next one makes what is missing');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
