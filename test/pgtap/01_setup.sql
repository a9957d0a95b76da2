-- setup(), adopt() and teardown(): who may run them, what they refuse, and that running setup() again changes nothing.
\ir lib/helper.psql

-- All that setup() makes, as text: relations, columns, constraints, indexes, comments, grants, routines' grants.
create function fingerprint() returns text
language sql
as $$
    select md5(string_agg(line, E'\n' order by line)) from (
        select format('%s %s %s %s %s %s', c.oid, c.relname, c.relowner, c.relacl, c.reloptions, obj_description(c.oid)) as line
        from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where n.nspname like 'sluice%'
        union all
        select format('%s %s %s %s', a.attrelid, a.attname, a.atttypid, col_description(a.attrelid, a.attnum))
        from pg_attribute as a join pg_class as c on c.oid = a.attrelid where c.relnamespace::regnamespace::text like 'sluice%'
        union all
        select format('%s %s', k.oid, pg_get_constraintdef(k.oid)) from pg_constraint as k where k.connamespace::regnamespace::text like 'sluice%'
        union all
        select format('%s %s', c.oid, pg_get_viewdef(c.oid)) from pg_class as c where c.relkind = 'v' and c.relnamespace = 'sluice'::regnamespace
        union all
        select format('%s %s', p.oid, p.proacl) from pg_proc as p where p.pronamespace = 'sluice'::regnamespace
        union all
        select format('%s %s', m.roleid, m.member) from pg_auth_members as m
    ) as l
$$;

select fingerprint() as before \gset
select is(sluice.setup(), 'sluice 0.1.0 is set up: storage version 1, owned by "sluice_owner"', 'setup() says what there is now');
select is(fingerprint(), :'before', 'setup() again changes nothing');
select is(said($$select sluice.setup(owner => 'sluice_owner')$$), 'sluice 0.1.0 is set up: storage version 1, owned by "sluice_owner"',
          'setup() again may name the owner');

select is((select count(*) from pg_roles where rolname in ('sluice_owner', 'sluice_producer', 'sluice_caller', 'sluice_claimer', 'sluice_worker', 'sluice_reader', 'sluice_payload_reader', 'sluice_admin')
           and not rolcanlogin and not rolsuper and not rolbypassrls and not rolcreaterole), 8::bigint,
          'the eight roles can neither log in nor do anything special');
select is_empty($$
    select c.oid::regclass from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('sluice', 'sluice_storage') and c.relowner <> 'sluice_owner'::regrole and c.relname <> 'queue_stats'
$$, 'everything that setup() made belongs to the owner');
select is((select nspowner::regrole::text from pg_namespace where nspname = 'sluice_storage'), 'sluice_owner',
          'the schema of partitions belongs to the owner');
select is((select nspowner::regrole::text from pg_namespace where nspname = 'sluice'), 'postgres',
          'the schema of functions does not belong to the owner of the storage, who could replace them');
select ok(not has_schema_privilege('sluice_owner', 'sluice', 'create'), 'the owner of the storage cannot create in the schema of functions');
select bag_eq($$
    select d.objid::regclass::text from pg_depend as d join pg_extension as e on e.oid = d.refobjid
    where d.refclassid = 'pg_extension'::regclass and d.classid = 'pg_class'::regclass and d.deptype = 'e' and e.extname = 'sluice'
$$, array['sluice.queue_stats'], 'no table or sequence is a member of the extension, and of views only one that has no rows of its own');

-- Who may
select login('plain');
drop role if exists t_owner_of_schema;
create role t_owner_of_schema;
drop role if exists t1_boss;
create role t1_boss superuser;
select is(said('select sluice.setup()', 'plain'), '42501: permission denied for schema sluice []', 'setup() is not for a plain role');
select is(said('select sluice.setup()', 't1_boss'),
          'SL016: setup() must be run by the owner of the extension [Connect as "postgres", or set role to it.]',
          'setup() is refused to another superuser than the extension''s owner');
