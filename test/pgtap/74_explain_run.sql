-- explain_run: each reason for which a run is not running is brought about, and said in a sentence.
\ir lib/helper.psql
select login('t_reader', 'sluice_reader'), login('t_producer', 'sluice_producer');
-- The sentence without what differs: times, ids, spans.
create function why(run_id bigint) returns text language sql as $$
    select regexp_replace(regexp_replace(regexp_replace(sluice.explain_run($1),
        '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00', 'T', 'g'), '\d{15,}', 'N', 'g'), '\m\d+ (second|minute|hour)s?( \d+ min)?\M', 'S', 'g')
$$;
-- A session that registers as a worker.
create function works(session text, options text) returns void language plpgsql as $$
begin
    perform connect(session);
    perform in_session(session, format('select sluice.register_worker(%L, %L)', session, options));
end $$;

select is(said('select sluice.explain_run(1)'), 'SL003: run 1 does not exist [The view sluice.runs lists runs; a run that was enqueued in another open transaction is not seen yet.]', 'a run that does not exist');
select is(left(said('select sluice.explain_run(null)'), 32), 'SL003: run_id must not be null [', 'nor a null one');
select task('t', 3);
select sluice.enqueue('t') as run \gset
select is(said(format('select why(%s)', :run), 't_reader'), why(:run), 'a reader may ask');
select is(said(format('select why(%s)', :run), 't_producer'), why(:run), 'and a producer');
select matches(sluice.explain_run(:run), format('^Run %s of task t in queue task/t could have started \d+ seconds? ago: ', :run), 'it names run, task, queue and since when');

-- Words for spans
select is(sluice._span(v.s::interval), v.words, v.s)
from (values ('0.4 s', '0 seconds'), ('1 s', '1 second'), ('59.9 s', '59 seconds'), ('-90 s', '1 minute'), ('3 min', '3 minutes'), ('1 h 5 min', '1 hour 5 min'),
             ('49 h', '2 days 1 h'), ('25 h', '1 day 1 h')) as v (s, words);

-- Workers
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: no registered worker takes queue task/t.', 'no worker');
select works('elsewhere', '{"queues": ["other"]}');
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: no registered worker takes queue task/t.', 'none for its queue');
select works('program', '{"executors": ["process"]}');
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: no registered worker that takes queue task/t runs external tasks.', 'none for its executor');
select works('hand', '{"executors": ["external"], "queues": ["task/t", "one", "keyed"], "capacity": 8}');
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: no run is ahead of it in its lane, 1 could start in its queue; 2 workers take queue task/t, 0 of 8 slots taken.', 'nothing but its turn');
select dblink_disconnect('program');
call wait_until($$select not sluice._session_alive(pid, session_start) from sluice.worker where worker = 'program'$$);
select sluice.enqueue('t') as behind \gset
select is(why(:behind), 'Run N of task t in queue task/t could have started S ago: 1 run is ahead of it in its lane, 2 could start in its queue; 1 worker takes queue task/t, 0 of 8 slots taken.', 'one is ahead of it');
select is(in_session('hand', $$select count(*)::text from sluice.exchange('hand', capacity => 1) where kind = 'claimed'$$), '1', 'which is claimed');
select is(why(:behind), 'Run N of task t in queue task/t could have started S ago: no run is ahead of it in its lane, 1 could start in its queue; 1 worker takes queue task/t, 1 of 8 slots taken.', 'and is ahead no more');

-- Executing
select is(why(:run), 'Run N of task t in queue task/t is executing: worker hand began attempt 1 of 3 at T, S ago; its lease runs for another S, until T.', 'it is executing');
select expire();
select is(why(:run), 'Run N of task t in queue task/t is executing: worker hand began attempt 1 of 3 at T, S ago; its lease ended S ago, at T, and the leader has not given the run back yet.', 'for longer than its lease');
select works('ends', '{"queues": ["task/t"]}');
select in_session('ends', $$select count(*)::text from sluice.exchange('ends', capacity => 1)$$);
select dblink_disconnect('ends');
call wait_until(format($$select sluice.explain_run(%s) ~ '; the worker''s session has ended, and the leader gives the run back\.$'$$, :behind));
select pass('by a worker whose session has ended');

