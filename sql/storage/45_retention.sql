-- retention_pass: how far the leader has come in looking for runs that are to be removed.
--
-- One row for each week that is looked through, or is to be looked through again at some time.  Unlogged, since it can be
-- lost: then all is looked through anew.  What is to be kept for how long is in meta and task.

create function sluice._storage_retention() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create unlogged table sluice.retention_pass (
        week          text        not null,
        whole         boolean     not null,
        deleting      boolean     not null,
        up_to         bigint      not null default -1,
        stays         bigint[]    default '{}',
        soonest       timestamptz,
        next_at       timestamptz not null,
        blocked_since timestamptz,
        blocked_by    text,
        constraint retention_pass_pkey primary key (week)
    );
    comment on table sluice.retention_pass is
        'How far the leader has come in looking for runs that are to be removed.  Read the view sluice.weeks.';
end
$storage$;

comment on function sluice._storage_retention() is 'Step of setup(): makes the table in which retention notes how far it has come.';