select is(said($$select sluice.teardown('test')$$, 't1_boss'),
          'SL016: teardown() must be run by the owner of the extension [Connect as "postgres", or set role to it.]',
          'teardown() is refused to another superuser than the extension''s owner');
drop role t1_boss;

-- Owners
drop role if exists t1_other;
create role t1_other nologin;
select is(said($$select sluice.setup(owner => 't1_other')$$),
          'SL011: the storage belongs to "sluice_owner", not to "t1_other" [Run sluice.setup(owner => ''sluice_owner'').]',
          'setup() does not hand the storage to another owner');
alter role sluice_owner superuser;
select is(said('select sluice.setup()'),
          'SL011: the storage of sluice cannot belong to the superuser "sluice_owner" [Name an ordinary role that cannot log in: select sluice.setup(owner => ''sluice_owner'').]',
          'setup() is refused while the owner is a superuser');
select is(said($$select sluice.create_queue('q')$$),
          'SL011: the storage of sluice is owned by a superuser [Give the tables of sluice to an ordinary role, or take superuser from that role.]',
          'no public function runs as an owner that has become a superuser');
select is(detail_of($$select sluice.create_queue('q')$$), 'Public functions run as the storage''s owner "sluice_owner".', 'the detail says why');
alter role sluice_owner nosuperuser;

-- Relations of others
create table sluice.stranger (a int);
select is(said('select sluice.setup()'),
          'SL011: table "stranger" in a schema of sluice does not belong to "sluice_owner" [Move it to another schema, then run sluice.setup() again.]',
          'setup() is refused while a foreign table lies in a schema of sluice');
drop table sluice.stranger;
create view sluice_storage.stranger as select 1 as a;
select is(said('select sluice.setup()'),
          'SL011: view "stranger" in a schema of sluice does not belong to "sluice_owner" [Move it to another schema, then run sluice.setup() again.]',
          'setup() is refused while a foreign view lies in a schema of sluice');
drop view sluice_storage.stranger;

-- Versions
select results_eq('select library, stored from sluice.storage_version()', 'values (1, 1)', 'storage_version() says both versions');
select is(sluice.version(), (select extversion from pg_extension where extname = 'sluice'), 'the library has the version of the extension');
update sluice.meta set schema_version = 2;
select is(said('select sluice.setup()'),
          'SL012: the storage has version 2, these functions know version 1 [Install the newer release of the extension and run alter extension sluice update.]',
          'setup() does not touch storage that is newer than its functions');
update sluice.meta set schema_version = 1;
update pg_extension set extversion = '0.0.9' where extname = 'sluice';
select connect('later');
select is(in_session('later', $$select sluice.create_queue('q')$$),
          'SL012: this session has version 0.1.0 of the sluice library, but the database has version 0.0.9 [Reconnect; if that does not help, run alter extension sluice update.]',
          'a session whose library does not fit the SQL is refused');
select is(in_session('later', 'select sluice.version()'), '0.1.0', 'version() still answers then');
update pg_extension set extversion = '0.1.0' where extname = 'sluice';
select is(in_session('later', $$select sluice.create_queue('q')$$), '', 'with equal versions it works again');

-- A copy
select dblink_disconnect('later');
select task('t');
select is(take('task/t'), null, 'before: nothing to claim');
update sluice.meta set home = 'elsewhere/1';
select sluice.enqueue('t') as run \gset
select is(said('select take(''task/t'')'),
          'SL015: this database is a copy: its runs belong to another one [If this copy shall do the work from now on, run select sluice.adopt().]',
          'a copy that was not adopted hands out nothing');
select is(said($$select sluice.exchange('w')$$),
          'SL015: this database is a copy: its runs belong to another one [If this copy shall do the work from now on, run select sluice.adopt().]',
          'a copy that was not adopted exchanges nothing');
select is(said($$select sluice.register_worker('w')$$),
          'SL015: this database is a copy: its runs belong to another one [If this copy shall do the work from now on, run select sluice.adopt().]',
          'a copy that was not adopted takes no worker');
