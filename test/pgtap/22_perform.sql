-- perform(): an sql task runs under its own role, in one transaction with its completion, and leaves nothing behind.
\ir lib/helper.psql
select login('t_job', 'sluice_producer'), login('t_worker', 'sluice_worker'), login('t_friend');
create schema work authorization t_job;
grant usage on schema public to t_job;
select connect('w', 't_worker');

-- Defines the task as t_job, enqueues, claims, and performs as t_worker in another session; then what came of it.
create procedure performed(target text, payload jsonb, inout report text, inout run bigint default null)
language plpgsql as $$
declare
    made text := said(format('select sluice.create_task(''job'', target => %L, retry => ''{"max_attempts": 1}'')', target), 't_job');
    got  uuid;
begin
    if made <> '' then
        report := made;
        return;
    end if;
    run := sluice.enqueue('job', payload);
    got := take('task/job', executors => '{sql}');
    commit;
    report := in_session('w', format('call sluice.perform(%L, null)', got));
    commit;
    report := report || ' -> ' || (select r.status || coalesce(' ' || r.output::text, '') from sluice.runs as r where r.run_id = run);
    perform sluice.release(got) where status_of(run) = 'executing';
    perform sluice.cancel(run);
end $$;

create function work.scalar(payload jsonb) returns int language sql as $$ select (payload ->> 'n')::int * 2 $$;
create function work.texted(payload jsonb) returns text language sql as $$ select 'ü "' $$;
create function work.row_(payload jsonb, out a int, out b text) language sql as $$ select 1, 'x' $$;
create function work.set_(payload jsonb) returns setof int language sql as $$ select generate_series(1, (payload ->> 'n')::int) $$;
create function work.table_(payload jsonb) returns table (a int, b text) language sql as $$ values (1, 'x'), (2, null) $$;
create function work.void_(payload jsonb) returns void language sql as '';
create function work.null_(payload jsonb) returns jsonb language sql as 'select null::jsonb';
create function work.json_(payload jsonb) returns jsonb language sql as 'select payload';
create function work.bare() returns int language sql as 'select 7';

-- Results
call performed('work.scalar', '{"n": 21}', null) \gset
select is(:'report'::text, 'done -> completed 42', 'a scalar is its own output');
call performed('work.texted', null, null) \gset
select is(:'report'::text, 'done -> completed "ü \""', 'a text is a JSON string');
call performed('work.row_', null, null) \gset
select is(:'report'::text, 'done -> completed {"a": 1, "b": "x"}', 'a row is an object');
call performed('work.set_', '{"n": 3}', null) \gset
select is(:'report'::text, 'done -> completed [1, 2, 3]', 'a set is an array');
call performed('work.set_', '{"n": 1}', null) \gset
select is(:'report'::text, 'done -> completed [1]', 'a set of one too');
call performed('work.set_', '{"n": 0}', null) \gset
select is(:'report'::text, 'done -> completed []', 'and an empty one');
call performed('work.table_', null, null) \gset
select is(:'report'::text, 'done -> completed [{"a": 1, "b": "x"}, {"a": 2, "b": null}]', 'a set of rows is an array of objects');
call performed('work.void_', null, null) \gset
select is(:'report'::text, 'done -> completed', 'void is no output');
call performed('work.null_', null, null) \gset
select is(:'report'::text, 'done -> completed', 'null is none either');
call performed('work.json_', '{"a": [null, {"b": 1e10}]}', null) \gset
select is(:'report'::text, 'done -> completed {"a": [null, {"b": 10000000000}]}', 'jsonb is itself');
call performed('work.json_', 'null', null) \gset
select is(:'report'::text, 'done -> completed null', 'also a JSON null');
call performed('work.bare', '{"ignored": true}', null) \gset
select is(:'report'::text, 'done -> completed 7', 'a function without arguments is called without the payload');
call performed('  "work" . "scalar" ', '{"n": 1}', null) \gset
call performed('select $1 ->> ''x''', '{"x": "y"}', null) \gset
select is(:'report'::text, 'done -> completed "y"', 'a statement has the payload as $1');
call performed('select 1 as a, 2 as b', null, null) \gset
select is(:'report'::text, 'done -> completed {"a": 1, "b": 2}', 'a row of a statement is an object');
call performed('select * from (values (1), (2)) as v', null, null) \gset
select is(:'report'::text, 'done -> completed [1, 2]', 'several rows are an array');
call performed('select 1 where false', null, null) \gset
select is(:'report'::text, 'done -> completed', 'no row is no output');
set role t_job;
create table work.item (n int, made_by text default current_user);
reset role;
call performed('insert into work.item (n) select ($1 ->> ''n'')::int', '{"n": 5}', null) \gset
select is(:'report'::text, 'done -> completed', 'a statement that writes has no output');
select results_eq('select n, made_by from work.item', $$values (5, 't_job')$$, 'it ran as the role of the task');
call performed('insert into work.item (n) values (6), (7) returning n', null, null) \gset
select is(:'report'::text, 'done -> completed [6, 7]', 'unless it returns rows');
call performed('do $x$ begin insert into work.item (n) values (8); end $x$', null, null) \gset
select is(:'report'::text, 'done -> completed', 'a block runs');
select is((select count(*)::int from work.item where n = 8), 1, 'and has its effect');

