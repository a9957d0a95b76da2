-- Hostile surroundings: sessions with poisoned settings, shadowing objects, and owners of the storage who want more.
\ir lib/helper.psql
select login('t_producer', 'sluice_producer'), login('t_worker', 'sluice_worker'), login('t_reader', 'sluice_reader'), login('t_admin', 'sluice_admin');
select task('t', 2);
select sluice.create_queue('limited', 2, 1);
select task('l', queue => 'limited');

-- A day's work, as one text that does not depend on ids or times.  Each session below must say the same.
create schema day;
grant usage on schema day to public;
create function day.of_work() returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    a bigint; b bigint; c bigint; t uuid; said pg_catalog.text := '';
begin
    a := sluice.enqueue('t', '{"n": 1}', priority => 3, concurrency_key => 'k', tags => '{x}', metadata => '{}', delay => '0s');
    b := sluice.enqueue('t', delay => '1h30m', idempotency_key => 'hostile');
    said := said || (b = sluice.enqueue('t', idempotency_key => 'hostile')) || ' ';
    said := said || (select count(*) from sluice.enqueue_many('l', '{1,2,3}', array['{"concurrency_key": "k"}', '{"concurrency_key": "k"}', '{"concurrency_key": "l", "run_at": "1999-01-01"}']::jsonb[])) || ' ';
    t := (select token from sluice.claim('w', '{task/t}'));
    said := said || sluice._token_run(t) - a || ' ';
    perform sluice.heartbeat(array[t]);
    perform sluice.append_logs(t, '[{"seq": 0, "line": "l", "age_ms": 5}]');
    perform sluice.set_metadata(t, '{"m": 1, "gone": null}'), sluice.add_tags(t, '{x,y}');
    said := said || (select array_to_string(r.tags, '') || (r.metadata ->> 'm') from sluice.runs as r where r.run_id = a) || ' ';
    said := said || sluice.fail(t, '{"message": "m"}', '1999-01-01') || ' ' || (select status || error from sluice.result(a)) || ' ';
    t := (select token from sluice.claim('w', '{task/t}'));
    said := said || sluice.complete(t, '{"o": 1}') || ' ' || (select status || output from sluice.result(a)) || ' ';
    said := said || (select count(*) from sluice.claim('w', '{limited}', 10)) || ' ';
    perform sluice.reschedule(b, '2099-01-01 12:00+00');
    perform sluice.requeue(b, 'limited', 5);
    said := said || sluice.cancel(b) || ' ' || (select status from sluice.result(b)) || ' ';
    c := sluice.replay(b);
    said := said || (select count(*) from sluice.logs(a)) || ' ' || sluice.cancel(c) || ' ';
    said := said || coalesce((select string_agg(kind, ',') from sluice.exchange('w', capacity => 1)), '') || ' ';
    said := said || (select count(*) from sluice.check());
    return said;
end $$;
-- As t_admin, who has every right to call and none on the tables; all of it is undone.
create function day.undone(settings text) returns text language plpgsql as $$
declare said text;
begin
    execute settings;
    set local role t_admin;
    said := day.of_work();
    raise sqlstate 'ZZ001' using message = said;
exception
    when sqlstate 'ZZ001' then return sqlerrm;
    when others then return sqlstate || ': ' || sqlerrm;
end $$;
-- The twins that it looks at are for the owner; it is the test that reads them.
grant execute on function sluice._token_run(uuid) to t_admin;
select day.undone('') as expected \gset
select is(:'expected'::text, 'true 3 0 xy1 done queued{"code": "TASK_EXECUTION_FAILED", "message": "m"} done completed{"o": 1} 2 true canceled 1 true reply 0', 'a day''s work as an admin');

