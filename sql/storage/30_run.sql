-- run, payload, output, attempt, log, resource: what is executed, and what came of it.
--
-- All six are range-partitioned by run id, that is by time, with the same bounds (sql/api/25_partition.sql), so that
-- retention is a dropped partition.  The row of `run` is kept small: it is what claims rewrite, in place (HOT).  For
-- that no column that a claim writes may stand in an index, in its key or its predicate.
--
-- `delayed` and `retrying` are stored as queued with a ready_at to come: nothing has to move when its time comes.

create function sluice._storage_run() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create sequence sluice.run_seq as bigint;
    comment on sequence sluice.run_seq is 'The lower 22 bits of run ids.';

    create table sluice.run (
        run_id          bigint      not null,
        lane            bigint      not null default 0,
        ready_at        timestamptz not null,
        claim_key       timestamptz not null,
        due_at          timestamptz,
        started_at      timestamptz,
        claimed_at      timestamptz,
        finished_at     timestamptz,
        token           uuid,
        worker          text,
        task_id         integer     not null,
        queue_id        integer     not null,
        priority        integer     not null default 0,
        class           smallint    not null default 2,
        attempt         smallint    not null default 0,
        max_attempts    smallint    not null,
        releases        smallint    not null default 0,
        status          text        not null default 'queued',
        concurrency_key text,
        constraint run_pkey primary key (run_id),
        -- Constraints are read anew by every statement, at a cost that goes with the length of their text: so there are few.
        -- The token of a completed run is the record of the attempt that completed it, which has no row in attempt.
        constraint run_status_fits check (
            status = any (case
                when finished_at is null and token is null then '{queued}'::text[]
                when finished_at is null then '{executing}'
                when token is null then '{canceled,expired}'
                else '{completed,failed,crashed,system_failure,timed_out,canceled,expired}'
            end)),
        constraint run_attempts_within_limit check (attempt between 0 and max_attempts)
    ) partition by range (run_id);

    create index run_live on sluice.run (queue_id, lane, class, claim_key, run_id) where finished_at is null;
    create index run_due on sluice.run (due_at) where finished_at is null and due_at is not null;

    comment on table sluice.run is 'One row for each run.  Read the view sluice.runs.';
    comment on index sluice.run_live is 'Runs that are not final, in the order in which a lane hands them out.';
    comment on index sluice.run_due is 'Live runs that were given a time to come: delays and retries.';

    create table sluice.payload (
        run_id   bigint not null,
        payload  jsonb,
        metadata jsonb,
        tags     text[],
        options  jsonb,
        constraint payload_pkey primary key (run_id)
    ) partition by range (run_id);
    comment on table sluice.payload is 'What a run was given, if anything: payload, metadata, tags, options of its own.';

    create table sluice.output (
        run_id bigint not null,
        output jsonb,
        error  jsonb,
        constraint output_pkey primary key (run_id)
    ) partition by range (run_id);
    comment on table sluice.output is 'What a final run gave back, if anything: output or error.';

    create table sluice.attempt (
        run_id     bigint      not null,
        attempt    smallint    not null,
        outcome    text        not null,
        token      uuid        not null,
        worker     text,
        started_at timestamptz not null,
        ended_at   timestamptz not null,
        error      jsonb,
        constraint attempt_pkey primary key (run_id, attempt),
        constraint attempt_outcome_known check (outcome in ('failed', 'crashed', 'oom', 'timed_out', 'lost', 'canceled'))
    ) partition by range (run_id);
    comment on table sluice.attempt is 'One row for each attempt that counted and ended otherwise than completed.  Read the view sluice.attempts.';

    create table sluice.log (
        run_id  bigint      not null,
        attempt smallint    not null,
        seq     integer     not null,
        at      timestamptz not null,
        total   bigint      not null default 0,
        stream  text        not null,
        line    text        not null,
        constraint log_pkey primary key (run_id, attempt, seq),
        constraint log_stream_known check (stream in ('stdout', 'stderr', 'sluice'))
    ) partition by range (run_id);
    comment on table sluice.log is 'What attempts wrote, line by line.  Read it with sluice.logs(run_id).';

    create table sluice.resource (
        run_id        bigint           not null,
        memory_limit  bigint,
        peak_memory   bigint,
        read_bytes    bigint,
        written_bytes bigint,
        wall          double precision,
        cpu_user      double precision,
        cpu_system    double precision,
        attempt       smallint         not null,
        machine       text,
        enforced_by   text,
        constraint resource_pkey primary key (run_id, attempt)
    ) partition by range (run_id);
    comment on table sluice.resource is 'What the programs of attempts used of their machines.  Read the view sluice.resources.';

    create table sluice.idempotency_key (
        task_id    integer     not null,
        key        text        not null,
        run_id     bigint      not null,
        expires_at timestamptz not null,
        constraint idempotency_key_pkey primary key (task_id, key)
    );
    create index idempotency_key_by_expiry on sluice.idempotency_key (expires_at);
    create index idempotency_key_by_run on sluice.idempotency_key (run_id);
    comment on table sluice.idempotency_key is 'Which run a key of a task stands for, until it expires.';
    comment on index sluice.idempotency_key_by_expiry is 'Finds the keys that the leader removes.';
    comment on index sluice.idempotency_key_by_run is 'Finds the keys of failed runs that retention removes.';

    perform sluice._make_default_partitions();
    perform sluice._make_partitions(pg_catalog.clock_timestamp());
end
$storage$;

comment on function sluice._storage_run() is 'Step of setup(): makes the partitioned tables of runs.';
