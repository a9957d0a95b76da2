-- exchange() and register_worker(): one call of a worker's cycle; what each side may forget or miss.
\ir lib/helper.psql
select task('t', 3);
create function outcomes(variadic pairs text[]) returns jsonb language sql as $$
    select coalesce(jsonb_agg(jsonb_build_object('token', pairs[i], 'outcome', pairs[i + 1])), '[]') from generate_series(1, cardinality(pairs), 2) as i $$;
create function answers(worker text, outcomes jsonb default '[]', heartbeats uuid[] default '{}', capacity int default 0, seen bigint default null) returns text language sql as $$
    select string_agg(kind || coalesce(' ' || answer, ''), ', ' order by n) from (
        select kind, answer, row_number() over () as n from sluice.exchange(worker, outcomes, heartbeats, capacity, seen_reply => seen)) as e $$;

-- A client without a session
select is(answers('client'), 'reply', 'an exchange of nothing answers with a reply');
select is((select reply from sluice.exchange('client')), null, 'without a session it has no number');
select sluice.enqueue('t', '{"p": 1}') as run \gset
create temp table got as select * from sluice.exchange('client', capacity => 5);
select results_eq($$select kind, answer, run_id, attempt, task, executor, target, options, payload, lease_seconds, max_duration_seconds, reply from got where kind = 'claimed'$$,
    format($$values ('claimed', null::text, %s::bigint, 1, 't', 'external', null::text, '{}'::jsonb, '{"p": 1}'::jsonb, 60::double precision, null::double precision, null::bigint)$$, :run), 'a claimed row says all of an attempt');
select token from got where kind = 'claimed' \gset
select is(answers('client', heartbeats => array[:'token']::uuid[]), 'reply', 'a heartbeat of a standing lease has no answer of its own');
select is(answers('other', heartbeats => array[:'token']::uuid[]), 'reply, lost ended', 'a lease of another worker does not stand for this one');
select is(answers('client', outcomes(:'token', 'completed')), 'reply, ended done', 'an outcome is answered');
select is(answers('client', outcomes(:'token', 'completed')), 'reply, ended already_done', 'a repeated one too');
select is(answers('client', '[]', '{}', 1), 'reply', 'a claim of nothing claims nothing');
select sluice.create_task('d', 'external', max_duration => '90 s', lease => '2 s');
select sluice.enqueue('d');
select results_eq($$select lease_seconds, max_duration_seconds from sluice.exchange('client', capacity => 1) where kind = 'claimed'$$, 'values (2::double precision, 90::double precision)', 'a task''s lease and max_duration are told');
select count(sluice.complete(token)) from held_slot;

-- Outcomes one by one: a stale token among good ones
select count(sluice.enqueue('t')) from generate_series(1, 6);
select array_agg(token) as tokens from sluice.claim('client', capacity => 6) \gset
create function nth(tokens uuid[], n int) returns text language sql as 'select tokens[n]::text';
select sluice.cancel(run_of(nth(:'tokens', 2)));
select sluice.requeue(run_of(nth(:'tokens', 3)));
create temp table settled as select e.token, e.answer from sluice.exchange('client', outcomes(nth(:'tokens', 1), 'completed', nth(:'tokens', 2), 'completed', nth(:'tokens', 3), 'failed', nth(:'tokens', 4), 'failed',
    sluice._new_token(7)::text, 'completed', gen_random_uuid()::text, 'released', nth(:'tokens', 5), 'released', nth(:'tokens', 1), 'completed'), (:'tokens'::uuid[])[6:6]) as e where kind = 'ended';
select is((select string_agg(s.answer, ',' order by s.answer) from settled as s where s.token = (:'tokens'::uuid[])[1]), 'done,done', 'a token that is reported twice in one call is done');
select results_eq(format('select n::int, answer from unnest(%L::uuid[]) with ordinality as t (token, n) join settled using (token) where n > 1 order by n', :'tokens'),
    $$values (2, 'stale'), (3, 'stale'), (4, 'done'), (5, 'done')$$, 'each outcome has its own answer; stale ones abort nothing');
select is((select count(*)::int from settled where token <> all (:'tokens') and answer = 'stale'), 2, 'tokens that were never handed out are stale');
select is((select count(*)::int from held_slot where token = any ((:'tokens'::uuid[])[1:5])), 0, 'all their slots are free');
select is(status_of(run_of(nth(:'tokens', 6))), 'executing', 'what was not reported goes on');
select sluice.cancel(run_id) from sluice.runs where finished_at is null;
select sluice.exchange('client', outcomes(nth(:'tokens', 6), 'canceled'));

