-- Fitness: which tasks a worker could not run here, found before a run has failed for it.
--
-- Whether an interpreter has the packages that a task requires, only its machine knows.  Workers that look beforehand ask
-- for tasks to look at, and report what they found; doctor() shows it.

create function sluice.tasks_to_check(executors text[], queues text[] default null)
returns table (task text, executor text, target text, options jsonb, machine text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.tasks_to_check(text[], text[]) is
    'Tasks of these executors that a worker of these queues may be handed runs of, as they are defined now.';

create function sluice._tasks_to_check(executors text[], queues text[])
returns table (task text, executor text, target text, options jsonb, machine text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select t.task, t.executor, t.target, t.options, t.machine
    from sluice.task as t
    join sluice.queue as q on q.queue_id = t.queue_id
    where t.dropped_at is null and t.executor = any (_tasks_to_check.executors)
      and (_tasks_to_check.queues is null or q.queue = any (_tasks_to_check.queues))
    order by t.task;
end
$$;
comment on function sluice._tasks_to_check(text[], text[]) is 'Twin of tasks_to_check().';

create function sluice.report_tasks(worker text, problems jsonb) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.report_tasks(text, jsonb) is
    'Which tasks a registered worker cannot run, with the code that their runs would fail with, in place of what it reported before: {"task": "CONFIGURED_INCORRECTLY"}.';

create function sluice._report_tasks(worker text, problems jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if jsonb_typeof(_report_tasks.problems) is distinct from 'object'
       or (select count(*) > 100 or bool_or(length(p.key) > 200 or jsonb_typeof(p.value) <> 'string' or p.value #>> '{}' !~ '^[A-Z_]{1,64}$')
           from jsonb_each(_report_tasks.problems) as p)
    then
        perform sluice._refuse('problems', 'must be an object of at most 100 tasks and codes', 'For example {"plot": "CONFIGURED_INCORRECTLY"}.');
    end if;
    update sluice.worker as w set problems = nullif(_report_tasks.problems, '{}') where w.worker = _report_tasks.worker;
    if not found then
        perform sluice._refuse('worker', format('"%s" is not registered', left(_report_tasks.worker, 200)), 'Call sluice.register_worker in a session that stays.');
    end if;
end
$$;
comment on function sluice._report_tasks(text, jsonb) is 'Twin of report_tasks().';
