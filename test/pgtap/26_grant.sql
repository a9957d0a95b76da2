-- Roles: what readers, producers, workers and admins can do, and that plain roles can do nothing.
\ir lib/helper.psql
select login('t_reader', 'sluice_reader'), login('t_payload', 'sluice_payload_reader'), login('t_monitor', 'pg_monitor'), login('t_producer', 'sluice_producer'), login('t_worker', 'sluice_worker'), login('t_caller', 'sluice_caller'), login('t_claimer', 'sluice_claimer'), login('t_admin', 'sluice_admin'), login('t_plain');
select task('t');
select sluice.enqueue('t') as run \gset

-- "ok" or the SQLSTATE, of a call by a role; what it did is undone.
create function can(role text, call text) returns text language plpgsql as $$
declare answer text;
begin
    begin
        answer := said(call, role);
        if answer ~ '^[0-9A-Z]{5}: ' then answer := left(answer, 5); else answer := 'ok'; end if;
        raise sqlstate 'ZZ001';
    exception when sqlstate 'ZZ001' then null;
    end;
    return answer;
end $$;
create temp table calls (name text, call text, reader boolean, producer boolean, worker boolean, admin boolean);
insert into calls values
    ('create_task', $$select sluice.create_task('x', 'external')$$, false, true, false, true),
    ('drop_task', $$select sluice.drop_task('none')$$, false, true, false, true),
    ('grant_task', $$select sluice.grant_task('none', 't_plain')$$, false, true, false, true),
    ('revoke_task', $$select sluice.revoke_task('none', 't_plain')$$, false, true, false, true),
    ('grant_queue', $$select sluice.grant_queue('none', 't_plain')$$, false, false, false, true),
    ('revoke_queue', $$select sluice.revoke_queue('none', 't_plain')$$, false, false, false, true),
    ('set_retention', $$select sluice.set_retention('1 day', 'none')$$, false, true, false, true),
    ('create_queue', $$select sluice.create_queue('q')$$, false, true, false, true),
    ('drop_queue', $$select sluice.drop_queue('none')$$, false, true, false, true),
    ('pause', $$select sluice.pause('task/t')$$, false, true, false, true),
    ('resume', $$select sluice.resume('task/t')$$, false, true, false, true),
    ('enqueue', $$select sluice.enqueue('t')$$, false, true, false, true),
    ('enqueue_result', $$select sluice.enqueue_result('t')$$, false, true, false, true),
    ('enqueue_many', $$select sluice.enqueue_many('t', '{1}')$$, false, true, false, true),
    ('result', $$select sluice.result(1)$$, false, true, false, true),
    ('logs', $$select sluice.logs(1)$$, false, true, false, true),
    ('cancel', $$select sluice.cancel(1)$$, false, true, false, true),
    ('requeue', $$select sluice.requeue(1)$$, false, true, false, true),
    ('reschedule', $$select sluice.reschedule(1, now())$$, false, true, false, true),
    ('replay', $$select sluice.replay(1)$$, false, true, false, true),
    ('count_runs', $$select sluice.count_runs('t')$$, true, true, false, true),
    ('cancel_many', $$select sluice.cancel_many('t')$$, false, true, false, true),
    ('requeue_many', $$select sluice.requeue_many('t')$$, false, true, false, true),
    ('reschedule_many', $$select sluice.reschedule_many(now(), 't')$$, false, true, false, true),
    ('replay_many', $$select sluice.replay_many('r', 't')$$, false, true, false, true),
    ('explain_run', $$select sluice.explain_run(1)$$, true, true, false, true),
    ('watch', $$select sluice.watch('pg_class', '{insert}', 't')$$, false, true, false, true),
    ('unwatch', $$select sluice.unwatch(0)$$, false, true, false, true),
    ('watched', $$select sluice.watched()$$, false, true, false, true),
    ('create_schedule', $$select sluice.create_schedule('s', 't', '@daily')$$, false, true, false, true),
    ('activate_schedule', $$select sluice.activate_schedule('none')$$, false, true, false, true),
    ('deactivate_schedule', $$select sluice.deactivate_schedule('none')$$, false, true, false, true),
    ('drop_schedule', $$select sluice.drop_schedule('none')$$, false, true, false, true),
    ('next_ticks', $$select sluice.next_ticks('none')$$, true, true, false, true),
    ('explain_schedule', $$select sluice.explain_schedule('none')$$, true, true, false, true),
    ('cron_next', $$select sluice.cron_next('@daily')$$, true, true, false, true),
    ('cron_describe', $$select sluice.cron_describe('@daily')$$, true, true, false, true),
    ('claim', $$select sluice.claim('w')$$, false, false, true, true),
    ('complete', $$select sluice.complete(gen_random_uuid())$$, false, false, true, true),
    ('fail', $$select sluice.fail(gen_random_uuid())$$, false, false, true, true),
    ('release', $$select sluice.release(gen_random_uuid())$$, false, false, true, true),
    ('heartbeat', $$select sluice.heartbeat('{}')$$, false, false, true, true),
    ('exchange', $$select sluice.exchange('w')$$, false, false, true, true),
    ('register_worker', $$select sluice.register_worker('w')$$, false, false, true, true),
    ('wait_for_work', $$call sluice.wait_for_work()$$, false, false, true, true),
    ('perform', $$call sluice.perform(gen_random_uuid(), null)$$, false, false, true, true),
    ('clean_session', $$select sluice.clean_session()$$, false, false, true, true),
    ('append_logs', $$select sluice.append_logs(gen_random_uuid(), '[]')$$, false, false, true, true),
    ('set_metadata', $$select sluice.set_metadata(gen_random_uuid(), '{}')$$, false, false, true, true),
    ('add_tags', $$select sluice.add_tags(gen_random_uuid(), '{x}')$$, false, false, true, true),
    ('tasks_to_check', $$select sluice.tasks_to_check('{python}')$$, false, false, true, true),
    ('report_tasks', $$select sluice.report_tasks('w', '{}')$$, false, false, true, true),
    ('try_lead', $$select sluice.try_lead('w')$$, false, false, true, true),
    ('reap_sessions', $$select sluice.reap_sessions()$$, false, false, true, true),
    ('expire_leases', $$select sluice.expire_leases()$$, false, false, true, true),
    ('expire_runs', $$select sluice.expire_runs()$$, false, false, true, true),
    ('fire_schedules', $$select sluice.fire_schedules()$$, false, false, true, true),
    ('announce_due', $$select sluice.announce_due()$$, false, false, true, true),
    ('expire_idempotency_keys', $$select sluice.expire_idempotency_keys()$$, false, false, true, true),
    ('remove_old_runs', $$select sluice.remove_old_runs()$$, false, false, true, true),
    ('sweep', $$select sluice.sweep()$$, false, false, true, true),
    ('version', $$select sluice.version()$$, true, true, true, true),
    ('storage_version', $$select sluice.storage_version()$$, true, true, true, true),
    ('check', $$select sluice.check()$$, true, false, false, true),
    ('doctor', $$select sluice.doctor()$$, true, false, false, true),
    ('index_stats', $$select sluice.index_stats()$$, true, false, false, true),
    ('queue_stats', $$select sluice.queue_stats()$$, true, false, false, true),
    ('reset_queue_stats', $$select sluice.reset_queue_stats()$$, false, false, false, true),
    ('rebuild_index', $$select sluice.rebuild_index()$$, false, false, false, true),
    ('adopt', $$select sluice.adopt()$$, false, false, false, true),
    ('setup', $$select sluice.setup()$$, false, false, false, false),
    ('teardown', $$select sluice.teardown('test')$$, false, false, false, false);
