-- Partitions of run, payload, output, attempt, log and resource: one for each week, with the same bounds in all six.
--
-- An enqueue never fails for want of a partition: there is a DEFAULT.  The leader makes weeks ahead; where rows have
-- already reached the DEFAULT (nobody led for weeks), the partition begins behind them.
--
-- Weekly: with 90 partitions a claim took 2 to 9 times as long as with 3.

create function sluice._partitioned_tables() returns table (name text, storage_options text)
language sql immutable parallel safe
begin atomic
    -- Fillfactor 32 leaves room for all three versions of a row, as made, claimed and completed, on its page, also while an old
    -- snapshot keeps the dead ones (docs/design/004-lean-rows.md).  100 % of the claims are HOT at 40 too, 88 % at 50.
    values ('run', 'fillfactor = 32'), ('payload', 'fillfactor = 100'), ('output', 'fillfactor = 100'),
           ('attempt', 'fillfactor = 100'), ('log', 'fillfactor = 100'),
           ('resource', 'fillfactor = 100');
end;
comment on function sluice._partitioned_tables() is 'The tables that are partitioned by run id, and how their partitions are stored.';

-- Statements of the hot path name the partitions, so the storage's owner needs rights on each.
create function sluice._give_to_owner(parent text, partition text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    owner regrole := (select c.relowner from pg_class as c where c.oid = format('sluice.%I', _give_to_owner.parent)::regclass);
begin
    if owner::text <> quote_ident(current_user) then
        execute format('alter table sluice_storage.%I owner to %s', _give_to_owner.partition, owner);
    end if;
end
$$;
comment on function sluice._give_to_owner(text, text) is 'Gives a partition to the owner of its table, whoever makes it.';

create function sluice._make_default_partitions() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    parent record;
begin
    for parent in select t.name, t.storage_options from sluice._partitioned_tables() as t loop
        continue when to_regclass(format('sluice_storage.%I', parent.name || '_default')) is not null;
        execute format('create table sluice_storage.%I partition of sluice.%I default with (%s)',
                       parent.name || '_default', parent.name, parent.storage_options);
        perform sluice._give_to_owner(parent.name, parent.name || '_default');
        execute format('comment on table sluice_storage.%I is %L',
                       parent.name || '_default', 'Rows of sluice.' || parent.name || ' for which there is no week.');
    end loop;
end
$$;
comment on function sluice._make_default_partitions() is 'Makes the DEFAULT partition of each partitioned table.';

create function sluice._make_partitions(as_of timestamptz, weeks_ahead integer default 4) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    monday  timestamptz;
    suffix  text;
    lowest  bigint;
    highest bigint;
    astray  bigint;
    parent  record;
    made    integer := 0;
begin
    for monday in
        select week from generate_series(date_trunc('week', _make_partitions.as_of, 'UTC'),
                                         date_trunc('week', _make_partitions.as_of, 'UTC') + weeks_ahead * interval '168 hours',
                                         interval '168 hours') as week
    loop
        suffix := to_char(monday at time zone 'UTC', '"_p"YYYYMMDD');
        continue when to_regclass(format('sluice_storage.%I', 'log' || suffix)) is not null;

        lowest := sluice._run_id_at(monday);
        highest := sluice._run_id_at(monday + interval '168 hours');
        for parent in select t.name from sluice._partitioned_tables() as t loop
            execute format('select max(run_id) from sluice_storage.%I where run_id >= $1 and run_id < $2', parent.name || '_default')
            into astray using lowest, highest;
            lowest := greatest(lowest, astray + 1);
        end loop;
        continue when lowest >= highest;

        for parent in select t.name, t.storage_options from sluice._partitioned_tables() as t loop
            execute format('create table sluice_storage.%I partition of sluice.%I for values from (%L) to (%L) with (%s)',
                           parent.name || suffix, parent.name, lowest, highest, parent.storage_options);
            perform sluice._give_to_owner(parent.name, parent.name || suffix);
            execute format('comment on table sluice_storage.%I is %L',
                           parent.name || suffix, format('Rows of sluice.%s for the week of %s.', parent.name, (monday at time zone 'UTC')::date));
        end loop;
        made := made + 1;
    end loop;
    return made;
end
$$;
comment on function sluice._make_partitions(timestamptz, integer) is
    'Makes the partitions of the week of an instant and of the weeks ahead; returns how many weeks were missing.';

create function sluice._complete_partitions() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    missing record;
begin
    perform sluice._make_default_partitions();
    for missing in
        select t.name, t.storage_options, substr(c.relname, length('run') + 1) as suffix, pg_get_expr(c.relpartbound, c.oid) as bound
        from pg_inherits as i
        join pg_class as c on c.oid = i.inhrelid
        cross join sluice._partitioned_tables() as t
        where i.inhparent = to_regclass('sluice.run')
          and to_regclass(format('sluice_storage.%I', t.name || substr(c.relname, length('run') + 1))) is null
        order by c.relname, t.name
    loop
        execute format('create table sluice_storage.%I partition of sluice.%I %s with (%s)',
                       missing.name || missing.suffix, missing.name, missing.bound, missing.storage_options);
        perform sluice._give_to_owner(missing.name, missing.name || missing.suffix);
        execute format('comment on table sluice_storage.%I is %L', missing.name || missing.suffix,
                       replace(obj_description(to_regclass(format('sluice_storage.%I', 'run' || missing.suffix)), 'pg_class'),
                               'sluice.run ', format('sluice.%s ', missing.name)));
    end loop;
end
$$;
comment on function sluice._complete_partitions() is 'Step of setup(): gives a partitioned table that came later the partitions that run has.';
