-- check(): each kind of difference is found when somebody makes it, and nothing else.
\ir lib/helper.psql
select task('t', 3);
create function found() returns text language sql as $$ select string_agg(distinct what, '; ' order by what) from sluice.check() $$;
-- What check() says of a change, which is undone.
create function after(tampering text, variadic more text[] default '{}') returns text language plpgsql as $$
declare said text; one text;
begin
    begin
        execute tampering;
        foreach one in array more loop execute one; end loop;
        said := found();
        raise sqlstate 'ZZ001';
    exception when sqlstate 'ZZ001' then null;
    end;
    return said;
end $$;
select sluice.enqueue('t', '{"p": 1}', concurrency_key => 'k', priority => 3) as queued, sluice.enqueue('t') as going \gset
select token, run_id as going from sluice.claim('w') \gset
select sluice.enqueue('t') as over \gset
select sluice.complete((select token from sluice.claim('w', capacity => 1)), '1');
select run_id as queued from sluice.run where status = 'queued' \gset

select is(found(), null, 'a sound storage has no differences');
\if :by_index
select sluice.enqueue('t', delay => '1h') as later \gset
select is(after(format('update sluice.run set status = ''queued'', token = null where run_id = %s', :going)), 'lease in the index whose token its run does not have; run that could start and that the index does not know', 'a run is queued behind the back of its slot');
select is(after(format('update sluice.run set status = ''completed'', finished_at = now() where run_id = %s', :going)), 'lease in the index whose token its run does not have', 'a run is completed behind the back of its slot');
select is(after(format('delete from sluice.run where run_id = %s', :going)), 'lease in the index whose token its run does not have', 'a run is gone');
select is(after(format('update sluice.run set concurrency_key = ''x'', lane = sluice._lane(''x'') where run_id = %s', :going)), 'lease in another queue or lane than its run', 'a run is in another lane');
select sluice.create_queue('elsewhere');
select is(after(format('update sluice.run set queue_id = (select queue_id from sluice.queue where queue = ''elsewhere'') where run_id = %s', :going)), 'lease in another queue or lane than its run', 'a run is in another queue');
select is(after(format('insert into sluice.slot (token, run_id, lane, claimed_at, lease_seconds, queue_id, attempt, worker, revoked) select sluice._new_token(run_id), run_id, lane, now(), 60, queue_id, 1, ''w'', ''canceled'' from sluice.run where run_id = %s', :queued)), 'dead token whose place the index has forgotten', 'a slot of a dead token comes from nowhere');
select is(after(format('update sluice.run set ready_at = now(), claim_key = now(), due_at = null where run_id = %s', :later)), 'run that could start and that the index does not know', 'a run falls due by hand');
-- What the index itself does not show to a transaction before it commits.
select sluice.cancel(:later), sluice.enqueue('t', concurrency_key => 'x') as one, sluice.enqueue('t', concurrency_key => 'x') as two, sluice.enqueue('t', concurrency_key => 'x') as three \gset
select array_agg(token order by run_id) as tokens from sluice.claim('w', '{task/t}', 4) where run_id <> :queued \gset
select sluice.cancel(:one);
select is(found(), null, 'a dead token that holds its slot is no difference');
select is(after(format('delete from sluice.slot where token = %L', (:'tokens'::uuid[])[1])), 'dead token that a restart would forget', 'the slot of a dead token is gone');
select sluice._free_slot((:'tokens'::uuid[])[2]);
select is(found(), 'executing run without a lease in the index', 'a lease is gone');
select sluice.complete((:'tokens'::uuid[])[2]);
select is(found(), null, 'with its run it is no longer missed');
select sluice._index_revoke((:'tokens'::uuid[])[3], 'canceled');
select is(found(), 'dead token that a restart would forget; executing run without a lease in the index', 'a lease is revoked under a living attempt');
select sluice.release(token) from sluice.run where run_id = :three;
select sluice._free_slots(:'tokens');
select sluice.cancel(:three), sluice.release((select token from sluice.run where run_id = :queued and token is not null));
\else
select is(after(format('delete from sluice.slot where token = %L', :'token')), 'executing run without a slot', 'a slot is gone');
select is(after(format('update sluice.slot set revoked = ''canceled'' where token = %L', :'token')), 'executing run without a slot; revoked slot of a run that still has its token', 'a slot is revoked under a living attempt');
select is(after(format('update sluice.run set status = ''queued'', token = null where run_id = %s', :going)), 'slot whose token its run does not have', 'a run is queued behind the back of its slot');
select is(after(format('update sluice.run set status = ''completed'', finished_at = now() where run_id = %s', :going)), 'slot whose token its run does not have', 'a run is completed behind the back of its slot');
select is(after(format('delete from sluice.run where run_id = %s', :going)), 'slot whose token its run does not have', 'a run is gone');
select is(after(format('update sluice.slot set lane = lane + 1 where token = %L', :'token')), 'slot in another queue or lane than its run', 'a slot is in another lane');
select is(after(format('update sluice.slot set queue_id = queue_id + 1 where token = %L', :'token')), 'slot in another queue or lane than its run', 'a slot is in another queue');
\endif
select is(after(format('update sluice.run set task_id = 999 where run_id = %s', :queued)), 'live run of an unknown task or queue', 'a task is unknown');
select is(after(format('update sluice.run set queue_id = 999 where run_id = %s', :queued)), 'live run of an unknown task or queue', 'a queue is unknown');
select is(after(format('update sluice.run set class = 3 where run_id = %s', :queued)), 'live run of an unknown class', 'a class is unknown: no claim would find the run');
select is(after(format('insert into sluice.output values (%s, ''1'')', :queued)), 'live run with an output', 'a live run has an output');
select is(after(format('update sluice.run set claim_key = claim_key + interval ''1 s'' where run_id = %s', :queued)), 'claim key or lane that does not fit its run', 'a claim key is wrong');
select is(after(format('update sluice.run set priority = priority + 1 where run_id = %s', :queued)), 'claim key or lane that does not fit its run', 'a priority was changed alone');
select is(after(format('update sluice.run set concurrency_key = ''other'' where run_id = %s', :queued)), 'claim key or lane that does not fit its run', 'a key was changed alone');
select is(after(format('insert into sluice.attempt select run_id, attempt, ''failed'', token, ''w'', now(), now() from sluice.run where run_id = %s', :going)), 'executing attempt that has already ended', 'an attempt has ended twice');
select results_eq(format('select what, run_id, detail from sluice.check() where %L = %L', 'a', 'b'), 'select null::text, null::bigint, null::text where false', 'check() has the columns what, run_id and detail');
select is((select count(*)::int from (select sluice.check()) as c), 0, 'check() may stand in a select list');
update sluice.run set claim_key = claim_key + interval '1 s' where finished_at is null;
select is((select count(*)::int from (select sluice.check()) as c), 2, 'also with rows');
select is((select count(*)::int from (select sluice.check() limit 1) as c), 1, 'also when not all of them are wanted');
select is(current_user::text, 'postgres', 'after which the caller is itself');
select * from finish();
