-- Bad input everywhere: every public function that the catalog knows is called with hostile values in each argument, the
-- others being good ones, and ends in success or in an error that somebody thought of.  A function that is added is tried
-- without an entry here; where its other arguments need more than a guess by name and type, `good` says what.
\ir lib/helper.psql
set statement_timeout = '10min';

-- What there is to work with: runs in every state, a live token, a watched table.
select sluice.create_queue('q', 5, 3);
select task('job', queue => 'q');
select sluice.create_task('statement', 'sql', 'select $1');
select sluice.create_task('unused', 'external');
select sluice.create_queue('empty');
select sluice.create_schedule('s', 'job', '5 4 * * *');
create table thing (id bigint primary key, name text);
create table "'; drop table thing; --" (id bigint);
create view seen as select * from thing;
select sluice.watch('thing', '{insert,update,delete}', 'job', name => 'w');
select sluice.enqueue('job', '{"n": 1}') as ended \gset
select sluice.complete(take('q'), '1');
select sluice.enqueue('job', '{"n": 2}') as held \gset
select take('q') as token \gset
select sluice.enqueue('job', '{"n": 3}') as queued \gset
select connect('registered');
select in_session('registered', $$select sluice.register_worker('registered')$$);
select sluice.enqueue('statement', '1') as to_perform \gset

-- Good values: for an argument of one function, for its name, for its type; the first that there is.  An argument with a
-- default that is named here is given too.
create table good (function text, argument text, type text, value text);
insert into good values
    ('result', 'run_id', null, :'ended'), ('logs', 'run_id', null, :'ended'), ('replay', 'run_id', null, :'ended'),
    ('append_logs', 'lines', null, $$'[{"seq": 0, "stream": "stdout", "line": "x", "age_ms": 1}]'$$),
    ('exchange', 'outcomes', null, format($$'[{"token": "%s", "outcome": "completed", "output": 1}]'$$, :'token')),
    ('report_tasks', 'worker', null, $$'registered'$$), ('report_tasks', 'problems', null, $$'{"job": "CONFIGURED_INCORRECTLY"}'$$),
    ('exchange', 'capacity', null, '2'), ('claim', 'capacity', null, '2'),
    ('enqueue_many', 'payloads', null, $$'{1,2}'$$), ('enqueue_many', 'options', null, $$array['{"priority": 1}']::jsonb[]$$),
    ('drop_queue', 'queue', null, $$'empty'$$), ('drop_task', 'task', null, $$'unused'$$), ('create_task', 'executor', null, $$'external'$$),
    ('watch', 'task', null, $$'job'$$), ('watch', 'events', null, $$'{insert}'$$),
    ('setup', 'owner', null, $$'sluice_owner'$$), ('teardown', 'confirm', null, $$'no'$$),
    (null, 'task', null, $$'job'$$), (null, 'queue', null, $$'q'$$), (null, 'worker', null, $$'w'$$), (null, 'role', null, $$'sluice_reader'$$),
    (null, 'run_id', null, :'queued'), (null, 'token', null, format('%L', :'token')), (null, 'tokens', null, format('array[%L]', :'token')),
    (null, 'table_name', null, $$'thing'$$), (null, 'cron', null, $$'5 4 * * *'$$), (null, 'schedule', null, $$'s'$$), (null, 'timezone', null, $$'UTC'$$),
    (null, 'run_at', null, 'now()'),
    (null, null, 'text', $$'job'$$), (null, null, 'name', $$'sluice_reader'$$), (null, null, 'bigint', :'queued'), (null, null, 'integer', '1'),
    (null, null, 'smallint', '1'), (null, null, 'boolean', 'true'), (null, null, 'interval', $$'1 hour'$$), (null, null, 'timestamptz', 'now()'),
    (null, null, 'timestamp with time zone', 'now()'), (null, null, 'jsonb', $$'{}'$$), (null, null, 'double precision', '1'),
    (null, null, 'numeric', '1'), (null, null, 'uuid', format('%L', :'token')), (null, null, 'text[]', $$'{job}'$$),
    (null, null, 'bigint[]', format($$'{%s}'$$, :'queued')), (null, null, 'uuid[]', format('array[%L]', :'token')), (null, null, 'jsonb[]', $$'{}'$$),
    (null, null, 'regclass', $$'thing'$$), (null, null, 'interval[]', $$'{1 hour}'$$);

