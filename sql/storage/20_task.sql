-- task and queue: the definitions.
--
-- Runs refer to them by small numbers without a foreign key, so history never stands in the way of a definition.
-- A dropped task or queue keeps its row, marked by dropped_at: runs of the past still show its name, a run that was
-- enqueued at the same moment can still be executed, and creating it again revives the row.
--
-- Roles are kept by name and by oid (docs/design/008-rights.md): the oid is the role, and the name finds it again in
-- another cluster.

create function sluice._storage_task() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $storage$
begin
    create table sluice.queue (
        queue_id        integer     not null generated always as identity,
        queue           text        not null,
        concurrency     integer,
        key_concurrency integer,
        paused_at       timestamptz,
        pause_reason    text,
        created_at      timestamptz not null default pg_catalog.clock_timestamp(),
        dropped_at      timestamptz,
        constraint queue_pkey primary key (queue_id),
        constraint queue_name_is_unique unique (queue),
        constraint queue_concurrency_not_negative check (concurrency >= 0),
        constraint queue_key_concurrency_not_negative check (key_concurrency >= 0)
    );
    comment on table sluice.queue is 'Where runs wait: limits and pause.  Read the view sluice.queues.';

    create table sluice.task (
        task_id      integer          not null generated always as identity,
        task         text             not null,
        executor     text             not null,
        target       text,
        is_function  boolean          not null default false,
        queue_id     integer          not null,
        max_attempts smallint         not null,
        factor       double precision not null,
        min_delay    interval         not null,
        max_delay    interval         not null,
        randomize    boolean          not null,
        lease        interval,
        max_duration interval,
        options      jsonb            not null default '{}',
        role         text,
        search_path  text,
        created_at   timestamptz      not null default pg_catalog.clock_timestamp(),
        updated_at   timestamptz      not null default pg_catalog.clock_timestamp(),
        dropped_at   timestamptz,
        owner        text,
        owner_id     oid,
        ttl          interval,
        machine      text,
        oom_machine  text,
        retention    interval,
        heartbeat    interval,
        on_lost      text             not null default 'retry',
        constraint task_pkey primary key (task_id),
        constraint task_name_is_unique unique (task),
        constraint task_queue_exists foreign key (queue_id) references sluice.queue,
        constraint task_executor_known check (executor in ('sql', 'process', 'python', 'http', 'external')),
        constraint task_attempts_in_range check (max_attempts between 1 and 250),
        constraint task_sql_has_target_and_role check (executor <> 'sql' or (target is not null and role is not null)),
        constraint task_python_and_http_have_target check (executor not in ('python', 'http') or target is not null),
        constraint task_on_lost_known check (on_lost in ('retry', 'fail')),
        constraint task_max_duration_at_least_5_seconds check (max_duration >= interval '5 seconds')
    );
    comment on table sluice.task is 'Definitions: how a task runs, where it waits, how it is retried.  Read the view sluice.tasks.';

    create table sluice.task_grant (
        task_id    integer     not null,
        role       text        not null,
        role_id    oid         not null,
        granted_by text        not null,
        granted_at timestamptz not null default pg_catalog.clock_timestamp(),
        constraint task_grant_pkey primary key (task_id, role_id)
    );
    comment on table sluice.task_grant is 'Which roles may use a task beside its owner.  Read the view sluice.tasks.';

    create table sluice.queue_grant (
        queue_id   integer     not null,
        role       text        not null,
        role_id    oid         not null,
        granted_by text        not null,
        granted_at timestamptz not null default pg_catalog.clock_timestamp(),
        constraint queue_grant_pkey primary key (queue_id, role_id)
    );
    comment on table sluice.queue_grant is 'Which roles may use a queue that may not use all.  Read the view sluice.queues.';
end
$storage$;

comment on function sluice._storage_task() is 'Step of setup(): makes the tables of tasks and queues.';
