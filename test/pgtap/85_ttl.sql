-- Times to live: what has not started in time expires, and nothing else does.
\ir lib/helper.psql
select task('t', 3);
select sluice.create_task('short', 'external', ttl => '10m', retry => '{"min_delay": "0", "max_delay": "0"}');
select sluice.try_lead('me');
create function refusal(arguments text) returns text language sql as $$ select said('select sluice.enqueue(''t'', ' || arguments || ')') $$;
create function ttl_of(run_id bigint) returns interval language sql as $$ select expires_at - ready_at from sluice.runs as r where r.run_id = $1 $$;
create function overdue(variadic run_ids bigint[] default null) returns void language sql as $$
    update sluice.expiry as e set expires_at = clock_timestamp() - interval '1 second' where run_ids is null or e.run_id = any (run_ids);
    select sluice._has_time_to_live()
$$;

-- What is understood
select is(ttl_of(id), want, format('ttl %s', ttl))
from (values ('90', interval '90 seconds'), ('1h30m', '1 hour 30 minutes'), ('45s', '45 seconds'), ('1w', '7 days'), ('0', null), ('0s', null), (null, null)) as v (ttl, want),
     lateral sluice.enqueue('t', ttl => ttl) as id;
select is(refusal(format('ttl => %L', v.ttl)), v.want, 'ttl ' || v.ttl || ' is refused')
from (values ('soon', 'SL006: duration "soon" is not understood [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]'),
             ('-1', 'SL006: duration "-1" is not understood [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]'),
             ('3651d', 'SL006: ttl must be at most 3650 days [Leave it out, or give 0, for a run that may wait for ever.]'),
             ('9999999999', 'SL006: duration "9999999999s" is longer than a century [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]')) as v (ttl, want);
select is(left(said($$select sluice.create_task('x', 'external', ttl => 'soon')$$), 6), 'SL006:', 'a task''s is read by the same rule');
select is((select ttl from sluice.tasks where task = 'short'), interval '10 minutes', 'a task shows its default');
select is(ttl_of(sluice.enqueue('short')), interval '10 minutes', 'which its runs have');
select is(ttl_of(sluice.enqueue('short', ttl => '5')), interval '5 seconds', 'unless they are told otherwise');
select is(ttl_of(sluice.enqueue('short', ttl => '0')), null, 'or may wait for ever');
select sluice.create_task('short', 'external');
select is(ttl_of(sluice.enqueue('short')), null, 'a task that is defined anew without one has none');
select sluice.create_task('short', 'external', ttl => '600', retry => '{"min_delay": "0", "max_delay": "0"}');
select results_eq($$select ttl_of(m) from sluice.enqueue_many('short', '{1,2,3,null}', array['{"ttl": "7s"}', '{"ttl": "0"}', '{"delay": "1h"}', null]::jsonb[]) as m$$,
    $$values (interval '7 s'), (null), ('10 m'), ('10 m')$$, 'the same for many at once');
select is(said($$select sluice.enqueue_many('t', '{1}', array['{"ttl": "x"}']::jsonb[])$$), 'SL006: duration "x" is not understood [Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.]', 'a wrong one refuses the call');
begin;
select sluice.enqueue('t', ttl => '1h') as gone \gset
rollback;
select is_empty(format('select from sluice.expiry where run_id = %s', :gone), 'what is rolled back leaves none');
select count(sluice.cancel(run_id)) from sluice.runs where finished_at is null;
delete from sluice.expiry;

-- Expiry
select results_eq('select expired, next_in from sluice.expire_runs()', 'values (0, null::interval)', 'with no time to live nothing is to come');
select sluice.enqueue('t', ttl => '1h30m') as run, sluice.enqueue('t', ttl => '2h') as other \gset
select ok(sluice.explain_run(:run) ~ '; it expires at [-0-9]+ [0-9:]+\+00 unless it has started by then\.$', 'explain_run() says when');
select ok((select expired = 0 and next_in between interval '1:29' and interval '1:30' from sluice.expire_runs()), 'it says when the next one is');
select overdue(:run);
select ok((select expired = 1 and next_in between interval '1:59' and interval '2:00' from sluice.expire_runs()), 'a run that did not start in time expires, another waits');
select results_eq(format('select status, error, started_at, finished_at is not null, expires_at from sluice.runs where run_id = %s', :run),
    $$values ('expired', '{"code": "TTL_EXPIRED", "message": "the run did not start within its ttl of 1h30m"}'::jsonb, null::timestamptz, true, null::timestamptz)$$, 'its error names the time to live');
select is((select status from sluice.result(:run)), 'expired', 'whoever waits for it sees that');
select is((select expired from sluice.expire_runs()), 0, 'it expires once');
select run_of(take('task/t')) as first \gset
select is(:first::bigint, :other::bigint, 'and is not handed out');
select is(take('task/t'), null, 'nor is anything else');
select is(sluice.cancel(:run), false, 'it is final');
select overdue();
select is((select expired from sluice.expire_runs()), 0, 'a run that has started does not expire');
select is((select count(*)::int from sluice.expiry), 0, 'and its time to live is forgotten');
select is(left(sluice.explain_run(:run), 200) ~ ' expired at .* before its first attempt, with error TTL_EXPIRED\.$', true, 'explain_run() says so');

