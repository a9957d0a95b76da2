-- Ticks make runs, each once: what a run is given, what becomes of ticks that were missed or may not come, and how one that
-- cannot be fired lets the others be.
\ir lib/helper.psql
select task('report');
select sluice.try_lead('me');

-- The next tick of a schedule is this one, and it is due, whatever the clock says.
create function due(name text, tick timestamptz, at timestamptz default clock_timestamp()) returns void language sql as $$
    update sluice.schedule set next_tick = tick, fire_at = at where schedule = name
$$;
create function fire() returns integer language sql as $$ select fired from sluice.fire_schedules() $$;
-- Minutes ago, as a tick and as a cron of that time of day.
create function ago(minutes integer) returns timestamptz language sql as $$ select date_trunc('minute', clock_timestamp()) - minutes * interval '1 minute' $$;
create function daily(at timestamptz) returns text language sql as $$ select to_char(at at time zone 'UTC', 'FMMI FMHH24 * * *') $$;
create function schedule_of(name text) returns text language sql as $$
    select format('last %s, skipped %s, problem %s', last_tick at time zone 'UTC', skipped, problem) from sluice.schedules where schedule = name
$$;

-- Nothing is due
select is((select format('%s %s', fired, next_in) from sluice.fire_schedules()), '0 ', 'without schedules nothing fires');
select sluice.create_schedule('daily', 'report', '30 9 * * mon-fri', 'Europe/Berlin', payload => '{"to": "all"}', external_id => 'shop 7', options => '{"priority": 7, "tags": ["x"], "concurrency_key": "k"}');
select is((select fired from sluice.fire_schedules()), 0, 'nothing fires before its time');
select is((select abs(extract(epoch from next_in - (sluice.cron_next('30 9 * * mon-fri', 'Europe/Berlin') - clock_timestamp()))) < 1 from sluice.fire_schedules()), true, 'it is said when that is');

-- A tick
select due('daily', '2020-10-23 09:30+02');
select is(fire(), 0, 'long missed, it is skipped');
select is(schedule_of('daily') ~ '^last , skipped \d+, problem $', true, 'and counted');
update sluice.schedule set skipped = 0;
select due('daily', '2190-10-22 09:30+02');
select is(fire(), 1, 'a tick that is due makes a run');
select is(fire(), 0, 'once');
select is((select payload from sluice.runs), '{"to": "all", "timestamp": "2190-10-22T07:30:00+00:00", "last_timestamp": null, "timezone": "Europe/Berlin", "schedule": "daily", "external_id": "shop 7",
    "upcoming": ["2190-10-25T07:30:00+00:00", "2190-10-26T07:30:00+00:00", "2190-10-27T07:30:00+00:00", "2190-10-28T07:30:00+00:00", "2190-10-29T07:30:00+00:00", "2190-11-01T08:30:00+00:00", "2190-11-02T08:30:00+00:00", "2190-11-03T08:30:00+00:00", "2190-11-04T08:30:00+00:00", "2190-11-05T08:30:00+00:00"]}',
    'the run is given its tick, the ten to come, and the payload of the schedule');
select is((select format('%s %s %s %s %s %s %s', task, queue, priority, tags, concurrency_key, schedule, external_id) from sluice.runs), 'report task/report 7 {x} k daily shop 7', 'it has the options of the schedule, and says whose it is');
select is((select format('%s|%s|%s|%s|%s', last_tick at time zone 'UTC', next_tick at time zone 'UTC', last_run_id = (select run_id from sluice.runs), last_status, skipped) from sluice.schedules), '2190-10-22 07:30:00|2190-10-25 07:30:00|t|queued|0', 'the schedule knows its last run and its next tick');
select due('daily', '2190-10-25 09:30+02');
select fire();
select is((select payload ->> 'last_timestamp' from sluice.runs order by run_id desc limit 1), '2190-10-22T07:30:00+00:00', 'the next run knows the tick before');
set timezone = 'Asia/Tokyo';
select due('daily', '2190-10-26 09:30+02');
select fire();
reset timezone;
select is((select payload ->> 'timestamp' from sluice.runs order by run_id desc limit 1), '2190-10-26T07:30:00+00:00', 'whatever the time zone of the session that fires');
select is(said($$update sluice.schedule set next_tick = last_tick$$) ~ '^23514.*schedule_goes_on', true, 'a tick cannot come again');
select is(sluice.drop_schedule('daily', 'shop 7'), 1, 'a schedule with runs is deleted');
select is((select count(*)::int from sluice.runs where schedule = 'daily'), 3, 'they stay, and still say whose they are');
select sluice.cancel(run_id) from sluice.runs;

