-- migrate: how storage that an earlier release has made becomes that of this one.
--
-- For each version of the storage after the first there is a step, sluice._migrate_to_2() and so on, in a file beside this
-- one (71_migrate_to_2.sql …).  setup() takes those that are missing, in order and in its own transaction; owners, views,
-- comments, grants and partitions it then puts right by itself.  A step makes what is new: tables, sequences, indexes.
-- Whatever it does to tables that exist already it does by _as_owner(…): they may carry code of their owner's, in triggers,
-- checks, expressions, and setup() is run by a superuser.

create function sluice._as_owner(statement text) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_call_on_any_storage';
comment on function sluice._as_owner(text) is 'Carries out a statement as the owner of the storage, whatever its version.';

create function sluice.__as_owner(statement text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute __as_owner.statement;
end
$$;
comment on function sluice.__as_owner(text) is 'Twin of _as_owner().';

create function sluice._migrate(stored integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    needed integer := sluice._schema_version();
begin
    for step in _migrate.stored + 1 .. needed loop
        if to_regprocedure(format('sluice._migrate_to_%s()', step)) is null then
            raise exception using
                errcode = 'SL012',
                message = format('storage of version %s cannot become version %s', _migrate.stored, needed),
                detail  = format('There is no step to version %s.', step),
                hint    = 'Restore a dump of it with the release that made it, and upgrade from there.';
        end if;
        execute format('select sluice._migrate_to_%s()', step);
        perform sluice._as_owner(format('update sluice.meta set schema_version = %s', step));
    end loop;
end
$$;
comment on function sluice._migrate(integer) is 'Step of setup(): brings storage of an earlier version to that of these functions.';