-- Started is started
select sluice.enqueue('short') as given_back, sluice.enqueue('short') as failed, sluice.enqueue('short') as requeued, sluice.enqueue('short') as moved \gset
create temp table got as select run_id, token from sluice.claim('w', '{task/short}', 3);
select sluice.release((select token from got where run_id = :given_back));
select sluice.fail((select token from got where run_id = :failed), '{}');
select sluice.requeue(:requeued);
select overdue();
select is((select expired from sluice.expire_runs()), 1, 'of runs that were given back, failed or requeued none expires');
select is(status_of(:moved), 'expired', 'only the one that was never handed out does');
select count(sluice.cancel(run_id)) from sluice.runs where finished_at is null;

-- Moved
select sluice.enqueue('short') as run, sluice.enqueue('short', delay => '1d') as later \gset
select overdue(:run, :later);
select sluice.requeue(:run), sluice.reschedule(:later, now() + interval '2 days');
select is((select expired from sluice.expire_runs()), 0, 'requeue and reschedule begin it anew');
select is(ttl_of(:run) = '10 m' and ttl_of(:later) = '10 m', true, 'from when the run is due');
select sluice.reschedule(:later, now());
select overdue(:later);
select is((select expired from sluice.expire_runs()), 1, 'also of a delayed run that is due now');
select sluice.replay(:later) as again \gset
select is(ttl_of(:again), '10 m', 'a replay has the task''s');
select sluice.enqueue('t', ttl => '5') as run \gset
select is(ttl_of(sluice.replay(:run)), null, 'and not that of the run');
select sluice.enqueue('t', idempotency_key => 'k', ttl => '1h') as run \gset
select overdue(:run);
select count(*) from sluice.expire_runs();
select is((select existing from sluice.enqueue_result('t', idempotency_key => 'k')), false, 'an expired run''s key is free');

-- Waits for nobody
select sluice.enqueue('t', ttl => '1h') as locked, sluice.enqueue('t', ttl => '1h') as free \gset
select connect('other');
select in_session('other', 'begin');
select in_session('other', format('select 1 from sluice.run where run_id = %s for update', :locked));
select overdue(:locked, :free);
select results_eq('select expired, next_in from sluice.expire_runs()', $$values (1, interval '0.1 s')$$, 'a run that somebody has locked is passed over, and looked at again in a moment');
select in_session('other', 'rollback');
select is((select expired from sluice.expire_runs()), 1, 'when it is free again it expires');
select count(*) from sluice.enqueue_many('t', array_fill('1'::jsonb, array[1500]), '{"{\"ttl\": \"1h\", \"concurrency_key\": \"k\"}"}');
select overdue();
select results_eq('select expired, next_in from sluice.expire_runs()', $$values (1000, interval '0')$$, 'a thousand at a time, and at once again');
select ok((select expired between 500 and 510 from sluice.expire_runs()), 'until none is left');

-- max_duration of a run
select sluice.create_task('d', 'external', max_duration => '90 s');
select sluice.enqueue('d') as by_task, sluice.enqueue('d', '1', max_duration => '30.5 s') as by_run, sluice.enqueue('t', max_duration => '1 day') as alone \gset
select results_eq($$select run_id, payload, max_duration_seconds from sluice.claim('w', '{task/d}', 9)$$, format('values (%s::bigint, null::jsonb, 90::float8), (%s, ''1'', 30.5)', :by_task, :by_run), 'a run''s max_duration goes before its task''s');
select results_eq($$select run_id, payload, max_duration_seconds from sluice.exchange('x', capacity => 9, queues => '{task/t}') where run_id = $$ || :alone, format('values (%s::bigint, null::jsonb, 86400::float8)', :alone), 'exchange() tells it too');
select results_eq(format('select max_duration from sluice.runs where run_id in (%s, %s, %s) order by run_id', :by_task, :by_run, :alone), $$values (interval '90 s'), ('30.5 s'), ('1 day')$$, 'the view shows it');
select is(refusal(format('max_duration => %L', v)), 'SL006: max_duration must be 5 seconds to 3650 days [Leave it out for that of the task.]', 'max_duration ' || v) from unnest('{4.9 s,0,-1 h,3651 days}'::text[]) as v;
select sluice.replay(:by_run) as again \gset
select results_eq(format('select payload, max_duration from sluice.runs where run_id = %s', :again), $$values ('1'::jsonb, interval '90 s')$$, 'a replay has its task''s');
-- In two steps: a join could claim before it enqueues.
select array_agg(m) as many from sluice.enqueue_many('d', '{1,2}', array['{"max_duration": "10 s"}', null]::jsonb[]) as m \gset
select results_eq(format('select max_duration_seconds from sluice.claim(''w'', ''{task/d}'', 9) where run_id = any (%L) order by run_id', :'many'), 'values (10::float8), (90)', 'and of many at once');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
