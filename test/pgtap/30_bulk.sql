-- Bulk: what a filter matches is counted, canceled, requeued, rescheduled and replayed, in batches, and nothing else is.
\ir lib/helper.psql
select task('a'), task('b'), task('gone');
select sluice.create_queue('q'), sluice.create_queue('other');
create function counted(arguments text) returns text language sql as $$ select said(format('select string_agg(format(%L, of_task, of_queue, of_status, runs), %L) from sluice.count_runs(%s)', '%s %s %s %s', ', ', arguments)) $$;
create function bulk(call text) returns text language sql as $$ select said('select format($f$%s %s$f$, b[1], b[2]) from (select array(select value from json_each_text(row_to_json(c))) as b from sluice.' || call || ' as c) as d') $$;

-- What is refused
select is(bulk(f || ')'), 'SL006: the filter matches every run [Give one of them, or say everything => true if that is what you want.]', f || ') must name something')
from unnest('{cancel_many(,requeue_many(,"requeue_many(to_queue => ''q''","reschedule_many(now()","replay_many(''r''",count_runs(,"cancel_many(everything => null","cancel_many(status => ''{}'', tags => ''{}''","cancel_many(batch => 5"}'::text[]) as f;
select is(bulk($$cancel_many(status => '{done}')$$), 'SL006: status "done" is not known [The statuses are queued, delayed, retrying, executing, completed, failed, crashed, system_failure, timed_out, expired, canceled.]', 'a status must exist');
select is(bulk($$cancel_many(status => '{queued,completed}')$$), 'SL006: status "completed" is not one that this can change [Give some of queued, delayed, retrying, executing.]', 'a final run is not canceled');
select matches(bulk(f), format('^SL006: status "%s" is not one that this can change', s), f) from (values ($$replay_many('r', status => '{executing}')$$, 'executing'), ($$reschedule_many(now(), status => '{executing}')$$, 'executing'), ($$requeue_many(status => '{failed}')$$, 'failed')) as v (f, s);
select is(left(bulk(f), 5), s, f) from (values ($$cancel_many(task => 'none')$$, 'SL002'), ($$cancel_many(queue => 'none')$$, 'SL001'), ($$requeue_many(task => 'a', to_queue => 'none')$$, 'SL001'), ($$cancel_many(task => 'a', batch => 0)$$, 'SL006'),
    ($$cancel_many(task => 'a', batch => null)$$, 'SL006'), ($$cancel_many(task => 'a', batch => 100001)$$, 'SL006'), ($$cancel_many(task => 'a', tags => '{x,null}')$$, 'SL006'), ($$cancel_many(task => 'a', status => '{null}')$$, 'SL006'),
    ($$reschedule_many(null, task => 'a')$$, 'SL006'), ($$replay_many(null, task => 'a')$$, 'SL004'), ($$replay_many('a b', task => 'a')$$, 'SL004'), ($$requeue_many(task => 'a', to_priority => -1)$$, 'SL006')) as v (f, s);
select is(bulk(c || f || ')'), format('SL006: %s must not be an empty list [Give the %s, or null for any.]', w, h), c || f || ')')
from unnest('{cancel_many(,requeue_many(,"reschedule_many(now(),","replay_many(''r'',",count_runs(}'::text[]) as c,
    (values ($$task => 'a', status => '{}'$$, 'status', 'statuses that a run may have'), ($$queue => 'q', tags => '{}'$$, 'tags', 'tags that a run must have'),
            ($$everything => true, status => '{}'$$, 'status', 'statuses that a run may have')) as v (f, w, h);

