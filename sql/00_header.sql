-- Sluice: durable tasks, queues and runs inside PostgreSQL.
--
-- The extension holds functions, and a view without rows of its own.  Tables, the other views and grants are made by
-- sluice.setup(), outside of this script, so that dump and restore treat them as ordinary data; the functions in
-- sql/storage/ are the steps of setup().

\echo Use "CREATE EXTENSION sluice" to load this file. \quit

-- Somebody else may have made the schema first and put objects into it that our functions would meet by name.
do $$
begin
    if (select not r.rolsuper
        from pg_catalog.pg_namespace as n join pg_catalog.pg_roles as r on r.oid = n.nspowner
        where n.nspname = 'sluice')
    then
        raise exception using
            errcode = 'SL011',
            message = 'schema "sluice" belongs to another role',
            hint    = 'Drop or rename that schema, then create the extension again.';
    end if;
    if exists (select from pg_catalog.pg_proc as p where p.pronamespace = '@extschema@'::pg_catalog.regnamespace) then
        raise exception using
            errcode = 'SL011',
            message = 'schema "sluice" already holds functions of somebody else',
            hint    = 'Move them to another schema, then create the extension again.';
    end if;
end
$$;
