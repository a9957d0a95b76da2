-- Tasks and queues: define, limit, pause, drop.

create function sluice._assert_name(kind text, name text, longest integer default 128) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if _assert_name.name is null then
        raise exception using
            errcode = 'SL004',
            message = format('the name of a %s must not be null', _assert_name.kind),
            hint    = format('Give the %s a name.', _assert_name.kind);
    end if;
    if length(_assert_name.name) > longest or _assert_name.name !~ '^[A-Za-z0-9_/-]+$' then
        raise exception using
            errcode = 'SL004',
            message = format('"%s" is not a valid name of a %s', left(_assert_name.name, 64), _assert_name.kind),
            detail  = format('A name has 1 to %s characters: letters, digits, underscore, hyphen and slash.', longest),
            hint    = 'Choose another name; names are never changed silently.';
    end if;
end
$$;
comment on function sluice._assert_name(text, text, integer) is 'Raises SL004 unless the name may be given to a task or queue.';

create function sluice._queue_id(queue text) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer;
begin
    select q.queue_id into id from sluice.queue as q where q.queue = _queue_id.queue and q.dropped_at is null;
    if not found then
        raise exception using
            errcode = 'SL001',
            message = format('queue "%s" does not exist', left(_queue_id.queue, 128)),
            hint    = format('Create it with select sluice.create_queue(%L).', left(_queue_id.queue, 128));
    end if;
    return id;
end
$$;
comment on function sluice._queue_id(text) is 'The number of a queue; raises SL001 if there is none of that name.';