select is(said($$select sluice.try_lead('w')$$),
          'SL015: this database is a copy: its runs belong to another one [If this copy shall do the work from now on, run select sluice.adopt().]',
          'a copy that was not adopted has no leader');
select is(said('select sluice.setup()') like 'sluice 0.1.0 is set up%', true, 'setup() runs on a copy');
select is((select home from sluice.meta), 'elsewhere/1', 'setup() does not adopt a copy');
select is(said('select sluice.adopt()'), '', 'adopt() is quiet');
select is(said('select sluice.adopt()'), '', 'adopt() again changes nothing');
select is(run_of(take('task/t')), :run, 'an adopted copy hands out its runs');

-- The end
select is(said($$select sluice.teardown('')$$), 'SL006: teardown was not confirmed [Run select sluice.teardown(''test'') if that is what you want.]',
          'teardown() wants the name of the database');
select is(said('select sluice.teardown(null)'), 'SL006: teardown was not confirmed [Run select sluice.teardown(''test'') if that is what you want.]',
          'teardown() takes null for a wrong name');
select isnt(to_regclass('sluice.run'), null, 'a teardown that was refused drops nothing');
select is(said($$select sluice.teardown('test')$$),
          'the storage of sluice is gone; the roles sluice_* are left, since other databases may use them', 'teardown() says what is left');
select is_empty($$select oid::regclass from pg_class where relnamespace = 'sluice'::regnamespace and relname <> 'queue_stats'$$, 'teardown() leaves no relation');
select is(said('select * from sluice.queue_stats'), 'SL010: sluice is not set up in this database [Run select sluice.setup() as the role that created the extension.]', 'but the view of the extension, which shows nothing');
select is(to_regnamespace('sluice_storage'), null, 'teardown() leaves no schema of partitions');
select is(said($$select sluice.enqueue('t')$$),
          'SL010: sluice is not set up in this database [Run select sluice.setup() as the role that created the extension.]',
          'without storage a public function says what to do');
select is(said($$select sluice.setup(owner => current_user)$$),
          'SL011: the storage of sluice cannot belong to the superuser "postgres" [Name an ordinary role that cannot log in: select sluice.setup(owner => ''sluice_owner'').]',
          'a superuser is refused as the owner');
select is(to_regclass('sluice.run'), null, 'a setup() that was refused leaves nothing');
select is(said($$select sluice.setup(owner => 't1_other')$$), 'sluice 0.1.0 is set up: storage version 1, owned by "t1_other"',
          'another role may own the storage');
select is(said('select sluice.setup()'), 'sluice 0.1.0 is set up: storage version 1, owned by "t1_other"',
          'setup() without an owner keeps the one there is');
select task('t');
select is(run_of(take('task/t')), null, 'the storage of another owner is empty');
select isnt(sluice.enqueue('t'), null, 'the storage of another owner works');
select isnt(take('task/t'), null, 'and hands out runs');
select sluice.teardown('test');
drop owned by t1_other;
drop role t1_other;
drop extension sluice;
select is((select count(*)::int from pg_proc where pronamespace = 'sluice'::regnamespace), 0, 'drop extension leaves an empty schema');
create extension sluice;
select matches(sluice.setup(), 'is set up', 'in which it can be created again');

-- A schema that somebody else made first
select sluice.teardown('test');
drop extension sluice;
create function sluice.enqueue(text) returns int language sql as 'select 1';
select is(said('do $x$ begin execute ''create extension sluice''; end $x$'), 'SL011: schema "sluice" already holds functions of somebody else [Move them to another schema, then create the extension again.]', 'functions of somebody else are not taken over');
drop function sluice.enqueue(text);
alter schema sluice owner to t_owner_of_schema;
select is(said('do $x$ begin execute ''create extension sluice''; end $x$'), 'SL011: schema "sluice" belongs to another role [Drop or rename that schema, then create the extension again.]', 'nor is a schema of an ordinary role');
alter schema sluice owner to postgres;
drop role t_owner_of_schema;
select * from finish();
