-- Rights to a task: its owner, whom it was granted to, producers and admins, by each function that uses a task.
\ir lib/helper.psql
select login('r_shop', 'sluice_producer'), login('r_other', 'sluice_producer'), login('r_admin', 'sluice_admin'), login('r_reader', 'sluice_payload_reader'),
       login('r_caller', 'sluice_caller'), login('r_team'), login('r_mate', 'sluice_caller', 'r_team'), login('r_plain');
create schema shop;
create function shop.job(payload jsonb) returns text language sql as $$ select current_user::text $$;
grant usage on schema shop to public;
select said($$select sluice.create_task('sql', target => 'shop.job')$$, 'r_shop'), said($$select sluice.create_task('ext', 'external')$$, 'r_shop'),
       said($$select sluice.create_task('proc', 'process', options => '{"argv": ["/bin/true"]}')$$, 'r_admin');
select sluice.enqueue('sql', '1') as sql_run, sluice.enqueue('ext', '1') as ext_run, sluice.enqueue('proc') as proc_run \gset

-- Every way to use a task, as a role: what is refused, in the order of the names.
create function refused(role text, task text, run bigint) returns text
language plpgsql
as $$
declare
    use    record;
    answer text;
    names  text;
begin
    for use in
        select * from (values
            ('cancel', 'select sluice.cancel(%2$s)'),
            ('enqueue', 'select sluice.enqueue(%1$L)'),
            ('enqueue_many', 'select count(*) from sluice.enqueue_many(%1$L, ''{1}'')'),
            ('enqueue_many with options', 'select count(*) from sluice.enqueue_many(%1$L, ''{1}'', ''{"{\"priority\": 1}"}'')'),
            ('enqueue_result', 'select sluice.enqueue_result(%1$L)'),
            ('enqueue with priority', 'select sluice.enqueue(%1$L, priority => 1)'),
            ('explain_run', 'select sluice.explain_run(%2$s)'),
            ('logs', 'select count(*) from sluice.logs(%2$s)'),
            ('replay', 'select sluice.replay(%2$s)'),
            ('requeue', 'select sluice.requeue(%2$s)'),
            ('reschedule', 'select sluice.reschedule(%2$s, now())'),
            ('result', 'select sluice.result(%2$s)')) as u (name, call)
    loop
        begin
            answer := said(format(use.call, task, run), role);
            if answer like format('42501: permission denied for task "%s"%%', task) then
                names := concat_ws(', ', names, use.name);
            elsif answer ~ '^[0-9A-Z]{5}: ' then
                names := concat_ws(', ', names, format('%s (%s)', use.name, answer));
            end if;
            raise sqlstate 'ZZ001';
        exception when sqlstate 'ZZ001' then null;
        end;
    end loop;
    return names;
end
$$;
\set all 'cancel, enqueue, enqueue_many, enqueue_many with options, enqueue_result, enqueue with priority, explain_run, logs, replay, requeue, reschedule, result'

select is(refused('r_shop', 'sql', :sql_run), null, 'the owner of an sql task may all of it');
select is(refused('r_admin', 'sql', :sql_run), null, 'so may an admin');
select is(refused('r_other', 'sql', :sql_run), :'all', 'another producer may nothing with it');
select is(refused('r_other', t, r), null, format('a producer uses the task %s of anybody', t)) from (values ('ext', :ext_run), ('proc', :proc_run)) as v (t, r);
select is(refused('r_caller', t, r), :'all', format('a caller may nothing with %s', t)) from (values ('sql', :sql_run), ('ext', :ext_run), ('proc', :proc_run)) as v (t, r);
select is(said($$select sluice.enqueue('sql')$$, 'r_other'),
    '42501: permission denied for task "sql" [Ask a member of "r_shop" to run select sluice.grant_task(''sql'', ''r_other'').]', 'the error says who can help');
select is(left(said(format('select sluice.result(%s)', :sql_run), 'r_reader'), 8), '(queued,', 'readers of payloads see what came of any run');
grant r_shop to r_other;
select is(refused('r_other', 'sql', :sql_run), null, 'a member of the owner may what the owner may');
revoke r_shop from r_other;
select is(refused('r_other', 'sql', :sql_run), :'all', 'while it is a member');