-- Shadowing objects: operators, functions and tables that win under the session's search_path.
create schema evil;
grant usage, create on schema evil to public;
create table evil.hits (what text);
grant all on evil.hits to public;
create function evil.hit(what text) returns boolean language plpgsql as $$ begin insert into evil.hits values (what || ' as ' || current_user); return true; end $$;
create function evil.eq(a text, b text) returns boolean language sql as $$ select evil.hit('text =') $$;
create function evil.eqi(a int, b int) returns boolean language sql as $$ select evil.hit('int =') $$;
create function evil.eqb(a bigint, b bigint) returns boolean language sql as $$ select evil.hit('bigint =') $$;
create function evil.le(a timestamptz, b timestamptz) returns boolean language sql as $$ select evil.hit('timestamptz <=') $$;
create function evil.cat(a jsonb, b jsonb) returns jsonb language sql as $$ select '{"evil": true}'::jsonb where evil.hit('jsonb ||') $$;
create operator evil.= (leftarg = text, rightarg = text, function = evil.eq);
create operator evil.= (leftarg = int, rightarg = int, function = evil.eqi);
create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.eqb);
create operator evil.<= (leftarg = timestamptz, rightarg = timestamptz, function = evil.le);
create operator evil.|| (leftarg = jsonb, rightarg = jsonb, function = evil.cat);
create function evil.clock_timestamp() returns timestamptz language sql as $$ select '1999-01-01'::timestamptz where evil.hit('clock_timestamp') $$;
create function evil.format(text, variadic "any") returns text language internal as 'text_format';
create function evil.coalesce(text, text) returns text language sql as $$ select 'x' where evil.hit('coalesce') $$;
create function evil.length(text) returns int language sql as $$ select 0 where evil.hit('length') $$;
create function evil.current_setting(text) returns text language sql as $$ select '1' where evil.hit('current_setting') $$;
create function evil.random() returns double precision language sql as $$ select 0.5::double precision where evil.hit('random') $$;
create function evil.jsonb_typeof(jsonb) returns text language sql as $$ select 'null' where evil.hit('jsonb_typeof') $$;
create function evil.pg_has_role(name, name, text) returns boolean language sql as $$ select evil.hit('pg_has_role') $$;
create function evil.pg_advisory_xact_lock(int, int) returns void language sql as $$ select evil.hit('lock')::text::void $$;
create table evil.run (run_id bigint); create table evil.slot (token uuid); create table evil.queue (queue text); create table evil.task (task text); create view evil.pg_roles as select 'x'::name as rolname; create view evil.pg_class as select 1 as oid;
create domain evil.text as pg_catalog.text check (false);
create domain evil.bigint as pg_catalog.int8 check (false);
select is(day.undone('set local search_path = evil, pg_catalog, sluice, public'), :'expected', 'shadowing functions, operators, types and tables in the search_path change nothing');
select is(day.undone('set local search_path = '''''), :'expected', 'nor does an empty search_path');
select is(day.undone('create temp table if not exists run (run_id bigint); create temp table if not exists queue (queue text); create temp table pg_roles (rolname name); create temp table pg_class (oid oid); grant all on pg_temp.run, pg_temp.queue, pg_temp.pg_roles, pg_temp.pg_class to public; set local search_path = pg_temp, evil, pg_catalog'), :'expected',
    'nor do temporary tables');
select is_empty('select * from evil.hits', 'nothing of the shadow was run');

-- Settings
select is(day.undone(v), :'expected', v)
from unnest(array[
    'set local timezone = ''Asia/Kathmandu''', 'set local timezone = ''America/St_Johns''', 'set local datestyle = ''SQL, DMY''', 'set local datestyle = ''German''', 'set local intervalstyle = ''sql_standard''', 'set local intervalstyle = ''iso_8601''',
    'set local plan_cache_mode = force_custom_plan', 'set local plan_cache_mode = force_generic_plan', 'set local enable_indexscan = off; set local enable_bitmapscan = off; set local enable_indexonlyscan = off',
    'set local enable_nestloop = off; set local enable_sort = off', 'set local enable_seqscan = off', 'set local enable_partition_pruning = off', 'set local enable_material = off; set local enable_hashagg = off',
    'set local row_security = off', 'set local standard_conforming_strings = off', 'set local backslash_quote = on', 'set local extra_float_digits = -15', 'set local bytea_output = escape', 'set local xmlbinary = hex',
    'set local check_function_bodies = off', 'set local session_replication_role = replica', 'set local default_transaction_isolation = serializable', 'set local array_nulls = off', 'set local quote_all_identifiers = on', 'set local transform_null_equals = on',
    'set local lc_messages = ''C''', 'set local lc_numeric = ''C''', 'set local work_mem = ''64kB''', 'set local jit = on; set local jit_above_cost = 0', 'set local constraint_exclusion = on', 'set local from_collapse_limit = 1; set local join_collapse_limit = 1',
    'set local statement_timeout = ''30s''', 'set local plpgsql.variable_conflict = error', 'set local plpgsql.variable_conflict = use_variable', 'set local plpgsql.variable_conflict = use_column', 'set local plpgsql.extra_errors = ''strict_multi_assignment,too_many_rows''',
    'set local synchronize_seqscans = off', 'set local default_table_access_method = heap', 'set local geqo_threshold = 2', 'set local client_min_messages = error', 'set local debug_discard_caches = 0', 'set local max_parallel_workers_per_gather = 4; set local parallel_setup_cost = 0; set local parallel_tuple_cost = 0; set local min_parallel_table_scan_size = 0']) as v;