select bag_eq('select name from calls', $$select proname::text from pg_proc where pronamespace = 'sluice'::regnamespace and proname !~ '^_'$$, 'every public function is in this test');
create temp view expected as
select name, call, role, allowed
from calls, lateral (values ('t_reader', reader), ('t_monitor', reader), ('t_payload', reader or name in ('result', 'logs')), ('t_producer', producer), ('t_worker', worker),
                            ('t_admin', admin), ('t_plain', false), ('t_claimer', name in ('claim', 'complete', 'fail', 'release', 'heartbeat', 'append_logs', 'set_metadata', 'add_tags', 'wait_for_work', 'pause',
                             'resume', 'version', 'storage_version'))) as v (role, allowed);
select sluice.grant_queue('task/t', 't_claimer');
select is(can(role, call) <> '42501', allowed, format('%s %s %s', role, case when allowed then 'may' else 'may not' end, name)) from expected where role <> 't_plain';
select is(can('t_plain', call), '42501', 't_plain may not ' || name) from calls;
-- A caller may use what was granted to it, and call no other function.
select is(can('t_caller', call) <> '42501', name in ('version', 'storage_version', 'cancel', 'requeue', 'reschedule', 'replay', 'explain_run', 'result', 'logs',
    'activate_schedule', 'deactivate_schedule', 'drop_schedule', 'next_ticks', 'explain_schedule', 'cron_next', 'cron_describe'), 't_caller and ' || name) from calls;
