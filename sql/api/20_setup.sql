-- setup: makes and migrates the storage, adopts a restored copy, tears everything down.
--
-- setup() and teardown() are run by the role that owns the extension, as that role.  Whatever belongs to the storage's
-- owner could carry that owner's code (triggers, defaults), so on existing storage rows are only touched as the owner.

create function sluice._schema_version() returns integer
language sql immutable parallel safe
begin atomic
    select 1;
end;
comment on function sluice._schema_version() is 'The version of the storage that these functions work with.';

create function sluice.version() returns text
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_version';
comment on function sluice.version() is 'The version of the sluice library in this session.';

create function sluice.storage_version(out library integer, out stored integer)
language c volatile as 'MODULE_PATHNAME', 'sluice_call_on_any_storage';
comment on function sluice.storage_version() is
    'The version of storage that these functions need and the one that is stored; they differ until sluice.setup() is run.';

create function sluice._storage_version(out library integer, out stored integer)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    select sluice._schema_version(), m.schema_version into library, stored from sluice.meta as m;
end
$$;
comment on function sluice._storage_version() is 'Twin of storage_version().';

create function sluice._assert_extension_owner(what text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    owner text;
begin
    select r.rolname into strict owner
    from pg_extension as e
    join pg_roles as r on r.oid = e.extowner
    where e.extname = 'sluice';

    if owner <> current_user then
        raise exception using
            errcode = 'SL016',
            message = format('%s must be run by the owner of the extension', _assert_extension_owner.what),
            detail  = format('The extension belongs to "%s"; the current role is "%s".', owner, current_user),
            hint    = format('Connect as "%s", or set role to it.', owner);
    end if;
end
$$;
comment on function sluice._assert_extension_owner(text) is 'Raises SL016 unless the current role owns the extension.';

-- Roles are the cluster's.  Who is in which is stated here and by no grant elsewhere.
create function sluice._missing_roles(owner name) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with named as (
        select row_number() over () as place, r.role from sluice._role_comments() as r
    ), needed as (
        select 1 as step, n.place, n.role, null::name as member
        from (select 0 as place, _missing_roles.owner as role
              union all
              select r.place, r.role from named as r where r.role <> 'sluice_owner') as n
        union all
        select 2, r.place, r.role, 'sluice_admin' from named as r where r.role not in ('sluice_owner', 'sluice_admin')
        union all
        select 3, 0, 'sluice_reader', 'sluice_payload_reader'
        union all
        -- Only a member of a role can give it a table.
        select 4, 0, _missing_roles.owner, current_user
        where not (select r.rolsuper from pg_roles as r where r.rolname = current_user)
    )
    select case when n.member is null then format('create role %I nologin', n.role) else format('grant %I to %I', n.role, n.member) end
    from needed as n
    where case when n.member is null then not exists (select from pg_roles as r where r.rolname = n.role)
               -- From 16 on who made a role is its member, but may not act as it; the column that says so is as new.
               else not exists (select from pg_auth_members as a
                                join pg_roles as r on r.oid = a.roleid
                                join pg_roles as g on g.oid = a.member
                                where r.rolname = n.role and g.rolname = n.member
                                  and to_jsonb(a) ->> 'set_option' is distinct from 'false') end
    order by n.step, n.place
$$;
comment on function sluice._missing_roles(name) is 'Statements that make the roles and memberships that setup() needs and that are not there.';

create function sluice._make_roles(owner name) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    missing text[] := array(select m from sluice._missing_roles(_make_roles.owner) as m);
    lacking text[] := '{}';
    one     text;
begin
    if missing <> '{}' and not (select r.rolsuper or r.rolcreaterole from pg_roles as r where r.rolname = current_user) then
        lacking := missing;
        missing := '{}';
    end if;
    if to_regnamespace('sluice_storage') is null and not has_database_privilege(current_database(), 'create') then
        lacking := lacking || format('grant create on database %I to %I', current_database(), current_user);
    end if;
    if lacking <> '{}' then
        raise exception using
            errcode = '42501',
            message = format('role "%s" may not make all that setup() needs', current_user),
            detail  = 'Roles are made by superusers and by roles with CREATEROLE, schemas by roles with CREATE on the database.',
            hint    = E'Let a superuser run these, then run select sluice.setup() again:\n' || array_to_string(lacking, E';\n') || ';';
    end if;
    foreach one in array missing loop
        execute one;
    end loop;
end
$$;
comment on function sluice._make_roles(name) is 'Step of setup(): makes the roles that are missing, or says with which statements somebody else can.';

-- Relations of ours: in the two schemas and not members of the extension.
create function sluice._storage_relations() returns table (relation oid, kind "char", owner oid)
language sql stable
begin atomic
    select c.oid, c.relkind, c.relowner
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('sluice', 'sluice_storage')
      and c.relkind in ('r', 'p', 'v', 'S')
      and not exists (select from pg_catalog.pg_depend as d
                      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
                        and (d.deptype = 'e' or d.deptype in ('i', 'a') and c.relkind = 'S'));
end;
comment on function sluice._storage_relations() is 'Tables, views and free-standing sequences of the storage.';

create function sluice.setup(owner name default 'sluice_owner') returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    existing_owner name;
    stored         integer;
    relation       record;
begin
    perform sluice._assert_extension_owner('setup()');
    if setup.owner is null then
        raise exception using
            errcode = 'SL006',
            message = 'owner must not be null',
            hint    = 'Name a role, or leave it out: the storage then belongs to sluice_owner, or to whom it belongs already.';
    end if;
    perform pg_advisory_xact_lock(1936483689, 1936946288); -- one setup at a time: "slui", "setp"

    select r.rolname into existing_owner
    from pg_class as c
    join pg_roles as r on r.oid = c.relowner
    where c.oid = to_regclass('sluice.meta');

    if existing_owner is not null and existing_owner <> setup.owner then
        if setup.owner <> 'sluice_owner' then
            raise exception using
                errcode = 'SL011',
                message = format('the storage belongs to "%s", not to "%s"', existing_owner, setup.owner),
                hint    = format('Run sluice.setup(owner => %L).', existing_owner);
        end if;
        owner := existing_owner; -- the default means: whoever owns it
    end if;

    perform sluice._make_roles(setup.owner);
    if (select r.rolsuper from pg_roles as r where r.rolname = setup.owner) then
        raise exception using
            errcode = 'SL011',
            message = format('the storage of sluice cannot belong to the superuser "%s"', setup.owner),
            detail  = 'Public functions run as the owner of the storage.',
            hint    = 'Name an ordinary role that cannot log in: select sluice.setup(owner => ''sluice_owner'').';
    end if;

    select format('%s "%s"', case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, c.relname)
    into relation
    from sluice._storage_relations() as s
    join pg_class as c on c.oid = s.relation
    where s.owner <> setup.owner::regrole
    limit 1;
    if found then
        raise exception using
            errcode = 'SL011',
            message = format('%s in a schema of sluice does not belong to "%s"', relation.format, setup.owner),
            hint    = 'Move it to another schema, then run sluice.setup() again.';
    end if;

    if existing_owner is null then
        execute format('create schema sluice_storage authorization %I', setup.owner);
        comment on schema sluice_storage is 'Partitions of the tables of sluice.';
        perform sluice._storage_meta();
        perform sluice._storage_task();
        perform sluice._storage_run();
        perform sluice._storage_slot();
        perform sluice._storage_expire();
        perform sluice._storage_retention();
        perform sluice._storage_schedule();
        perform sluice._storage_debounce();
        insert into sluice.meta (schema_version, home) values (sluice._schema_version(), sluice._home());
    else
        perform sluice._grant_all(setup.owner); -- an extension that was created again has no grants yet
        select v.stored into stored from sluice.storage_version() as v; -- as the owner, who may have made a view of meta
        if stored > sluice._schema_version() then
            raise exception using
                errcode = 'SL012',
                message = format('the storage has version %s, these functions know version %s', stored, sluice._schema_version()),
                hint    = 'Install the newer release of the extension and run alter extension sluice update.';
        end if;
        perform sluice._migrate(stored);
        perform sluice._complete_partitions();
    end if;

    perform sluice._storage_view();
    perform sluice._storage_comment();
    -- Only a superuser gives tables to a role that may not create there itself.
    execute format('grant create on schema sluice to %I', setup.owner);
    for relation in select s.relation::regclass as name, s.kind from sluice._storage_relations() as s
                    where s.owner <> setup.owner::regrole
    loop
        execute format('alter %s %s owner to %I',
                       case relation.kind when 'v' then 'view' when 'S' then 'sequence' else 'table' end,
                       relation.name, setup.owner);
    end loop;
    execute format('revoke create on schema sluice from %I', setup.owner);
    perform sluice._grant_all(setup.owner);

    return format('sluice %s is set up: storage version %s, owned by "%s"', sluice.version(), sluice._schema_version(), setup.owner);
end
$$;
comment on function sluice.setup(name) is
    'Makes or migrates the tables, views, roles and grants of sluice; may be run again at any time, by the extension''s owner.';

-- A restored copy must not run production's work.

create function sluice._assert_home() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from sluice.meta as m where m.home = sluice._home()) then
        return;
    end if;
    raise exception using
        errcode = 'SL015',
        message = 'this database is a copy: its runs belong to another one',
        detail  = 'The storage remembers a different cluster or database, as after a restore or a file copy.',
        hint    = 'If this copy shall do the work from now on, run select sluice.adopt().';
