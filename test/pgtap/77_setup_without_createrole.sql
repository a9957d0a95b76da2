-- setup() by an owner of the extension who may not make roles: it says with which statements somebody else can, and works
-- once they were run.  The roles of the cluster are called otherwise meanwhile; all of it is undone.
\ir lib/helper.psql
drop role if exists t_installer;
create role t_installer superuser;
create function hint_of(statement text, as_role text) returns text language plpgsql as $$
declare hint text;
begin
    execute format('set local role %I', as_role);
    execute statement;
    raise 'it worked';
exception when insufficient_privilege then
    get stacked diagnostics hint = pg_exception_hint;
    return hint;
end $$;
create function statements_of(hint text) returns setof text language sql as $$
    select s from regexp_split_to_table(substr(hint, strpos(hint, E'\n') + 1), ';\n?') as s where s <> ''
$$;

begin;
select sluice.teardown(current_database()) as gone \gset
drop extension sluice cascade;
drop schema sluice;
select format('alter role %I rename to %I', rolname, 'x_' || rolname) from pg_roles where rolname ~ '^sluice_' \gexec
set local role t_installer;
create extension sluice;
reset role;
alter role t_installer nosuperuser;

select is(regexp_replace(said('select sluice.setup()', 't_installer'), '\[.*', ''), '42501: role "t_installer" may not make all that setup() needs ', 'without CREATEROLE setup() does not begin');
select is(hint_of('select sluice.setup()', 't_installer'), format(E'Let a superuser run these, then run select sluice.setup() again:\n%s',
    array_to_string(array['create role sluice_owner nologin;', 'create role sluice_caller nologin;', 'create role sluice_producer nologin;', 'create role sluice_claimer nologin;', 'create role sluice_worker nologin;',
        'create role sluice_reader nologin;', 'create role sluice_payload_reader nologin;', 'create role sluice_admin nologin;', 'grant sluice_caller to sluice_admin;', 'grant sluice_producer to sluice_admin;',
        'grant sluice_claimer to sluice_admin;', 'grant sluice_worker to sluice_admin;', 'grant sluice_reader to sluice_admin;', 'grant sluice_payload_reader to sluice_admin;', 'grant sluice_reader to sluice_payload_reader;',
        'grant sluice_owner to t_installer;', format('grant create on database %I to t_installer;', current_database())], E'\n')), 'and says what somebody else is to run');
select is(to_regnamespace('sluice_storage'), null, 'nothing is half made');
savepoint fresh;
alter role t_installer createrole;
grant create on database :"DBNAME" to t_installer;
select said('select sluice.setup()', 't_installer') as said \gset
rollback to fresh;
select is(:'said'::text, 'sluice 0.1.0 is set up: storage version 1, owned by "sluice_owner"', 'CREATEROLE and CREATE on the database are enough');
-- From 16 on who makes a role is its member, but may not act as it.
alter role t_installer createrole;
grant create on database :"DBNAME" to t_installer;
set local role t_installer;
create role sluice_owner nologin;
reset role;
select said('select sluice.setup()', 't_installer') as said \gset
rollback to fresh;
select is(:'said'::text, 'sluice 0.1.0 is set up: storage version 1, owned by "sluice_owner"', 'also where they have made the owner before');
select statements_of(hint_of('select sluice.setup()', 't_installer')) \gexec
select is(said('select sluice.setup()', 't_installer'), 'sluice 0.1.0 is set up: storage version 1, owned by "sluice_owner"', 'once that was run, it works');
select is(said('select sluice.setup()', 't_installer'), 'sluice 0.1.0 is set up: storage version 1, owned by "sluice_owner"', 'again, too');
select is_empty($$select c.oid::regclass from pg_class as c where c.relnamespace in ('sluice'::regnamespace, 'sluice_storage'::regnamespace) and c.relowner <> 'sluice_owner'::regrole and c.relname <> 'queue_stats'$$, 'all of the storage belongs to its owner');
select ok(not has_schema_privilege('sluice_owner', 'sluice', 'create'), 'who can create nothing beside the functions');
create role t_app in role sluice_producer, sluice_payload_reader, sluice_worker;
select said($$select sluice.create_task('t', 'external')$$, 't_app'), said($$select sluice.enqueue('t', '"hello"')$$, 't_app');
select is(said($$select payload from sluice.claim('w', '{task/t}')$$, 't_app'), '"hello"', 'roles may what they should');
select is(said($$select count(*) from sluice.check()$$, 't_app'), '0', 'and check() finds nothing');
drop owned by sluice_payload_reader;
drop role sluice_payload_reader;
select is(hint_of('select sluice.setup()', 't_installer') ~ E'again:\ncreate role sluice_payload_reader nologin;\ngrant sluice_payload_reader to sluice_admin;\ngrant sluice_reader to sluice_payload_reader;$', true,
    'what is missing later is named alone');
select * from finish();
rollback;
drop role t_installer;