-- Hostile values by type.
create table hostile (type text, value text);
insert into hostile
select t, v from unnest(array['text', 'name']) as t, unnest(array[
    $$''$$, $$' '$$, $$'%s%n%1$s$1 %'$$, $$'''; drop table thing; --'$$, $$'"'$$, $$E'\\'$$, $$E'a\nb\tc\r'$$, $$E'\x01'$$, $$E'\u202e'$$, $$E'\xff'$$, $$U&'\+01F600'$$, $$E'e\u0301'$$, $$repeat('x', 10000)$$, $$repeat('é', 2000)$$,
    $$repeat('9', 400)$$, $$'NaN'$$, $$'infinity'$$, $$'-1'$$, $$'1e999'$$, $$'178000000 years'$$, $$'-1h'$$, $$'99999999999999999999h'$$, $$'null'$$, $$'{}'$$, $$'../../etc/passwd'$$, $$'job'$$, $$'q'$$, $$'postgres'$$, $$'sluice_owner'$$, $$'pg_catalog.now'$$,
    $$'select 1; drop table thing'$$, $$'* * * * *'$$, $$'http://[::1'$$]) as v;
insert into hostile
select t, v from (values
    ('text[]', array[$$'{}'$$, $$array[null]::text[]$$, $$'{a,NULL,""}'$$, $$'{{a,b},{c,d}}'$$, $$'[5:6]={a,b}'$$, $$array[repeat('x', 10000)]$$, $$array(select 'n' || n from generate_series(1, 100000) as n)$$, $$array['''; drop --', '%s']$$, $$'{a,a}'$$]),
    ('uuid', array[$$'00000000-0000-0000-0000-000000000000'$$, $$'ffffffff-ffff-ffff-ffff-ffffffffffff'$$, $$gen_random_uuid()$$]),
    ('uuid[]', array[$$'{}'$$, $$array[null]::uuid[]$$, $$array(select gen_random_uuid() from generate_series(1, 20000))$$, $$array[array[gen_random_uuid()], array[gen_random_uuid()]]$$, $$array['00000000-0000-0000-0000-000000000000', null]::uuid[]$$]),
    ('bigint', array['0', '-1', '1', '9223372036854775807', '-9223372036854775808', '4194304']),
    ('bigint[]', array[$$'{}'$$, $$array[null]::bigint[]$$, $$'{{1},{2}}'$$, $$'{9223372036854775807,-9223372036854775808,0}'$$, $$array(select n from generate_series(1, 20000) as n)$$]),
    ('integer', array['0', '-1', '1', '2147483647', '-2147483648', '100000']),
    ('smallint', array['0', '-1', '32767', '-32768']),
    ('numeric', array[$$'NaN'$$, $$'Infinity'$$, $$'-Infinity'$$, '0', '-1', '1e1000', '1e-1000']),
    ('double precision', array[$$'NaN'$$, $$'Infinity'$$, $$'-Infinity'$$, '0', '-1', '1e308', '1e-320']),
    ('boolean', array['true', 'false']),
    ('interval', array[$$'0'$$, $$'-1 second'$$, $$'1 month'$$, $$'178000000 years'$$, $$'-178000000 years'$$, $$'1 microsecond'$$, $$'1 month -31 days'$$, $$'2147483647 days'$$, $$'2000000000 hours'$$]),
    ('interval[]', array[$$'{}'$$, $$array[null]::interval[]$$, $$'{-1 second,178000000 years}'$$, $$'{{1 hour}}'$$]),
    ('timestamp with time zone', array[$$'infinity'$$, $$'-infinity'$$, $$'4713-01-01 BC'$$, $$'294276-12-31'$$, $$'0001-01-01'$$, $$'1970-01-01'$$, $$'2024-12-31'$$]),
    ('regclass', array['0', '4294967295', $$'pg_class'$$, $$'seen'$$, $$'thing_pkey'$$, $$'sluice.run_seq'$$, $$'sluice.run'$$, $$'"''; drop table thing; --"'$$]),
    ('jsonb', array[$$'null'$$, '$$0$$', '$$1e400$$', '$$"x"$$', '$$true$$', '$$[]$$', '$$[null]$$', '$$[[]]$$', '$$[0]$$', '$$[{}]$$', '$$["x"]$$', '$$""$$', $$'{"": ""}'$$, $$'{"''; drop": "%s"}'$$, $$'{"a": "\u0000"}'$$, $$jsonb_build_object(repeat('k', 10000), 1)$$,
        $$(repeat('[', 10000) || repeat(']', 10000))::jsonb$$, $$(select jsonb_agg(n) from generate_series(1, 20000) as n)$$, $$(select jsonb_object_agg('k' || n, n) from generate_series(1, 20000) as n)$$]),
    ('jsonb[]', array[$$'{}'$$, $$array[null]::jsonb[]$$, $$array['0', 'null', '"x"', '[]', null]::jsonb[]$$, $$array['{}', '{"a": null}']::jsonb[]$$, $$array[array['1'], array['2']]::jsonb[]$$, $$'[7:8]={1,2}'$$])
) as h (t, vs), unnest(vs) as v;
insert into hostile values ('text', $$repeat('[', 10000) || repeat(']', 10000)$$);

-- What may be under a key of an object, of whatever meaning.
create table under_a_key (value jsonb);
insert into under_a_key values ('null'), ('0'), ('-1'), ('1.5'), ('1e400'), ('9223372036854775808'), ('""'), ('"x"'), ('"-1 day"'), ('"infinity"'), ('"4713-01-01 BC"'), ('[]'), ('[null]'), ('["", 5]'), ('{}'), ('true'),
    (to_jsonb(repeat('x', 10000)));

-- Without clean_session, which takes nothing that could be bad, and would take from this session what the test has in it.
create temp view public_function as
select p.oid, p.proname::text as name, p.prokind, p.prorettype
from pg_proc as p where p.pronamespace = 'sluice'::regnamespace and p.proname !~ '^_' and p.proname <> 'clean_session' and p.prorettype <> 'trigger'::regtype;

create temp view argument as
select f.name as function, p.proargnames[a.n] as argument, format_type(a.type, null) as type, a.n as number, a.n > p.pronargs - p.pronargdefaults as has_default
from public_function as f join pg_proc as p using (oid)
cross join lateral unnest(p.proargtypes::oid[]) with ordinality as a (type, n)
where f.prokind = 'f';

-- The keys that a function looks for, itself or in what it calls.
create temp table key_of as
with recursive calls as (
    select p.oid, p.proname::text as name, p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), '') as body from pg_proc as p where p.pronamespace = 'sluice'::regnamespace
), reached as (
    select f.name as function, '_' || f.name as name, 0 as depth from public_function as f
    union
    select r.function, m[1], r.depth + 1 from reached as r join calls as c on c.name = r.name, regexp_matches(c.body, 'sluice\.(_\w+)\(', 'g') as m where r.depth < 3
)
select distinct r.function, m[1] as key
from reached as r join calls as c on c.name = r.name, regexp_matches(c.body, '(?:->>?|\?) ''(\w+)''', 'g') as m
union
select g.function, m[1] from good as g, regexp_matches(g.value, '"(\w+)":', 'g') as m where g.function is not null;

