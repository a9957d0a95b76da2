-- Watch: changed rows of a user's table enqueue runs, in the same transaction.
--
-- watch() and unwatch() make and drop triggers as their caller, who owns the table (extension/watch.cpp); the triggers
-- are all there is of a watch.  When they fire (extension/watched.cpp) they hand over what is to be enqueued.

-- What is in a payload is not to hang on who wrote the row: a float would lose digits, bytes come in another notation.
create function sluice.watched() returns trigger
language c volatile
set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres' set datestyle = 'ISO'
as 'MODULE_PATHNAME', 'sluice_watched';
comment on function sluice.watched() is 'The function of the triggers that watch() makes.';

create function sluice.watch(
    table_name        regclass,
    events            text[],
    task              text,
    columns           text[]  default null,
    condition         text    default null,
    concurrency_key   text    default null,
    priority          text    default null,
    only_when_changed text[]  default null,
    rows_per_run      integer default 1,
    name              text    default null)
returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_watch';
comment on function sluice.watch(regclass, text[], text, text[], text, text, text, text[], integer, text) is
    'Enqueues a run of a task for each row that is inserted, updated or deleted in a table of yours, in the same transaction; a watch of the same name is replaced.';

create function sluice.unwatch(table_name regclass, name text default null) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_unwatch';
comment on function sluice.unwatch(regclass, text) is 'Ends a watch of a table, or all of them.';

create function sluice._assert_watch(name text, task text, rows_per_run integer, table_owner oid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer;
begin
    -- The triggers' names hold the watch's, and are at most 63 bytes long.
    perform sluice._assert_name('watch', _assert_watch.name, 45);
    if _assert_watch.rows_per_run not between 1 and 10000 then
        perform sluice._refuse('rows_per_run', 'must be 1 to 10000', 'It is how many rows one run gets at most.');
    end if;
    lock table sluice.task in row exclusive mode; -- against drop_task, which looks for watches
    id := sluice._task_id(_assert_watch.task);
    perform sluice._assert_may_watch(id, _assert_watch.table_owner);
end
$$;
comment on function sluice._assert_watch(text, text, integer, oid) is 'Raises an error for a watch whose name, task or rows_per_run are wrong, or whose table''s owner may not use the task.';

create function sluice._enqueue_watched(task text, rows_per_run integer, items jsonb[], keys text[], priorities integer[],
                                        table_owner oid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    options  jsonb[];
    id       integer;
    envelope jsonb := items[1] - '{old,new}'::text[]; -- all are of one event of one table
begin
    id := sluice._task_id(_enqueue_watched.task);
    perform sluice._assert_may_watch(id, _enqueue_watched.table_owner);
    if _enqueue_watched.rows_per_run > 1 then
        select array_agg(p.payload order by p.first), array_agg(p.key order by p.first), array_agg(p.priority order by p.first)
        into items, keys, priorities
        from (
            select min(i.n) as first, i.key, i.priority,
                   envelope || jsonb_build_object('rows', jsonb_agg(i.item - '{table,event}'::text[] order by i.n)) as payload
            from (
                select u.*, (row_number() over (partition by u.key, u.priority order by u.n) - 1) / _enqueue_watched.rows_per_run as part
                from unnest(items, keys, priorities) with ordinality as u (item, key, priority, n)
            ) as i
            group by i.key, i.priority, i.part
        ) as p;
    end if;
    if exists (select from unnest(keys, priorities) as u (key, priority) where u.key is not null or u.priority is not null) then
        options := array(select jsonb_build_object('concurrency_key', u.key, 'priority', u.priority)
                         from unnest(keys, priorities) with ordinality as u (key, priority, n) order by u.n);
    end if;
    perform count(*) from sluice._enqueue_all(id, items, options);
end
$$;
comment on function sluice._enqueue_watched(text, integer, jsonb[], text[], integer[], oid) is
    'Enqueues what a watch found, as runs of so many rows with one key and priority.';
