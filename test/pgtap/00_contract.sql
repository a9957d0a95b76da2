-- The contract of the whole surface, read from the catalog: what every object of ours must be, whoever adds one.
\ir lib/helper.psql
create temp view ours as
select p.oid, p.oid::regprocedure::text as signature, p.proname::text as name, p.proname ~ '^_' as private, p.proargtypes, p.prorettype, p.proretset, p.prokind, p.prosrc, p.proconfig, p.prosqlbody, p.prosecdef, p.proacl, p.provolatile,
       l.lanname::text as language, p.proallargtypes, p.proargmodes, p.proargnames, p.pronargdefaults
from pg_proc as p join pg_language as l on l.oid = p.prolang where p.pronamespace = 'sluice'::regnamespace;
create temp view relations as
select c.oid, c.oid::regclass::text as name, c.relkind, c.relispartition, c.relacl, c.relowner, c.reltype
from pg_class as c where c.relnamespace in ('sluice'::regnamespace, 'sluice_storage'::regnamespace);

-- Comments
select cmp_ok((select count(*)::int from ours), '>', 100, 'there are functions to look at');
select is_empty('select signature from ours where obj_description(oid, ''pg_proc'') is null', 'every function and procedure has a comment');
select is_empty('select name from relations where relkind in (''r'', ''p'', ''v'', ''m'') and obj_description(oid, ''pg_class'') is null', 'every table and view has a comment');
select is_empty($$select name || '.' || attname from relations as r join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    where relkind in ('r', 'p', 'v', 'm') and not relispartition and col_description(r.oid, attnum) is null$$, 'every column of a table or view has a comment');
select is_empty('select name from relations where relkind = ''S'' and obj_description(oid, ''pg_class'') is null', 'every sequence has a comment');
select is_empty('select name from relations where relkind in (''i'', ''I'') and not relispartition and name !~ ''^sluice_storage'' and obj_description(oid, ''pg_class'') is null', 'every index has a comment');
select is_empty($$select format_type(t.oid, null) from pg_type as t where t.typnamespace in ('sluice'::regnamespace, 'sluice_storage'::regnamespace) and obj_description(t.oid, 'pg_type') is null
    and not exists (select from relations as r where t.oid in (r.reltype, (select y.typarray from pg_type as y where y.oid = r.reltype)))$$, 'every type that is no table''s has a comment');
select is_empty($$select nspname from pg_namespace where nspname in ('sluice', 'sluice_storage') and obj_description(oid, 'pg_namespace') is null$$, 'both schemas have a comment');
select is_empty($$select r from unnest('{sluice_owner,sluice_producer,sluice_caller,sluice_claimer,sluice_worker,sluice_reader,sluice_payload_reader,sluice_admin}'::text[]) as r where shobj_description(r::regrole, 'pg_authid') is null$$, 'every role has a comment');
select isnt(obj_description((select oid from pg_extension where extname = 'sluice'), 'pg_extension'), null, 'the extension has a comment');
select is_empty($$select d.description from pg_description as d
    where (d.classoid, d.objoid) in (select 'pg_proc'::regclass, oid from ours union all select 'pg_class'::regclass, oid from relations)
      and d.description !~ '[.)]$'$$, 'comments are sentences');
select is_empty($$select * from sluice._comments() as c where c.of_column is not null and not exists (
    select from pg_attribute as a where a.attrelid = to_regclass('sluice.' || c.relation) and a.attname = c.of_column)$$, 'no comment is kept for a column that does not exist');
select is_empty('select relation, of_column from sluice._comments() group by 1, 2 having count(*) > 1', 'nothing has two comments');
comment on column sluice.run.class is 'Something else.';
comment on role sluice_reader is 'Our auditors.';
select sluice.setup();
select is(col_description('sluice.run'::regclass, a.attnum) ~ '^0 resumed', true, 'setup() says again what columns are') from pg_attribute as a where a.attrelid = 'sluice.run'::regclass and a.attname = 'class';
select is(shobj_description('sluice_reader'::regrole, 'pg_authid'), 'Our auditors.', 'but leaves to others what they say of roles');
comment on role sluice_reader is null;
select sluice.setup();
select isnt(shobj_description('sluice_reader'::regrole, 'pg_authid'), null, 'unless they say nothing');