create function good_value(argument) returns text language sql
as $$
    select g.value from good as g
    where (g.function = $1.function and g.argument = $1.argument) or (g.function is null and g.argument = $1.argument) or (g.argument is null and g.type = $1.type)
    order by g.function is null, g.argument is null limit 1
$$;

-- A call with one argument's value replaced.
create function call_of(function text, argument text, value text) returns text language sql
as $$
    select format('select * from sluice.%I(%s)', $1, string_agg(format('%I => %s', a.argument,
               case when a.argument = $2 then format('(%s)::%s', $3, a.type) else format('(%s)::%s', good_value(a), a.type) end), ', ' order by a.number))
    from argument as a
    where a.function = $1
      and (not a.has_default or a.argument = $2 or exists (select from good as g where g.function = a.function and g.argument = a.argument))
$$;

-- What comes of a call, which leaves nothing behind.
create function outcome_of(statement text, out state text, out message text) language plpgsql
as $$
declare
    detail text;
begin
    execute statement;
    raise sqlstate 'ZZ001';
exception
    when sqlstate 'ZZ001' then state := 'ok';
    when others then
        get stacked diagnostics state = returned_sqlstate, message = message_text, detail = pg_exception_context;
        message := message || ' | ' || coalesce(split_part(detail, E'\n', 1), '');