-- Acknowledging
select sluice.enqueue('t') as run \gset
select take('task/t') as token \gset
select is(answers('client', outcomes(:'token', 'canceled')), 'reply, ended done', 'a canceled that nobody asked for');
select is(status_of(:run), 'queued', 'gives the run back');
select is((select attempt::int from sluice.runs where run_id = :run), 0, 'with its attempt');
select sluice.cancel(:run);

-- Lost, and why
select count(sluice.enqueue('t')) from generate_series(1, 5);
select array_agg(token) as tokens from sluice.claim('client', capacity => 5) \gset
select sluice.cancel(run_of(nth(:'tokens', 1)));
select sluice.requeue(run_of(nth(:'tokens', 2)), delay => '1h');
select sluice.try_lead('leader');
select expire((:'tokens'::uuid[])[3]);
select sluice.expire_leases();
select sluice.complete((:'tokens'::uuid[])[4]);
create temp table lost as select token, answer from sluice.exchange('client', heartbeats => :'tokens'::uuid[] || gen_random_uuid()) where kind = 'lost';
select results_eq(format('select n::int, answer from unnest(%L::uuid[]) with ordinality as t (token, n) join lost using (token) order by n', :'tokens'),
    $$values (1, 'canceled'), (2, 'requeued'), (3, 'expired'), (4, 'ended')$$, 'for each dead token the exchange says why');
select is((select answer from lost where token <> all (:'tokens')), 'ended', 'a token that was never handed out has ended');
select ok((select until > clock_timestamp() + interval '55 s' from held_slot where token = (:'tokens'::uuid[])[5]), 'the lease that stands has moved');
select is((select count(*)::int from held_slot where told), 2, 'the worker has been told of the two whose slots it holds');
select is(answers('client', outcomes(nth(:'tokens', 1), 'canceled', nth(:'tokens', 2), 'canceled')), 'reply, ended done, ended done', 'it acknowledges');
select is((select count(*)::int from held_slot), 1, 'and their slots are free');
select sluice.cancel(run_id) from sluice.runs where finished_at is null;
select count(sluice.release(token)) from held_slot;

-- A session: numbers of replies
select connect('w');
create function w(statement text) returns text language sql as $$ select in_session('w', statement) $$;
select is(w($$select sluice.register_worker('host:1', '{"host": "h", "pid": 42, "version": "0.1.0", "executors": ["external"], "queues": null, "capacity": 3}')$$), '', 'a worker registers');
select is(w($$select reply from sluice.exchange('host:1')$$), '1', 'the first reply of a session is 1');
select is(w($$select reply from sluice.exchange('host:1')$$), '2', 'the next 2');
select is(said($$select sluice.exchange('host:1')$$), 'SL104: worker name "host:1" is in use [Call sluice.register_worker in this session first, or choose another name.]', 'another session cannot exchange under a name that is registered');
select is(said($$select sluice.register_worker('host:1')$$), 'SL104: worker name "host:1" is in use [Give each worker process a name of its own.]', 'nor register it');
select count(sluice.enqueue('t')) from generate_series(1, 4);
select w($$select token from sluice.exchange('host:1', capacity => 1, seen_reply => 2) where kind = 'claimed'$$) as one \gset
select is((select reply from held_slot where token = :'one'), 3::bigint, 'a slot remembers the reply that handed it out');
-- Reply 4 hands out a second one and is lost on the way: the worker has seen 3 and lists what it holds.
select w($$select token from sluice.exchange('host:1', heartbeats => array['$$ || :'one' || $$']::uuid[], capacity => 1, seen_reply => 3) where kind = 'claimed'$$) as two \gset
select w(format($$select count(*) from sluice.exchange('host:1', heartbeats => array[%L]::uuid[], seen_reply => 3)$$, :'one'));
select is(status_of(run_of(:'two')), 'executing', 'a lease that is not listed stands as long as its reply may be on the way');
select w(format($$select count(*) from sluice.exchange('host:1', heartbeats => array[%L]::uuid[], seen_reply => 4)$$, :'one'));
select is(status_of(run_of(:'two')), 'queued', 'a lease of a reply that was seen and that is not listed is released at once');
select is((select attempt::int from sluice.run where run_id = run_of(:'two')), 0, 'its attempt is given back');
select is(status_of(run_of(:'one')), 'executing', 'the one that is listed stands');
select w($$select count(*) from sluice.exchange('host:1', seen_reply => null)$$);
select is(status_of(run_of(:'one')), 'executing', 'without seen_reply nothing is released');
select is(w(format($$select string_agg(kind || coalesce(' ' || answer, ''), ', ') from sluice.exchange('host:1', outcomes('%s', 'completed'), seen_reply => 6)$$, :'one')), 'reply, ended done', 'an outcome of this call needs no heartbeat');
select is(answers('plain', '[]', '{}', 1, 99), 'reply, claimed', 'a client without a session may send seen_reply');
select is(answers('plain', '[]', '{}', 0, 99), 'reply', 'which means nothing for it');
select is((select count(*)::int from held_slot where worker = 'plain'), 1, 'its leases stand');