select sluice.grant_task('t', 't_caller');
select is(can('t_caller', call), 'ok', 't_caller and ' || name || ' of a task that was granted') from calls where name ~ '^enqueue';
select sluice.revoke_task('t', 't_caller');

select is_empty($$select e.role, e.name from expected as e join pg_proc as p on p.proname = e.name and p.pronamespace = 'sluice'::regnamespace
    where e.name <> 'storage_version' and has_schema_privilege(e.role, 'sluice', 'usage') and has_function_privilege(e.role, p.oid, 'execute') <> e.allowed$$, 'the catalog says of functions what happens');

-- Views and tables, each column and each way
create temp view roles as select unnest('{t_reader,t_monitor,t_payload,t_producer,t_caller,t_claimer,t_worker,t_admin,t_plain}'::text[]) as role;
create temp view columns as
select c.oid, c.oid::regclass::text as relation, c.relkind, a.attname as name,
       -- What is jsonb is what runs are about, unless it is known to be something else.
       a.atttypid = 'jsonb'::regtype and (c.relname, a.attname) not in (values ('tasks', 'retry')) as is_content
from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace in ('sluice'::regnamespace, 'sluice_storage'::regnamespace) and c.relkind in ('r', 'p', 'v', 'S');
select cmp_ok((select count(*)::int from columns where relkind = 'v'), '>', 60, 'there are columns of views to look at');
begin;
set local statement_timeout = '10min'; -- in the transaction: through a pool the session's is another client's
select is_empty($$select relation, name, role from columns, roles
    where relkind = 'v' and (can(role, format('select %I from %s limit 0', name, relation)) = 'ok')
                         <> (role in ('t_payload', 't_admin') or role in ('t_reader', 't_monitor') and not is_content)$$, 'a column of a view is read by readers, unless it has contents: then by readers of payloads');
select is_empty($$select relation, name, role from columns, roles where relkind <> 'v' and can(role, format('select %I from %s limit 0', name, relation)) <> '42501'$$, 'a column of a table by nobody');
select is_empty($$select distinct relation, name, role from columns, roles where relkind in ('r', 'p') and has_column_privilege(role, oid, name, 'select, insert, update, references')$$, 'nor has anybody the right');
select is_empty($$select relation, role, s from (select distinct relation, relkind from columns where relkind <> 'S') as c, roles,
        unnest(array['delete from %s', 'truncate %s', 'insert into %s default values', 'lock table %s in share mode']) as s
    where can(role, format(s, relation)) <> '42501' and not (relkind = 'v' and can(role, format(s, relation)) in ('42809', '55000'))$$, 'nothing is changed or locked by hand');
commit;
select is(can('t_reader', 'select * from sluice.runs'), '42501', 'a reader names the columns that it reads of runs');
select is(can('t_reader', 'select count(*) from sluice.runs'), 'ok', 'or none');
select is(can('t_reader', $$select run_id from sluice.runs where payload @> '{}'$$), '42501', 'and does not search by contents');
select is(can('t_admin', s), '42501', 't_admin cannot ' || s) from unnest(array['update sluice.run set priority = 1', 'delete from sluice.slot', 'truncate sluice.run', 'insert into sluice.meta values (false, 1, '''')',
    'select nextval(''sluice.run_seq'')', 'create table sluice.x (a int)', 'create table sluice_storage.x (a int)', 'select count(*) from sluice_storage.run_default', 'drop view sluice.runs']) as s;

-- Private functions
select is_empty($$
    select p.oid::regprocedure, r from pg_proc as p, unnest('{t_reader,t_producer,t_caller,t_claimer,t_worker,t_admin,t_plain}'::text[]) as r
    where p.pronamespace = 'sluice'::regnamespace and p.proname ~ '^_' and has_function_privilege(r, p.oid, 'execute')$$, 'no private function can be called by any of them');
select is(can('t_admin', 'select sluice._complete(gen_random_uuid(), null)'), '42501', 'not even by name');
select is(can('t_worker', 'select sluice._caller()'), '42501', 'nor one that only looks');

-- A right that was taken away holds at once, also where a plan was made before.
select connect('p', 't_producer');
select is(left(in_session('p', 'select sluice.enqueue(''t'')'), 2), '25', 'a producer enqueues');
revoke sluice_producer from t_producer;
select is(left(in_session('p', 'select sluice.enqueue(''t'')'), 6), '42501:', 'until the role is taken away');
grant sluice_producer to t_producer;
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
