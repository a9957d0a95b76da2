-- tasks_to_check() and report_tasks(): what a worker could not run, found before a run has failed for it.
\ir lib/helper.psql
select login('t_reader', 'sluice_reader');
select sluice.create_queue('shared');
select sluice.create_task('a', 'python', 'm:f', options => '{"requirements": ["numpy"]}', machine => 'micro'), sluice.create_task('b', 'python', 'return 1', queue => 'shared'),
       sluice.create_task('c', 'external'), sluice.create_task('gone', 'python', 'return 1');
select sluice.drop_task('gone');
select results_eq($$select * from sluice.tasks_to_check('{python,http}')$$, $$values ('a', 'python', 'm:f', '{"kind": "function", "requirements": ["numpy"]}'::jsonb, 'micro'), ('b', 'python', 'return 1', '{"kind": "code"}', 'small-1x')$$, 'tasks of the executors, as they are defined');
select results_eq($$select task from sluice.tasks_to_check('{python}', '{shared,other}')$$, $$values ('b')$$, 'of the queues alone');
select is_empty($$select * from sluice.tasks_to_check('{}')$$, 'of no executors none');

create function found() returns text language sql as $$ select string_agg(severity || ': ' || subject || ': ' || why, ' / ') from sluice.doctor() where what = 'task cannot run' $$;
select connect('w'), connect('v');
select in_session('w', $$select sluice.register_worker('w')$$), in_session('v', $$select sluice.register_worker('v')$$);
select sluice.report_tasks('w', '{"a": "CONFIGURED_INCORRECTLY", "gone": "CONFIGURED_INCORRECTLY", "never": "X"}');
select is(found(), 'warning: a: Worker w would be handed its runs, and would fail them: CONFIGURED_INCORRECTLY.', 'doctor() shows tasks that there are');
select sluice.report_tasks('v', '{"a": "COULD_NOT_FIND_EXECUTOR", "b": "CONFIGURED_INCORRECTLY"}');
select is(found(), 'warning: a: Workers v, w would be handed its runs, and would fail them: CONFIGURED_INCORRECTLY, COULD_NOT_FIND_EXECUTOR. / warning: b: Worker v would be handed its runs, and would fail them: CONFIGURED_INCORRECTLY.', 'once for all workers');
select is(said($$select count(*) from sluice.doctor() where what = 'task cannot run'$$, 't_reader'), '2', 'to readers too');
select sluice.report_tasks('w', '{"b": "CONFIGURED_INCORRECTLY"}'), sluice.report_tasks('v', '{}');
select is(found(), 'warning: b: Worker w would be handed its runs, and would fail them: CONFIGURED_INCORRECTLY.', 'a report takes the place of the one before');
select in_session('w', $$select sluice.register_worker('w')$$);
select is(found(), null, 'who registers anew has reported nothing');
select sluice.report_tasks('w', '{"b": "CONFIGURED_INCORRECTLY"}');
select dblink_disconnect('w');
call wait_until($$select found() is null$$);
select pass('and what was reported goes with the session');

select is(said(format('select sluice.report_tasks(''v'', %L)', v)), 'SL006: problems must be an object of at most 100 tasks and codes [For example {"plot": "CONFIGURED_INCORRECTLY"}.]', format('%L is no report', v))
from unnest(array['[]', '3', '{"a": 1}', '{"a": null}', '{"a": "a message with words"}']) as v;
select is(said(format('select sluice.report_tasks(''v'', %L)', v)) ~ '^SL006: problems', refused, format('a report of %s tasks, the longest name of %s', c, n))
from (values (100, 200, false), (101, 3, true), (1, 201, true)) as t (c, n, refused),
     lateral (select jsonb_object_agg(lpad(i::text, n, '0'), 'X') as v from generate_series(1, c) as i) as o;
select is(said($$select sluice.report_tasks('v', null)$$) ~ '^SL006: problems', true, 'nor is null');
select is(said($$select sluice.report_tasks('nobody', '{}')$$), 'SL006: worker "nobody" is not registered [Call sluice.register_worker in a session that stays.]', 'only who is registered reports');
select * from finish();