-- Counting
select count(sluice.enqueue('a')) from generate_series(1, 3);
select sluice.enqueue('a', queue => 'q', tags => '{red,round}'), sluice.enqueue('b', queue => 'q', tags => '{red}', concurrency_key => 'k'), sluice.enqueue('b', delay => '1h');
select clock_timestamp() as then_ from pg_sleep(0.002) \gset
select pg_sleep(0.002); -- ids count milliseconds
select sluice.enqueue('b', queue => 'q', concurrency_key => 'k''"{}') as late \gset
select is(counted('everything => true'), 'a q queued 1, a task/a queued 3, b q queued 2, b task/b delayed 1', 'runs are counted by task, queue and status');
select is(counted($$'a'$$), 'a q queued 1, a task/a queued 3', 'of a task');
select is(counted($$queue => 'q'$$), 'a q queued 1, b q queued 2', 'of a queue');
select is(counted($$queue => 'q', task => 'b'$$), 'b q queued 2', 'of both');
select is(counted($$status => '{delayed}'$$), 'b task/b delayed 1', 'of a status');
select is(counted($$tags => '{red}'$$), 'a q queued 1, b q queued 1', 'with a tag');
select is(counted($$tags => '{round,red}'$$), 'a q queued 1', 'with all of several');
select is(counted($$concurrency_key => 'k'$$), 'b q queued 1', 'with a key');
select is(counted($$concurrency_key => 'k''"{}'$$), 'b q queued 1', 'whatever it is');
select is(counted(format('enqueued_after => %L', :'then_')), 'b q queued 1', 'enqueued after');
select is(counted(format('enqueued_before => %L, task => %L', :'then_', 'b')), 'b q queued 1, b task/b delayed 1', 'and before');
select is(counted($$enqueued_after => '-infinity', enqueued_before => 'infinity', queue => 'q'$$), 'a q queued 1, b q queued 2', 'for ever');
select is(counted($$enqueued_after => '4714-11-24 BC', task => 'a', enqueued_before => '290000-01-01'$$), 'a q queued 1, a task/a queued 3', 'whenever that is');
select is(counted($$enqueued_after => 'infinity'$$), null, 'or never');

-- Canceling
select count(sluice.enqueue('gone')) from generate_series(1, 10);
select take('task/gone') as token \gset
select is(bulk($$cancel_many('gone', batch => 4)$$), '4 6', 'a batch is canceled');
select is(bulk($$cancel_many('gone', batch => 4)$$), '4 2', 'and the next');
select connect('locker');
select dblink_exec('locker', 'begin');
select in_session('locker', $$select run_id from sluice.run where status = 'queued' and task_id = (select task_id from sluice.task where task = 'gone') limit 1 for update$$);
select is(bulk($$cancel_many('gone', batch => 4)$$), '1 1', 'a run that somebody has locked is left');
select dblink_exec('locker', 'commit');
select is(bulk($$cancel_many('gone', batch => 4)$$), '1 0', 'and goes the next time');
select is(bulk($$cancel_many('gone')$$), '0 0', 'then there are none');
select is((select count(*)::int from sluice.runs where task = 'gone' and status = 'canceled'), 10, 'all were');
select is(take('task/gone'), null, 'none is handed out');
select is((select revoked from held_slot where token = :'token'), 'canceled', 'the one that was executing holds its place');
select is(left(said(format('select sluice.complete(%L)', :'token')), 5), 'SL102', 'until its worker is told');
select sluice.release(:'token');
select is(counted('everything => true, status => $${queued,delayed,executing,retrying}$$'), 'a q queued 1, a task/a queued 3, b q queued 2, b task/b delayed 1', 'others are as they were');
select is(bulk(format('cancel_many(queue => %L, enqueued_after => %L)', 'q', :'then_')), '1 0', 'any filter does');
select is(status_of(:late), 'canceled', 'for any action');
begin;
select sluice.cancel_many('a');
rollback;
select is(counted($$'a'$$), 'a q queued 1, a task/a queued 3', 'it is undone with its transaction');

-- Requeueing
select is(bulk($$requeue_many('a', 'task/a', to_queue => 'other', to_priority => 7, batch => 2)$$), '2 1', 'runs are moved to another queue, in batches');
select is(bulk($$requeue_many('a', 'task/a', to_queue => 'other', to_priority => 7, batch => 2)$$), '1 0', 'until none is left');
select is((select string_agg(format('%s %s', queue, priority), ', ' order by run_id) from sluice.runs where task = 'a'), 'other 7, other 7, other 7, q 0', 'with another priority');
select is(bulk($$requeue_many('a', to_queue => 'other', to_priority => 7)$$), '1 0', 'those that are there already are left as they are');
select take('other') as token \gset
select is(bulk($$requeue_many('a', status => '{executing}')$$), '1 0', 'an executing run is taken back');
select is((select format('%s %s %s', status, attempt, queue) from sluice.runs where run_id = run_of(:'token')), 'queued 0 other', 'and its attempt given back');
select sluice.release(:'token');
select is(bulk($$requeue_many('b')$$), '1 0', 'a delayed run may start at once');
select is(counted($$'b', status => '{queued}'$$), 'b q queued 1, b task/b queued 1', 'and others are not touched');
select is(bulk($$requeue_many('b', run_at => now() + interval '1 hour', status => '{queued}')$$), '2 0', 'or at another time');

