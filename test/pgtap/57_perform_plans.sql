-- perform() keeps the plans of tasks' statements: they stay those of one role, one search_path and the functions of now.
\ir lib/helper.psql
select login('t_job', 'sluice_producer'), login('t_other', 'sluice_producer'), login('t_worker', 'sluice_worker');
create schema work authorization t_job;
grant usage on schema work to t_other, t_worker;
select connect('w', 't_worker');
-- A plan for each value would be made anew for a while, and say nothing of what is kept.
select in_session('w', 'set plan_cache_mode = force_generic_plan');

create procedure performed(task text, payload jsonb, inout report text, session text default 'w') language plpgsql as $$
declare
    run bigint := sluice.enqueue(task, payload);
    got uuid := take('task/' || task, executors => '{sql}');
begin
    commit;
    report := in_session(session, format('call sluice.perform(%L, null)', got));
    commit;
    report := coalesce((select r.output::text from sluice.runs as r where r.run_id = run), report);
    perform sluice.release(got) where status_of(run) = 'executing';
    perform sluice.cancel(run);
end $$;
create function define(name text, target text, role text, path text default 'work, public') returns text language plpgsql as $$
begin
    execute format('set local role %I', role);
    perform set_config('search_path', path, true);
    perform sluice.create_task(name, target => define.target, retry => '{"max_attempts": 1}');
    reset role;
    return name;
end $$;

-- Two roles with one text
create function work.secret() returns text language sql stable as $$ select 'of t_job'::text $$;
alter function work.secret() owner to t_job;
revoke all on function work.secret() from public;
create function work.who() returns text language plpgsql immutable as $$ begin return current_user; end $$;
select define(role || '_' || f, 'select work.' || f || '()', role)
from unnest(array['t_job', 't_other']) as role, unnest(array['secret', 'who']) as f;
call performed('t_job_secret', null, null) \gset
select is(:'report'::text, '"of t_job"', 'a function that its caller may call, and that a plan may have swallowed');
call performed('t_other_secret', null, null) \gset
select is(:'report'::text, '42501: permission denied for function secret []', 'is not called by the plan for another role');
call performed('t_job_who', null, null) \gset
select is(:'report'::text, '"t_job"', 'what a function said when it was planned');
call performed('t_other_who', null, null) \gset
select is(:'report'::text, '"t_other"', 'is not told to another role');
grant execute on function work.secret() to t_other;
call performed('t_other_secret', null, null) \gset
select is(:'report'::text, '"of t_job"', 'a right that was given holds');
revoke all on function work.secret() from t_other;
call performed('t_other_secret', null, null) \gset
select is(:'report'::text, '42501: permission denied for function secret []', 'and holds no more when it was taken');

-- One text under two search_paths
create schema one authorization t_job;
create schema two authorization t_job;
create function one.named() returns text language sql as $$ select 'one' $$;
create function two.named() returns text language sql as $$ select 'two' $$;
select define('one', 'select named()', 't_job', 'one'), define('two', 'select named()', 't_job', 'two'), define('one_f', 'named', 't_job', 'one'), define('two_f', 'named', 't_job', 'two');
call performed('one', null, null) \gset
select is(:'report'::text, '"one"', 'a name');
call performed('two', null, null) \gset
select is(:'report'::text, '"two"', 'means what it means in the task''s own search_path');
call performed('one_f', null, null) \gset
call performed('two_f', null, null) \gset
select is(:'report'::text, '"two"', 'also where the function is the target');
create or replace function two.named() returns text language sql as $$ select 'three' $$;
call performed('two', null, null) \gset
select is(:'report'::text, '"three"', 'and what it means now');
drop function two.named();
create function two.named() returns int language sql as $$ select 4 $$;
call performed('two_f', null, null) \gset
select is(:'report'::text, '4', 'also where the function was made anew with another result');