end
$$;
comment on function sluice._assert_home() is 'Raises SL015 in a restored copy that was not adopted.';

create function sluice.adopt() returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.adopt() is
    'Lets a restored copy do the work of the database it was copied from.  Runs that were executing are tried again.';

create function sluice._adopt() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._find_roles();
    update sluice.meta as m set home = sluice._home() where m.home <> sluice._home();
    if not found then
        return;
    end if;
    -- Whoever held these leases works on the other database.
    delete from sluice.worker;
    delete from sluice.leader;
    delete from sluice.retention_pass;
    if sluice._index_serves() then
        perform sluice._index_expire(l.lease_token) from sluice._index_leases(null) as l;
    end if;
    perform sluice._index_change_storage();
    update sluice.lease as l set until = sluice._steady_now();
    perform sluice._make_partitions(clock_timestamp());
end
$$;
comment on function sluice._adopt() is 'Twin of adopt().';

create function sluice.teardown(confirm text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    relation record;
begin
    perform sluice._assert_extension_owner('teardown()');
    if teardown.confirm is distinct from current_database() then
        raise exception using
            errcode = 'SL006',
            message = 'teardown was not confirmed',
            detail  = 'It drops every task, run and result of this database.',
            hint    = format('Run select sluice.teardown(%L) if that is what you want.', current_database());
    end if;
    -- Without the storage these triggers would refuse every change of their tables.
    select t.tgrelid::regclass as name into relation from pg_trigger as t where t.tgfoid = 'sluice.watched'::regproc limit 1;
    if found then
        raise exception using
            errcode = 'SL103',
            message = 'sluice is in use',
            detail  = format('Table %s is watched.', relation.name),
            hint    = format('Run select sluice.unwatch(%L) first.', relation.name);
    end if;

    for relation in select s.relation::regclass as name, s.kind from sluice._storage_relations() as s
                    join pg_class as c on c.oid = s.relation
                    where not c.relispartition
                    order by s.kind = 'v' desc
    loop
        -- Of the views and tables that depend on each other, an earlier cascade may have taken this one already.
        if exists (select from pg_class as c where c.oid = relation.name) then
            execute format('drop %s %s cascade',
                           case relation.kind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, relation.name);
        end if;
    end loop;
    drop schema if exists sluice_storage cascade;
    return 'the storage of sluice is gone; the roles sluice_* are left, since other databases may use them';
end
$$;
comment on function sluice.teardown(text) is
    'Drops all tables, views and partitions of sluice in this database; the argument must be the database''s name.';
