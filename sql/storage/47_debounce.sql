-- debounce_key: which run a debounce key of a task stands for, until that run has started.
--
-- Unpartitioned, so that a key is unique; what became of the run says its row alone.  look_at is when the leader looks
-- whether the key can go: it may only remove what stands for nothing, so a key that stays too long is never wrong.

create function sluice._storage_debounce() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create table sluice.debounce_key (
        task_id integer     not null,
        key     text        not null,
        run_id  bigint      not null,
        since   timestamptz not null,
        look_at timestamptz not null,
        constraint debounce_key_pkey primary key (task_id, key)
    );
    create index debounce_key_by_time on sluice.debounce_key (look_at);
    comment on table sluice.debounce_key is 'Which run a debounce key of a task stands for, until that has started.';
    comment on index sluice.debounce_key_by_time is 'Finds the keys that the leader looks at.';
end
$storage$;

comment on function sluice._storage_debounce() is 'Step of setup(): makes the table of debounce keys.';
