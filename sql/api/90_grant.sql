-- Grants: who may call what.  Last, so that it sees everything above.
--
-- Nothing is for PUBLIC.  Private functions are for the storage's owner alone; public ones for the roles below.  What a
-- role may do with one task is decided inside of them (sql/api/35_right.sql).  pg_monitor, which is Postgres' own, may
-- what sluice_reader may: it sees how things are, and not what they are about (docs/design/010-roles.md).

create function sluice._grants() returns table (role text, routine text)
language sql immutable parallel safe
begin atomic
    select g.role, f.routine
    from (values
        ('sluice_producer', array['count_runs', 'cancel_many', 'requeue_many', 'reschedule_many', 'replay_many',
                                  'create_task', 'drop_task', 'create_queue', 'drop_queue', 'pause', 'resume', 'enqueue',
                                  'enqueue_result', 'enqueue_many', 'result', 'logs', 'cancel', 'requeue', 'reschedule',
                                  'replay', 'explain_run', 'watch', 'unwatch', 'watched', 'grant_task', 'revoke_task', 'set_retention',
                                  'create_schedule', 'activate_schedule', 'deactivate_schedule', 'drop_schedule', 'next_ticks', 'explain_schedule',
                                  'cron_next', 'cron_describe', 'version', 'storage_version']),
        ('sluice_caller',   array['count_runs', 'cancel_many', 'requeue_many', 'reschedule_many', 'replay_many',
                                  'pause', 'resume', 'enqueue', 'enqueue_result', 'enqueue_many', 'result', 'logs', 'cancel', 'requeue',
                                  'reschedule', 'replay', 'explain_run',
                                  'create_schedule', 'activate_schedule', 'deactivate_schedule', 'drop_schedule', 'next_ticks', 'explain_schedule',
                                  'cron_next', 'cron_describe', 'version', 'storage_version']),
        ('sluice_claimer',  array['claim', 'complete', 'fail', 'release', 'heartbeat', 'append_logs', 'set_metadata', 'add_tags', 'wait_for_work', 'pause',
                                  'resume', 'version', 'storage_version']),
        ('sluice_worker',   array['claim', 'complete', 'fail', 'release', 'heartbeat', 'exchange', 'register_worker',
                                  'wait_for_work', 'perform', 'clean_session', 'tasks_to_check', 'report_tasks', 'append_logs', 'set_metadata', 'add_tags', 'try_lead', 'reap_sessions', 'expire_leases',
                                  'expire_runs', 'fire_schedules', 'announce_due', 'expire_idempotency_keys', 'remove_old_runs', 'sweep', 'version',
                                  'storage_version']),
        ('sluice_reader',   array['count_runs', 'explain_run', 'check', 'doctor', 'index_stats', 'queue_stats', 'next_ticks', 'explain_schedule',
                                  'cron_next', 'cron_describe', 'version', 'storage_version']),
        ('sluice_payload_reader', array['result', 'logs']),
        ('sluice_admin',    array['reset_queue_stats', 'adopt', 'check', 'index_stats', 'rebuild_index', 'grant_queue', 'revoke_queue'])
    ) as r (role, routines)
    cross join lateral (
        select r.role
        union all
        select 'pg_monitor' where r.role = 'sluice_reader'
    ) as g
    cross join lateral pg_catalog.unnest(r.routines) as f (routine);
end;
comment on function sluice._grants() is 'Which role may call which public function; sluice_admin is a member of the others.';

-- What runs are about, as opposed to how they fare.
create function sluice._contents() returns table (relation text, of_column text)
language sql immutable parallel safe
begin atomic
    values ('runs', 'payload'), ('runs', 'output'), ('runs', 'error'), ('runs', 'metadata'),
           ('attempts', 'error'), ('tasks', 'options'), ('schedules', 'payload'), ('schedules', 'options');
end;
comment on function sluice._contents() is 'Columns of views that sluice_payload_reader reads and sluice_reader does not.';

create function sluice._grant_all(owner name) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry    record;
    columns  text;
    withheld boolean;
    too_much boolean;
begin
    execute format('revoke all on schema sluice from public');
    execute format('grant usage on schema sluice to %I, pg_monitor, %s', _grant_all.owner,
                   (select string_agg(r.role, ', ') from sluice._role_comments() as r where r.role <> 'sluice_owner'));

    for entry in
        select p.oid::regprocedure as routine, left(p.proname, 1) = '_' as is_private
        from pg_proc as p
        where p.pronamespace = 'sluice'::regnamespace
    loop
        execute format('revoke all on routine %s from public', entry.routine);
        if entry.is_private then
            execute format('grant execute on routine %s to %I', entry.routine, _grant_all.owner);
        end if;
    end loop;

    for entry in
        select p.oid::regprocedure as routine, g.role
        from sluice._grants() as g
        join pg_proc as p on p.proname = g.routine and p.pronamespace = 'sluice'::regnamespace
    loop
        execute format('grant execute on routine %s to %I', entry.routine, entry.role);
    end loop;

    -- A view of the extension has its function's name, and is for whoever may call that.
    for entry in
        select c.oid::regclass as name, string_agg(g.role, ', ') as roles
        from sluice._grants() as g
        join pg_class as c on c.relname = g.routine and c.relnamespace = 'sluice'::regnamespace and c.relkind = 'v'
        group by c.oid
    loop
        execute format('revoke all on %s from public', entry.name);
        execute format('grant select on %s to %s', entry.name, entry.roles);
    end loop;

    for entry in select s.relation::regclass as name, s.kind from sluice._storage_relations() as s loop
        execute format('revoke all on %s from public', entry.name);
        if entry.kind = 'v' then
            execute format('grant select on %s to sluice_payload_reader', entry.name);
            select '(' || string_agg(format('%I', a.attname), ', ' order by a.attnum) filter (where c.of_column is null) || ')',
                   bool_or(c.of_column is not null), bool_or(c.of_column is not null and has_column_privilege('sluice_reader', a.attrelid, a.attnum, 'select'))
            into columns, withheld, too_much
            from pg_attribute as a
            left join sluice._contents() as c on to_regclass('sluice.' || c.relation) = a.attrelid and c.of_column = a.attname
            where a.attrelid = entry.name and a.attnum > 0;
            if too_much then
                execute format('revoke all on %s from sluice_reader', entry.name); -- a release that withheld less; columns too
            end if;
            execute format('grant select %s on %s to sluice_reader, pg_monitor', case when withheld then columns end, entry.name);
        end if;
    end loop;
end
$$;
comment on function sluice._grant_all(name) is 'Step of setup(), each time: grants functions and views to the roles.';

revoke all on all routines in schema sluice from public;
