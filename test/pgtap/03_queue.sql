-- Queues: create, limit, pause, resume, drop.
\ir lib/helper.psql

select sluice.create_queue('mail', 5, 2);
select results_eq($$select concurrency, key_concurrency, paused_at is null from sluice.queues where queue = 'mail'$$, 'values (5, 2, true)', 'a queue has the limits that it was given');
select sluice.create_queue('mail', concurrency => 7);
select results_eq($$select concurrency, key_concurrency from sluice.queues where queue = 'mail'$$, 'values (7, null::int)', 'create_queue again sets both limits; what is left out is unlimited');
select is(said($$select sluice.create_queue('mail', -1)$$), 'SL006: the limits of queue "mail" must not be negative [Use null for no limit, and 0 to start nothing.]', 'a limit is not negative');
select is(said($$select sluice.create_queue('mail', key_concurrency => -1)$$), 'SL006: the limits of queue "mail" must not be negative [Use null for no limit, and 0 to start nothing.]', 'a limit for each key is not negative');
select is(said($$select sluice.create_queue('zero', 0, 0)$$), '', 'limits may be 0');

select is(said(format('select sluice.%s(''none'')', v)), 'SL001: queue "none" does not exist [Create it with select sluice.create_queue(''none'').]', v || ' of a queue that does not exist is refused')
from unnest(array['pause', 'resume', 'drop_queue']) as v;

-- Pause
select task('t', queue => 'mail');
select sluice.enqueue('t') as first \gset
select sluice.pause('mail', 'the printer is on fire');
select results_eq($$select paused_at is not null, pause_reason from sluice.queues where queue = 'mail'$$, $$values (true, 'the printer is on fire')$$, 'a paused queue says since when and why');
select is(take('mail'), null, 'a paused queue hands out nothing');
select isnt(sluice.enqueue('t'), null, 'a paused queue accepts runs');
select paused_at as since from sluice.queues where queue = 'mail' \gset
select sluice.pause('mail', 'still');
select results_eq($$select paused_at, pause_reason from sluice.queues where queue = 'mail'$$, format($$values (%L::timestamptz, 'still')$$, :'since'), 'pausing again keeps the time and takes the new reason');
select sluice.create_queue('mail', 3);
select is(take('mail'), null, 'new limits do not resume a queue');
select sluice.resume('mail');
select results_eq($$select paused_at, pause_reason from sluice.queues where queue = 'mail'$$, 'values (null::timestamptz, null::text)', 'a resumed queue has neither time nor reason');
select is(run_of(take('mail')), :first, 'a resumed queue hands out its runs');
select is(said($$select sluice.resume('mail')$$), '', 'resume of a queue that is not paused changes nothing');

-- Executing runs go on while a queue is paused, and delays fall due and wait.
select take('mail') as token \gset
select sluice.enqueue('t', delay => '1h') as later \gset
select sluice.pause('mail');
select is(sluice.complete(:'token'), 'done', 'a run of a paused queue completes');
select make_due(:later);
select is(status_of(:later), 'queued', 'in a paused queue a delay falls due');
select is(take('mail'), null, 'and the run waits');
select sluice.resume('mail');
select is(run_of(take('mail')), :later, 'until the queue is resumed');

-- Drop
select is(said($$select sluice.drop_queue('mail')$$), 'SL103: queue "mail" is in use [Drop its tasks and wait for its runs, or cancel them.]', 'a queue in which a task waits cannot be dropped');
select is(detail_of($$select sluice.drop_queue('mail')$$), 'Task "t" waits in it.', 'the detail names the task');
select sluice.create_queue('side');
select sluice.enqueue('t', queue => 'side') as run \gset
select is(detail_of($$select sluice.drop_queue('side')$$), 'It has runs that are not final.', 'a queue with live runs cannot be dropped');
select take('side') as token \gset
select sluice.cancel(:run);
select is(detail_of($$select sluice.drop_queue('side')$$), 'A worker still holds a slot of it.', 'a queue of which a slot is held cannot be dropped');
select sluice.exchange('w', jsonb_build_array(jsonb_build_object('token', :'token', 'outcome', 'canceled')));
select sluice.pause('side');
select is(said($$select sluice.drop_queue('side')$$), '', 'a queue that nothing uses can be dropped');
select is_empty($$select from sluice.queues where queue = 'side'$$, 'it is no longer listed');
select is(said($$select sluice.enqueue('t', queue => 'side')$$), 'SL001: queue "side" does not exist [Create it with select sluice.create_queue(''side'').]', 'it takes no more runs');
select is((select queue from sluice.runs where run_id = :run), 'side', 'its runs still show its name');
select sluice.create_queue('side', 1);
select results_eq($$select concurrency, paused_at from sluice.queues where queue = 'side'$$, 'values (1, null::timestamptz)', 'create_queue() brings it back, not paused');

-- A default queue that was dropped comes back with its task.
select sluice.create_task('d', 'external');
select sluice.drop_task('d');
select sluice.drop_queue('task/d');
select sluice.create_task('d', 'external');
select isnt(sluice.enqueue('d'), null, 'a task brings its default queue back');
select is(said($$select sluice.create_task('e', 'external', queue => 'nowhere')$$), 'SL001: queue "nowhere" does not exist [Create it with select sluice.create_queue(''nowhere'').]', 'a task cannot wait in a queue that does not exist');
select * from finish();
