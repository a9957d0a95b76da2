-- Shadows: whatever a session puts in front of pg_catalog, nothing of it is run by any public function, found from the
-- catalog: functions and operators of all names that our sources use, tables and temporary tables named as ours, types.
\ir lib/helper.psql
select login('t_admin', 'sluice_admin');
select task('t');
select sluice.enqueue('t', '{"n": 1}') as run, sluice.enqueue('t') as held \gset
select take('task/t') as token \gset

-- Each hit counts in a sequence, which no rollback undoes.
create schema evil;
create sequence evil.hits;
create table evil.named (what text);
grant usage on schema evil to public;
grant usage, select, update on sequence evil.hits to public;
create function evil.make(what text, statement text) returns void language plpgsql as $$
begin
    execute statement;
    insert into evil.named values (what);
exception when others then null; -- what cannot be made shadows nothing
end $$;
create function evil.body(result text) returns text language sql as $$
    select format('language plpgsql as %L', format('begin perform pg_catalog.nextval(''evil.hits''); return null; end', result))
$$;
create temp view words as
select distinct w[1] as word from pg_proc as p, regexp_matches(p.prosrc, '[a-z_0-9]+', 'g') as w where p.pronamespace = 'sluice'::regnamespace and p.prolang <> 13;
select count(evil.make('function', format('create function evil.%I(%s) returns %s %s', p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid), evil.body(''))))
from pg_proc as p join words as w on w.word = p.proname
where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and not p.proretset and p.provariadic = 0 and p.prorettype not in ('internal'::regtype, 'trigger'::regtype);
select count(evil.make('operator', format('create function evil.%I(%s, %s) returns %s %s', 'operator_' || o.oid, o.oprleft::regtype, o.oprright::regtype, o.oprresult::regtype, evil.body('')))),
       count(evil.make('operator', format('create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.%I)', o.oprname, o.oprleft::regtype, o.oprright::regtype, 'operator_' || o.oid)))
from pg_operator as o
where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprname in ('=', '<>', '<', '>', '<=', '>=', '||', '-', '+', '*', '->', '->>', '@>', '?', '~', '&&')
  and o.oprleft = any ('{text,name,int4,int8,int2,float8,numeric,timestamptz,interval,jsonb,uuid,oid,bool}'::regtype[]) and o.oprright <> 0;
select count(evil.make('table', format('create %s table %s%I (a int)', kind, case when kind = '' then 'evil.' end, c.relname)))
from pg_class as c, unnest('{"",temp}'::text[]) as kind
where c.relnamespace = 'sluice'::regnamespace and c.relkind in ('r', 'p', 'v') or c.relname in ('pg_class', 'pg_roles', 'pg_proc', 'pg_namespace', 'pg_stat_activity', 'pg_locks', 'pg_trigger');
select count(evil.make('type', format('create domain evil.%I as pg_catalog.%1$I check (false)', t))) from unnest('{text,int4,int8,jsonb,uuid,timestamptz,interval,name,oid,bool,regclass}'::text[]) as t;
select cmp_ok(count(*)::int, '>', least, format('there are shadows: %s', what)) from (values ('function', 100), ('operator', 100), ('table', 30), ('type', 8)) as v (what, least) join evil.named using (what) group by what, least;

-- Each public function is called with nothing, with its defaults and with values that mean something.
create function value_of(type regtype, token text, run bigint) returns text language sql as $$
    select case type::text when 'text' then '''t''' when 'bigint' then run::text when 'uuid' then format('%L', token) when 'integer' then '1' when 'jsonb' then '''{"code": "C"}'''
        when 'text[]' then '''{task/t}''' when 'jsonb[]' then '''{1,2}''' when 'uuid[]' then format('''{%s}''', token) when 'interval' then '''00:00:01''' when 'timestamp with time zone' then '''2099-01-01 00:00+00'''
        when 'name' then '''t_admin''' when 'boolean' then '''true''' when 'regclass' then '1259' when 'bigint[]' then format('''{%s}''', run) else 'null' end
$$;
create temp table calls as
select p.proname::text as name, way,
       format(case when p.prokind = 'p' then 'call sluice.%I(%s)' else 'select sluice.%I(%s)' end, p.proname,
              (select string_agg(case when way = 'nulls' then 'null' else value_of(t, :'token', :run) end || '::' || 'pg_catalog.' || format_type(t, null), ', ' order by n)
               from unnest(p.proargtypes) with ordinality as a (t, n) where way <> 'defaults' or n <= p.pronargs - p.pronargdefaults)) as call
from pg_catalog.pg_proc as p, unnest('{nulls,defaults,values}'::text[]) as way
where p.pronamespace = 'sluice'::regnamespace and p.proname !~ '^_' and p.proname not in ('setup', 'teardown', 'watched');
update calls set call = regexp_replace(regexp_replace(call, 'pg_catalog\.timestamp with time zone', 'pg_catalog.timestamptz', 'g'), 'pg_catalog\.(bigint|integer|boolean)\M', '\1', 'g');
update calls set call = replace(replace(replace(call, '::bigint', '::pg_catalog.int8'), '::integer', '::pg_catalog.int4'), '::boolean', '::pg_catalog.bool');
create function public.shadowed(call text) returns text language plpgsql as $$
declare state text := 'ok';
begin
    begin
        perform pg_catalog.set_config('search_path', 'evil, pg_temp, pg_catalog', true);
        set local role t_admin;
        execute call;
        raise sqlstate 'ZZ001';
    exception
        when sqlstate 'ZZ001' then null;
        when others then state := sqlstate;
    end;
    return state;
end $$;
create temp table answers as select name, way, call, public.shadowed(call) as state from calls;
select cmp_ok((select count(*)::int from answers where state = 'ok'), '>', 20, 'many of the calls do what they should');
select is_empty($$select * from answers where state in ('42601', '42883', '42704', '42P01', '23514')$$, 'none of them finds a shadow, or nothing, where it should find what it means');
select is((select is_called from evil.hits), false, 'nothing of the shadows was run');
-- They would have been, by a function that names nothing in full.
create function evil.naive(a bigint) returns boolean language sql as $$ select a = 1::pg_catalog.int8 $$;
select public.shadowed('select evil.naive(1::pg_catalog.int8)') as naive \gset
select is((select is_called from evil.hits), true, 'as they are by who trusts the search_path');
select * from finish();
