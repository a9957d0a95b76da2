-- exchange: one call for each cycle of a worker.  It reports ended attempts, moves leases, learns of dead tokens, and
-- claims new runs, in one transaction.
--
-- A worker that registered its session lists every token it holds, and says which reply it saw last; what was handed
-- out up to that reply and is not listed did not arrive, and is released.  One exchange is in flight for each session.
-- Outcomes come before claims: they lock rows of runs, and a claim, which may wait for a queue, must not be holding
-- what another exchange with that queue's lock waits for.

create function sluice._assert_worker_name(worker text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if worker is null or length(worker) not between 1 and 200 then
        perform sluice._refuse('worker', 'must have 1 to 200 characters', 'Give each process a name of its own, such as host:pid.');
    end if;
end
$$;
comment on function sluice._assert_worker_name(text) is 'Raises SL006 for a worker''s name that is missing or too long.';

create function sluice.register_worker(worker text, options jsonb default '{}') returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.register_worker(text, jsonb) is
    'Binds this session to a worker''s name: when the session ends, its leases are given to others at once.  options: host, pid, version, executors, queues, capacity, memory, tokens still held, seen_reply.';

create function sluice._register_worker(worker text, options jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    holder  record;
    told    record;
    held    uuid[];
    seen    bigint;
    gone    record;
begin
    perform sluice._assert_worker_name(_register_worker.worker);
    perform sluice._assert_home();
    if jsonb_typeof(coalesce(_register_worker.options, '{}')) <> 'object' then
        perform sluice._refuse('options', 'must be a JSON object', 'For example {"capacity": 10, "executors": ["external"]}.');
    end if;
    select o.* into told from jsonb_to_record(coalesce(_register_worker.options, '{}'))
        as o (host text, pid integer, version text, executors text[], queues text[], capacity integer, tokens uuid[], seen_reply bigint,
              memory bigint);
    held := coalesce(told.tokens, '{}');
    seen := coalesce(told.seen_reply, 0);

    if seen not between 0 and 1e15 then
        perform sluice._refuse('seen_reply', 'is not the number of a reply', 'Pass the reply that the last exchange returned.');
    end if;

    -- The row first, so that of two sessions that register one new name at once the second waits and is refused.
    loop
        insert into sluice.worker (worker, pid, session_start, registered_at, seen_at)
        values (_register_worker.worker, pg_backend_pid(), sluice._session_start(), clock_timestamp(), clock_timestamp())
        on conflict on constraint worker_pkey do nothing;
        select w.pid, w.session_start into holder from sluice.worker as w where w.worker = _register_worker.worker for update;
        exit when found; -- else the leader removed the row of a dead session in between
    end loop;
    if (holder.pid, holder.session_start) <> (pg_backend_pid(), sluice._session_start())
        and sluice._session_alive(holder.pid, holder.session_start)
    then
        raise exception using
            errcode = 'SL104',
            message = format('worker name "%s" is in use', _register_worker.worker),
            detail  = format('The session of backend %s has registered it.', holder.pid),
            hint    = 'Give each worker process a name of its own.';
    end if;
    update sluice.worker as w
    set (pid, session_start, registered_at, seen_at, reply, host, process, version, executors, queues, capacity, memory, server_start, problems)
      = (pg_backend_pid(), sluice._session_start(), clock_timestamp(), clock_timestamp(),
         greatest(w.reply, seen, (select max(s.reply) from sluice._slots_of(_register_worker.worker) as s)),
         told.host, told.pid, told.version, told.executors, told.queues, told.capacity, told.memory,
         pg_postmaster_start_time(), null)
    where w.worker = _register_worker.worker;

    perform sluice._say_farewell();

    -- What this process never heard of is released; what an earlier process of this name was working on is lost.
    for gone in
        select s.token, s.reply from sluice._slots_of(_register_worker.worker) as s where s.token <> all (held)
    loop
        -- After a restart the index does not know the number: what this process does not list did not arrive.
        perform sluice._settle(gone.token, case when seen > 0 and coalesce(gone.reply > seen, true) then 'released' else 'lost' end,
                               null, null, null);
    end loop;
    perform sluice._beat(_register_worker.worker, held);
end
$$;
comment on function sluice._register_worker(text, jsonb) is 'Twin of register_worker().';

create function sluice._assert_exchange(worker text, outcomes jsonb, capacity integer, seen_reply bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._assert_worker_name(_assert_exchange.worker);
    if jsonb_typeof(coalesce(_assert_exchange.outcomes, '[]')) <> 'array' then
        perform sluice._refuse('outcomes', 'must be a JSON array', 'For example [{"token": "…", "outcome": "completed"}].');
    end if;
    if _assert_exchange.seen_reply not between 0 and 1e15 then
        perform sluice._refuse('seen_reply', 'is not the number of a reply', 'Pass the reply that the last exchange returned.');
    end if;
    if _assert_exchange.capacity not between 0 and 10000 then
        perform sluice._refuse('capacity', 'must be 0 to 10000', 'It is how many more runs the worker can take.');
    end if;
end
$$;
comment on function sluice._assert_exchange(text, jsonb, integer, bigint) is 'Raises SL006 for arguments of exchange() that are wrong.';

create function sluice._assert_unregistered(worker text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from sluice.worker as w where w.worker = _assert_unregistered.worker) then
        raise exception using
            errcode = 'SL104',
            message = format('worker name "%s" is in use', _assert_unregistered.worker),
            detail  = 'Another session has registered it.',
            hint    = 'Call sluice.register_worker in this session first, or choose another name.';
    end if;
end
$$;
comment on function sluice._assert_unregistered(text) is 'Raises SL104 for a worker''s name that a session has registered.';

-- Outcomes of every kind.  Completions that stand are one statement, the others go one by one.
create function sluice._report(outcomes jsonb) returns table (token uuid, answer text)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    tokens    uuid[];
    kinds     text[];
    completed uuid[];
    outputs   jsonb[];
    done      uuid[] := '{}';
    retry_in  double precision;
    item      record;
begin
    select array_agg(u.token), array_agg(u.output), array_agg(u.outcome) into tokens, outputs, kinds
    from (select (o ->> 'token')::uuid as token, nullif(o -> 'output', 'null') as output, o ->> 'outcome' as outcome
          from jsonb_array_elements(_report.outcomes) as o) as u;
    select array_agg(c.token), array_agg(c.output) into completed, outputs
    from (select distinct on (u.token) u.token, u.output
          from unnest(tokens, outputs, kinds) as u (token, output, outcome)
          where u.outcome = 'completed' and u.token is not null
            and (u.output is null or sluice._size(u.output) <= sluice._limit_bytes('sluice.max_output'))) as c;

    if jsonb_path_exists(_report.outcomes, '$[*].usage') then
        perform sluice._write_resources(_report.outcomes);
    end if;

    -- Completions go before the others: where there are both, all rows are locked first, in id order, so that two
    -- calls with the same tokens cannot wait for each other crosswise.
    if cardinality(completed) < cardinality(tokens) then
        perform from (select u as token from unnest(tokens) as u order by sluice._token_run(u)) as t,
            lateral (select from sluice.run as r where r.run_id = sluice._token_run(t.token) and r.token = t.token
                     and r.status = 'executing' for update) as locked;
    end if;
    if completed is not null then
        done := sluice._complete_many(completed, outputs);
    end if;
    return query select u, 'done' from unnest(tokens) as u where u = any (done);

    for item in
        select u.token, u.outcome, _report.outcomes -> (u.n - 1)::integer as given
        from unnest(tokens, kinds) with ordinality as u (token, outcome, n)
        where (u.token = any (done)) is not true
        order by sluice._token_run(u.token)
    loop
        token := item.token;
        if item.outcome is null or item.token is null
            or item.outcome not in ('completed', 'failed', 'crashed', 'oom', 'timed_out', 'released', 'canceled') then
            perform sluice._refuse('an outcome', 'needs a token and one of completed, failed, crashed, oom, timed_out, released, canceled',
                                   'For example {"token": "…", "outcome": "failed", "error": {"message": "…"}}.');
        end if;
        if item.outcome = 'canceled' then
            answer := sluice._acknowledge(item.token);
        else
            retry_in := (item.given ->> 'retry_in')::double precision;
            answer := sluice._settle(item.token, item.outcome, nullif(item.given -> 'output', 'null'), item.given -> 'error',
                                     clock_timestamp() + case when retry_in > 3e9 then 3e9 when retry_in < 0 then 0 else retry_in end * interval '1 second');
        end if;
        return next;
    end loop;
end
$$;
comment on function sluice._report(jsonb) is 'Ends attempts with the outcomes that exchange() was given, and says what came of each.';

create function sluice._tell(token uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    why text := sluice._why_stale(_tell.token);
begin
    perform sluice._mark_told(_tell.token);
    return case why when 'already_done' then 'ended' else why end;
end
$$;
comment on function sluice._tell(uuid) is 'Why a token is dead, for its worker, who knows it from here on.';

create function sluice._release_unseen(worker text, seen_reply bigint, held uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._settle(s.token, 'released', null, null, null)
    from sluice._slots_of(_release_unseen.worker) as s
    where s.reply <= _release_unseen.seen_reply and s.revoked is null and s.token <> all (coalesce(_release_unseen.held, '{}'));
end
$$;
comment on function sluice._release_unseen(text, bigint, uuid[]) is
    'Where leases are in tables: releases what was handed out up to a reply that its worker has seen, and that it does not hold.';

create function sluice.exchange(
    worker     text,
    outcomes   jsonb   default '[]',
    heartbeats uuid[]  default '{}',
    capacity   integer default 0,
    queues     text[]  default null,
    executors  text[]  default '{external}',
    seen_reply bigint  default null)
returns table (kind text, token uuid, answer text, run_id bigint, attempt integer, task text, executor text, target text,
               options jsonb, payload jsonb, lease_seconds double precision, max_duration_seconds double precision, reply bigint,
               machine text, heartbeat_seconds double precision, traceparent text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.exchange(text, jsonb, uuid[], integer, text[], text[], bigint) is
    'One cycle of a worker: reports outcomes [{token, outcome, output, error, retry_in, usage}], moves leases, claims up to capacity runs.  Rows: reply, ended (answer done, already_done, stale), lost (answer why), claimed.';

create function sluice._exchange(worker text, outcomes jsonb, heartbeats uuid[], capacity integer, queues text[], executors text[],
                                 seen_reply bigint)
returns table (kind text, token uuid, answer text, run_id bigint, attempt integer, task text, executor text, target text,
               options jsonb, payload jsonb, lease_seconds double precision, max_duration_seconds double precision, reply bigint,
               machine text, heartbeat_seconds double precision, traceparent text)
language c volatile as 'MODULE_PATHNAME', 'sluice_exchange'
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off;
comment on function sluice._exchange(text, jsonb, uuid[], integer, text[], text[], bigint) is 'Twin of exchange().';

-- A worker says that it has stopped the work of a dead token.
create function sluice._acknowledge(token uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from sluice._slot(_acknowledge.token) as s where s.run_id is not null and s.revoked is null) then
        return sluice._settle(_acknowledge.token, 'released', null, null, null);
    end if;
    perform sluice._free_slot(_acknowledge.token);
    perform sluice._wake();
    return 'done';
end
$$;
comment on function sluice._acknowledge(uuid) is 'Frees the place of a dead token; a token that still stands is released.';
