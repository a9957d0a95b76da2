-- What is put right when the clock goes back: whoever waits because of the clock, and nobody who waits for an instant that
-- somebody named.  (The clock itself is set in test/clock.)
\ir lib/helper.psql
select sluice.create_task('patient', 'external', retry => '{"max_attempts": 9, "min_delay": "1 second", "max_delay": "1 hour", "randomize": false}');
select sluice.create_task('hasty', 'external', retry => '{"max_attempts": 9, "min_delay": "1 second", "max_delay": "1 minute", "randomize": false}');

select sluice.enqueue('patient') as retried \gset
select sluice.fail(take('task/patient'), '{"message": "again"}');
select sluice.enqueue('hasty') as moved \gset
select sluice.fail(take('task/hasty'), '{"message": "again"}');
select sluice.enqueue('hasty') as hours_ago \gset
select sluice.fail(take('task/hasty'), '{"message": "again"}');
select sluice.enqueue('patient') as ready, sluice.enqueue('patient', delay => '5m') as delayed \gset

-- All of it but two was written by a clock that was ten minutes ahead.
update sluice.run set ready_at = ready_at + interval '10 min', claim_key = claim_key + interval '10 min', due_at = due_at + interval '10 min' where run_id in (:retried, :ready);
update sluice.attempt set started_at = started_at + interval '10 min', ended_at = ended_at + interval '10 min' where run_id in (:retried, :moved);
select sluice.reschedule(run_id, now() + interval '5 min') from unnest(array[:moved, :hours_ago]) as run_id;
create table before as select run_id, ready_at, claim_key, due_at from sluice.run;
select sluice._mend_after_backward(interval '-10 min');

create function moved_by(run_id bigint) returns interval language sql as $$
    select r.ready_at - b.ready_at from sluice.run as r join before as b using (run_id)
    where r.run_id = $1 and r.ready_at - b.ready_at = r.claim_key - b.claim_key and r.ready_at - b.ready_at is not distinct from coalesce(r.due_at - b.due_at, r.ready_at - b.ready_at) $$;
select is(moved_by(:ready), '-10 min', 'what could start can start');
select is(moved_by(:retried), '-10 min', 'what waits for its next attempt waits no longer than the policy has it, however long it may be');
select is(moved_by(:delayed), '0', 'a delay goes by the clock');
select is(moved_by(:moved), '0', 'and so does a run that was given an instant between its attempts');
select is(moved_by(:hours_ago), '0', 'whenever those were');

-- Times to live: that of a run whose time began before the clock can have been set moves with it, another stays.
select sluice.create_task('mortal', 'external', ttl => '3h');
select sluice.enqueue('mortal') as old, sluice.enqueue('mortal') as young, sluice.enqueue('mortal', delay => '1h') as later \gset
update sluice.run set ready_at = ready_at - ago, claim_key = claim_key - ago from (values (:old, interval '2 h'), (:young, interval '3 s')) as v (id, ago) where run_id = id;
update sluice.expiry as e set expires_at = r.ready_at + e.ttl from sluice.run as r where r.run_id = e.run_id;
create table left_before as select run_id, expires_at from sluice.expiry;
create function left_moved_by(id bigint) returns interval language sql as $$ select e.expires_at - b.expires_at from sluice.expiry as e join left_before as b using (run_id) where run_id = id $$;
select sluice._mend_after_backward(interval '-10 min');
select is(left_moved_by(:old), '0', 'where it is not known when the clock was set, none ends early');
select sluice._mend_after_backward(interval '-10 min', interval '4 s');
select is(left_moved_by(:old), '-10 min', 'one that began hours ago moves with the clock');
select is(left_moved_by(:young), '0', 'one that began since stays');
select is(left_moved_by(:later), '0', 'and so does one that has not begun');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