create function sluice._no_such_task(task text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'SL002',
        message = case when _no_such_task.task is null then 'task must not be null'
                       else format('task "%s" does not exist', left(_no_such_task.task, 128)) end,
        hint    = 'Define it with sluice.create_task; the view sluice.tasks lists those that exist.';
end
$$;
comment on function sluice._no_such_task(text) is 'Raises SL002.';

create function sluice._task_id(task text) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer;
begin
    select t.task_id into id from sluice.task as t where t.task = _task_id.task and t.dropped_at is null;
    if not found then
        perform sluice._no_such_task(_task_id.task);
    end if;
    return id;
end
$$;
comment on function sluice._task_id(text) is 'The number of a task; raises SL002 if there is none of that name.';

-- Queues

create function sluice.create_queue(queue text, concurrency integer default null, key_concurrency integer default null)
returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.create_queue(text, integer, integer) is
    'Creates a queue or sets the limits of an existing one: slots of the whole queue and of each concurrency key; null is unlimited, 0 starts nothing.';

create function sluice._create_queue(queue text, concurrency integer, key_concurrency integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._assert_name('queue', _create_queue.queue);
    if _create_queue.concurrency < 0 or _create_queue.key_concurrency < 0 then
        raise exception using
            errcode = 'SL006',
            message = format('the limits of queue "%s" must not be negative', _create_queue.queue),
            hint    = 'Use null for no limit, and 0 to start nothing.';
    end if;

    insert into sluice.queue as q (queue, concurrency, key_concurrency)
    values (_create_queue.queue, _create_queue.concurrency, _create_queue.key_concurrency)
    on conflict on constraint queue_name_is_unique
    do update set concurrency = excluded.concurrency, key_concurrency = excluded.key_concurrency, dropped_at = null;
    perform sluice._index_change_limits(sluice._queue_id(_create_queue.queue));
    perform sluice._wake(); -- a limit may have been raised
end
$$;
comment on function sluice._create_queue(text, integer, integer) is 'Twin of create_queue().';

create function sluice.drop_queue(queue text) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.drop_queue(text) is 'Drops a queue; refused while it has live runs, held slots, or a task that waits there.';

create function sluice._drop_queue(queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id    integer := sluice._queue_id(_drop_queue.queue);
    using_it text;
begin
    select format('Task "%s" waits in it.', t.task) into using_it
    from sluice.task as t where t.queue_id = id and t.dropped_at is null limit 1;
    if using_it is null and exists (select from sluice.run as r where r.finished_at is null and r.queue_id = id) then
        using_it := 'It has runs that are not final.';
    end if;
    if using_it is null and exists (select from sluice.slot as s where s.queue_id = id) then
        using_it := 'A worker still holds a slot of it.';
    end if;
    if using_it is not null then
        raise exception using
            errcode = 'SL103',
            message = format('queue "%s" is in use', _drop_queue.queue),
            detail  = using_it,
            hint    = 'Drop its tasks and wait for its runs, or cancel them.';
    end if;

    update sluice.queue as q set dropped_at = clock_timestamp(), paused_at = null, pause_reason = null where q.queue_id = id;
    delete from sluice.rotation as r where r.queue_id = id;
    delete from sluice.queue_grant as g where g.queue_id = id;
    perform sluice._index_change_limits(id);
end
$$;
comment on function sluice._drop_queue(text) is 'Twin of drop_queue().';

create function sluice.pause(queue text, reason text default null) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.pause(text, text) is
    'Stops handing out runs of a queue.  It still accepts runs, delays fall due, executing runs go on.  Undo with sluice.resume.';

create function sluice._pause(queue text, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer := sluice._own_queue(_pause.queue);
begin
    update sluice.queue as q
    set paused_at = coalesce(q.paused_at, clock_timestamp()), pause_reason = _pause.reason
    where q.queue_id = id;
    perform sluice._index_change_limits(id);
end
$$;
comment on function sluice._pause(text, text) is 'Twin of pause().';

create function sluice.resume(queue text) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.resume(text) is 'Hands out runs of a paused queue again.';

create function sluice._resume(queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer := sluice._own_queue(_resume.queue);
begin
    update sluice.queue as q set paused_at = null, pause_reason = null where q.queue_id = id;
    perform sluice._index_change_limits(id);
    perform sluice._wake();
end
$$;
comment on function sluice._resume(text) is 'Twin of resume().';

-- Tasks

create function sluice._retry_policy(retry jsonb, out max_attempts integer, out factor double precision,
                                     out min_delay interval, out max_delay interval, out randomize boolean, out oom_machine text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text;
begin
    if jsonb_typeof(coalesce(_retry_policy.retry, '{}')) <> 'object' then
        raise exception using
            errcode = 'SL007',
            message = 'retry must be a JSON object',
            hint    = 'For example {"max_attempts": 5, "min_delay": "2 seconds"}.';
    end if;
    select k into unknown from jsonb_object_keys(coalesce(_retry_policy.retry, '{}')) as k
    where k not in ('max_attempts', 'factor', 'min_delay', 'max_delay', 'randomize', 'out_of_memory') limit 1;
    if found then
        raise exception using
            errcode = 'SL007',
            message = format('retry has no setting "%s"', left(unknown, 64)),
            hint    = 'Its settings are max_attempts, factor, min_delay, max_delay, randomize and out_of_memory.';
    end if;

    max_attempts := coalesce((retry ->> 'max_attempts')::integer, 3);
    factor       := coalesce((retry ->> 'factor')::double precision, 2);
    min_delay    := coalesce((retry ->> 'min_delay')::interval, interval '1 second');
    max_delay    := coalesce((retry ->> 'max_delay')::interval, interval '1 minute');
    randomize    := coalesce((retry ->> 'randomize')::boolean, true);
    oom_machine  := retry -> 'out_of_memory' ->> 'machine';

    if coalesce(jsonb_typeof(retry -> 'out_of_memory'), 'null') <> 'null'
        and (jsonb_typeof(retry -> 'out_of_memory') <> 'object' or oom_machine is null
             or exists (select from jsonb_object_keys(retry -> 'out_of_memory') as k where k <> 'machine'))
    then
        raise exception using
            errcode = 'SL007',
            message = 'out_of_memory of retry must name a machine, and nothing else',
            hint    = 'For example {"out_of_memory": {"machine": "large-1x"}}.';
    end if;

    if max_attempts not between 1 and 250 or not factor between 1 and 1000
        or min_delay < interval '0' or max_delay < min_delay or max_delay > interval '3650 days'
    then
        raise exception using
            errcode = 'SL007',
            message = 'the retry policy is out of range',
            detail  = 'max_attempts is 1 to 250, factor 1 to 1000, min_delay at least 0, max_delay at least min_delay and at most 3650 days.',
            hint    = 'Correct the policy; what is left out has the defaults 3, 2, 1 second, 1 minute, randomized.';
    end if;
end
$$;
comment on function sluice._retry_policy(jsonb) is 'Reads a retry policy, fills in the defaults and raises SL007 for one that is wrong.';

create function sluice._is_function_name(target text) returns boolean
language sql immutable parallel safe
begin atomic
    select target operator(pg_catalog.~)
           '^\s*("([^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*)(\.("([^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*))?\s*$';
end;
comment on function sluice._is_function_name(text) is 'Whether the target of an sql task names a function; otherwise it is a statement.';

create function sluice._assert_sql_target(role text, search_path text, target text, is_function boolean) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_assert_sql_target';
comment on function sluice._assert_sql_target(text, text, text, boolean) is
    'Raises what Postgres says if that role could not run that target: no such function, no right to it, a syntax error.';

create function sluice.create_task(
    task         text,
    executor     text     default 'sql',
    target       text     default null,
    queue        text     default null,
    retry        jsonb    default null,
    lease        interval default null,
    max_duration interval default null,
    options      jsonb    default '{}',
    role         name     default null,
    ttl          text     default null,
    machine      text     default null,
    heartbeat    interval default null,
    on_lost      text     default 'retry')
returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.create_task(text, text, text, text, jsonb, interval, interval, jsonb, name, text, text, interval, text) is
    'Defines a task, or defines it anew: executor sql (target: a function of the payload, or a statement with the payload as $1), process (options: argv, shell, env, cwd, output), python (target: a script, module:function or code), http (target: a URL) or external (a client claims it).  Without a queue it waits in task/<name>.';

create function sluice._create_task(
    task text, executor text, target text, queue text, retry jsonb, lease interval, max_duration interval, options jsonb, role name,
    ttl text, machine text, heartbeat interval, on_lost text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    policy     record;
    caller     name := pg_get_userbyid(sluice._caller());
    previous   record;
    queue_id   integer;
    queue_name text := coalesce(_create_task.queue, 'task/' || _create_task.task);
    runs_as    name;
    owner      name;
    life       interval := nullif(sluice._ttl(_create_task.ttl), interval '0');
begin
    -- "task/" and the name together must still be the name of a queue.
    perform sluice._assert_name('task', _create_task.task, 123);
    policy := sluice._retry_policy(_create_task.retry);

    if sluice._is_executor(_create_task.executor) is not true then
        raise exception using
            errcode = 'SL006',
            message = format('executor "%s" is not known', left(_create_task.executor, 64)),
            hint    = 'The executors are sql, process, python, http and external.';
    end if;
    if _create_task.max_duration < interval '5 seconds' or _create_task.max_duration > interval '3650 days'
        or _create_task.lease < interval '1 second' or _create_task.lease > interval '1 day' then
        raise exception using
            errcode = 'SL006',
            message = format('lease or max_duration of task "%s" is out of range', _create_task.task),
            hint    = 'A lease is 1 second to 1 day, max_duration 5 seconds to 3650 days.';
    end if;
    if _create_task.heartbeat < interval '0.1 seconds'
        or _create_task.heartbeat > coalesce(_create_task.lease, current_setting('sluice.default_lease')::interval) / 2 then
        perform sluice._refuse('heartbeat', 'must be 0.1 seconds to half of the lease', 'One that is lost on the way must not end the lease.');
    end if;
    if coalesce(_create_task.on_lost, '') not in ('retry', 'fail') then
        perform sluice._refuse('on_lost', 'must be "retry" or "fail"', 'With retry a run whose worker was lost is tried again while it has attempts left; with fail it ends as system_failure.');
    end if;
    if jsonb_typeof(coalesce(_create_task.options, '{}')) <> 'object' then
        raise exception using
            errcode = 'SL006',
            message = 'options must be a JSON object',
            hint    = 'Leave it out for no options.';
    end if;

    perform sluice._assert_machine('machine', _create_task.machine, _create_task.executor);
    perform sluice._assert_machine('the machine of out_of_memory', policy.oom_machine, _create_task.executor);
    if sluice._machine_memory(policy.oom_machine) <= sluice._machine_memory(coalesce(_create_task.machine, 'small-1x')) then
        perform sluice._refuse('the machine of out_of_memory', format('must have more memory than %s', coalesce(_create_task.machine, 'small-1x, the default')),
                               'It is the machine for a run that ran out of memory.');
    end if;

    -- One definition at a time: whose the task is must not change between looking and writing.
    lock table sluice.task in share row exclusive mode;
    select t.task_id, t.owner, sluice._role_id(t.owner_id, t.owner) as owner_id, t.dropped_at is not null as is_dropped,
           case when t.dropped_at is null then t.executor end as executor
    into previous from sluice.task as t where t.task = _create_task.task;
    if sluice._is_for_admins(_create_task.executor) or sluice._is_for_admins(previous.executor) then
        if not pg_has_role(caller, 'sluice_admin', 'usage') then
            raise exception using
                errcode = '42501',
                message = format('role "%s" may not define %s tasks', caller,
                                 case when sluice._is_for_admins(_create_task.executor) then _create_task.executor else previous.executor end),
                detail  = 'Such a task runs programs on the machine of a sidecar, or speaks to other machines from there.',
                hint    = 'Ask a member of sluice_admin to define it.';
        end if;
    end if;

    if _create_task.executor = 'sql' then
        if _create_task.target is null or btrim(_create_task.target) = '' then
            raise exception using
                errcode = 'SL006',
                message = format('sql task "%s" needs a target', _create_task.task),
                hint    = 'Give the name of a function that takes jsonb, or a statement that uses the payload as $1.';
        end if;
        runs_as := coalesce(_create_task.role, caller);
        if not exists (select from pg_roles as r where r.rolname = runs_as) then
            raise exception using
                errcode = '42704',
                message = format('role "%s" does not exist', runs_as),
                hint    = 'Create the role, or leave it out to run the task as yourself.';
        end if;
        if not pg_has_role(caller, runs_as, 'member') then
            raise exception using
                errcode = '42501',
                message = format('role "%s" may not define a task that runs as "%s"', caller, runs_as),
                hint    = format('Grant "%s" to "%s", or leave role out.', runs_as, caller);
        end if;
        if coalesce(_create_task.options, '{}') <> '{}' then
            perform sluice._refuse('options', 'mean nothing to an sql task', 'Leave them out.');
        end if;
        perform sluice._assert_sql_target(runs_as, sluice._caller_search_path(), _create_task.target,
                                          sluice._is_function_name(_create_task.target));
    elsif _create_task.role is not null or _create_task.target is not null and _create_task.executor in ('process', 'external') then
        raise exception using
            errcode = 'SL006',
            message = format(case when _create_task.executor in ('process', 'external') then 'a task with executor %s has neither target nor role'
                                  else 'a task with executor %s has no role' end, _create_task.executor),
            hint    = case when _create_task.executor in ('process', 'external') then 'What a process task runs is in its options.'
                           else 'Only an sql task runs as a role.' end;
    end if;
    -- Redefining somebody else's task would give the caller its runs, those of a dropped one too.
    if previous.owner is not null and not pg_has_role(caller, 'sluice_admin', 'usage')
        and not coalesce(pg_has_role(caller, previous.owner_id, 'member'), false) then
        raise exception using
            errcode = '42501',
            message = format('task "%s" belongs to role "%s"', _create_task.task, previous.owner),
            detail  = case when previous.is_dropped then 'It was dropped, but its runs keep its name.'
                           else 'Members of its owner and of sluice_admin may define it anew.' end,
            hint    = format('Define it as a member of "%s", or choose another name.', previous.owner);
    end if;
    -- A task that runs as another role than before is another one: what was granted was the old one.
    if runs_as is not null and pg_get_userbyid(previous.owner_id) is distinct from runs_as then
        delete from sluice.task_grant as g where g.task_id = previous.task_id;
    end if;
    owner := coalesce(runs_as, (select r.rolname from pg_roles as r where r.oid = previous.owner_id), caller);
    perform sluice._assert_task_for(_create_task.executor, _create_task.target, coalesce(_create_task.options, '{}'));

    if _create_task.queue is null then
        insert into sluice.queue (queue) values (queue_name)
        on conflict on constraint queue_name_is_unique
        do update set dropped_at = null, concurrency = null, key_concurrency = null where sluice.queue.dropped_at is not null;
    end if;
    queue_id := sluice._queue_id(queue_name);
    perform sluice._index_change_limits(queue_id);
    if previous.executor <> _create_task.executor then
        perform sluice._index_change_storage(); -- its runs stand among those of the other executor
    end if;

    perform sluice._lease_news();
    insert into sluice.task as t (task, executor, target, is_function, queue_id, max_attempts, factor, min_delay, max_delay,
                                  randomize, lease, max_duration, options, role, search_path, owner, owner_id, ttl,
                                  machine, oom_machine, heartbeat, on_lost)
    values (_create_task.task, _create_task.executor, _create_task.target,
            _create_task.executor = 'sql' and coalesce(sluice._is_function_name(_create_task.target), false),
            queue_id, policy.max_attempts, policy.factor, policy.min_delay, policy.max_delay, policy.randomize,
            _create_task.lease, _create_task.max_duration,
            sluice._options_to_store(_create_task.executor, _create_task.target, coalesce(_create_task.options, '{}')), runs_as,
            case when _create_task.executor = 'sql' then sluice._caller_search_path() end,
            owner, (select r.oid from pg_roles as r where r.rolname = owner), life,
            sluice._machine_of_task(_create_task.machine, _create_task.executor), policy.oom_machine,
            _create_task.heartbeat, _create_task.on_lost)
    on conflict on constraint task_name_is_unique do update
    set (executor, target, is_function, queue_id, max_attempts, factor, min_delay, max_delay, randomize, lease, max_duration,
         options, role, search_path, owner, owner_id, ttl, machine, oom_machine, heartbeat, on_lost, updated_at, dropped_at)
      = (excluded.executor, excluded.target, excluded.is_function, excluded.queue_id, excluded.max_attempts, excluded.factor,
         excluded.min_delay, excluded.max_delay, excluded.randomize, excluded.lease, excluded.max_duration,
         excluded.options, excluded.role, excluded.search_path, excluded.owner, excluded.owner_id, excluded.ttl,
         excluded.machine, excluded.oom_machine, excluded.heartbeat, excluded.on_lost, clock_timestamp(), null);
end
$$;
comment on function sluice._create_task(text, text, text, text, jsonb, interval, interval, jsonb, name, text, text, interval, text) is 'Twin of create_task().';

create function sluice.drop_task(task text) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.drop_task(text) is 'Drops a task; refused while it has runs that are not final, or a table is watched for it.  Its queue stays.';

create function sluice._drop_task(task text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    found_task record;
    caller     name := pg_get_userbyid(sluice._caller());
    watching   record;
begin
    lock table sluice.task in share row exclusive mode;
    select t.task_id, t.owner, sluice._role_id(t.owner_id, t.owner) as owner_id, t.executor
    into found_task from sluice.task as t where t.task = _drop_task.task and t.dropped_at is null;
    if not found then
        perform sluice._no_such_task(_drop_task.task);
    end if;
    if not pg_has_role(caller, 'sluice_admin', 'usage')
        and (sluice._is_for_admins(found_task.executor)
             or found_task.owner is not null and not coalesce(pg_has_role(caller, found_task.owner_id, 'member'), false)) then
        raise exception using
            errcode = '42501',
            message = format('role "%s" may not drop task "%s"', caller, _drop_task.task),
            hint    = 'Drop it as a member of its owner or of sluice_admin.';
    end if;
    if exists (select from sluice.run as r where r.finished_at is null and r.task_id = found_task.task_id) then
        raise exception using
            errcode = 'SL103',
            message = format('task "%s" is in use', _drop_task.task),
            detail  = 'It has runs that are not final.',
            hint    = 'Wait for its runs, or cancel them.';
    end if;
    select w.table_name, w.watch into watching from sluice.watches as w where w.task = _drop_task.task limit 1;
    if found then
        raise exception using
            errcode = 'SL103',
            message = format('task "%s" is in use', _drop_task.task),
            detail  = format('Changes of table %s enqueue it, by the watch "%s".', watching.table_name, watching.watch),
            hint    = format('Run select sluice.unwatch(%L, %L) first.', watching.table_name, watching.watch);
    end if;
    update sluice.task as t set dropped_at = clock_timestamp() where t.task_id = found_task.task_id;
    delete from sluice.task_grant as g where g.task_id = found_task.task_id;
end
$$;
comment on function sluice._drop_task(text) is 'Twin of drop_task().';