-- Rights
select is_empty('select signature from ours where proacl is null or exists (select from aclexplode(proacl) where grantee = 0)', 'no function is for PUBLIC');
select is_empty('select name from relations where exists (select from aclexplode(relacl) where grantee = 0)', 'no relation is for PUBLIC');
select is_empty($$select nspname from pg_namespace, aclexplode(nspacl) where nspname in ('sluice', 'sluice_storage') and grantee = 0$$, 'no schema is for PUBLIC');
select is_empty($$select signature, r from ours, unnest('{sluice_producer,sluice_caller,sluice_claimer,sluice_worker,sluice_reader,sluice_payload_reader,sluice_admin}'::text[]) as r where private and has_function_privilege(r, oid, 'execute')$$, 'no private function is for any of the four roles');
select is_empty($$select signature from ours where private and not has_function_privilege('sluice_owner', oid, 'execute')$$, 'every private function is for the owner of the storage');
select is_empty($$select signature from ours where not private and name not in ('setup', 'teardown')
    and not has_function_privilege('sluice_producer', oid, 'execute') and not has_function_privilege('sluice_worker', oid, 'execute') and not has_function_privilege('sluice_reader', oid, 'execute') and not has_function_privilege('sluice_admin', oid, 'execute')$$,
    'every public function is for one of the four roles');
select is_empty($$select signature, r from ours, unnest('{sluice_producer,sluice_caller,sluice_claimer,sluice_worker,sluice_reader,sluice_payload_reader,sluice_admin,sluice_owner}'::text[]) as r where name in ('setup', 'teardown') and has_function_privilege(r, oid, 'execute')$$, 'setup and teardown are for none of them');
select is_empty($$select name, r from relations, unnest('{sluice_producer,sluice_caller,sluice_claimer,sluice_worker,sluice_reader,sluice_payload_reader,sluice_admin}'::text[]) as r where relkind in ('r', 'p')
    and has_table_privilege(r, oid, 'select, insert, update, delete, truncate, references, trigger')$$, 'no table is for any of the four roles');
select is_empty($$select name, r from relations, unnest('{sluice_producer,sluice_caller,sluice_claimer,sluice_worker,sluice_reader,sluice_payload_reader,sluice_admin}'::text[]) as r where relkind = 'v' and has_table_privilege(r, oid, 'insert, update, delete, truncate')$$, 'no view can be written');
select is_empty('select signature from ours where prosecdef', 'no function is SECURITY DEFINER');
select is_empty($$select g.role, g.routine from sluice._grants() as g where not exists (select from ours where name = g.routine and not private)$$, 'no grant is for a function that does not exist');

-- How functions find names
select is_empty($$select signature from ours where language in ('sql', 'plpgsql') and prosqlbody is null and not coalesce(proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)$$,
    'every function in SQL or plpgsql pins its search_path or has a body that is bound when it is made');
select is_empty($$select signature from ours where language not in ('sql', 'plpgsql', 'c')$$, 'there is no other language');

-- Public functions and their twins
select is_empty($$select o.signature from ours as o where not o.private and o.language = 'c' and o.prosrc ~ '^sluice_call' and not exists (
    select from ours as t where t.name = '_' || o.name and t.proargtypes = o.proargtypes and t.prorettype = o.prorettype and t.proretset = o.proretset and t.prokind = o.prokind
        and t.proallargtypes is not distinct from o.proallargtypes and t.proargmodes is not distinct from o.proargmodes and t.proargnames is not distinct from o.proargnames)$$,
    'every public function has a private twin with the same arguments, names and result');