-- Registering again
select w($$select token from sluice.exchange('host:1', capacity => 1) where kind = 'claimed'$$) as kept \gset
select w($$select token from sluice.exchange('host:1', capacity => 1) where kind = 'claimed'$$) as unlisted \gset
select reply as reply from held_slot where token = :'unlisted' \gset
select dblink_disconnect('w');
call wait_until($$select not exists (select from sluice.worker as w where w.worker = 'host:1' and sluice._session_alive(w.pid, w.session_start))$$);
select is(status_of(run_of(:'kept')), 'executing', 'the end of a session does nothing by itself');
select expire(:'kept');
select connect('w');
select is(w(format($$select sluice.register_worker('host:1', '{"tokens": ["%s"], "seen_reply": %s}')$$, :'kept', :reply - 1)), '', 'the worker comes back with what it holds and saw');
select is(status_of(run_of(:'kept')), 'executing', 'what it holds it keeps');
select ok((select until > clock_timestamp() + interval '30 s' from held_slot where token = :'kept'), 'with a lease that has moved');
select is((select format('%s %s', status, attempt) from sluice.run where run_id = run_of(:'unlisted')), 'queued 0', 'what it never heard of is released');
select cmp_ok(w($$select reply from sluice.exchange('host:1')$$)::int, '>', :reply::int, 'numbers of replies go on');
select w($$select token from sluice.exchange('host:1', capacity => 1) where kind = 'claimed'$$) as another \gset
select dblink_disconnect('w');
call wait_until($$select not exists (select from sluice.worker as w where w.worker = 'host:1' and sluice._session_alive(w.pid, w.session_start))$$);
select connect('w');
select w($$select sluice.register_worker('host:1')$$);
select is((select string_agg(format('%s %s', status, attempt), ', ') from sluice.run where run_id in (run_of(:'kept'), run_of(:'another'))), 'queued 1, queued 1', 'a new process of the same name has lost what the old one was working on');
select is((select count(*)::int from held_slot where worker = 'host:1'), 0, 'and holds nothing');

-- Wrong calls
select is(said($$select sluice.exchange(null)$$), 'SL006: worker must have 1 to 200 characters [Give each process a name of its own, such as host:pid.]', 'a worker has a name');
select is(said($$select sluice.exchange('c', '{}')$$), 'SL006: outcomes must be a JSON array [For example [{"token": "…", "outcome": "completed"}].]', 'outcomes are an array');
select is(said(format($$select sluice.exchange('c', %L)$$, v)), 'SL006: an outcome needs a token and one of completed, failed, crashed, oom, timed_out, released, canceled [For example {"token": "…", "outcome": "failed", "error": {"message": "…"}}.]', 'outcome ' || v)
from unnest(array['[{}]', '[{"outcome": "failed"}]', '[{"token": "00000000-0000-0000-0000-000000000000"}]', '[{"token": "00000000-0000-0000-0000-000000000000", "outcome": "lost"}]', '[{"token": null, "outcome": "completed"}]', '[null]', '[1]']) as v;
select is(said('select sluice.exchange(''c'', capacity => ' || v || ')'), 'SL006: capacity must be 0 to 10000 [It is how many more runs the worker can take.]', 'capacity ' || v) from unnest('{-1,10001}'::text[]) as v;
select is(answers('c', null, null, null), 'reply', 'nulls are nothing');
select is(left(said($$select sluice.exchange('c', '[{"token": "x", "outcome": "completed"}]')$$), 6), '22P02:', 'text that is no UUID is a standard error');
select is(said($$select sluice.register_worker(null)$$), 'SL006: worker must have 1 to 200 characters [Give each process a name of its own, such as host:pid.]', 'register_worker wants a name');
select is(said($$select sluice.register_worker('n', null)$$), '', 'null options are none');

-- Completions in numbers
select forget_all();
select count(*) from sluice.enqueue_many('t', (select array_agg(to_jsonb(i)) from generate_series(1, 500) as i));
select jsonb_agg(jsonb_build_object('token', token, 'outcome', 'completed', 'output', payload)) as all from sluice.claim('client', capacity => 500) \gset
select results_eq(format($$select kind, answer, count(*)::int from sluice.exchange('client', %L) group by 1, 2 order by 1$$, :'all'), $$values ('ended', 'done', 500), ('reply', null, 1)$$, 'five hundred completions in one call');
select is((select count(*)::int from sluice.runs where status = 'completed' and output = payload), 500, 'each run has its own output');
select is_empty('select * from sluice.check()', 'check() finds nothing');
select * from finish();
