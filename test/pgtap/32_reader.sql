-- What readers are shown: how runs fare and not what they are about, and nothing by a function in a WHERE that a view
-- would not have shown.
\ir lib/helper.psql
select login('t_reader', 'sluice_reader'), login('t_payload', 'sluice_payload_reader'), login('t_monitor', 'pg_monitor'), login('t_producer', 'sluice_producer'),
       login('t_support');
select task('seen', 1);
select sluice.create_task('hidden', 'process', options => '{"argv": ["/bin/true"], "env": {"KEY": "s3cret"}}'), sluice.create_queue('hidden');
select sluice.drop_task('hidden'), sluice.drop_queue('hidden'), sluice.drop_queue('task/hidden');
select sluice.enqueue('seen', '{"p": "s3cret"}', metadata => '{"m": "s3cret"}', concurrency_key => 'k', tags => '{x}') as run \gset
select sluice.enqueue('seen', concurrency_key => 'k') as waits \gset
select take('task/seen') as token \gset
select sluice.append_logs(:'token', '[{"seq": 0, "line": "s3cret", "age_ms": 5}]');
select sluice.fail(:'token', '{"code": "CODE", "message": "s3cret"}');

-- Everything that a role reads by what is granted to it, as text.
create function all_that_is_read(role text) returns text language plpgsql as $$
declare
    one  record;
    line text;
    told text := '';
begin
    for one in
        select format('select string_agg(v::text, '' '') from (select %s from %s) as v',
                      string_agg(format('%I', a.attname), ', ' order by a.attnum), c.oid::regclass) as statement
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'sluice'::regnamespace and c.relkind = 'v' and has_column_privilege(role, c.oid, a.attnum, 'select')
        group by c.oid
        union all
        select format('select string_agg(f::text, '' '') from sluice.%s as f', call)
        from unnest('{doctor(''0''),check(),index_stats(),explain_run(%1$s),result(%1$s),logs(%1$s)}'::text[]) as call
        where has_function_privilege(role, format('sluice.%s(%s)', split_part(call, '(', 1),
            case split_part(call, '(', 1) when 'doctor' then 'interval' when 'explain_run' then 'bigint' when 'result' then 'bigint, interval' when 'logs' then 'bigint, integer' end), 'execute')
    loop
        line := said(format(one.statement, (select min(run_id) from sluice.runs)), role);
        if line ~ '^[0-9A-Z]{5}: ' then
            raise '%: %', one.statement, line;
        end if;
        told := concat_ws(' ', told, line);
    end loop;
    return told;
end $$;
select is(all_that_is_read(r) ~ 's3cret', allowed, format('%s is shown contents: %s', r, allowed)) from (values ('t_reader', false), ('t_monitor', false), ('t_payload', true)) as v (r, allowed);
select is((select count(*)::int from regexp_matches(all_that_is_read('t_payload'), 's3cret', 'g')), 6, 'they are the payload, metadata, the error of the run, its attempt and its result, and a log line');
select is(all_that_is_read(r) ~ 'CODE', true, format('%s is told the code of an error', r)) from unnest('{t_reader,t_monitor}'::text[]) as r;
select is(said(format('select sluice.%s(%s)', f, :run), r), format('42501: permission denied for function %s []', f), format('%s does not call %s', r, f)) from unnest('{t_reader,t_monitor}'::text[]) as r, unnest('{result,logs}'::text[]) as f;
select is(said(format('select error ->> ''message'' from sluice.result(%s)', :run), 't_payload'), 's3cret', 't_payload does');

-- Whoever may read gives on what he chooses, in a view of his own.
grant create on schema public to t_payload;
set role t_payload;
create view public.support as select run_id, status, payload ->> 'p' as p from sluice.runs where task = 'seen';
grant select on public.support to t_support;
reset role;
select is(said(format('select p from public.support where run_id = %s', :run), 't_support'), 's3cret', 'a reader of payloads shows them to others by a view');
select is(left(said('select run_id from sluice.runs', 't_support'), 5), '42501', 'who see nothing else');

-- A function that is cheaper than any condition is called first where the planner may.
create table leaked (what text);
grant insert on leaked to public;
create function leak(what text) returns boolean language plpgsql cost 0.0000001 as $$ begin insert into public.leaked values (what); return true; end $$;
create function leaks() returns table (view_column text, what text) language plpgsql as $$
declare
    one   record;
    shown text[];
begin
    for one in
        select c.oid::regclass as view, a.attname as name
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'sluice'::regnamespace and c.relkind = 'v'
    loop
        delete from leaked;
        set local role t_payload;
        execute format('select count(*) from %s as v where public.leak(v.%I::text) and v.%2$I is not null', one.view, one.name);
        set local role none;
        execute format('select array_agg(v.%I::text) from %s as v', one.name, one.view) into shown;
        return query select format('%s.%s', one.view, one.name), l.what from leaked as l
            where l.what is not null and l.what <> all (shown) and one.name not in ('oldest', 'outcome') -- an age, and what runs shows as status
                and not (one.name in ('task', 'queue') and l.what ~ 'hidden'); -- names of what was dropped are no secret
    end loop;
end $$;
-- Views are planned by the session's settings, which through a pool may be another client's.
begin;
select count(set_config(name, boot_val, true)) > 0 from pg_settings where name ~ '^enable_|_collapse_limit$|^plan_cache_mode$|^geqo|^work_mem$';
set local statement_timeout = '10min';
select is_empty('select * from leaks()', 'a leaking function is shown nothing that the view does not show');
commit;
select * from finish();
