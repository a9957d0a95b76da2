-- Delayed runs that are moved or canceled at any moment: long before, in the moment before they are due, and when they are at
-- hand already.
\ir lib/helper.psql
select task('t', 3);
create function claimed() returns text language sql as $$ select coalesce(string_agg(c.payload #>> '{}', ',' order by c.payload #>> '{}'), 'nothing') from sluice.claim('w', '{task/t}', 100) as c $$;
create function later(payload text, delay interval) returns bigint language sql as $$ select sluice.enqueue('t', to_jsonb(payload), run_at => clock_timestamp() + delay) $$;
create procedure pass(run_id bigint) language plpgsql as $$ begin call wait_until(format('select ready_at <= clock_timestamp() from sluice.runs where run_id = %s', run_id)); end $$;

-- Nobody has looked yet
select later('put off', '0.2 s') as a, later('canceled', '0.2 s') as b, later('brought forward', '1 h') as c, later('as it was', '0.2 s') as d, later('in an hour', '1 h') as e \gset
select is(claimed(), 'nothing', 'nothing is due');
select sluice.reschedule(:a, now() + interval '1 h'), sluice.cancel(:b), sluice.reschedule(:c, now());
call pass(:d);
select is(claimed(), 'as it was,brought forward', 'moved and canceled before they were due');

-- At hand: a look has fed them to the index, and a claim has not taken them
select later('put off', '0.1 s') as a, later('canceled', '0.1 s') as b, later('as it was', '0.1 s') as c, later('moved again', '0.1 s') as d \gset
call pass(:d);
call sluice.wait_for_work('{task/t}', '1 s');
select sluice.reschedule(:a, now() + interval '1 h'), sluice.cancel(:b), sluice.reschedule(:d, now() + interval '1 h'), sluice.reschedule(:d, now());
select is(claimed(), 'as it was,moved again', 'moved and canceled when they were at hand');
select is(claimed(), 'nothing', 'each once');
select is(status_of(:a) || ' ' || status_of(:b), 'delayed canceled', 'the others are what they were made');

-- At hand, and undone
select later('kept', '0.1 s') as a, later('kept too', '0.1 s') as b \gset
call pass(:b);
call sluice.wait_for_work('{task/t}', '1 s');
begin;
select sluice.reschedule(:a, now() + interval '1 h'), sluice.cancel(:b);
rollback;
select is(claimed(), 'kept,kept too', 'what is rolled back changes nothing');

-- Put off while it is being claimed
select later('taken', '0.1 s') as a \gset
call pass(:a);
select connect('other');
select in_session('other', 'begin');
select in_session('other', $$select count(*) from sluice.claim('x', '{task/t}')$$);
select is(claimed(), 'nothing', 'somebody else is claiming it');
select in_session('other', 'rollback');
select sluice.reschedule(:a, now() + interval '0.2 s');
call pass(:a);
select is(claimed(), 'taken', 'who does not commit leaves it to be moved');

-- A time that is brought forward wakes who waits
select sluice.reschedule(:e, clock_timestamp() + interval '0.2 s');
call sluice.wait_for_work('{task/t}', '10 s', reason => null);
select is(claimed(), 'in an hour', 'brought forward from an hour to a moment');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
