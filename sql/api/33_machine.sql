-- Machines: what the programs of a task may use, and the larger one on which a run is tried again.
--
-- Sizes and the words of errors are in extension/core, which the sidecar shares.  A task has its machine in its own row; a
-- run that has another one, because its caller said so or because it ran out of memory, has it in payload.options.

create function sluice._machine_memory(machine text) returns bigint
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_machine_memory';
comment on function sluice._machine_memory(text) is 'Bytes of memory of a machine; null if there is none of that name.';

create function sluice._told_death(name text, message text, code text, stack text) returns text
language c immutable parallel safe as 'MODULE_PATHNAME', 'sluice_told_death';
comment on function sluice._told_death(text, text, text, text) is 'The code of the death of a program, by want of memory or a signal, that an error tells of; null for none.';

create function sluice._told_death(error jsonb) returns text
language sql immutable
begin atomic
    select case pg_catalog.jsonb_typeof(error)
        when 'object' then sluice._told_death(error ->> 'name', error ->> 'message', error ->> 'code', error ->> 'stackTrace')
        when 'string' then sluice._told_death(null, error #>> '{}', null, null)
    end;
end;
comment on function sluice._told_death(jsonb) is 'The same of an error of any JSON shape.';

create function sluice._assert_machine(argument text, machine text, executor text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if machine is null then
        return;
    end if;
    if executor in ('sql', 'http') then
        perform sluice._refuse(argument, format('means nothing to a task with executor %s', executor), 'Leave it out: nothing of it runs on a machine of its own.');
    end if;
    if sluice._machine_memory(machine) is null then
        perform sluice._refuse(argument, format('"%s" is not known', left(machine, 64)),
                               'The machines are micro, small-1x, small-2x, medium-1x, medium-2x, large-1x and large-2x.');
    end if;
end
$$;
comment on function sluice._assert_machine(text, text, text) is 'Raises SL006 for a machine that does not exist, or that the executor has no use for.';

create function sluice._machine_of_task(machine text, executor text) returns text
language sql immutable
begin atomic
    select coalesce(machine, case when executor in ('process', 'python') then 'small-1x' end);
end;
comment on function sluice._machine_of_task(text, text) is 'The machine of a task for which this one was given, or none.';

-- The machine on which a run is tried again that ran out of memory: the task's, if it is larger than the one that it had.
create function sluice._larger_machine(run_id bigint) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    larger text;
    now_on text;
begin
    select t.oom_machine, coalesce(t.machine, 'small-1x') into larger, now_on
    from sluice.task as t
    where t.task_id = (select r.task_id from sluice.run as r where r.run_id = _larger_machine.run_id);
    if larger is null then
        return null;
    end if;
    now_on := coalesce((select p.options ->> 'machine' from sluice.payload as p where p.run_id = _larger_machine.run_id), now_on);
    return case when sluice._machine_memory(larger) > sluice._machine_memory(now_on) then larger end;
end
$$;
comment on function sluice._larger_machine(bigint) is 'The larger machine on which a run that ran out of memory may be tried again; null for none.';

create function sluice._set_machine(run_id bigint, machine text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into sluice.payload as p (run_id, options)
    values (_set_machine.run_id, jsonb_build_object('machine', _set_machine.machine))
    on conflict on constraint payload_pkey
    do update set options = coalesce(p.options, '{}') || excluded.options;
end
$$;
comment on function sluice._set_machine(bigint, text) is 'Gives a run another machine from its next attempt on.  The caller has locked its row.';

-- A sidecar gives back a run for whose machine its memory does not suffice.  A larger one may come for it; where none is
-- registered the run waits longer each time, and after eight times, some minutes, it fails.
create function sluice._give_to_larger(run_id bigint, attempt integer, error jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    r       record;
    needed  bigint;
    most    bigint;
    problem jsonb;
begin
    select run.class, run.releases, run.token, run.worker, run.claimed_at, t.executor, q.queue,
           coalesce((select p.options ->> 'machine' from sluice.payload as p where p.run_id = _give_to_larger.run_id), t.machine, 'small-1x') as machine
    into r
    from sluice.run as run
    join sluice.task as t on t.task_id = run.task_id
    join sluice.queue as q on q.queue_id = run.queue_id
    where run.run_id = _give_to_larger.run_id;
    needed := sluice._machine_memory(r.machine);
    most := sluice._most_memory(r.executor, r.queue);
    if most >= needed then
        perform sluice._queue_again(_give_to_larger.run_id, clock_timestamp() + interval '1 second', r.class, _give_to_larger.attempt - 1);
    elsif r.releases < 8 then
        perform sluice._queue_again(_give_to_larger.run_id, clock_timestamp() + least(60, 2 ^ r.releases) * interval '1 second',
                                    r.class, _give_to_larger.attempt - 1);
        update sluice.run as run set releases = run.releases + 1 where run.run_id = _give_to_larger.run_id;
    else
        problem := jsonb_build_object('code', 'MACHINE_TOO_LARGE', 'machine', r.machine, 'message',
            format('machine %s needs %s MiB, and no sidecar that takes queue %s has more than %s MiB for its attempts',
                   r.machine, needed / 1048576, r.queue, coalesce(most, 0) / 1048576));
        perform sluice._write_attempt(_give_to_larger.run_id, _give_to_larger.attempt, 'failed', r.token, r.worker, r.claimed_at, problem);
        perform sluice._finish_run(_give_to_larger.run_id, 'failed', null, problem);
        return;
    end if;
    -- The next attempt has this one's number, and its lines theirs.
    delete from sluice.log as l where l.run_id = _give_to_larger.run_id and l.attempt = _give_to_larger.attempt;
end
$$;
comment on function sluice._give_to_larger(bigint, integer, jsonb) is
    'Puts a run back for a sidecar with more memory; fails it when there has been none for some minutes.  The caller has locked its row.';

create function sluice._most_memory(executor text, queue text) returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
    select max(coalesce(w.memory, 9223372036854775807)) from sluice.worker as w -- of a worker that did not say nothing is known
    where sluice._session_alive(w.pid, w.session_start)
      and (w.queues is null or _most_memory.queue = any (w.queues))
      and (w.executors is null or _most_memory.executor = any (w.executors))
$$;
comment on function sluice._most_memory(text, text) is 'The largest memory of a registered worker that takes a queue and runs an executor; null without one.';

-- What programs used, told with their outcomes by whoever still owns the attempt, or did until it was canceled.
create function sluice._write_resources(outcomes jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
    insert into sluice.resource (run_id, attempt, machine, enforced_by, wall, cpu_user, cpu_system, memory_limit, peak_memory,
                                 read_bytes, written_bytes)
    select r.run_id, r.attempt, u.machine, u.enforced_by, u.wall, u.cpu_user, u.cpu_system, u.memory_limit, u.peak_memory,
           u.read_bytes, u.written_bytes
    from jsonb_array_elements(_write_resources.outcomes) as o
    cross join lateral jsonb_to_record(o -> 'usage') as u (machine text, enforced_by text, wall double precision, cpu_user double precision,
        cpu_system double precision, memory_limit bigint, peak_memory bigint, read_bytes bigint, written_bytes bigint)
    cross join lateral (
        select run.run_id, run.attempt from sluice.run as run
        where run.run_id = sluice._token_run((o ->> 'token')::uuid) and run.token = (o ->> 'token')::uuid
        limit 1
    ) as r
    where jsonb_typeof(o -> 'usage') = 'object' and o ->> 'outcome' <> 'released'
    on conflict on constraint resource_pkey do nothing;
end
$$;
comment on function sluice._write_resources(jsonb) is 'Records what attempts used of their machines, where their outcomes say so.';