begin;
set transaction read only;
select is(left(said($$select sluice.enqueue('t')$$), 6), '25006:', 'a read-only session gets the standard error');
rollback;
create function tz(zone text) returns timestamptz language plpgsql as $$
declare r timestamptz;
begin
    execute format('set local timezone = %L', zone);
    begin
        select ready_at into r from made_by($q$sluice.enqueue('t', run_at => '2099-06-01 12:00:00+00')$q$);
        raise sqlstate 'ZZ001';
    exception when sqlstate 'ZZ001' then null;
    end;
    return r;
end $$;
select is(tz(z), timestamptz '2099-06-01 12:00:00+00', 'an instant is an instant in ' || z) from unnest('{UTC,Asia/Kathmandu,America/New_York}'::text[]) as z;
set timezone = 'Pacific/Auckland'; set datestyle = 'SQL, DMY';
select is(sluice._make_partitions(clock_timestamp() + interval '300 days', 0), 1, 'partitions are made in any session');
select is((select extract(isodow from sluice._run_time((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\)'))[1]::bigint) at time zone 'UTC')::int from pg_class as c where c.relkind = 'r' and c.relname ~ '^run_p' order by c.relname desc limit 1), 1, 'and begin on a Monday in UTC');
reset timezone; reset datestyle;

-- Who called: the stack of callers is right in nested and failing calls.
create function day.caller() returns text language sql as $$ select pg_get_userbyid(sluice._caller()) $$;
select is(sluice._caller()::int, 0, 'outside of a public function nobody called');
grant execute on function sluice._caller() to public;
create table day.seen (who text, as_whom text);
grant all on day.seen to public;
grant usage on schema sluice to public;
alter table sluice.queue owner to sluice_owner;
grant create on schema day to sluice_owner;
set role sluice_owner;
create function day.on_queue() returns trigger language plpgsql as $$
begin
    insert into day.seen values ((select rolname from pg_roles where oid = sluice._caller()), current_user);
    if new.queue = 'nested' then perform sluice._enqueue('t', null, null, 0, null, null, null, null, null, null, null, null, null, null, null, null, null); end if;
    if new.queue = 'boom' then raise 'boom'; end if;
    return new;
end $$;
create trigger spy before insert on sluice.queue for each row execute function day.on_queue();
reset role;
select said($$select sluice.create_queue('one')$$, 't_producer');
select results_eq('select * from day.seen', $$values ('t_producer', 'sluice_owner')$$, 'a trigger on the storage runs as its owner; the caller is known');
delete from day.seen;
select sluice.create_queue('two');
select results_eq('select * from day.seen', $$values ('postgres', 'sluice_owner')$$, 'also when a superuser calls: never as the superuser');
delete from day.seen;
do $$
begin
    begin
        perform sluice.create_queue('boom');
    exception when raise_exception then null;
    end;
    if current_user <> 'postgres' then raise 'still %', current_user; end if;
    if sluice._caller() <> 0 then raise 'still called by %', sluice._caller(); end if;
    perform sluice.create_queue('after');
end $$;
select results_eq('select * from day.seen', $$values ('postgres', 'sluice_owner')$$, 'after an error inside, caught behind a savepoint, the caller is right again');
select is(current_user::text, 'postgres', 'and the session is itself');
begin;
savepoint s;
select said($$select sluice.create_queue('boom')$$, 't_producer');
rollback to s;
select is(current_user::text, 'postgres', 'after a rollback to a savepoint too');
select is(sluice._caller()::int, 0, 'and nobody is calling');
rollback;

-- The owner of the storage wants to be the superuser.
create function day.try(statement text) returns text language plpgsql as $$
declare answer text;
begin
    execute format('create or replace function day.on_queue() returns trigger language plpgsql as %L', format('begin %s; return new; end', statement));
    execute 'alter function day.on_queue() owner to sluice_owner';
    begin
        perform sluice.create_queue('attack');
        answer := 'done as ' || current_user;
        raise sqlstate 'ZZ001';
    exception when sqlstate 'ZZ001' then null; when others then answer := sqlstate;
    end;
    return answer || ' ' || current_user;
end $$;
select is(day.try(v), '42501 postgres', 'a trigger of the owner cannot ' || v)
from unnest(array['set role postgres', 'reset role', 'set session authorization postgres', 'perform set_config(''role'', ''postgres'', true)', 'alter role sluice_owner superuser', 'create role evil superuser',
    'perform pg_read_file(''/etc/passwd'')', 'execute ''copy day.seen from program ''''true''''''', 'update pg_catalog.pg_authid set rolsuper = true', 'drop schema public cascade']) as v;
drop trigger spy on sluice.queue;

-- Nor by what would run later, at the commit of somebody else's transaction.
create function day.later() returns trigger language plpgsql as $$ begin insert into day.seen values ('later', current_user); return null; end $$;
create table day.owned (n int);
alter function day.later() owner to sluice_owner;
alter table day.owned owner to sluice_owner;
set role sluice_owner;
create constraint trigger later after insert on sluice.queue deferrable initially deferred for each row execute function day.later();
reset role;
delete from day.seen;
select is(said($$select sluice.create_queue('deferred')$$), '42501: cannot fire deferred trigger within security-restricted operation []', 'a deferred trigger on the storage is refused: at commit it would run as the caller');
select is(said($$select sluice.create_queue('deferred')$$, 't_producer'), '42501: cannot fire deferred trigger within security-restricted operation []', 'whoever calls');
set role sluice_owner;
drop trigger later on sluice.queue;
create constraint trigger later after insert on day.owned deferrable initially deferred for each row execute function day.later();
create trigger spy before insert on sluice.queue for each row execute function day.on_queue();
reset role;
select is(day.try('insert into day.owned values (1)'), '42501 postgres', 'so is one on another table of the owner that a trigger writes to');
select is(day.try('execute ''declare held cursor with hold for select current_user'''), '42501 postgres', 'and a cursor that would run at commit');
select is(day.try('create temp table left_behind (a int)'), '42501 postgres', 'and a temporary table of the caller''s session');
select is_empty('select * from day.seen', 'nothing of it ran');
drop trigger spy on sluice.queue;
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
