-- Grants: who may call what.  Last, so that it sees everything above.
--
-- Nothing is for PUBLIC.  Private functions are for the storage's owner alone; public ones for five roles.  What a role
-- may do with one task is decided inside of them (sql/api/35_right.sql).

create function sluice._grants() returns table (role text, routine text)
language sql immutable parallel safe
begin atomic
    select r.role, f.routine
    from (values
        ('sluice_producer', array['create_task', 'drop_task', 'create_queue', 'drop_queue', 'pause', 'resume', 'enqueue',
                                  'enqueue_result', 'enqueue_many', 'result', 'logs', 'cancel', 'requeue', 'reschedule',
                                  'replay', 'explain_run', 'watch', 'unwatch', 'watched', 'grant_task', 'revoke_task',
                                  'cron_next', 'cron_describe', 'version', 'storage_version']),
        ('sluice_caller',   array['enqueue', 'enqueue_result', 'enqueue_many', 'result', 'logs', 'cancel', 'requeue',
                                  'reschedule', 'replay', 'explain_run', 'cron_next', 'cron_describe', 'version',
                                  'storage_version']),
        ('sluice_worker',   array['claim', 'complete', 'fail', 'release', 'heartbeat', 'exchange', 'register_worker',
                                  'wait_for_work', 'perform', 'append_logs', 'try_lead', 'reap_sessions', 'expire_leases',
                                  'expire_runs', 'announce_due', 'expire_idempotency_keys', 'sweep', 'version', 'storage_version']),
        ('sluice_reader',   array['result', 'logs', 'explain_run', 'check', 'doctor', 'index_stats', 'cron_next', 'cron_describe',
                                  'version', 'storage_version']),
        ('sluice_admin',    array['adopt', 'check', 'index_stats', 'rebuild_index'])
    ) as r (role, routines)
    cross join lateral pg_catalog.unnest(r.routines) as f (routine);
end;
comment on function sluice._grants() is 'Which role may call which public function; sluice_admin is a member of the others.';

create function sluice._grant_all(owner name) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry record;
begin
    execute format('revoke all on schema sluice from public');
    execute format('grant usage on schema sluice to %I, sluice_producer, sluice_caller, sluice_worker, sluice_reader, sluice_admin', _grant_all.owner);
    grant sluice_producer, sluice_caller, sluice_worker, sluice_reader to sluice_admin;

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

    for entry in select s.relation::regclass as name, s.kind from sluice._storage_relations() as s loop
        execute format('revoke all on %s from public', entry.name);
        if entry.kind = 'v' then
            execute format('grant select on %s to sluice_reader', entry.name);
        end if;
    end loop;
end
$$;
comment on function sluice._grant_all(name) is 'Step of setup(), each time: grants functions and views to the roles.';

revoke all on all routines in schema sluice from public;