-- Errors: nothing of the body stays, and the attempt is not ended.
delete from work.item;
call performed('with i as (insert into work.item (n) values (9)) select 1 / ($1 ->> ''zero'')::int', '{"zero": 0}', null) \gset
select is(:'report'::text, '22012: division by zero [] -> executing', 'an error of the body is the caller''s to report');
select is((select count(*)::int from work.item), 0, 'and undoes the work');
set role t_job;
create procedure work.commits() language plpgsql as $$ begin insert into work.item values (10); commit; end $$;
create procedure work.rolls_back() language plpgsql as $$ begin insert into work.item values (10); rollback; end $$;
reset role;
call performed('call work.commits()', null, null) \gset
select is(:'report'::text, '2D000: invalid transaction termination [] -> executing', 'a body cannot commit');
call performed('call work.rolls_back()', null, null) \gset
select is(:'report'::text, '2D000: invalid transaction termination [] -> executing', 'nor roll back');
select is((select count(*)::int from work.item), 0, 'and nothing of it stays');
call performed('commit', null, null) \gset
call performed('commit and chain', null, null) \gset
select alike(:'report'::text, 'SL017:%', 'a statement that ends the transaction is refused');

-- The role cannot be left.
call performed('do $x$ begin set role t_worker; end $x$', null, null) \gset
call performed('do $x$ begin set local role sluice_owner; end $x$', null, null) \gset
select alike(:'report'::text, '42501: %', 'the body cannot become the owner of the storage');
call performed('do $x$ begin reset role; end $x$', null, null) \gset
select alike(:'report'::text, '42501: %', 'nor go back to the login of the worker');
call performed('do $x$ begin set session authorization t_worker; end $x$', null, null) \gset
select alike(:'report'::text, '42501: %', 'nor be another session');
call performed('select set_config(''role'', ''none'', false)', null, null) \gset
select alike(:'report'::text, '42501: %', 'by no other way either');
call performed('select current_user || '' '' || session_user', null, null) \gset
select is(:'report'::text, 'done -> completed "t_job t_worker"', 'it runs as the role of the task');
call performed('select count(*) from sluice.run', null, null) \gset
select alike(:'report'::text, '42501: permission denied for %', 'and has no rights but those of that role');

-- What would run at commit
set role t_job;
create table work.late (n int);
create function work.say_who() returns trigger language plpgsql as $$ begin insert into work.item (n, made_by) values (new.n, current_user); return null; end $$;
create constraint trigger late after insert on work.late deferrable initially deferred for each row execute function work.say_who();
create function work.holds() returns int language plpgsql as $$ begin execute 'declare kept cursor with hold for select current_user'; return 1; end $$;
create function work.holds_and_closes() returns int language plpgsql as $$ begin execute 'declare kept cursor with hold for select current_user'; execute 'close kept'; return 1; end $$;
create function work.late_error() returns trigger language plpgsql as $$ begin raise 'too late'; end $$;
create table work.never (n int);
create constraint trigger never after insert on work.never deferrable initially deferred for each row execute function work.late_error();
reset role;
call performed('insert into work.late values (3)', null, null) \gset
select is(:'report'::text, 'done -> completed', 'a deferred trigger');
select is((select made_by from work.item where n = 3), 't_job', 'runs as the role of the task, not as the login at commit');
call performed('insert into work.never values (3)', null, null) \gset
select is(:'report'::text, 'P0001: too late [] -> executing', 'an error of a deferred trigger is one of the body');
call performed('work.holds', null, null) \gset
select is(:'report'::text, 'SL017: an sql task may not leave a cursor with hold [Close the cursor before the task ends.] -> executing', 'a cursor that would be run at commit is refused');
call performed('work.holds_and_closes', null, null) \gset
select is(:'report'::text, 'done -> completed 1', 'one that was closed is nobody''s business');

