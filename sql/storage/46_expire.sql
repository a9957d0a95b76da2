-- expiry: until when a run may wait for its first attempt.
--
-- A row for each run with a time to live, and none for others, so that runs without one pay nothing.  Claims do not touch
-- it: the row of a run that has started is dropped when it falls due, by the leader (sql/api/82_expire.sql).  expires_at is
-- ready_at + ttl: the time to live of a delayed run begins when it is due.

create function sluice._storage_expire() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create table sluice.expiry (
        run_id     bigint      not null,
        expires_at timestamptz not null,
        ttl        interval    not null,
        constraint expiry_pkey primary key (run_id),
        constraint expiry_ttl_positive check (ttl > interval '0')
    );
    create index expiry_by_time on sluice.expiry (expires_at);
    comment on table sluice.expiry is 'Until when runs with a time to live may wait for their first attempt.';
    comment on index sluice.expiry_by_time is 'Finds the runs that the leader expires.';
end
$storage$;

comment on function sluice._storage_expire() is 'Step of setup(): makes the table of runs with a time to live.';
