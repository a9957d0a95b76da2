-- schedule: what is enqueued again and again, and how far that has come.
--
-- One row for each instance of a schedule; its next tick is in it, and is moved on in the transaction that enqueues the
-- run.  There is no table of ticks: that one was fired is to be seen in that the next one is later.  Nothing refers to a
-- schedule by a key, so however many runs it has made, it is deleted as one row (docs/design/012-schedules.md).

create function sluice._storage_schedule() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create table sluice.schedule (
        schedule_id bigint      not null generated always as identity,
        next_tick   timestamptz,
        fire_at     timestamptz,
        last_tick   timestamptz,
        last_run_id bigint,
        skipped     bigint      not null default 0,
        task_id     integer     not null,
        active      boolean     not null,
        schedule    text        not null,
        external_id text,
        cron        text        not null,
        timezone    text        not null,
        description text        not null,
        spread      interval    not null,
        spread_by   interval    not null,
        catch_up    text        not null,
        overlap     text        not null,
        payload     jsonb,
        options     jsonb,
        owner       text        not null,
        owner_id    oid,
        problem     text,
        created_at  timestamptz not null default pg_catalog.clock_timestamp(),
        updated_at  timestamptz not null default pg_catalog.clock_timestamp(),
        constraint schedule_pkey primary key (schedule_id),
        constraint schedule_instance_is_unique unique nulls not distinct (schedule, external_id),
        constraint schedule_goes_on check (next_tick > last_tick),
        constraint schedule_fires_while_active check (fire_at is null or active),
        constraint schedule_catch_up_known check (catch_up in ('skip', 'one', 'all')),
        constraint schedule_overlap_known check (overlap in ('allow', 'skip', 'cancel_previous'))
    ) with (fillfactor = 70);
    create index schedule_due on sluice.schedule (fire_at) where fire_at is not null;
    comment on table sluice.schedule is 'One row for each instance of a schedule.  Read the view sluice.schedules.';
    comment on index sluice.schedule_due is 'Finds what is due, and what is next.';
end
$storage$;

comment on function sluice._storage_schedule() is 'Step of setup(): makes the table of schedules.';