-- Granting
select is(said($$select sluice.grant_task('sql', 'r_caller')$$, 'r_other'), '42501: role "r_other" may not grant or revoke task "sql" [Ask a member of "r_shop" or of sluice_admin.]', 'a task is granted by its owner');
select is(said($$select sluice.grant_task('proc', 'r_caller')$$, 'r_shop'), '42501: role "r_shop" may not grant or revoke task "proc" [Ask a member of "r_admin" or of sluice_admin.]', 'a process task by an admin');
select is(said($$select sluice.grant_task('none', 'r_caller')$$, 'r_shop'), 'SL002: task "none" does not exist [Define it with sluice.create_task; the view sluice.tasks lists those that exist.]', 'there must be such a task');
select is(said($$select sluice.grant_task('sql', 'r_nobody')$$, 'r_shop'), '42704: role "r_nobody" does not exist [Give the name of a role; there is no granting to public.]', 'and such a role');
select is(said($$select sluice.grant_task('sql', null)$$, 'r_shop'), '42704: role must not be null [Give the name of a role; there is no granting to public.]', 'and not null');
select is(said($$select concat(sluice.grant_task('sql', 'r_caller'), sluice.grant_task('ext', 'r_team'))$$, 'r_shop'), '', 'the owner grants a task');
select is(refused('r_caller', 'sql', :sql_run), null, 'whom it was granted to uses it');
select is(refused('r_caller', 'ext', :ext_run), :'all', 'and no other');
select is(refused('r_mate', 'ext', :ext_run), null, 'members of a role have what it was granted');
select is(said($$select sluice.grant_task('sql', 'r_plain')$$, 'r_caller'), '42501: permission denied for function grant_task []', 'who was granted a task does not grant it on');
select is(said($$select sluice.create_task('sql', 'external')$$, 'r_caller'), '42501: permission denied for function create_task []', 'nor define it');
select results_eq($$select task, owner, granted_to from sluice.tasks order by task$$,
    $$values ('ext', 'r_shop', '{r_team}'::text[]), ('proc', 'r_admin', null), ('sql', 'r_shop', '{r_caller}')$$, 'the view shows it');
select is(said($$select sluice.grant_task('sql', 'r_plain')$$, 'r_admin'), '', 'an admin grants any task');
select is(said($$select sluice.enqueue('sql')$$, 'r_plain'), '42501: permission denied for schema sluice []', 'the right to the functions is another one');
select is(said($$select sluice.grant_task('sql', 'r_caller')$$, 'r_shop'), '', 'granting twice is granting');

-- Quickly: a call that needs nothing else is not handed to the twin, whatever the right comes from.
create function twins(role text, task text) returns bigint
language plpgsql
set track_functions = 'all'
as $$
declare
    calls  text := 'select coalesce(sum(pg_stat_get_xact_function_calls(oid)), 0) from pg_proc where proname in (''_enqueue_result'', ''_may_use'')';
    before bigint;
    after  bigint;
begin
    execute calls into before;
    perform said(format('select sluice.enqueue(%L, ''1'')', task), role);
    execute calls into after;
    return after - before;
end
$$;
select is(twins(r, t), 0::bigint, format('%s enqueues %s without a statement', r, t)) from (values ('r_shop', 'sql'), ('r_other', 'ext'), ('r_caller', 'sql'), ('r_mate', 'ext'), ('r_admin', 'sql')) as v (r, t);
select cmp_ok(twins('r_other', 'sql'), '>', 0::bigint, 'a no is said by the twin');

-- A grant goes with what was granted.
select is(said($$select sluice.revoke_task('sql', 'r_caller')$$, 'r_shop'), '', 'it is taken back');
select is(refused('r_caller', 'sql', :sql_run), :'all', 'and then does not hold');
select is(said($$select sluice.revoke_task('sql', 'r_caller')$$, 'r_shop'), '', 'twice is once');
select is(said($$select sluice.revoke_task('sql', 'r_caller')$$, 'r_other'), '42501: role "r_other" may not grant or revoke task "sql" [Ask a member of "r_shop" or of sluice_admin.]', 'not by anybody');
select said($$select sluice.grant_task('sql', 'r_caller')$$, 'r_shop'), said($$select sluice.create_task('sql', target => 'select $1')$$, 'r_shop');
select is(refused('r_caller', 'sql', :sql_run), null, 'a task that is defined anew keeps its grants');
select said($$select sluice.create_task('sql', target => 'select $1')$$, 'r_admin');
select is(refused('r_caller', 'sql', :sql_run), :'all', 'but not where it runs as another role than the one that granted it');
select said($$select sluice.create_task('sql', target => 'shop.job', role => 'r_shop')$$);
select said($$select sluice.create_task('brief', 'external')$$, 'r_shop'), said($$select sluice.grant_task('brief', 'r_caller')$$, 'r_shop'), said($$select sluice.drop_task('brief')$$, 'r_shop'),
       said($$select sluice.create_task('brief', 'external')$$, 'r_shop');
select is(left(said($$select sluice.enqueue('brief')$$, 'r_caller'), 5), '42501', 'nor does a dropped task''s come back with it');

-- In a function of somebody's with SECURITY DEFINER the caller is the function's owner.
create function shop.order_now() returns bigint language sql security definer set search_path = pg_catalog, pg_temp as $$ select sluice.enqueue('sql') $$;
alter function shop.order_now() owner to r_shop;
select is(said('select shop.order_now() > 0', 'r_plain'), 'true', 'a function of the owner''s lends the right');

