-- What sqlsmith may see and call, in a cluster that is thrown away afterwards.  It looks for functions in "pg_proc" without
-- naming the schema, so a view of that name, first in its search_path, leaves it ours and a few that make values; for sets
-- it has no grammar, so those functions are wrapped.  It makes up numbers and nulls only: other values it takes from the
-- columns of tables, here from smith.value.

create schema smith;
create schema smith_hidden;

create function smith.wrap() returns void
language plpgsql
as $$
declare
    one record;
begin
    for one in
        select p.oid, p.proname, p.pronargs, p.proretset,
               (select string_agg(format_type(t, null), ', ' order by n) from unnest(p.proargtypes::oid[]) with ordinality as a (t, n)) as types,
               (select string_agg('$' || n, ', ') from generate_series(1, p.pronargs) as n) as passed
        from pg_proc as p
        where p.pronamespace = 'sluice'::regnamespace and p.proname !~ '^_' and p.prokind = 'f'
          and (p.proretset or p.prorettype = 'record'::regtype)
    loop
        execute format('create function smith.%I(%s) returns jsonb language sql volatile as %L', one.proname, one.types,
                       format('select jsonb_agg(to_jsonb(r)) from sluice.%I(%s) as r', one.proname, one.passed));
    end loop;
end
$$;
select smith.wrap();
drop function smith.wrap();

-- What there is to work with.
select sluice.create_queue('q', 2, 1);
select sluice.create_queue('paused');
select sluice.pause('paused', 'for ever');
select sluice.create_task('job', 'external', queue => 'q', retry => '{"min_delay": "0", "max_delay": "0"}');
select sluice.create_task('statement', 'sql', 'select $1');
select sluice.create_task('process', 'process', options => '{"argv": ["/bin/true"]}');
create table smith_hidden.watchable (id bigint primary key, name text, at timestamptz);
select sluice.watch('smith_hidden.watchable', '{insert,update,delete}', 'job', name => 'first');
select count(*) from sluice.enqueue_many('job', array_fill('{"n": [1, {"m": null}]}'::jsonb, array[20]));
select sluice.enqueue('job', delay => '1d', idempotency_key => 'key', tags => '{a,b}', concurrency_key => 'k');
select sluice.enqueue('statement', '1'), sluice.enqueue('process', '"x"'), sluice.enqueue('job', queue => 'paused');
create table smith_hidden.held as select * from sluice.claim('w', capacity => 2);
select sluice.append_logs((select token from smith_hidden.held limit 1), '[{"seq": 0, "stream": "stdout", "line": "x"}]');
select sluice.complete((select token from smith_hidden.held limit 1), '[1, 2]');
select sluice.claim('w', capacity => 1);
select sluice.cancel((select max(run_id) from sluice.runs where status = 'executing'));
select sluice.claim('w', capacity => 1);

create table smith_hidden.value as
with texts as (select array['', 'job', 'statement', 'process', 'q', 'paused', 'task/job', 'w', 'first', 'key', 'external', 'sql', '%s%n$1', ''';drop table x;--',
                            repeat('x', 10000), 'sluice_worker', 'select 1', 'insert', '1 hour', '-1 day', E'\u00e9\u202e\n\t', '{"a":1}', '0', 'infinity'] as v),
     jsons as (select array[null, '{}', '[]', '0', '"x"', 'null', '{"max_attempts": 3, "min_delay": "1s"}', '{"argv": ["/bin/true"]}', '{"a": {"b": [1e400, -0]}}',
                            '[{"token": "x", "outcome": "completed"}]', '[{"seq": 0, "line": "l"}]', '{"queue": "q", "priority": 3, "tags": ["a"]}',
                            '{"delay": "-1 day"}', '{"priority": "x", "tags": {}}', '[[[[[]]]]]', '{"status": "queued", "task": "job"}']::jsonb[] as v),
     numbers as (select array[null, 0, 1, -1, 9223372036854775807, -9223372036854775808, 2147483647]::bigint[]
                        || array(select run_id from sluice.run order by 1 limit 20) as v),
     times as (select array[null, 'infinity', '-infinity', '4713-01-01 BC', '294276-12-31', '2000-01-01', 'epoch', now()]::timestamptz[] as v),
     spans as (select array[null, '0', '1 hour', '-1 hour', '178000000 years', '-178000000 years', '1 month', '1 microsecond']::interval[] as v),
     tokens as (select array[null, '00000000-0000-0000-0000-000000000000']::uuid[] || array(select token from smith_hidden.held)
                       || array(select token from sluice.run where token is not null) as v),
     names as (select array(select c.oid::regclass from pg_class as c where c.relnamespace in ('smith_hidden'::regnamespace, 'sluice'::regnamespace)
                            order by c.oid limit 30) as v)
select n as row_number, (n - 12)::integer as small, n / 3.0 - 2 as real, case n % 3 when 0 then true when 1 then false end as yes,
       texts.v[1 + n % cardinality(texts.v)] as text, texts.v[1 + n * 7 % cardinality(texts.v)]::name as name,
       texts.v[1 + n % 5:1 + n * 5 % cardinality(texts.v)] as texts, jsons.v[1 + n % cardinality(jsons.v)] as json,
       jsons.v[1 + n % 5:1 + n * 5 % cardinality(jsons.v)] as jsons, numbers.v[1 + n % cardinality(numbers.v)] as number,
       numbers.v[1 + n % 5:1 + n * 5 % cardinality(numbers.v)] as numbers, times.v[1 + n % cardinality(times.v)] as time,
       spans.v[1 + n % cardinality(spans.v)] as span, spans.v[1 + n % 3:1 + n * 5 % cardinality(spans.v)] as spans,
       tokens.v[1 + n % cardinality(tokens.v)] as token, tokens.v[1 + n % 3:1 + n * 5 % cardinality(tokens.v)] as tokens,
       names.v[1 + n % cardinality(names.v)] as relation
from generate_series(0, 47) as n, texts, jsons, numbers, times, spans, tokens, names;

-- It would write to a table, or to a view that can be written to.
create view smith.value as select * from smith_hidden.value offset 0;

create view smith.pg_proc as
select p.*
from pg_catalog.pg_proc as p
where case p.pronamespace
          when 'sluice'::regnamespace then p.proname !~ '^_' and not p.proretset and p.prorettype <> 'record'::regtype
          when 'smith'::regnamespace then true
          else p.pronamespace = 'pg_catalog'::regnamespace and p.proname in (
              'lower', 'md5', 'repeat', 'reverse', 'jsonb_strip_nulls', 'clock_timestamp', 'make_interval', 'age', 'date_trunc',
              'gen_random_uuid', 'int8', 'int4', 'float8', 'abs', 'max', 'count')
      end
  and has_function_privilege(p.oid, 'execute');

-- What it knows of operators on ranges, enums and shapes is mostly wrong, and no business of ours.
set allow_system_table_mods = on;
delete from pg_catalog.pg_operator as o
using pg_catalog.pg_type as t
where t.oid in (o.oprleft, o.oprright)
  and (t.typcategory = 'G' or t.typname in ('anyrange', 'anymultirange', 'anycompatiblerange', 'anycompatiblemultirange', 'anyenum', 'void'));
reset allow_system_table_mods;

grant usage on schema smith to public;
grant select on all tables in schema smith to public;
create role smith_producer login in role sluice_producer;
create role smith_worker login in role sluice_worker;
create role smith_reader login in role sluice_reader;
create role smith_admin login in role sluice_admin;
create role smith_superuser login superuser;