end
$$;

-- Our own codes; a value, a limit, a right, a role or type that does not exist.  Not a null that was used where none may be.
create function thought_of(state text, function text, argument text) returns boolean language sql
as $$
    select state = 'ok' or state ~ '^(SL[012]|22|54|0A)' and state <> '22004' or state in ('42501', '42704')
           -- What is an expression is Postgres's to judge, and so is a relation that does not exist or is no table.
           or state ~ '^42' and function = 'watch' and argument in ('condition', 'concurrency_key', 'priority')
           or state in ('42P01', '42809') and argument = 'table_name'
$$;

-- Through a pool the session's settings are another client's, which would have this take minutes; not so in a transaction.
begin;
select count(set_config(name, boot_val, true)) > 0 from pg_settings where name ~ '^enable_|_collapse_limit$|^plan_cache_mode$|^geqo|^work_mem$';
set local statement_timeout = '10min';
create temp table trial as
select a.function, a.argument, call_of(a.function, a.argument, h.value) as call
from argument as a join hostile as h on h.type = a.type
union all
select a.function, a.argument, call_of(a.function, a.argument, 'null') from argument as a
union all
select f.name, null, coalesce(call_of(f.name, null, null), format('select * from sluice.%I()', f.name)) from public_function as f where f.prokind = 'f'
union all
-- Objects: each key that is known there with each kind of value, beside what is good; alone, in an array, in an array of objects.
select a.function, a.argument, call_of(a.function, a.argument, case when a.type = 'jsonb' then o.value when a.function = 'enqueue_many' and a.argument = 'payloads' then 'null' else format('array[%s]::jsonb[]', o.value) end)
from argument as a
join key_of as k on k.function = a.function
cross join under_a_key as u
cross join lateral (
    select case jsonb_typeof(g.good) when 'array' then format('%L::jsonb', jsonb_build_array(coalesce(g.good -> 0, '{}') || jsonb_build_object(k.key, u.value)))
                                     else format('%L::jsonb', g.good || jsonb_build_object(k.key, u.value)) end as value
    from (select case when a.type = 'jsonb' and good_value(a) ~ '^''[\[{]' then btrim(good_value(a), '''')::jsonb else '{}' end as good) as g
) as o
where a.type in ('jsonb', 'jsonb[]');
commit;

select cmp_ok((select count(*)::int from trial), '>', 2000, 'there is much to try');
select is_empty($$select f.name from public_function as f where f.prokind = 'f' and exists (select from pg_proc as p where p.oid = f.oid and p.pronargs > 0) and not exists (select from trial as t where t.function = f.name)$$, 'every public function with arguments is tried');
select is_empty('select a.function, a.argument, a.type from argument as a where not exists (select from hostile as h where h.type = a.type)', 'there are hostile values for the type of every argument');
select is_empty('select function, call from trial where call is null', 'there are good values for all other arguments');

begin;
set local statement_timeout = '10min';
create temp table came as select t.*, o.* from trial as t cross join lateral outcome_of(t.call) as o;
commit;

select is_empty($$select state, function, argument, left(message, 200), min(left(call, 300)) from came
    where not thought_of(state, function, argument) group by 1, 2, 3, 4 order by 1, 2, 3$$, 'whatever is given, a call succeeds or says what is wrong with it');
select is_empty($$select distinct function from came group by function having count(*) filter (where state = 'ok') = 0
                  except values ('teardown')$$, 'every function has been called with something that it takes');
-- Procedures end transactions: in a session of their own, which would not wait for ever.
create temp table procedure_trial as
select f.name, format('call sluice.%I(%s => (%s)::%s)', f.name, p.proargnames[a.n], v.value, format_type(a.type, null)) as call
from public_function as f join pg_proc as p using (oid)
cross join lateral unnest(p.proallargtypes) with ordinality as a (type, n)
cross join lateral (select h.value from hostile as h where h.type = format_type(a.type, null) union all select 'null') as v
where f.prokind = 'p' and a.n <= p.pronargs and p.proargnames[a.n] not in ('reason', 'answer');
select cmp_ok((select count(distinct name)::int from procedure_trial), '>=', 2, 'procedures are tried as well');
create function said_there(statement text) returns text language plpgsql
as $$
begin
    return in_session('calls', statement);
exception when query_canceled then return '57014: ';
end
$$;
select connect('calls');
select in_session('calls', 'set statement_timeout = ''50ms''');
create temp table procedure_came as select t.*, left(said_there(t.call), 300) as said from procedure_trial as t;
select is_empty($$select name, left(call, 200), said from procedure_came where said ~ '^[0-9A-Z]{5}: ' and not thought_of(left(said, 5), null, null) and said !~ '^57014'$$, 'and say what is wrong with it');

-- Large: refused by us, or by Postgres where no such value can be.
select is(left(said(call), 5), state, name) from (values
    ('enqueue', $$select sluice.enqueue('job', to_jsonb(repeat('x', 200000000)))$$, 'SL201'),
    ('enqueue_many', $$select sluice.enqueue_many('job', array['1', to_jsonb(repeat('x', 200000000))])$$, 'SL201'),
    ('metadata', $$select sluice.enqueue('job', metadata => to_jsonb(repeat('x', 200000000)))$$, 'SL201'),
    ('jsonb itself', $$select sluice.enqueue('job', to_jsonb(repeat('x', 300000000)))$$, '54000'),
    ('a hundred thousand tags', $$select sluice.enqueue('job', tags => array(select 't' || n from generate_series(1, 100000) as n))$$, 'SL202'),
    ('no text', $$select sluice.enqueue(E'\xff\xfe')$$, '22021'), ('no text inside', $$select sluice.enqueue('job', concurrency_key => E'a\x00')$$, '22021'),
    ('no zero in jsonb', $$select sluice.enqueue('job', '{"a": "\u0000"}')$$, '22P05')) as c (name, call, state);
select is((select status from sluice.runs where run_id = :held), 'executing', 'an attempt goes on');
select is(said(format($$select sluice.complete(%L, to_jsonb(repeat('x', 200000000)))$$, :'token')), 'done', 'an output that is too large ends its attempt');
select is((select error ->> 'code' from sluice.runs where run_id = :held), 'OUTPUT_TOO_LARGE', 'and the run says why');

select is_empty('select * from sluice.check()', 'and all that was undone has left nothing');
select is((select count(*) from thing), 0::bigint, 'the table is still there');
select * from finish();
