-- Roles: what readers, producers, workers and admins can do, and that plain roles can do nothing.
\ir lib/helper.psql
select login('t_reader', 'sluice_reader'), login('t_producer', 'sluice_producer'), login('t_worker', 'sluice_worker'), login('t_caller', 'sluice_caller'), login('t_admin', 'sluice_admin'), login('t_plain');
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
    ('create_queue', $$select sluice.create_queue('q')$$, false, true, false, true),
    ('drop_queue', $$select sluice.drop_queue('none')$$, false, true, false, true),
    ('pause', $$select sluice.pause('task/t')$$, false, true, false, true),
    ('resume', $$select sluice.resume('task/t')$$, false, true, false, true),
    ('enqueue', $$select sluice.enqueue('t')$$, false, true, false, true),
    ('enqueue_result', $$select sluice.enqueue_result('t')$$, false, true, false, true),
    ('enqueue_many', $$select sluice.enqueue_many('t', '{1}')$$, false, true, false, true),
    ('result', $$select sluice.result(1)$$, true, true, false, true),
    ('logs', $$select sluice.logs(1)$$, true, true, false, true),
    ('cancel', $$select sluice.cancel(1)$$, false, true, false, true),
    ('requeue', $$select sluice.requeue(1)$$, false, true, false, true),
    ('reschedule', $$select sluice.reschedule(1, now())$$, false, true, false, true),
    ('replay', $$select sluice.replay(1)$$, false, true, false, true),
    ('explain_run', $$select sluice.explain_run(1)$$, true, true, false, true),
    ('watch', $$select sluice.watch('pg_class', '{insert}', 't')$$, false, true, false, true),
    ('unwatch', $$select sluice.unwatch(0)$$, false, true, false, true),
    ('watched', $$select sluice.watched()$$, false, true, false, true),
    ('claim', $$select sluice.claim('w')$$, false, false, true, true),
    ('complete', $$select sluice.complete(gen_random_uuid())$$, false, false, true, true),
    ('fail', $$select sluice.fail(gen_random_uuid())$$, false, false, true, true),
    ('release', $$select sluice.release(gen_random_uuid())$$, false, false, true, true),
    ('heartbeat', $$select sluice.heartbeat('{}')$$, false, false, true, true),
    ('exchange', $$select sluice.exchange('w')$$, false, false, true, true),
    ('register_worker', $$select sluice.register_worker('w')$$, false, false, true, true),
    ('wait_for_work', $$call sluice.wait_for_work()$$, false, false, true, true),
    ('perform', $$call sluice.perform(gen_random_uuid(), null)$$, false, false, true, true),
    ('append_logs', $$select sluice.append_logs(gen_random_uuid(), '[]')$$, false, false, true, true),
    ('try_lead', $$select sluice.try_lead('w')$$, false, false, true, true),
    ('reap_sessions', $$select sluice.reap_sessions()$$, false, false, true, true),
    ('expire_leases', $$select sluice.expire_leases()$$, false, false, true, true),
    ('expire_runs', $$select sluice.expire_runs()$$, false, false, true, true),
    ('announce_due', $$select sluice.announce_due()$$, false, false, true, true),
    ('expire_idempotency_keys', $$select sluice.expire_idempotency_keys()$$, false, false, true, true),
    ('sweep', $$select sluice.sweep()$$, false, false, true, true),
    ('version', $$select sluice.version()$$, true, true, true, true),
    ('storage_version', $$select sluice.storage_version()$$, true, true, true, true),
    ('check', $$select sluice.check()$$, true, false, false, true),
    ('doctor', $$select sluice.doctor()$$, true, false, false, true),
    ('index_stats', $$select sluice.index_stats()$$, true, false, false, true),
    ('rebuild_index', $$select sluice.rebuild_index()$$, false, false, false, true),
    ('adopt', $$select sluice.adopt()$$, false, false, false, true),
    ('setup', $$select sluice.setup()$$, false, false, false, false),
    ('teardown', $$select sluice.teardown('test')$$, false, false, false, false);
select bag_eq('select name from calls', $$select proname::text from pg_proc where pronamespace = 'sluice'::regnamespace and proname !~ '^_'$$, 'every public function is in this test');
select is(can(role, call) <> '42501', allowed, format('%s %s %s', role, case when allowed then 'may' else 'may not' end, name))
from calls, lateral (values ('t_reader', reader), ('t_producer', producer), ('t_worker', worker), ('t_admin', admin)) as v (role, allowed);
select is(can('t_plain', call), '42501', 't_plain may not ' || name) from calls;
-- A caller may use what was granted to it, and call no other function.
select is(can('t_caller', call) <> '42501', name in ('version', 'storage_version', 'cancel', 'requeue', 'reschedule', 'replay', 'explain_run', 'result', 'logs'), 't_caller and ' || name) from calls;
select sluice.grant_task('t', 't_caller');
select is(can('t_caller', call), 'ok', 't_caller and ' || name || ' of a task that was granted') from calls where name ~ '^enqueue';
select sluice.revoke_task('t', 't_caller');

-- Views and tables
select is(can(role, 'select count(*) from sluice.' || v) = 'ok', role in ('t_reader', 't_admin'), format('%s and the view %s', role, v))
from unnest('{t_reader,t_producer,t_caller,t_worker,t_admin,t_plain}'::text[]) as role, unnest('{runs,attempts,queues,lanes,tasks,workers,watches}'::text[]) as v;
select is(can(role, 'select count(*) from sluice.' || t), '42501', format('%s cannot read the table %s', role, t))
from unnest('{t_reader,t_producer,t_caller,t_worker,t_admin,t_plain}'::text[]) as role, unnest('{run,payload,output,attempt,log,slot,lease,worker,task,task_grant,queue,meta,leader,rotation,idempotency_key,expiry}'::text[]) as t;
select is(can('t_admin', s), '42501', 't_admin cannot ' || s) from unnest(array['update sluice.run set priority = 1', 'delete from sluice.slot', 'truncate sluice.run', 'insert into sluice.meta values (false, 1, '''')',
    'select nextval(''sluice.run_seq'')', 'create table sluice.x (a int)', 'create table sluice_storage.x (a int)', 'select count(*) from sluice_storage.run_default', 'drop view sluice.runs']) as s;

-- Private functions
select is_empty($$
    select p.oid::regprocedure, r from pg_proc as p, unnest('{t_reader,t_producer,t_caller,t_worker,t_admin,t_plain}'::text[]) as r
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