select bag_eq($$select name, language from ours where not private and prosrc !~ '^sluice_call'$$, $$values ('version', 'c'), ('perform', 'c'), ('clean_session', 'c'), ('wait_for_work', 'c'), ('watch', 'c'), ('unwatch', 'c'), ('watched', 'c'), ('setup', 'plpgsql'), ('teardown', 'plpgsql')$$, 'only these public functions do not go through the trampoline');
select is_empty($$select name from ours where not private group by name having count(*) > 1$$, 'a public name has one meaning');
select is_empty($$select signature from ours where not private and exists (select from unnest(proargnames) as a where a = '' or a ~ '^_')$$, 'every argument of a public function has a name');
select is_empty($$select signature from ours as o where not private and prosrc ~ '^sluice_call' and array_length(o.proargtypes::oid[], 1) - o.pronargdefaults > 2$$, 'public functions have defaults for all but their first arguments');
select is_empty($$select o.signature from ours as o join pg_type as t on t.oid = o.prorettype join pg_class as c on c.oid = t.typrelid where c.relnamespace = 'sluice'::regnamespace$$, 'no function returns a type of the storage');
select is_empty($$select signature from ours where private and provolatile = 'i' and language = 'c' and name in ('_new_token', '_new_run_id')$$, 'what is random is volatile');

-- Errors
create temp view states as select signature, m[1] as state from ours, regexp_matches(prosrc, 'errcode\s*=\s*''(.....)''', 'g') as m;
select cmp_ok((select count(*)::int from states), '>', 20, 'there are errors to look at');
select is_empty($$select * from states where state !~ '^SL[0129]\d\d$' and state not in ('42501', '42704')$$, 'every error has an SQLSTATE of class SL or a standard one');
select is_empty($$select signature from ours where language = 'plpgsql' and regexp_count(prosrc, 'raise exception') <> regexp_count(prosrc, 'raise exception using\s+errcode')$$, 'every error says its SQLSTATE first');
select is_empty($$select signature from ours where language = 'plpgsql' and regexp_count(prosrc, 'raise exception using') <> regexp_count(prosrc, 'hint\s*=')$$, 'every error has a hint');

-- Storage
select is_empty($$select conname from pg_constraint as k where k.connamespace = 'sluice'::regnamespace and k.contype = 'f' and k.conrelid in (select oid from relations where name in ('sluice.run', 'sluice.payload', 'sluice.output', 'sluice.attempt', 'sluice.log'))$$, 'no foreign key points from history to definitions');
select is_empty($$select r.name from relations as r where r.relkind in ('r', 'p') and not relispartition and not exists (select from pg_index as i where i.indrelid = r.oid and i.indisprimary)$$, 'every table has a primary key');
select is_empty($$select tgrelid::regclass from pg_trigger as t where t.tgrelid in (select oid from relations) and not t.tgisinternal$$, 'the storage has no triggers of its own');
select is_empty($$select a.attname from pg_index as i join pg_class as c on c.oid = i.indexrelid join pg_attribute as a on a.attrelid = i.indrelid
    where i.indrelid = 'sluice.run'::regclass and a.attname in ('status', 'attempt', 'token', 'claimed_at', 'started_at')
      and (a.attnum = any (i.indkey) or pg_get_expr(i.indpred, i.indrelid) ~ ('\m' || a.attname || '\M'))$$, 'no index of run knows a column that a claim writes');

-- Claims are updates in place.
select task('t');
select count(*) from sluice.enqueue_many('t', array_fill('{"p": 1}'::jsonb, array[500]));
create function claim_by_twenty() returns int language sql as $$ select count(*)::int from generate_series(1, 10), lateral (select from sluice.claim('w', capacity => 20 + 0 * generate_series)) as c $$;
select is(claim_by_twenty(), 200, 'two hundred runs are claimed');
select pg_stat_force_next_flush();
select pg_stat_clear_snapshot();
select results_eq($$select sum(n_tup_upd)::int, sum(n_tup_hot_upd)::int from pg_stat_user_tables where schemaname = 'sluice_storage' and relname ~ '^run_'$$, 'values (200, 200)', 'each claim updates its row in place (HOT)');
select * from finish();