-- Tables that are watched: the table's owner uses the task, whoever changes the table.
create table shop.item (id int primary key);
alter table shop.item owner to r_other;
grant usage on schema shop to r_other, r_plain;
grant insert, select on shop.item to r_plain;
select is(said($$select sluice.watch('shop.item', '{insert}', 'sql')$$, 'r_other'),
    '42501: permission denied for task "sql" [Ask a member of "r_shop" to run select sluice.grant_task(''sql'', ''r_other'').]', 'a producer cannot watch for another role''s sql task');
select is(said($$select sluice.watch('shop.item', '{insert}', 'sql')$$), '42501: permission denied for task "sql" [Ask a member of "r_shop" to run select sluice.grant_task(''sql'', ''r_other'').]', 'nor can a superuser on a table of such a producer');
select is(said($$select sluice.watch('shop.item', '{insert}', 'ext', name => 'ext')$$, 'r_other'), '', 'other tasks are for all producers');
select said($$select sluice.grant_task('sql', 'r_other')$$, 'r_shop');
select is(said($$select sluice.watch('shop.item', '{insert}', 'sql')$$, 'r_other'), '', 'once it was granted');
select is(said($$insert into shop.item values (1) returning id$$, 'r_plain'), '1', 'whoever may insert makes runs');
select is((select count(*) from sluice.runs where payload ->> 'table' = 'shop.item'), 2::bigint, 'of both tasks');
select said($$select sluice.revoke_task('sql', 'r_other')$$, 'r_shop');
select is(left(said($$insert into shop.item values (2) returning id$$, 'r_plain'), 42), '42501: permission denied for task "sql" [A', 'without the right the table''s changes fail');
select said($$select sluice.unwatch('shop.item', 'sql')$$, 'r_other');

-- Roles that go and come
create role r_gone login;
grant sluice_producer to r_gone;
grant create, usage on schema shop to r_gone;
select said($$select sluice.create_task('gone', target => 'shop.job')$$, 'r_gone'), said($$select sluice.grant_task('sql', 'r_gone')$$, 'r_shop');
select sluice.enqueue('gone') as gone_run \gset
select is(refused('r_gone', 'sql', :sql_run), null, 'a role has a grant');
revoke create, usage on schema shop from r_gone;
drop role r_gone;
create role r_gone login;
grant sluice_producer to r_gone;
select is(refused('r_gone', 'gone', :gone_run), :'all', 'a role that was made anew by the same name does not own what the old one did');
select is(refused('r_gone', 'sql', :sql_run), :'all', 'nor has it the old one''s grants');
select is(left(said($$select sluice.create_task('gone', target => 'shop.job')$$, 'r_gone'), 45), '42501: task "gone" belongs to role "r_gone" [', 'nor may it define the task');
select token as gone from sluice.claim('w', '{task/gone}', 1, '{sql}') \gset
\set ON_ERROR_STOP 0
call sluice.perform(:'gone', null);
\set ON_ERROR_STOP 1
select is(:'LAST_ERROR_SQLSTATE'::text, 'SL017', 'and its task is not run as the new one');
select sluice.fail(:'gone', '{"retryable": false}');
alter role r_gone rename to r_came;
alter role r_shop rename to r_store;
select is(refused('r_store', 'sql', :sql_run), null, 'a role that is called otherwise is still the owner');
select is(refused('r_caller', 'ext', :ext_run), :'all', 'and has given what it has given');
select sluice._rename_roles();
select is((select owner || ' ' || role from sluice.tasks where task = 'sql'), 'r_store r_store', 'its new name is noted');
select is(said($$select sluice.enqueue('sql') > 0$$, 'r_store'), 'true', 'and the quick way knows it');
alter role r_store rename to r_shop;
select sluice._rename_roles();
drop role r_came;

-- A copy on another cluster: the names decide, and adopt() writes down whom they stand for there.
update sluice.meta set home = '1/1';
update sluice.task set owner_id = 1;
select said($$select sluice.grant_task('ext', 'r_caller')$$, 'r_shop');
update sluice.task_grant set role_id = 1000000 + role_id::bigint::int;
select is(refused('r_shop', 'sql', :sql_run), null, 'in a copy the owner is the role of that name');
select is(refused('r_other', 'sql', :sql_run), :'all', 'and no other');
select is(refused('r_caller', 'ext', :ext_run), null, 'as for grants');
select sluice.adopt();
select is_empty($$select task from sluice.task where owner_id is distinct from (select oid from pg_roles where rolname = owner)$$, 'adopt() finds the owners');
select is_empty($$select role from sluice.task_grant where role_id is distinct from (select oid from pg_roles where rolname = role)$$, 'and whom tasks were granted to');
select is(refused('r_caller', 'ext', :ext_run), null, 'which holds then');

-- Tasks from before there were owners
update sluice.task set owner = null, owner_id = null where task = 'ext';
select is(said($$select sluice.create_task('ext', 'external')$$, 'r_other'), '', 'a task without an owner is any producer''s');
select is((select owner from sluice.tasks where task = 'ext'), 'r_other', 'who owns it then');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