-- A worker whose own search_path has operators and functions of trusted names, in a session that is new, and in one that has plans.
create schema evil authorization t_worker;
create table evil.hits (who text);
grant usage on schema evil to public;
grant all on evil.hits to public;
create function evil.hit() returns boolean language plpgsql as $$ begin insert into evil.hits values (current_user); return false; end $$;
create function evil.texts(text, text) returns boolean language sql as 'select evil.hit()';
create function evil.uuids(uuid, uuid) returns boolean language sql as 'select evil.hit()';
create function evil.numbers(bigint, bigint) returns boolean language sql as 'select evil.hit()';
create function evil.field(jsonb, text) returns text language sql as 'select evil.hit()::text';
create operator evil.= (function = evil.texts, leftarg = text, rightarg = text);
create operator evil.= (function = evil.uuids, leftarg = uuid, rightarg = uuid);
create operator evil.= (function = evil.numbers, leftarg = bigint, rightarg = bigint);
create operator evil.->> (function = evil.field, leftarg = jsonb, rightarg = text);
create function evil.to_jsonb(anyelement) returns jsonb language sql as 'select evil.hit()::text::jsonb';
create function evil.count() returns bigint language sql as 'select evil.hit()::int::bigint';
create view evil.pg_cursors as select 'x'::text as name, evil.hit() as is_holdable;
create table work.item (of_item text);
alter table work.item owner to t_job;
select define('plain', $$select $1 ->> 'a' = 'b' as is_b, count(*) as n from work.item where of_item = 'i'$$, 't_job');
select connect('fresh', 't_worker');
select in_session(s, 'set search_path = evil, pg_catalog') from unnest(array['w', 'fresh']) as s;
call performed('plain', '{"a": "b"}', null, 'fresh') \gset
select is(:'report'::text, '{"n": 0, "is_b": true}', 'a statement in a new session of such a worker');
call performed('plain', '{"a": "b"}', null, 'w') \gset
select is(:'report'::text, '{"n": 0, "is_b": true}', 'and in one that had another search_path');
select in_session('fresh', 'reset search_path');
call performed('plain', '{"a": "c"}', null, 'fresh') \gset
select is(:'report'::text, '{"n": 0, "is_b": false}', 'and in the new one, afterwards');
select is_empty('select * from evil.hits', 'have run nothing of the worker''s');

-- Several statements
create table work.scratch (a int);
alter table work.scratch owner to t_job;
select define('several', 'drop table if exists work.scratch; create table work.scratch as select 1 as a, 2 as b; select a from work.scratch', 't_job');
drop table work.scratch;
call performed('several', null, null) \gset
select is(:'report'::text, '1', 'a statement that needs what the one before it makes');
call performed('several', null, null) \gset
select is(:'report'::text, '1', 'again');

-- More statements than are kept
select define('s' || n, format('select %s', n), 't_job') from generate_series(1, 70) as n;
do $$
declare report text;
begin
    -- Reading seventy runs takes long where another client of a pool has left the planner nothing to plan with.
    perform set_config(name, boot_val, false) from pg_settings where name ~ '^enable_|_collapse_limit$|^plan_cache_mode$|^geqo|^work_mem$';
    for n in 1 .. 70 loop
        call performed('s' || n, null, report);
        assert report = n::text, report;
    end loop;
    call performed('s1', null, report);
    assert report = '1', report;
end $$;
call performed('s70', null, null) \gset
select is(:'report'::text, '70', 'the oldest plan makes way');

-- What a task leaves in the session, and how that is forgotten
create function remains(session text) returns text language sql as $$ select in_session(session, $q$
    select concat_ws(' ', to_regclass('pg_temp.left_behind'), (select count(*) from pg_listening_channels()), (select count(*) from pg_prepared_statements),
                     (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'), current_setting('work_mem') = '77kB')$q$) $$;
create function work.leaving() returns int language plpgsql as $$
begin
    execute 'create temp table left_behind as select 1';
    execute 'listen left_behind';
    execute 'prepare left_behind as select 1';
    perform pg_advisory_lock(4712);
    return 1;
end $$;
select define('leaving', 'select work.leaving()', 'postgres');
select in_session('fresh', 'set work_mem = ''77kB''');
call performed('leaving', null, null, 'fresh') \gset
select is(:'report'::text || ' ' || remains('fresh'), '1 left_behind 1 1 1 t', 'what a task leaves is there for the next');
select in_session('fresh', 'select sluice.clean_session()');
select is(remains('fresh'), '0 0 0 f', 'until the session is cleaned');
select in_session('fresh', 'set work_mem = ''77kB''');
select sluice.enqueue('leaving') as run \gset
select take('task/leaving', executors => '{sql}') as token \gset
select is(in_session('fresh', format('call sluice.perform(%L, null, true)', :'token')), 'done', 'perform() does so itself');
select is(remains('fresh') || ' ' || status_of(:run), '0 0 0 t completed', 'if it is told so, but for settings of the session''s own');
select is(said('select sluice.clean_session()', 't_job'), '42501: permission denied for function clean_session []', 'by who may perform');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