-- Spread
select sluice.create_schedule('spread', 'report', '0 9 * * *', spread => '1 hour');
select due('spread', '2190-01-01 09:00+00');
select fire();
select is((select payload ->> 'timestamp' from sluice.runs order by run_id desc limit 1), '2190-01-01T09:00:00+00:00', 'a run that starts within a window is given the tick itself');
select is((select fire_at = next_tick + spread_by and spread_by > interval '0' from sluice.schedule where schedule = 'spread'), true, 'and the next is as far behind its tick');
select sluice.drop_schedule('spread');

-- Missed ticks
select sluice.create_schedule(name, 'report', daily(ago(5)), catch_up => rule) from (values ('once_skip', 'skip'), ('once_one', 'one'), ('once_all', 'all')) as v (name, rule);
select due(name, ago(5), ago(5)) from (values ('once_skip'), ('once_one'), ('once_all')) as v (name);
select is(fire(), 2, 'of a tick five minutes ago');
select is(schedule_of('once_skip'), 'last , skipped 1, problem ', 'skip makes no run, and counts it');
select is((select string_agg(schedule || ' ' || (last_tick = payload_tick)::text || ' ' || skipped, ', ' order by schedule) from sluice.schedules as s join lateral (select (r.payload ->> 'timestamp')::timestamptz as payload_tick from sluice.runs as r where r.run_id = s.last_run_id) as r on true), 'once_all true 0, once_one true 0', 'one and all make one, for that tick');
select is((select count(*)::int from sluice.schedules where next_tick > clock_timestamp()), 3, 'then they wait for the next');
select sluice.create_schedule(name, 'report', '* * * * *', catch_up => rule) from (values ('each_skip', 'skip'), ('each_one', 'one'), ('each_all', 'all')) as v (name, rule);
create temp table missed as select ago(300) as first;
select due(name, first, first) from missed, (values ('each_skip'), ('each_one'), ('each_all')) as v (name);
select is(fire(), 102, 'of five hours of minutes');
select is((select string_agg(s.schedule || ' ' || r.n, ', ' order by s.schedule) from sluice.schedules as s join lateral (select count(*) as n from sluice.runs as r where r.schedule = s.schedule) as r on r.n > 0 where s.schedule ~ 'each'), 'each_all 100, each_one 1, each_skip 1', 'all makes the last hundred, one and skip the last, which is not a minute old');
select is((select string_agg(s.schedule, ', ' order by s.schedule) from sluice.schedules as s, missed where s.schedule ~ 'each' and s.skipped + (select count(*) from sluice.runs as r where r.schedule = s.schedule) <> extract(epoch from s.next_tick - first) / 60), null, 'what made no run was counted');
select is((select count(*)::int from sluice.runs where schedule = 'each_all' and (payload ->> 'timestamp')::timestamptz - (payload ->> 'last_timestamp')::timestamptz <> interval '1 minute'), 0, 'each of a hundred knows the one before');
select sluice.drop_schedule(schedule) from sluice.schedules;
select sluice.cancel(run_id) from sluice.runs;

