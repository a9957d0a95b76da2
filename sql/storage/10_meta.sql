-- meta: what the storage knows of itself.
--
-- One row.  `home` is the cluster and database that the storage belongs to: where it differs from sluice._home() this
-- is a restored copy, and nothing is claimed until sluice.adopt().

create function sluice._storage_meta() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create table sluice.meta (
        only_row       boolean     not null default true,
        schema_version integer     not null,
        home           text        not null,
        set_up_at      timestamptz not null default pg_catalog.clock_timestamp(),
        retention      interval    default '30 days',
        constraint meta_pkey primary key (only_row),
        constraint meta_has_one_row check (only_row)
    );
    comment on table sluice.meta is 'The version of the storage, the database it belongs to, and how long runs are kept; one row.';

    create unlogged table sluice.leader (
        only_row     boolean     not null default true,
        worker       text        not null,
        since        timestamptz not null,
        announced_at timestamptz not null,
        clock_anchor timestamptz,
        clock_offset interval,
        constraint leader_pkey primary key (only_row),
        constraint leader_has_one_row check (only_row)
    );
    comment on table sluice.leader is
        'The worker that took the leader''s lock last and how far due runs were announced.  The lock decides, not this row.';
end
$storage$;

comment on function sluice._storage_meta() is 'Step of setup(): makes the table of the storage''s own facts.';
