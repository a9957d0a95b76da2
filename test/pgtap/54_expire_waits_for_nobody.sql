-- expire_leases() beside an exchange in an open transaction that was told of a dead token, which therefore holds its slot.
\ir lib/helper.psql
select connect('w'), connect('l');
select task('t');
select sluice.enqueue('t'), sluice.enqueue('t');
select in_session('w', $$select sluice.register_worker('w')$$);
select in_session('w', $$select token from sluice.exchange('w', capacity => 2) where kind = 'claimed'$$);
select s.token as token_first, s.run_id as first from held_slot as s order by s.run_id limit 1 \gset
select s.token as token_dead, s.run_id as dead from held_slot as s order by s.run_id desc limit 1 \gset
select sluice.cancel(:dead);
select expire();
select is(in_session('l', $$select sluice.try_lead('l')$$), 't', 'a leader');
select in_session('w', 'begin');
select is(in_session('w', format('select answer from sluice.exchange(''w'', heartbeats => array[%L]::uuid[]) where kind = ''lost''', :'token_dead')), 'canceled', 'a worker is told of a dead token, and its transaction stays open');
select in_session('l', $$set statement_timeout = '5s'$$);
select is(in_session('l', 'select expired from sluice.expire_leases()'), '1', 'the leader does not wait for it, and ends the lease that is nobody''s');
select in_session('w', 'rollback');
select is(in_session('l', 'select expired from sluice.expire_leases()'), '1', 'then the other');
select is((select count(*)::int from held_slot), 0, 'no slot is left');
select is_empty('select * from sluice.check()', 'nothing disagrees');
select * from finish();
