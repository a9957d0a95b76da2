-- Retention: final runs go when they have been kept for long enough, a week as a whole where it can, and nothing else goes.
\ir lib/helper.psql
select task('t'), task('short'), task('long');
create sequence old_id;

-- A run that was enqueued so long ago, in its week, with rows in every table; final since `finished` ago, or still queued.
create function old_run(age interval, finished interval default null, task text default 't', status text default 'completed', key text default null) returns bigint
language plpgsql as $$
declare
    id bigint := sluice._run_id_at(clock_timestamp() - age) + nextval('old_id');
    made timestamptz := clock_timestamp() - age;
begin
    perform sluice._make_partitions(made, 0);
    insert into sluice.run (run_id, ready_at, claim_key, task_id, queue_id, max_attempts, attempt, status, token, claimed_at, started_at, finished_at)
    select id, made, made, t.task_id, t.queue_id, 3, 1, case when finished is null then 'queued' else old_run.status end,
           case when finished is not null then sluice._new_token(id) end, made, made, clock_timestamp() - finished
    from sluice.task as t where t.task = old_run.task;
    insert into sluice.payload (run_id, payload) values (id, to_jsonb(id));
    insert into sluice.attempt (run_id, attempt, outcome, token, started_at, ended_at) values (id, 1, 'failed', sluice._new_token(id), made, made);
    insert into sluice.expiry values (id, clock_timestamp() + interval '1 year', interval '2 years');
    insert into sluice.log (run_id, attempt, seq, at, stream, line) values (id, 1, 0, made, 'stdout', 'line');
    if finished is not null then
        insert into sluice.output (run_id, output) values (id, '"out"');
    else
        perform rewritten(id);
    end if;
    if key is not null then
        insert into sluice.idempotency_key select t.task_id, old_run.key, id, clock_timestamp() + interval '1 day' from sluice.task as t where t.task = old_run.task;
    end if;
    return id;
end $$;
-- The tables that have a row of a run, and the partition that each lies in.
create function tables_of(run_id bigint) returns text language sql as $$
    select string_agg(name || where_, ' ' order by name) from (
        select 'run', regexp_replace(tableoid::regclass::text, '^.*run', '') from sluice.run as x where x.run_id = $1
        union all select 'payload', regexp_replace(tableoid::regclass::text, '^.*payload', '') from sluice.payload as x where x.run_id = $1
        union all select 'output', regexp_replace(tableoid::regclass::text, '^.*output', '') from sluice.output as x where x.run_id = $1
        union all select 'attempt', regexp_replace(tableoid::regclass::text, '^.*attempt', '') from sluice.attempt as x where x.run_id = $1
        union all select 'expiry', '' from sluice.expiry as x where x.run_id = $1
        union all select 'log', regexp_replace(tableoid::regclass::text, '^.*log', '') from sluice.log as x where x.run_id = $1) as t (name, where_) $$;
create function week_of(age interval) returns text language sql as $$ select to_char(date_trunc('week', (clock_timestamp() - age) at time zone 'UTC'), 'YYYYMMDD') $$;
-- The leader until it has nothing more to do.
create table said_by_leader (removed bigint, finding text, took interval);
create procedure retire() language plpgsql as $$
declare
    did   record;
    began timestamptz;
begin
    truncate said_by_leader;
    for turn in 1 .. 200 loop
        began := clock_timestamp();
        select * into did from sluice.remove_old_runs();
        insert into said_by_leader values (did.removed, did.finding, clock_timestamp() - began);
        commit;
        exit when did.next_in is null or did.next_in > interval '1 second';
    end loop;
end $$;
create function removed() returns bigint language sql as 'select sum(removed)::bigint from said_by_leader';
create function findings() returns text language sql as $$ select string_agg(finding, '; ') from said_by_leader $$;