-- Overlap
select sluice.create_schedule(rule, 'report', '0 9 * * *', overlap => rule) from unnest('{allow,skip,cancel_previous}'::text[]) as rule;
select due(schedule, '2190-01-01 09:00+00') from sluice.schedules;
select is(fire(), 3, 'the first of each');
select due(schedule, '2190-01-02 09:00+00') from sluice.schedules;
select is(fire(), 2, 'the second, while the first waits');
select is((select string_agg(format('%s: %s', s.schedule, (select string_agg(r.status, ' ' order by r.run_id) from sluice.runs as r where r.schedule = s.schedule)), ', ' order by s.schedule) from sluice.schedules as s), 'allow: queued queued, cancel_previous: canceled queued, skip: queued', 'comes beside it, in place of it, or not');
select is(schedule_of('skip'), 'last 2190-01-01 09:00:00, skipped 1, problem ', 'what did not come is counted');
select sluice.complete(token) from sluice.claim('w', capacity => 10);
select due(schedule, '2190-01-03 09:00+00') from sluice.schedules;
select is(fire(), 3, 'when all are done the third comes');
select connect('other');
select in_session('other', 'begin');
select in_session('other', format('select status from sluice.run where run_id = %s for update', last_run_id)) from sluice.schedules where schedule = 'cancel_previous';
select due('cancel_previous', '2190-01-04 09:00+00');
select is((select format('%s %s', fired, next_in) from sluice.fire_schedules()), '0 00:00:01', 'who has the run that is to be canceled is not waited for');
select in_session('other', 'rollback');
select is(fire(), 1, 'it is asked again');
select sluice.drop_schedule(schedule) from sluice.schedules;
select sluice.cancel(run_id) from sluice.runs;

-- Somebody changes a schedule at this moment
select sluice.create_schedule('held', 'report', '0 9 * * *');
select sluice.create_schedule('free', 'report', '0 9 * * *');
select due(schedule, '2190-01-01 09:00+00') from sluice.schedules;
select in_session('other', 'begin');
select in_session('other', $$select sluice.deactivate_schedule('held')$$);
select is((select format('%s %s', fired, next_in) from sluice.fire_schedules()), '1 00:00:01', 'who changes a schedule is not waited for');
select in_session('other', 'commit');
select is(fire(), 0, 'and what he says counts');
select sluice.drop_schedule(schedule) from sluice.schedules;

-- Rights and what is gone
select login('fire_owner', 'sluice_caller');
select login('fire_leader', 'sluice_worker');
select connect('leader', 'fire_leader');
select sluice.create_queue('open');
select login('fire_gone', 'sluice_producer');
select task('dropped');
select task('kept');
select sluice.grant_task('report', 'fire_owner');
select said($$select sluice.create_schedule('granted', 'report', '0 9 * * *')$$, 'fire_owner');
select said($$select sluice.create_schedule('roleless', 'report', '0 9 * * *')$$, 'fire_gone');
select sluice.create_schedule('taskless', 'dropped', '0 9 * * *');
select sluice.create_schedule('zoneless', 'kept', '0 9 * * *', 'Europe/Berlin');
select sluice.create_queue('side');
select sluice.create_schedule('queueless', 'kept', '0 9 * * *', options => '{"queue": "side"}');
select sluice.create_schedule('well', 'kept', '0 9 * * *');
select due(schedule, '2190-01-01 09:00+00') from sluice.schedules;
select pg_advisory_unlock(1936487785, 1818583396);
select is(in_session('leader', $$select sluice.try_lead('leader')$$), 't', 'a sidecar leads, whose role may use no queue');
select is(in_session('leader', 'select fired from sluice.fire_schedules()'), '6', 'as long as all is there, all make runs');
select dblink_disconnect('leader');
call wait_until($$select sluice.try_lead('me')$$);
select said($$select sluice.create_schedule('closed', 'report', '0 9 * * *', options => '{"queue": "open"}')$$, 'fire_owner') as refused \gset
select is(:'refused'::text, '42501: permission denied for queue "open" [Ask a member of sluice_admin to run select sluice.grant_queue(''open'', ''fire_owner'').]', 'a schedule for a queue takes the right to it');
select sluice.grant_queue('open', 'fire_owner');
select said($$select sluice.create_schedule('closed', 'report', '0 9 * * *', options => '{"queue": "open"}')$$, 'fire_owner');
select due('closed', '2190-01-01 09:00+00');
select is(fire(), 1, 'which may be granted');
select sluice.revoke_queue('open', 'fire_owner');
select due('closed', '2190-01-02 09:00+00');
select is(fire(), 0, 'and taken back');
select is((select problem from sluice.schedules where schedule = 'closed'), 'role "fire_owner" may not put runs into queue "open"', 'which the schedule says');
select sluice.drop_schedule('closed');
select sluice.cancel(run_id) from sluice.runs;
select sluice.revoke_task('report', 'fire_owner');
drop role fire_gone;
select sluice.drop_task('dropped');
update sluice.schedule set timezone = 'Europe/Atlantis' where schedule = 'zoneless';
select sluice.drop_queue('side');
select due(schedule, '2190-01-02 09:00+00') from sluice.schedules;
select is(fire(), 1, 'what cannot make a run lets the others be');
select is((select string_agg(format('%s: %s, skipped %s', schedule, problem, skipped), '; ' order by schedule) from sluice.schedules),
    'granted: role "fire_owner" may not use task "report", skipped 1; queueless: queue "side" does not exist, skipped 1; roleless: role "fire_gone", in whose name it enqueues, is gone, skipped 1; taskless: task "dropped" was dropped, skipped 1; well: , skipped 0; zoneless: time zone "Europe/Atlantis" is not known, skipped 0', 'and says why');
