-- Schedules are defined, replaced, switched off and on, and deleted; each instance alone, by whom it belongs to.
\ir lib/helper.psql
select task('report');
select task('other');

-- A new one
select is(sluice.create_schedule('daily', 'report', '30 9 * * mon-fri', 'europe/berlin'), sluice.cron_next('30 9 * * mon-fri', 'Europe/Berlin'), 'a schedule is told its first tick');
select results_eq($$select schedule, external_id, task, cron, timezone, description, active, next_tick, last_tick, last_run_id, last_status, skipped, problem, catch_up, overlap, spread, payload, options, owner from sluice.schedules$$,
    $$values ('daily', null::text, 'report', '30 9 * * mon-fri', 'Europe/Berlin', 'at 09:30, Monday to Friday', true, sluice.cron_next('30 9 * * mon-fri', 'Europe/Berlin'), null::timestamptz, null::bigint, null::text, 0::bigint, null::text, 'skip', 'allow', interval '0', null::jsonb, null::jsonb, 'postgres')$$,
    'the view shows what it is, the zone as it is spelled');
select is((select fire_at from sluice.schedule), (select next_tick from sluice.schedule), 'it fires at the very tick');

-- What is refused
select is(said('select sluice.create_schedule(' || arguments || ')'), expected, what) from (values
    ($$null, 'report', '@daily'$$, 'SL004: the name of a schedule must not be null [Give the schedule a name.]', 'no name'),
    ($$'a b', 'report', '@daily'$$, 'SL004: "a b" is not a valid name of a schedule [Choose another name; names are never changed silently.]', 'a name with a blank'),
    ($$'x', 'nothing', '@daily'$$, 'SL002: task "nothing" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'an unknown task'),
    ($$'x', 'report'$$, 'SL006: cron must not be null [For example ''30 9 * * mon-fri'' or ''@daily''.]', 'no cron'),
    ($$'x', 'report', '0 25 * * *'$$, 'SL006: cron "0 25 * * *": hour "25" is not from 0 to 23 [The five fields are minute, hour, day of month, month and weekday, as in 30 9 * * mon-fri.]', 'a wrong cron'),
    ($$'x', 'report', '@daily', 'CET-1CEST'$$, 'SL006: timezone "CET-1CEST" is not known [Give a name of pg_timezone_names, such as Europe/Berlin.]', 'a zone that is none'),
    ($$'x', 'report', '@daily', null$$, 'SL006: timezone must not be null [Leave it out for UTC.]', 'no zone'),
    ($$'x', 'report', '@daily', external_id => ''$$, 'SL006: external_id must have 1 to 512 characters [Use a shorter one, such as an id, or leave it out.]', 'an empty external_id'),
    ($$'x', 'report', '@daily', external_id => repeat('x', 513)$$, 'SL006: external_id must have 1 to 512 characters [Use a shorter one, such as an id, or leave it out.]', 'a long one'),
    ($$'x', 'report', '@daily', catch_up => 'none'$$, 'SL006: catch_up must be skip, one or all [It says how many runs are made for ticks that were missed.]', 'catch_up'),
    ($$'x', 'report', '@daily', overlap => null$$, 'SL006: overlap must be allow, skip or cancel_previous [It says what a tick does while the run of the one before is not final.]', 'overlap'),
    ($$'x', 'report', '@daily', catch_up => 'all', overlap => 'skip'$$, 'SL006: catch_up all needs overlap allow [Missed ticks are all fired at once; one fires the last of them.]', 'all of them, but only one'),
    ($$'x', 'report', '@daily', spread => '25 hours'$$, 'SL006: spread must be 0 to 1 day [Runs start that long behind the tick at most.]', 'spread'),
    ($$'x', 'report', '@daily', spread => '-1 second'$$, 'SL006: spread must be 0 to 1 day [Runs start that long behind the tick at most.]', 'a negative one'),
    ($$'x', 'report', '@daily', payload => '[1]'$$, 'SL006: payload of a schedule must be a JSON object [Each run gets it together with the time of its tick.]', 'a payload that is no object'),
    ($$'x', 'report', '@daily', payload => '{"upcoming": 1}'$$, 'SL006: payload of a schedule must not have "upcoming" [Each tick puts its own there.]', 'a key that each tick has'),
    ($$'x', 'report', '@daily', options => '5'$$, 'SL006: options must be a JSON object [For example {"priority": 5}.]', 'options that are none'),
    ($$'x', 'report', '@daily', options => '{"delay": "1h"}'$$, 'SL006: options of a schedule have no "delay" [The tick says when a run is made, and makes one.]', 'a delay'),
    ($$'x', 'report', '@daily', options => '{"prioriti": 1}'$$, 'SL006: options of item 1 have an unknown name "prioriti" [They are named as the arguments of sluice.enqueue.]', 'an unknown option'),
    ($$'x', 'report', '@daily', options => '{"queue": "none"}'$$, 'SL001: queue "none" does not exist [Create it with select sluice.create_queue(''none'').]', 'an unknown queue'))
    as v (arguments, expected, what);
select is((select count(*)::int from sluice.schedule), 1, 'and nothing is left of them');

-- Defined again
select sluice.create_schedule('daily', 'other', '30 9 * * mon-fri', 'Europe/Berlin', payload => '{"a": 1}', catch_up => 'one', overlap => 'skip', options => '{"priority": 5}');
select is((select format('%s %s %s %s %s', task, payload, catch_up, overlap, options) from sluice.schedules), 'other {"a": 1} one skip {"priority": 5}', 'defined again it is another');
update sluice.schedule set next_tick = '2020-01-01 09:30+01', last_tick = '2019-12-31 09:30+01', fire_at = '2020-01-01 09:30+01';
select sluice.create_schedule('daily', 'report', '30 9 * * mon-fri', 'Europe/Berlin');
select is((select next_tick from sluice.schedules), '2020-01-01 09:30+01', 'a tick that is due is not lost by defining it again as it was');
select sluice.create_schedule('daily', 'report', '31 9 * * mon-fri', 'Europe/Berlin');
select is((select next_tick from sluice.schedules), sluice.cron_next('31 9 * * mon-fri', 'Europe/Berlin'), 'another cron has ticks of its own, from now on');
update sluice.schedule set last_tick = '2300-01-01 00:00+00', next_tick = '2300-01-02 00:00+00';
select sluice.create_schedule('daily', 'report', '0 9 * * *');
select is((select next_tick from sluice.schedules), '2300-01-01 09:00+00', 'but none again that has been, should the clock have been put back');

-- Instances
select sluice.create_schedule('daily', 'report', '0 9 * * *', zone, external_id => tenant) from (values ('a', 'Asia/Tokyo'), ('b', 'America/New_York'), ('c', 'UTC')) as v (tenant, zone);
select is((select string_agg(coalesce(external_id, '-') || ' ' || timezone, ', ' order by external_id nulls first) from sluice.schedules), '- UTC, a Asia/Tokyo, b America/New_York, c UTC', 'a schedule has an instance for each external_id');
select is(sluice.deactivate_schedule('daily', 'a'), 1, 'one is switched off');
select is((select string_agg(coalesce(external_id, '-'), ' ' order by external_id nulls first) from sluice.schedules where active), '- b c', 'alone');
select is((select format('%s %s', next_tick, s.fire_at) from sluice.schedules join sluice.schedule as s using (schedule, external_id, next_tick) where external_id = 'a'), null, 'it has no tick to come');
select is((select count(*)::int from sluice.schedule where external_id = 'a' and next_tick is null and fire_at is null), 1, 'nor is it due');
select is(sluice.deactivate_schedule('daily', 'a'), 0, 'twice is once');
select sluice.create_schedule('daily', 'report', '0 10 * * *', 'Asia/Tokyo', external_id => 'a');
select is((select active from sluice.schedules where external_id = 'a'), false, 'it stays off when it is defined again');
select is(sluice.activate_schedule('daily', 'a'), 1, 'and on again');
select is((select next_tick from sluice.schedules where external_id = 'a'), sluice.cron_next('0 10 * * *', 'Asia/Tokyo'), 'from now on');
select sluice.create_schedule('daily', 'report', '0 10 * * *', 'Asia/Tokyo', external_id => 'a', active => false);
select is((select active from sluice.schedules where external_id = 'a'), false, 'a definition may say which');
select is(sluice.deactivate_schedule('daily', all_instances => true), 3, 'all at once');
select is(sluice.activate_schedule('daily', all_instances => true), 4, 'and back');
select is(sluice.drop_schedule('daily', 'b'), 1, 'one is deleted');
select is((select string_agg(coalesce(external_id, '-'), ' ' order by external_id nulls first) from sluice.schedules), '- a c', 'alone');
select is(said(format('select sluice.%s(%s)', f, a)), e, f) from (values
    ('drop_schedule', $$'daily', 'b'$$, 'SL019: schedule "daily" has no instance "b" [The view sluice.schedules lists them; an instance is named by schedule and external_id together.]'),
    ('activate_schedule', $$'none'$$, 'SL019: schedule "none" does not exist [The view sluice.schedules lists them; an instance is named by schedule and external_id together.]'),
    ('deactivate_schedule', $$null$$, 'SL019: schedule must not be null [The view sluice.schedules lists them; an instance is named by schedule and external_id together.]'),
    ('next_ticks', $$'none'$$, 'SL019: schedule "none" does not exist [The view sluice.schedules lists them; an instance is named by schedule and external_id together.]'),
    ('next_ticks', $$'daily', 0$$, 'SL006: n must be 1 to 1000 [It is how many ticks are wanted.]'),
    ('explain_schedule', $$'none'$$, 'SL019: schedule "none" does not exist [The view sluice.schedules lists them; an instance is named by schedule and external_id together.]')) as v (f, a, e);
select is(sluice.drop_schedule('daily', all_instances => true), 3, 'all are deleted at once');

-- Ticks to come
select sluice.create_schedule('quarter', 'report', '*/15 * * * *', 'Europe/Berlin');
update sluice.schedule set next_tick = '2026-10-25 00:30+00';
select results_eq($$select t at time zone 'UTC' from sluice.next_ticks('quarter', 4) as t$$, $$values (timestamp '2026-10-25 00:30'), ('2026-10-25 00:45'), ('2026-10-25 01:00'), ('2026-10-25 01:15')$$, 'the next ticks begin with the very next');
select is((select count(*)::int from sluice.next_ticks('quarter')), 10, 'ten of them');
select sluice.deactivate_schedule('quarter');
select is((select min(t) from sluice.next_ticks('quarter') as t), sluice.cron_next('*/15 * * * *', 'Europe/Berlin'), 'of an inactive one those from now on');
select sluice.drop_schedule('quarter');

-- Spread
select count(sluice.create_schedule('spread', 'report', '0 9 * * *', external_id => n::text, spread => '30 minutes')) from generate_series(1, 400) as n;
select is((select count(*)::int from sluice.schedule where fire_at <> next_tick + spread_by or spread_by < interval '0' or spread_by >= interval '30 minutes'), 0, 'each fires within its window behind the tick');
select cmp_ok((select min(n)::int from (select count(*) as n from sluice.schedule group by extract(minute from spread_by)::int / 5) as b), '>', 30, 'all over it');
create temp table spread_before as select external_id, spread_by from sluice.schedule;
select sluice.drop_schedule('spread', all_instances => true);
select count(sluice.create_schedule('spread', 'report', '0 9 * * *', external_id => n::text, spread => '30 minutes')) from generate_series(1, 400) as n;
select is_empty('select external_id, spread_by from sluice.schedule except table spread_before', 'always at the same place');
select sluice.drop_schedule('spread', all_instances => true);

-- Whose
select login('sched_a', 'sluice_producer');
select login('sched_b', 'sluice_producer');
select login('sched_c', 'sluice_caller');
select login('sched_reader', 'sluice_reader');
select login('sched_admin', 'sluice_admin');
select login('sched_nobody');
select is(said($$select sluice.create_schedule('x', 'report', '@daily')$$, 'sched_nobody') ~ '^42501', true, 'not everybody makes schedules');
select is(said($$select sluice.create_schedule('x', 'report', '@daily')$$, 'sched_c'), '42501: permission denied for task "report" [Ask a member of "postgres" to run select sluice.grant_task(''report'', ''sched_c'').]', 'it takes the right to use the task');
select sluice.grant_task('report', 'sched_c');
select is(said($$select sluice.create_schedule('of_c', 'report', '@daily')$$, 'sched_c') ~ '^20', true, 'which may be granted');
select is((select owner from sluice.schedules where schedule = 'of_c'), 'sched_c', 'a schedule belongs to who made it');
select said($$select sluice.create_schedule('of_a', 'report', '@daily')$$, 'sched_a');
select is(said(s, 'sched_b'), e, 'others keep their hands off: ' || s) from (values
    ($$select sluice.create_schedule('of_a', 'report', '@hourly')$$, '42501: schedule "of_a" belongs to role "sched_a" [Change it as a member of "sched_a" or of sluice_admin.]'),
    ($$select sluice.drop_schedule('of_a')$$, '42501: schedule "of_a" belongs to role "sched_a" [Change it as a member of "sched_a" or of sluice_admin.]'),
    ($$select sluice.deactivate_schedule('of_a', all_instances => true)$$, '42501: schedule "of_a" belongs to role "sched_a" [Change it as a member of "sched_a" or of sluice_admin.]'),
    ($$select sluice.activate_schedule('of_a')$$, '42501: schedule "of_a" belongs to role "sched_a" [Change it as a member of "sched_a" or of sluice_admin.]')) as v (s, e);
select is((select cron from sluice.schedules where schedule = 'of_a'), '@daily', 'it is as it was');
select is(said($$select sluice.create_schedule('of_a', 'report', '@hourly') is not null$$, 'sched_admin'), 'true', 'an admin may');
select is((select owner || ' ' || cron from sluice.schedules where schedule = 'of_a'), 'sched_a @hourly', 'and it stays whose it was');
select is(said($$select count(*) from sluice.next_ticks('of_a')$$, 'sched_reader'), '10', 'a reader sees its ticks');
select is(said($$select sluice.drop_schedule('of_a')$$, 'sched_reader') ~ '^42501', true, 'and no more');
select sluice.create_task('secret', 'sql', 'select 1');
select sluice.create_schedule('of_owner', 'secret', '@daily');
select is(said($$select count(*) from sluice.next_ticks('of_owner')$$, 'sched_c') ~ '^42501', true, 'of a task that one may not use nothing is told');
select is(said($$select sluice.create_schedule('of_c', 'secret', '@daily') is not null$$, 'sched_c') ~ '^42501: permission denied for task "secret"', true, 'nor can a schedule be given another task');
select is(said($$select sluice.create_schedule('of_c', 'secret', '@daily') is not null$$, 'sched_admin') ~ '^42501: permission denied for task "secret"', true, 'by an admin neither, unless its owner may use that');

-- In words
select is(sluice.explain_schedule('of_a') ~ '^Schedule "of_a" ticks every hour. It fires in \d+ (minutes?|seconds?), at 20\d\d-\d\d-\d\d \d\d:00:00 by the clocks of UTC.$', true, 'when a schedule fires is said in words');
select sluice.deactivate_schedule('of_a');
select is(sluice.explain_schedule('of_a'), 'Schedule "of_a" ticks every hour. It is inactive: select sluice.activate_schedule(''of_a'') lets it tick again.', 'or why it does not');
select sluice.activate_schedule('of_a');
select sluice.revoke_task('report', 'sched_c');
select is(sluice.explain_schedule('of_c'), 'Schedule "of_c" ticks at 00:00. It makes no runs: role "sched_c" may not use task "report".', 'a right that was lost');
update sluice.schedule set fire_at = clock_timestamp() - interval '5 minutes', next_tick = '2026-11-29 09:00+00', skipped = 3 where schedule = 'of_a';
select is(sluice.explain_schedule('of_a'), 'Schedule "of_a" ticks every hour. Its tick of 2026-11-29 09:00:00 is due for 5 minutes and was not fired: no sidecar leads, or somebody has a transaction open that changed it. 3 ticks were skipped so far.', 'nobody fires');
update sluice.meta set home = 'elsewhere';
select is(sluice.explain_schedule('of_a'), 'Schedule "of_a" ticks every hour. It does not tick: this database is a copy that was not adopted. 3 ticks were skipped so far.', 'a copy');

-- Among many instances one is looked up, whatever ways of doing so the session has switched off
begin;
set local enable_indexscan = off; set local enable_indexonlyscan = off; set local enable_bitmapscan = off;
select count(sluice.create_schedule('many', 'report', '@daily', external_id => n::text)) from generate_series(1, 500) as n;
select count(sluice.deactivate_schedule('many', n::text)), count(sluice.drop_schedule('many', n::text)) from generate_series(1, 100) as n;
select pg_stat_get_xact_tuples_returned('sluice.schedule_instance_is_unique'::regclass) + pg_stat_get_xact_tuples_returned('sluice.schedule'::regclass) as reads, current_setting('enable_indexscan') as afterwards \gset
rollback;
select cmp_ok(:reads, '<', 10000, 'to define, stop or drop one of many reads none of the others');
select is(:'afterwards'::text, 'off', 'the session has its settings as they were');

-- Nor where the planner believes that there are next to none, as after a vacuum of before most of them were made
delete from sluice.schedule;
vacuum sluice.schedule;
begin;
select count(sluice.create_schedule('many', 'report', '@daily', external_id => n::text)) from generate_series(1, 500) as n;
select count(sluice.explain_schedule('many', n::text)), count((select min(t) from sluice.next_ticks('many', 2, n::text) as t)), count(sluice.deactivate_schedule('many', n::text)),
       count(sluice.activate_schedule('many', n::text)), count(sluice.drop_schedule('many', n::text)) from generate_series(1, 100) as n;
select pg_stat_get_xact_tuples_returned('sluice.schedule_instance_is_unique'::regclass) + pg_stat_get_xact_tuples_returned('sluice.schedule_pkey'::regclass) + pg_stat_get_xact_tuples_returned('sluice.schedule'::regclass) as reads \gset
rollback;
-- Some 18,000, as each version of a row that this transaction made is met again; all rows for each would be 390,000.
select cmp_ok(:reads, '<', 50000, 'and none where all of them are new');
select * from finish();