-- Settings
select is((select retention from sluice.meta), interval '30 days', 'runs are kept for 30 days unless somebody says otherwise');
select is(said('select sluice.set_retention($$59 min$$)'), 'SL006: keep must be 1 hour to 36500 days [Give a time such as ''90 days''; null keeps all runs for ever.]', 'for an hour at least');
select is(left(said(format('select sluice.set_retention(%L)', v)), 5), 'SL006', 'not for ' || v) from unnest('{-1 day,0,36501 days,2147483647 months}'::text[]) as v;
select is(said('select sluice.set_retention($$1 day$$, $$none$$)'), 'SL002: task "none" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'a task must exist');
select login('t_producer', 'sluice_producer');
select is(left(said('select sluice.set_retention($$1 day$$)', 't_producer'), 68), '42501: role "t_producer" may not say how long all runs are kept [Ask', 'of all runs an admin decides');
select is(left(said('select sluice.set_retention($$1 day$$, $$t$$)', 't_producer'), 64), '42501: role "t_producer" may not set the retention of task "t" [', 'of a task''s who owns it');
select is(said('select sluice.create_task($$own$$, $$external$$); select sluice.set_retention($$1 day$$, $$own$$)', 't_producer'), said('select sluice.resume($$task/t$$)'), 'and of one''s own');
select sluice.set_retention('1 year', 'long');
select is((select retention from sluice.tasks where task = 'long'), interval '1 year', 'the view shows it');
select is(left(said('select * from sluice.remove_old_runs()'), 5), 'SL105', 'only the leader removes');
select sluice.try_lead('me');

-- A week goes
select old_run('63 days', '62 days') as done, old_run('63 days', '40 days', status => 'failed') as failed, old_run('63 days', '1 day') as late, old_run('63 days', '62 days', 'long') as long \gset
select old_run('63 days') as taken \gset
select take('task/t') as token \gset
select old_run('63 days') as revoked \gset
select take('task/t') as place \gset
select sluice.cancel(:revoked);
update sluice.run set finished_at = clock_timestamp() - interval '50 days' where run_id = :revoked;
select old_run('63 days') as delayed \gset
select sluice.reschedule(:delayed, clock_timestamp() + interval '1 year');
select old_run('63 days') as queued, old_run('63 days') as queued_too, old_run('3 days', '2 days') as young \gset
select old_run('63 days', '62 days', key => 'done') as key_done, old_run('63 days', '62 days', key => 'failed', status => 'failed') as key_failed, old_run('63 days', '62 days', key => 'held', status => 'failed') as key_held \gset
select week_of('63 days') as week \gset
select is((select goes_at from sluice.weeks where week = :'week'::date), (:'week'::date + 37)::timestamp at time zone 'UTC', 'a week goes when the last run that it could have is 30 days old');
select ok((select bytes > 0 and blocked_by is null from sluice.weeks where week = :'week'::date), 'the view says what it takes');
select is(tables_of(:done), format('attempt_p%1$s expiry log_p%1$s output_p%1$s payload_p%1$s run_p%1$s', :'week'), 'a run has rows in six tables');
select is((select string_agg(what || ', ' || subject, '; ') from sluice.doctor() where what ~ 'retention'), 'retention is behind, the week of ' || :'week'::date, 'doctor() says that it should have gone');
select connect('holder');
select dblink_exec('holder', 'begin');
select in_session('holder', 'select key from sluice.idempotency_key where key = ''held'' for update');
call retire();
select is(findings(), format('the week of %s is gone; 8 of its runs stay', :'week'::date), 'the leader says that it went');
select is(removed(), 0::bigint, 'nothing was deleted row by row');
select is_empty(format($$select relname from pg_class where relname ~ '_p%s'$$, :'week'), 'its tables are gone, with their indexes');
select is(tables_of(id), null, 'a final run is gone from every table') from unnest(array[:done, :failed, :key_done, :key_failed]::bigint[]) as id;
select is(tables_of(:late), 'attempt_default expiry log_default output_default payload_default run_default', 'one that was final only yesterday is kept, with all that belongs to it');
select is(tables_of(:long), tables_of(:late), 'and one of a task that keeps its runs for longer');
select is(tables_of(id), 'attempt_default expiry log_default payload_default run_default', 'and one that is not final') from unnest(array[:taken, :delayed, :queued, :queued_too]::bigint[]) as id;
select is(tables_of(:key_held), replace(tables_of(:late), 'expiry ', ''), 'and one whose key somebody has locked');
select isnt(tables_of(:revoked), null, 'and one whose worker has not let go of its place');
select dblink_exec('holder', 'commit');
select is(tables_of(:young) ~ 'run_p', true, 'younger runs are where they were');
select is((select string_agg(what, '; ') from sluice.doctor() where what ~ 'retention|DEFAULT'), null, 'doctor() has nothing to say of it');
select is_empty('select * from sluice.check()', 'check() finds nothing');

-- What was moved goes on
select is(run_of(take('task/t')), :queued::bigint, 'queued runs are handed out as before');
select is(run_of(take('task/t')), :queued_too::bigint, 'in their turn');
select is((select count(*) from sluice.heartbeat(array[:'token'::uuid])), 1::bigint, 'a heartbeat finds its lease');
select is((select lease_until > clock_timestamp() from sluice.heartbeat(array[:'token'::uuid])), true, 'and moves its deadline');
select is(sluice.complete(:'token', '"late"'), 'done', 'an attempt that was executing completes');
select is((select output from sluice.result(:taken)), '"late"', 'and its output is there');
select lives_ok(format('select sluice.release(%L)', :'place'), 'the place of a canceled run is given back');
select sluice.reschedule(:delayed, clock_timestamp());
select lives_ok(format('select sluice.cancel(%s)', :delayed), 'a delayed run is rescheduled and canceled');
select is((select count(*)::int from sluice.logs(:taken)), 1, 'its log is there');
select is_empty('select * from sluice.check()', 'check() finds nothing');

-- Keys
select is((select format('%s %s', run_id, existing) from sluice.enqueue_result('t', idempotency_key => 'done')), :key_done || ' t', 'a key stands to its end, also when its run is gone');
select is((select existing from sluice.enqueue_result('t', idempotency_key => 'failed')), false, 'that of a failed run does not');
select is((select existing from sluice.enqueue_result('t', idempotency_key => 'held')), false, 'as when it is still there');

-- The DEFAULT, row by row
update sluice.retention_pass set next_at = clock_timestamp();
call retire();
select is(tables_of(:key_held), null, 'from the DEFAULT runs go one by one');
update sluice.run set finished_at = clock_timestamp() - interval '31 days' where run_id in (:taken, :late, :long);
update sluice.retention_pass set next_at = clock_timestamp();
call retire();
select is(removed(), 2::bigint, 'when their time is over');
select is(tables_of(id), null, 'from every table') from unnest(array[:taken, :late]::bigint[]) as id;
select isnt(tables_of(:long), null, 'others stay');
select ok((select next_in between interval '1 minute' and interval '365 days' from sluice.remove_old_runs()), 'the leader says when the next may go');

-- A task that keeps its runs for a shorter time
select old_run('23 days', '22 days');
select old_run('16 days', '15 days', 'short') as over, old_run('16 days', '12 hours', 'short') as kept, old_run('16 days', '15 days') as other, old_run('16 days', task => 'short') as live \gset
select sluice.set_retention('1 day', 'short');
call retire();
select is(removed(), 1::bigint, 'of a task with a shorter retention runs go one by one');
select is(tables_of(:over), null, 'from every table');
select is(tables_of(id) ~ 'run_p', true, 'others stay where they are') from unnest(array[:kept, :other, :live]::bigint[]) as id;
select ok((select next_at - clock_timestamp() between interval '11 hours' and interval '12 hours' from sluice.retention_pass where week = '_p' || week_of('16 days')), 'a week is looked at again when the next of its runs is over');
select is((select next_at from sluice.retention_pass where week = '_p' || week_of('23 days')), 'infinity', 'and one that has none never');
update sluice.run set finished_at = clock_timestamp() - interval '25 hours' where run_id = :kept;
update sluice.retention_pass set next_at = clock_timestamp();
select connect('looker');
select dblink_exec('looker', 'begin');
select in_session('looker', format('select run_id from sluice.run where run_id = %s for update', :kept));
call retire();
select is(removed(), 0::bigint, 'a run that somebody has locked is passed over');
select dblink_exec('looker', 'commit');
update sluice.retention_pass set next_at = clock_timestamp();
call retire();
select is(tables_of(:kept), null, 'and goes the next time');
select sluice.set_retention(null, 'short');
select is((select retention from sluice.tasks where task = 'short'), null, 'null is as long as all others');

-- Too many that stay
select count(old_run('56 days', '50 days', 'long')) from generate_series(1, 10050);
select old_run('56 days', '50 days') as over \gset
call retire();
select is(removed(), 1::bigint, 'where more stays than can be moved at once the others are deleted');
select is(tables_of(:over), null, 'from every table');
select isnt(to_regclass('sluice_storage.run_p' || week_of('56 days')), null, 'and the week stays');
select is((select string_agg(what, '; ') from sluice.doctor() where what ~ 'retention'), null, 'which is no finding');
select sluice.set_retention('45 days', 'long');
call retire();
select is(to_regclass('sluice_storage.run_p' || week_of('56 days')), null, 'until they may go as well, and then as a whole');
select matches(findings(), 'is gone; 0 of its runs stay$', 'none is deleted for it');

-- Somebody uses it
select old_run('49 days', '48 days') as over \gset
delete from sluice.retention_pass;
select dblink_exec('looker', 'begin');
select in_session('looker', 'select count(*) from sluice.runs');
call wait_until($$select exists (select from sluice._week_users('_p' || week_of('49 days')) where since < clock_timestamp() - interval '1 second')$$);
call retire();
select cmp_ok((select max(took) from said_by_leader), '<', interval '3 seconds', 'who uses a week is not waited for');
select is(findings(), null, 'it does not go');
select matches((select blocked_by from sluice.weeks where week = week_of('49 days')::date), '^backend \d+ of role \w+ has had a transaction open for \d+ seconds?$', 'the view says why');
select matches((select why from sluice.doctor('0') where what = 'retention is blocked'), '^It could go since .*, but backend \d+ of role', 'and doctor()');
select lives_ok('select sluice.enqueue(''t'')', 'enqueues go on');
select dblink_exec('looker', 'commit');
update sluice.retention_pass set next_at = clock_timestamp() where week = '_p' || week_of('49 days');
call retire();
select is(findings(), format('the week of %s is gone; 0 of its runs stay', week_of('49 days')::date), 'it goes when they have gone');
select is(tables_of(:over), null, 'from every table');

-- For ever
select old_run('44 days', '43 days') as over \gset
select sluice.set_retention(null);
call retire();
select isnt(tables_of(:over), null, 'null keeps all runs for ever');
select is((select count(goes_at)::int from sluice.weeks), 0, 'and the view shows no end');
select sluice.set_retention('1 day', 't');
call retire();
select is(tables_of(:over), null, 'those of a task excepted that says otherwise');

-- A clock that was a year ahead
select old_run('44 days', '43 days', 't') as over \gset
update sluice.retention_pass set next_at = clock_timestamp() + interval '1 year';
select sluice._mend_after_backward(interval '-1 year');
call retire();
select is(tables_of(:over), null, 'when the clock went back, nobody waits for the time that was noted by the other one');

-- Whoever adds a table
select bag_eq($$select c.relname::text from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attname = 'run_id'
    where c.relnamespace = 'sluice'::regnamespace and c.relkind in ('r', 'p') and c.relname <> all (array(select name from sluice._partitioned_tables() union all select name from sluice._tables_beside()))$$,
    $$values ('slot'), ('idempotency_key'), ('debounce_key')$$, 'every table with rows of runs is one that retention knows, or one of these, whose rows have their own end');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