-- Settings are put back: to what that session has, whatever it is here.
select in_session('w', 'show work_mem') as work_mem \gset
call performed('select set_config(''work_mem'', ''123kB'', false), set_config(''my.own'', ''x'', false), set_config(''search_path'', ''work'', false)', null, null) \gset
select is(in_session('w', 'show work_mem') || in_session('w', $$select coalesce(current_setting('my.own', true), '')$$) || in_session('w', 'show search_path'), :'work_mem' || '"$user", public', 'settings that the body changed are put back');
call performed('do $x$ begin set work_mem = ''222kB''; end $x$', null, null) \gset
select is(in_session('w', 'show work_mem'), :'work_mem', 'also those that it changed with SET');
select is(in_session('w', 'select current_user'), 't_worker', 'and the role');

-- search_path: that of the task's creator
set role t_job;
set search_path = work;
select sluice.create_task('pathed', target => 'bare');
reset search_path;
reset role;
select sluice.enqueue('pathed') as run \gset
select take('task/pathed', executors => '{sql}') as token \gset
select is(in_session('w', format('call sluice.perform(%L, null)', :'token')), 'done', 'a target is found under the search_path of whoever created the task');
select is((select output from sluice.runs where run_id = :run), '7', 'and called');
set role t_job;
set search_path = work, public;
select sluice.create_task('pathed2', target => 'select current_setting(''search_path'')');
reset search_path;
reset role;
select sluice.enqueue('pathed2') as run \gset
select take('task/pathed2', executors => '{sql}') as token \gset
select in_session('w', format('call sluice.perform(%L, null)', :'token'));
select is((select output #>> '{}' from sluice.runs where run_id = :run), 'work, public', 'which is in force while it runs');

-- Tokens
select is(in_session('w', format('call sluice.perform(%L, null)', :'token')), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'an attempt that has ended is not run again');
select is(in_session('w', 'call sluice.perform(null, null)'), 'SL006: token must not be null [Pass the token that the claim has returned.]', 'a token is wanted');
select is(in_session('w', format('call sluice.perform(%L, null)', gen_random_uuid())), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'one that was handed out');
select task('ext');
select sluice.enqueue('ext');
select take('task/ext') as token \gset
select is(in_session('w', format('call sluice.perform(%L, null)', :'token')), 'SL006: perform cannot run a task with executor external [Only sql tasks run inside the database.]', 'of an sql task');
select is(said(format('call sluice.perform(%L, null)', :'token')), 'SL013: perform cannot run inside a transaction block [Call it on its own, outside of begin and commit and not from a function.]', 'in a transaction of its own');

-- A lease that is lost while the body runs undoes the body.
set role t_job;
create table work.gate (open boolean);
create procedure work.noop() language sql as '';
create function work.slow() returns int language plpgsql as $$
begin
    insert into work.item (n) values (99);
    perform pg_advisory_xact_lock(4711);
    return 1;
end $$;
reset role;
select said($$select sluice.create_task('slow', target => 'work.slow')$$, 't_job');
select sluice.enqueue('slow') as run \gset
select take('task/slow', executors => '{sql}') as token \gset
select pg_advisory_lock(4711);
select dblink_send_query('w', format('call sluice.perform(%L, null)', :'token'));
call wait_until($$select exists (select from pg_locks where locktype = 'advisory' and objid = 4711 and not granted)$$);
select is(sluice.cancel(:run), true, 'a long body holds no lock on its run, which can be canceled');
select pg_advisory_unlock(4711);
select is(said($$select * from dblink_get_result('w') as r (a text)$$), 'SL102: the lease is lost: this token does not own an attempt [Stop the work and throw away its result; nothing was changed.]', 'then the completion is refused');
select is((select count(*)::int from work.item where n = 99), 0, 'and the work undone');
select is(status_of(:run), 'canceled', 'the run stays as it was decided');
select * from dblink_get_result('w') as r (a text);

-- The rights of the role are those of now.
call performed('work.bare', null, null) \gset
revoke all on function work.bare() from public;
select sluice.enqueue('job') as run \gset
select take('task/job', executors => '{sql}') as token \gset
select is(in_session('w', format('call sluice.perform(%L, null)', :'token')), '42501: permission denied for function work.bare []', 'a right that was taken away since is gone');
select is(in_session('w', $$select sluice._complete(gen_random_uuid(), null)$$), '42501: permission denied for function _complete []', 'afterwards the worker is itself');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