-- Final
select sluice.complete(h.token) from held_slot as h where h.run_id = :run;
select is(why(:run), 'Run N of task t in queue task/t completed at T, S after it was enqueued, in attempt 1 of 3.', 'it completed');
select sluice.cancel(:behind);
select is(why(:behind), 'Run N of task t in queue task/t was canceled at T, S after it was enqueued, in attempt 1 of 3; worker ends, which took it at T, has not let go of its slot.', 'canceled, with a slot that is still held');
select sluice.release(h.token) from held_slot as h;
select is(why(:behind), 'Run N of task t in queue task/t was canceled at T, S after it was enqueued, in attempt 1 of 3.', 'and is not any more');
select sluice.enqueue('t', max_attempts => 1) as run \gset
select is(why(:run) like '%no run is ahead of it%', true, 'a run with one attempt');
select sluice.cancel(:run);
select is(why(:run), 'Run N of task t in queue task/t was canceled at T, S after it was enqueued, before its first attempt.', 'canceled before it began');
select sluice.enqueue('t', max_attempts => 1) as run \gset
select sluice.fail(take('task/t'), '{"code": "NO_STOCK"}');
select is(why(:run), 'Run N of task t in queue task/t ended as failed at T, S after it was enqueued, in attempt 1 of 1, with error NO_STOCK.', 'failed');

-- Later
select sluice.enqueue('t', delay => '3m') as run \gset
select matches(sluice.explain_run(:run), '^Run \d+ of task t in queue task/t is delayed until .{22}, in (2|3) minutes\.$', 'delayed');
select sluice.reschedule(:run, now());
select sluice.fail(take('task/t'), '{"code": "BUSY"}', retry_at => now() + interval '1 hour');
select is(why(:run), 'Run N of task t in queue task/t waits for attempt 2 of 3 at T, in S; attempt 1 ended as failed with error BUSY.', 'to be tried again');

-- Pause
select sluice.enqueue('t') as run \gset
select sluice.pause('task/t', 'stocktaking');
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: queue task/t has been paused since T, because: stocktaking.', 'paused, and why');
select sluice.resume('task/t');
select sluice.pause('task/t');
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: queue task/t has been paused since T.', 'paused for no reason');
select sluice.resume('task/t'), sluice.cancel(:run);

-- Limits
select sluice.create_queue('one', 1), task('o', queue => 'one');
select sluice.enqueue('o') as first, sluice.enqueue('o') as run \gset
select take('one') as token \gset
select is(why(:run), 'Run N of task o in queue one could have started S ago: queue one is at its limit, with 1 of 1 slots held: w since T.', 'its queue is at its limit');
select sluice.requeue(:first);
select is(why(:first), 'Run N of task o in queue one could have started S ago: queue one is at its limit, with 1 of 1 slots held: w since T (for run N, which was requeued, and has not let go).', 'by a slot that is dead and was not let go of');
select sluice.release(:'token');
select is(why(:run) like '%ago: 1 run is ahead of it%', true, 'and is free');
select sluice.create_queue('one', 0);
select is(why(:run), 'Run N of task o in queue one could have started S ago: the limit of queue one is 0.', 'a limit of 0');
select sluice.cancel(run_id) from sluice.runs where queue = 'one';
select sluice.create_queue('keyed', null, 2), task('k', queue => 'keyed');
select sluice.enqueue('k', concurrency_key => 'a'), sluice.enqueue('k', concurrency_key => 'a');
select token from sluice.claim('v', '{keyed}', 2);
select sluice.enqueue('k', concurrency_key => 'a') as run, sluice.enqueue('k', concurrency_key => 'b') as other \gset
select is(why(:run), 'Run N of task k in queue keyed could have started S ago: its lane, concurrency key "a" of queue keyed, is at its limit, with 2 of 2 slots held: v since T, v since T.', 'its lane is at its limit');
select is(why(:other) like '%no run is ahead of it%', true, 'another is not');
select sluice.create_queue('keyed', null, 0);
select is(why(:other), 'Run N of task k in queue keyed could have started S ago: the limit of each concurrency key of queue keyed is 0.', 'a limit of keys of 0');
select sluice.complete(h.token) from held_slot as h;
select sluice.cancel(run_id) from sluice.runs where queue = 'keyed';

-- Somebody else's transaction, and one's own
select sluice.enqueue('t') as run \gset
select connect('other');
select dblink_exec('other', 'begin');
select in_session('other', format('select status from sluice.run where run_id = %s for update', :run));
select is(regexp_replace(why(:run), 'backend \d+', 'backend P'), 'Run N of task t in queue task/t could have started S ago: backend P holds its row in an open transaction.', 'its row is locked');
select dblink_exec('other', 'rollback');
select is(why(:run) like '%no run is ahead of it%', true, 'and is not');
begin;
select sluice.requeue(:run, priority => 1);
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: this transaction, which wrote it, has not committed.', 'what this transaction wrote nobody sees');
rollback;

-- A copy; and more than one reason
update sluice.meta set home = 'elsewhere';
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: this database is a copy that was not adopted, and hands out nothing.', 'a copy');
select sluice.pause('task/t');
select is(why(:run), 'Run N of task t in queue task/t could have started S ago: this database is a copy that was not adopted, and hands out nothing; queue task/t has been paused since T.', 'two reasons');
select sluice.adopt(), sluice.resume('task/t');
select is(why(:run) like '%no registered worker takes queue task/t.', true, 'after adopting workers register anew');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
