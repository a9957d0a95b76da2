-- slot, lease, worker, rotation: who holds what.
--
-- A slot is a place under the limits of a queue and lane.  It is not a run: a canceled or requeued run is final or
-- queued again while its old worker still holds the place.  Where claims go by the tables each attempt has a row here, and
-- limits count the rows.  Where they go by the ready index only those have one whose token is dead and whose worker has
-- not let go, so that a restart does not forget them; leases are then in shared memory too.
--
-- Deadlines, sessions and cursors are unlogged: a heartbeat writes no WAL.  After a crash or promotion these tables are
-- empty: every lease then gets one more period, and workers register again.

create function sluice._storage_slot() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create table sluice.slot (
        token         uuid             not null,
        run_id        bigint           not null,
        lane          bigint           not null,
        claimed_at    timestamptz      not null,
        reply         bigint,
        lease_seconds double precision not null,
        queue_id      integer          not null,
        attempt       smallint         not null,
        told          boolean          not null default false,
        worker        text             not null,
        revoked       text,
        constraint slot_pkey primary key (token),
        constraint slot_revoked_known check (revoked in ('canceled', 'requeued'))
    );
    create index slot_by_lane on sluice.slot (queue_id, lane);
    create index slot_by_worker on sluice.slot (worker);
    comment on table sluice.slot is 'Places taken under the limits of queues and lanes, one for each attempt that a worker has not let go of.';
    comment on index sluice.slot_by_lane is 'Counts the slots of a queue and of a lane.';
    comment on index sluice.slot_by_worker is 'Finds what a worker holds.';

    create unlogged table sluice.lease (
        token uuid        not null,
        until timestamptz not null,
        constraint lease_pkey primary key (token)
    ) with (fillfactor = 50);
    comment on table sluice.lease is 'Until when each slot''s worker may go without a heartbeat.';

    create unlogged table sluice.worker (
        worker        text        not null,
        pid           integer     not null,
        session_start timestamptz not null,
        registered_at timestamptz not null,
        seen_at       timestamptz not null,
        reply         bigint      not null default 0,
        host          text,
        process       integer,
        version       text,
        executors     text[],
        queues        text[],
        capacity      integer,
        memory        bigint,
        problems      jsonb,
        server_start  timestamptz not null default pg_catalog.pg_postmaster_start_time(),
        constraint worker_pkey primary key (worker)
    ) with (fillfactor = 50);
    comment on table sluice.worker is 'Workers that registered a session; gone when the session ends.  Read the view sluice.workers.';

    create unlogged table sluice.rotation (
        queue_id integer not null,
        lane     bigint  not null,
        constraint rotation_pkey primary key (queue_id)
    ) with (fillfactor = 50);
    comment on table sluice.rotation is 'The lane of each queue that was looked at last; the next claim goes on behind it.';
end
$storage$;

comment on function sluice._storage_slot() is 'Step of setup(): makes the tables of slots, leases and workers.';