-- Rescheduling
select is(bulk($$reschedule_many('2089-01-01', 'a', batch => 3)$$), '3 1', 'runs are given another time');
select is(bulk($$reschedule_many('2089-01-01', 'a', batch => 3)$$), '1 0', 'each once');
select is(bulk($$reschedule_many('2089-01-01', 'a')$$), '0 0', 'however often it is called');
select is(counted($$'a'$$), 'a other delayed 4', 'they wait');
select is(bulk($$reschedule_many('2020-01-01', 'a', status => '{delayed}', queue => 'other')$$), '4 0', 'the past is now');
select is(counted($$'a'$$), 'a other queued 4', 'so they may start');
select is(bulk($$reschedule_many(now(), everything => true)$$), '2 0', 'and all others, if that is said');

-- Replaying
select count(sluice.complete(token)) from sluice.claim('w', '{other}', 2);
select count(sluice.fail(token, '{"retryable": false}')) from sluice.claim('w', '{other}', 1);
select is(bulk($$replay_many('r1', 'a', batch => 2)$$), '2 1', 'final runs are replayed, in batches');
select is(bulk($$replay_many('r1', 'a', batch => 2)$$), '1 0', 'each once');
select is(bulk($$replay_many('r1', 'a', batch => 2)$$), '0 0', 'under one name');
select is(counted($$'a'$$), 'a other queued 4, a other completed 2, a other failed 1', 'each makes one');
select count(sluice.fail(token, '{"retryable": false}')) from sluice.claim('w', '{other}', 4);
select is(bulk($$replay_many('r1', 'a')$$), '1 0', 'a run that has become final since is replayed under the same name');
select is(bulk($$replay_many('r1', 'a')$$), '0 0', 'what it made is not replayed, nor again what it was made of, also when it has failed');
select is(bulk($$replay_many('r2', 'a', status => '{failed}')$$), '5 0', 'under another name they are');
select is((select string_agg(distinct queue || priority, ',') from sluice.runs where task = 'a' and status = 'queued' and queue = 'other'), 'other7', 'like the old ones');
select sluice.cancel_many(everything => true);
select sluice.drop_task('gone');
select is(bulk($$replay_many('r3', 'gone')$$), '0 0', 'runs of a task that was dropped are not');

-- Rights
select login('t_caller', 'sluice_caller'), login('t_reader', 'sluice_reader'), login('t_boss', 'sluice_producer');
grant create on schema public to t_boss;
select said($$select sluice.create_task('secret', 'sql', 'select 1')$$, 't_boss');
select sluice.enqueue('secret'), sluice.enqueue('a'), sluice.enqueue('b');
select sluice.grant_task('a', 't_caller');
create function as_caller(statement text, who text default 't_caller') returns text language sql as $$ select said(statement, who) $$;
select is(as_caller($$select string_agg(of_task, ',') from sluice.count_runs(status => '{queued}')$$), 'a', 'what a caller may not use is not counted');
select is(as_caller($$select string_agg(of_task, ',') from sluice.count_runs(status => '{queued}')$$, 't_reader'), 'a,b,secret', 'but by readers');
select is(left(as_caller($$select sluice.cancel_many('b')$$), 46), '42501: permission denied for task "b" [Ask a m', 'nor may it be named');
select is(as_caller($$select sluice.cancel_many(everything => true)$$), '(1,0)', 'nor changed');
select is(counted($$status => '{queued}'$$), 'b task/b queued 1, secret task/secret queued 1', 'it is as it was');
select is(left(as_caller(f, 't_reader'), 6), '42501:', 'a reader changes nothing: ' || f) from unnest(array['select sluice.cancel_many(''b'')', 'select sluice.requeue_many(''b'')', 'select sluice.reschedule_many(now(), ''b'')', 'select sluice.replay_many(''r'', ''b'')']) as f;
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
