-- heartbeat(): moves the leases that stand and is silent about the others.
\ir lib/helper.psql
select sluice.create_task('t', 'external', lease => '100 s');
select count(sluice.enqueue('t')) from generate_series(1, 3);
select array_agg(token) as tokens from sluice.claim('w', capacity => 3) \gset
select expire();
select sluice.cancel(run_of((:'tokens'::uuid[])[2]));
create temp table beat as select * from sluice.heartbeat(:'tokens'::uuid[] || gen_random_uuid() || null);
select bag_eq('select token from beat', format('select unnest(array[(%1$L::uuid[])[1], (%1$L::uuid[])[3]])', :'tokens'), 'a heartbeat answers with the leases that stand');
select ok(bool_and(lease_until between clock_timestamp() + interval '95 s' and clock_timestamp() + interval '100 s'), 'and their new ends, a lease of the task from now') from beat;
select is((select count(*)::int from held_slot join beat using (token) where abs(extract(epoch from until - lease_until)) < 0.1), 2, 'which are kept');
select ok((select until < clock_timestamp() from held_slot where token = (:'tokens'::uuid[])[2]), 'the lease of a dead token does not move');
select is_empty($$select * from sluice.heartbeat('{}')$$, 'no tokens, no answer');
select is_empty('select * from sluice.heartbeat(null)', 'nor for null');

-- Leases in tables are unlogged: after a crash a beat makes the row anew.  (Of the index: test/crash.)
\if :by_index
\else
delete from sluice.lease;
select is((select count(*)::int from sluice.heartbeat(:'tokens'::uuid[])), 2, 'a heartbeat brings a lease back that a crash has emptied');
\endif

-- A late beat against the leader: whoever is first decides.
select sluice.try_lead('leader');
select expire();
select is((select count(*)::int from sluice.heartbeat(:'tokens'::uuid[])), 2, 'a late beat that comes before the leader looks saves the lease');
select expire();
select sluice.expire_leases();
select is_empty(format('select * from sluice.heartbeat(%L)', :'tokens'), 'a beat after the leader has looked finds nothing that stands');

-- A beat writes no WAL: the table is unlogged, and the index is memory.
create function wal_records(statement text) returns bigint language plpgsql as $$
declare plan json;
begin
    execute 'explain (analyze, wal, format json) ' || statement into plan;
    return (plan -> 0 -> 'Plan' ->> 'WAL Records')::bigint;
end $$;
select count(sluice.enqueue('t')) from generate_series(1, 100);
select array_agg(token) as tokens from sluice.claim('w', capacity => 100) \gset
select is((select count(*)::int from sluice.heartbeat(:'tokens'::uuid[])), 100, 'a beat for a hundred');
select is(wal_records(format('select count(*) from sluice.heartbeat(%L)', :'tokens')), 0::bigint, 'writes no WAL');
select isnt(wal_records('select sluice.enqueue(''t'')'), 0::bigint, 'as the same measure shows of an enqueue');
\if :by_index
begin;
select count(*) from sluice.heartbeat(:'tokens'::uuid[]);
select pg_current_xact_id_if_assigned() is null as without_xid \gset
commit;
select ok(:'without_xid', 'nor takes it a transaction id, so that its end writes none either');
\else
select is((select relpersistence from pg_class where oid = 'sluice.lease'::regclass), 'u', 'leases are unlogged');
\endif
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
