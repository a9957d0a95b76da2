-- announce_due() knows when a run falls due without reading the table each second, and misses none.
\ir lib/helper.psql
select task('t', 3);
create function looks() returns bigint language sql as $$
    select coalesce(sum(pg_stat_get_xact_numscans(p.relid)), 0)::bigint + coalesce((
        select sum(pg_stat_get_xact_numscans(i.indexrelid)) from pg_index as i where i.indrelid in (select relid from pg_partition_tree('sluice.run'))), 0)::bigint
    from pg_partition_tree('sluice.run') as p $$;
-- Next to other tests on one server, whose news are everybody's, and each ten seconds, it looks for nothing.
create function announce(out due integer, out next_in interval, out looked boolean) language plpgsql as $$
declare before bigint := looks();
begin
    select a.due, a.next_in into due, next_in from sluice.announce_due() as a;
    looked := looks() > before;
end $$;
create procedure be_quiet() language plpgsql as $$ begin call wait_until('select not looked from announce()'); end $$;
create procedure pass(run_id bigint) language plpgsql as $$ begin call wait_until(format('select ready_at <= clock_timestamp() from sluice.runs where run_id = %s', run_id)); end $$;
select connect('other');
select sluice.try_lead('me');
select sluice.claim('w'); -- decides by what claims go

-- Nothing is delayed
call be_quiet();
select pass('where nothing is delayed the table is left alone');
select count(sluice.enqueue('t')) from generate_series(1, 10);
call be_quiet();
select pass('as well with runs that wait for nothing');

-- Something is
select in_session('other', $$select sluice.enqueue('t', delay => '1h')$$) as later \gset
select ok(next_in between interval '59 min' and interval '1 h', 'a delayed run of another session is known') from announce();
call wait_until($$select not looked and next_in between interval '59 min' and interval '1 h' from announce()$$);
select pass('and remembered without another look');
select in_session('other', $$select sluice.enqueue('t', run_at => clock_timestamp() + interval '0.3 s')$$) as soon \gset
select ok(due = 1 or next_in <= interval '0.3 s', 'so is one that comes sooner') from announce();
call pass(:soon);
select due from announce();

-- By every way
select sluice.enqueue('t', delay => '2h') as moved \gset
call be_quiet();
select in_session('other', format($$select sluice.reschedule(%s, clock_timestamp() + interval '0.1 s')$$, :moved));
call pass(:moved);
select is(due, 1, 'a run whose time was brought forward is announced') from announce();
select is(due, 0, 'once') from announce();
select sluice.create_task('again', 'external', retry => '{"max_attempts": 2, "min_delay": "0.1 s", "max_delay": "0.1 s", "randomize": false}');
select sluice.enqueue('again') as retried \gset
call be_quiet();
select sluice.fail(take('task/again'), '{"message": "again"}');
call pass(:retried);
select is(due, 1, 'a run that waits for its next attempt is announced') from announce();
call be_quiet();
select in_session('other', $$select * from sluice.enqueue_many('t', array['1', '2']::jsonb[], array[jsonb_build_object('run_at', clock_timestamp() + interval '0.1 s')])$$) as many \gset
call wait_until(format($$select bool_and(ready_at <= clock_timestamp()) from sluice.runs where run_id = any (regexp_split_to_array(%L, '\s+')::bigint[])$$, :'many'));
select is(due, 2, 'and so are many') from announce();

-- Transactions
select dblink_exec('other', 'begin');
select in_session('other', $$select sluice.enqueue('t', delay => '20m')$$) as slow \gset
call be_quiet();
select dblink_exec('other', 'commit');
select ok(next_in between interval '19 min' and interval '20 min', 'who commits late is seen at once') from announce();
select sluice.cancel(:slow);
select dblink_exec('other', 'begin');
select in_session('other', $$select sluice.enqueue('t', run_at => clock_timestamp() + interval '0.1 s')$$) as undone \gset
select dblink_exec('other', 'rollback');
select dblink_exec('other', 'begin');
select in_session('other', $$select sluice.enqueue('t', run_at => clock_timestamp() + interval '0.1 s')$$) as kept \gset
select dblink_exec('other', 'savepoint s');
select in_session('other', $$select sluice.enqueue('t', run_at => clock_timestamp() + interval '0.1 s')$$) as undone \gset
select dblink_exec('other', 'rollback to savepoint s');
select dblink_exec('other', 'commit');
call pass(:kept);
begin;
select is(due, 1, 'what is rolled back is not announced') from announce();
rollback;
select is(due, 1, 'what was announced by a transaction that failed is announced again') from announce();
select in_session('other', $$select sluice.enqueue('t', run_at => clock_timestamp() + interval '0.1 s')$$) as kept \gset
call pass(:kept);
begin;
savepoint s;
select due from announce();
rollback to savepoint s;
commit;
select is(due, 1, 'so is what a part of one announced') from announce();
select dblink_exec('other', 'begin');
select in_session('other', $$select sluice.enqueue('t', run_at => clock_timestamp() + interval '0.1 s')$$) as prepared \gset
select dblink_exec('other', $$prepare transaction 'announced'$$);
call be_quiet();
select dblink_exec('other', $$commit prepared 'announced'$$);
call wait_until($$select due = 1 from announce()$$, 30);
select pass('what was prepared is found when it is committed');

-- Another leader
select pg_advisory_unlock_all();
select is(in_session('other', $$select sluice.try_lead('other')$$), 't', 'another one leads');
select is(in_session('other', $$select next_in between interval '50 min' and interval '1 h' from sluice.announce_due()$$), 't', 'it finds what was delayed before');
select in_session('other', $$select sluice.enqueue('t', run_at => clock_timestamp() + interval '0.1 s')$$) as soon \gset
call pass(:soon);
select in_session('other', 'select pg_advisory_unlock_all()');
select is(sluice.try_lead('me'), true, 'the first one leads again');
select is(due, 1, 'what the other one did not announce it does') from announce();
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