select is((select string_agg(subject || ': ' || why, '; ' order by subject) from sluice.doctor() where what = 'schedule cannot fire'),
    'granted: role "fire_owner" may not use task "report"; queueless: queue "side" does not exist; roleless: role "fire_gone", in whose name it enqueues, is gone; taskless: task "dropped" was dropped; zoneless: time zone "Europe/Atlantis" is not known', 'the doctor says so too');
select is((select string_agg(schedule, ',' order by schedule) from sluice.schedules where next_tick > '2190-01-02 10:00+00'), 'granted,queueless,roleless,taskless,well', 'they go on to the next tick');
select is((select next_tick = '2190-01-02 09:00+00' and abs(extract(epoch from fire_at - clock_timestamp()) - 3600) < 60 from sluice.schedule where schedule = 'zoneless'), true, 'but where the zone is unknown that tick is tried again in an hour');
select sluice.grant_task('report', 'fire_owner');
select task('dropped');
update sluice.schedule set timezone = 'Europe/Berlin' where schedule = 'zoneless';
select sluice.create_queue('side');
select due(schedule, '2190-01-03 09:00+00') from sluice.schedules;
select is(fire(), 5, 'put right, they make runs again');
select is((select string_agg(problem, '; ') from sluice.schedules where schedule <> 'roleless'), null, 'and have no problem any more');
select is((select count(*)::int from sluice.doctor() where what = 'schedule cannot fire' and subject <> 'roleless'), 0, 'nor has the doctor');
revoke sluice_caller from fire_owner;
select is(sluice._schedule_problem(task_id, owner, owner_id, null), 'role "fire_owner" may not call sluice.enqueue', 'the right to the functions counts as well') from sluice.schedule where schedule = 'granted';
select due('well', '2190-01-05 09:00+00', clock_timestamp() - interval '10 minutes');
select is((select string_agg(subject || ': ' || why, '; ') from sluice.doctor() where what = 'schedules are not fired'), format('%s: 1 schedule is due, for 10 minutes.', current_database()), 'the doctor sees what nobody fires');
select sluice.drop_schedule(schedule) from sluice.schedules;

-- A copy
select sluice.create_schedule('copied', 'kept', '0 9 * * *');
select due('copied', '2190-01-01 09:00+00');
select home from sluice.meta \gset
update sluice.meta set home = 'elsewhere';
select is(said('select fire()') ~ '^SL015', true, 'in a copy nothing fires');
update sluice.meta set home = :'home';
select is(fire(), 1, 'until it is adopted');

-- Many
select count(sluice.create_schedule('many', 'kept', '0 9 * * *', external_id => n::text)) from generate_series(1, 1500) as n;
select due('many', '2190-01-01 09:00+00');
select is((select format('%s %s', fired, next_in) from sluice.fire_schedules()), '1000 00:00:00', 'a thousand at a time, and at once again');
select is(fire(), 500, 'until none is left');
select is((select count(*)::int from (select from sluice.runs where schedule = 'many' group by external_id having count(*) = 1) as r), 1500, 'each made one run');
select is_empty('select * from sluice.check()', 'the index knows them');

-- Whose duty
select dblink_disconnect('other');
select connect('other');
select is(in_session('other', 'select fired from sluice.fire_schedules()') ~ '^SL105', true, 'only the leader fires');
select * from finish();
