-- Enqueue: a run is made inside the caller's own transaction, and exists if and only if that commits.
--
-- A single enqueue is one look-up and one or two inserts.  enqueue_many works on sets.  Both keep these rules: a time in
-- the past means now; a key that was used before returns the run it stands for, unless the key has expired or that run
-- failed; nothing is ever cut short or changed silently.

create function sluice._limit_bytes(setting text) returns bigint
language sql stable
begin atomic
    select pg_catalog.pg_size_bytes(pg_catalog.current_setting(setting));
end;
comment on function sluice._limit_bytes(text) is 'A size setting of sluice in bytes.';

create function sluice._refuse(argument text, rule text, hint text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'SL006',
        message = format('%s %s', _refuse.argument, _refuse.rule),
        hint    = _refuse.hint;
end
$$;
comment on function sluice._refuse(text, text, text) is 'Raises SL006 for an argument that breaks a rule.';

create function sluice._assert_size(what text, value jsonb, setting text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if sluice._size(_assert_size.value) > sluice._limit_bytes(_assert_size.setting) then
        raise exception using
            errcode = 'SL201',
            message = format('%s has %s bytes, more than %s', _assert_size.what, sluice._size(_assert_size.value),
                             current_setting(_assert_size.setting)),
            hint    = format('Store large data elsewhere and enqueue a reference to it, or raise %s.', _assert_size.setting);
    end if;
end
$$;
comment on function sluice._assert_size(text, jsonb, text) is 'Raises SL201 for a value that is larger than a setting allows.';

-- When a run may start: null for now.
create function sluice._start_time(delay text, run_at timestamptz, as_of timestamptz) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    start timestamptz := _start_time.run_at;
begin
    if delay is not null and run_at is not null then
        perform sluice._refuse('delay', 'and run_at exclude each other', 'Give one of them.');
    end if;
    if delay is not null then
        start := as_of + sluice._duration(delay);
    end if;
    if start > as_of + interval '36500 days' then
        perform sluice._refuse('run_at', 'is more than a century away', 'Give a time that will come.');
    end if;
    return case when start > as_of then start end;
end
$$;
comment on function sluice._start_time(text, timestamptz, timestamptz) is
    'The future instant that delay or run_at stand for; null for now or the past.';

create function sluice._clean_tags(tags text[]) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    kept text[];
begin
    select array_agg(t order by n) into kept from unnest(_clean_tags.tags) with ordinality as u (t, n) where btrim(t) <> '';
    if cardinality(kept) > 10 or exists (select from unnest(kept) as t where length(t) > 128) then
        raise exception using
            errcode = 'SL202',
            message = 'a run has at most 10 tags of at most 128 characters',
            detail  = format('%s tags were given, the longest with %s characters.', cardinality(kept),
                             (select max(length(t)) from unnest(kept) as t)),
            hint    = 'Put what is longer into metadata.';
    end if;
    return kept;
end
$$;
comment on function sluice._clean_tags(text[]) is 'Tags without blank ones; raises SL202 for too many or too long ones.';

create function sluice._assert_run_options(priority integer, concurrency_key text, idempotency_key text,
                                           idempotency_ttl interval, max_attempts integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if priority not between 0 and 1000000 then
        perform sluice._refuse('priority', 'must be 0 to 1000000', 'It is a head start in seconds.');
    end if;
    if length(concurrency_key) > 512 then
        perform sluice._refuse('concurrency_key', 'must not be longer than 512 characters', 'Use a shorter key, such as an id.');
    end if;
    if length(idempotency_key) not between 1 and 512 then
        perform sluice._refuse('idempotency_key', 'must have 1 to 512 characters', 'Use a shorter key, such as a hash.');
    end if;
    if idempotency_ttl <= interval '0' or idempotency_ttl > interval '3650 days' then
        perform sluice._refuse('idempotency_ttl', 'must be above 0 and at most 3650 days', 'Leave it out for 30 days.');
    end if;
    if max_attempts not between 1 and 250 then
        perform sluice._refuse('max_attempts', 'must be 1 to 250', 'Leave it out for that of the task.');
    end if;
end
$$;
comment on function sluice._assert_run_options(integer, text, text, interval, integer) is 'Raises SL006 for an option that is out of range.';

-- How long a run may wait for its first attempt, as a duration or a number of seconds; 0 is for ever.
create function sluice._ttl(ttl text) returns interval
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
declare
    life interval;
begin
    if ttl ~ '^[0-9]{1,10}$' then
        life := sluice._duration(ttl || 's');
    else
        life := sluice._duration(ttl);
    end if;
    if life > interval '3650 days' then
        perform sluice._refuse('ttl', 'must be at most 3650 days', 'Leave it out, or give 0, for a run that may wait for ever.');
    end if;
    return life;
end
$$;
comment on function sluice._ttl(text) is 'Reads a time to live: a duration such as 1h30m, or seconds.';

-- What holds for a run instead of what its task says, as its row of payload keeps it.
create function sluice._run_options(max_duration interval, machine text, traceparent text, executor text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if max_duration < interval '5 seconds' or max_duration > interval '3650 days' then
        perform sluice._refuse('max_duration', 'must be 5 seconds to 3650 days', 'Leave it out for that of the task.');
    end if;
    perform sluice._assert_machine('machine', machine, executor);
    if traceparent !~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' then
        perform sluice._refuse('traceparent', 'must be that of W3C trace context, version 00', 'Write it as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, in lower case; no id is all zeros.');
    end if;
    return nullif(jsonb_strip_nulls(jsonb_build_object('max_duration', extract(epoch from max_duration), 'machine', machine,
                                                       'traceparent', traceparent)), '{}');
end
$$;
comment on function sluice._run_options(interval, text, text, text) is 'The options of a run as they are stored; null for none.  Raises SL006 for one that is out of range.';

create function sluice._key_stands(status text) returns boolean
language sql immutable parallel safe
begin atomic
    select status is null or status in ('queued', 'executing', 'completed', 'canceled');
end;
comment on function sluice._key_stands(text) is
    'Whether an idempotency key still stands for a run of that status; null is a run that retention has removed, with its key if it did not.';

-- Gives the key to a run that is about to be made.  Returns the run that already has it, or null if it is now ours.
-- A concurrent enqueue with the same key waits here for the other's commit.
create function sluice._take_key(task_id integer, key text, ttl interval, run_id bigint) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    held record;
    expires timestamptz := clock_timestamp() + coalesce(_take_key.ttl, interval '30 days');
begin
    loop
        insert into sluice.idempotency_key (task_id, key, run_id, expires_at)
        values (_take_key.task_id, _take_key.key, _take_key.run_id, expires)
        on conflict on constraint idempotency_key_pkey do nothing;
        if found then
            return null;
        end if;

        select k.run_id, k.expires_at into held
        from sluice.idempotency_key as k
        where k.task_id = _take_key.task_id and k.key = _take_key.key
        for update;
        continue when not found; -- it expired and was removed in between

        if held.expires_at > clock_timestamp()
            and sluice._key_stands((select r.status from sluice.run as r where r.run_id = held.run_id))
        then
            return held.run_id;
        end if;

        update sluice.idempotency_key as k
        set run_id = _take_key.run_id, expires_at = expires
        where k.task_id = _take_key.task_id and k.key = _take_key.key;
        return null;
    end loop;
end
$$;
comment on function sluice._take_key(integer, text, interval, bigint) is
    'Claims an idempotency key for a run; returns the run that holds it already.  A key of a failed run, or an expired one, does not count.';

create function sluice.enqueue_result(
    task            text,
    payload         jsonb       default null,
    queue           text        default null,
    priority        integer     default 0,
    concurrency_key text        default null,
    delay           text        default null,
    run_at          timestamptz default null,
    idempotency_key text        default null,
    idempotency_ttl interval    default null,
    max_attempts    integer     default null,
    tags            text[]      default null,
    metadata        jsonb       default null,
    ttl             text        default null,
    max_duration    interval    default null,
    machine         text        default null,
    debounce        jsonb       default null,
    traceparent     text        default null,
    out run_id      bigint,
    out existing    boolean)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.enqueue_result(text, jsonb, text, integer, text, text, timestamptz, text, interval, integer, text[], jsonb, text, interval, text, jsonb, text) is
    'As enqueue, and says whether the idempotency or debounce key stood for a run that already existed.';

create function sluice._enqueue_result(
    task text, payload jsonb, queue text, priority integer, concurrency_key text, delay text, run_at timestamptz,
    idempotency_key text, idempotency_ttl interval, max_attempts integer, tags text[], metadata jsonb, ttl text, max_duration interval,
    machine text, debounce jsonb, traceparent text, out run_id bigint, out existing boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    found_task record;
    as_of      timestamptz := clock_timestamp();
    start      timestamptz;
    kept_tags  text[];
    kept_options jsonb;
    holder     bigint;
    settings   record;
    first      record;
begin
    select t.task_id, t.queue_id, t.max_attempts, t.executor, t.ttl into found_task
    from sluice.task as t where t.task = _enqueue_result.task and t.dropped_at is null;
    if not found then
        perform sluice._no_such_task(_enqueue_result.task);
    end if;
    perform sluice._assert_may_use(found_task.task_id, sluice._caller());

    existing := false;
    run_id := sluice._new_run_id('sluice.run_seq');
    if idempotency_key is not null or concurrency_key is not null or priority <> 0
        or idempotency_ttl is not null or _enqueue_result.max_attempts is not null
    then
        perform sluice._assert_run_options(priority, concurrency_key, idempotency_key, idempotency_ttl, _enqueue_result.max_attempts);
    end if;
    if delay is not null or run_at is not null then
        start := sluice._start_time(delay, run_at, as_of);
    end if;
    if tags is not null then
        kept_tags := sluice._clean_tags(tags);
    end if;
    if ttl is not null then
        found_task.ttl := sluice._ttl(ttl);
    end if;
    if max_duration is not null or machine is not null or traceparent is not null then
        kept_options := sluice._run_options(max_duration, machine, traceparent, found_task.executor);
    end if;
    if sluice._size(payload) > 1000 or metadata is not null then -- no limit is below a kilobyte
        perform sluice._assert_size('payload', payload, 'sluice.max_payload');
        perform sluice._assert_size('metadata', metadata, 'sluice.max_metadata');
    end if;
    if _enqueue_result.queue is not null then
        found_task.queue_id := sluice._open_queue(_enqueue_result.queue, found_task.queue_id);
    end if;

    if idempotency_key is not null then
        holder := sluice._take_key(found_task.task_id, idempotency_key, idempotency_ttl, _enqueue_result.run_id);
        if holder is not null then
            run_id := holder;
            existing := true;
            return;
        end if;
    end if;
    if debounce is not null then
        if delay is not null or run_at is not null or idempotency_key is not null then
            perform sluice._refuse('debounce', 'excludes delay, run_at and idempotency_key', 'Its delay is one of its settings, and so is its key.');
        end if;
        settings := sluice._debounce_settings(debounce);
        start := as_of + settings.delay;
        first := sluice._take_debounce_key(found_task.task_id, settings.key, _enqueue_result.run_id, as_of);
        if first.holder is not null then
            perform sluice._put_off(first.holder, least(start, first.since + settings.max_delay), settings.mode = 'trailing',
                                    payload, metadata, kept_tags, kept_options);
            run_id := first.holder;
            existing := true;
            return;
        end if;
    end if;

    insert into sluice.run (run_id, lane, ready_at, claim_key, due_at, task_id, queue_id, priority, max_attempts, concurrency_key)
    values (_enqueue_result.run_id, sluice._lane(_enqueue_result.concurrency_key), coalesce(start, as_of),
            coalesce(start, as_of) - coalesce(_enqueue_result.priority, 0) * interval '1 second', start,
            found_task.task_id, found_task.queue_id, coalesce(_enqueue_result.priority, 0),
            coalesce(_enqueue_result.max_attempts, found_task.max_attempts), _enqueue_result.concurrency_key);

    perform sluice._index_push(_enqueue_result.run_id, found_task.queue_id, sluice._lane(_enqueue_result.concurrency_key), 2::smallint,
                               coalesce(start, as_of) - coalesce(_enqueue_result.priority, 0) * interval '1 second',
                               coalesce(start, '-infinity'), found_task.executor),
            sluice._wake();
    if payload is not null or kept_tags is not null or metadata is not null or kept_options is not null then
        insert into sluice.payload (run_id, payload, metadata, tags, options)
        values (_enqueue_result.run_id, _enqueue_result.payload, _enqueue_result.metadata, kept_tags, kept_options);
    end if;
    if found_task.ttl > interval '0' then
        insert into sluice.expiry (run_id, expires_at, ttl)
        values (_enqueue_result.run_id, coalesce(start, as_of) + found_task.ttl, found_task.ttl);
        perform sluice._has_time_to_live();
    end if;
end
$$;
comment on function sluice._enqueue_result(text, jsonb, text, integer, text, text, timestamptz, text, interval, integer, text[], jsonb, text, interval, text, jsonb, text) is
    'Twin of enqueue_result().';

create function sluice.enqueue(
    task            text,
    payload         jsonb       default null,
    queue           text        default null,
    priority        integer     default 0,
    concurrency_key text        default null,
    delay           text        default null,
    run_at          timestamptz default null,
    idempotency_key text        default null,
    idempotency_ttl interval    default null,
    max_attempts    integer     default null,
    tags            text[]      default null,
    metadata        jsonb       default null,
    ttl             text        default null,
    max_duration    interval    default null,
    machine         text        default null,
    debounce        jsonb       default null,
    traceparent     text        default null)
returns bigint
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.enqueue(text, jsonb, text, integer, text, text, timestamptz, text, interval, integer, text[], jsonb, text, interval, text, jsonb, text) is
    'Makes a run of a task in this transaction and returns its id.  delay is a duration such as 1h30m; priority a head start in seconds; an idempotency_key makes a second call return the first run.';

create function sluice._enqueue(
    task text, payload jsonb, queue text, priority integer, concurrency_key text, delay text, run_at timestamptz,
    idempotency_key text, idempotency_ttl interval, max_attempts integer, tags text[], metadata jsonb, ttl text, max_duration interval,
    machine text, debounce jsonb, traceparent text)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return (sluice._enqueue_result(task, payload, queue, priority, concurrency_key, delay, run_at, idempotency_key,
                                   idempotency_ttl, max_attempts, tags, metadata, ttl, max_duration, machine, debounce, traceparent)).run_id;
end
$$;
comment on function sluice._enqueue(text, jsonb, text, integer, text, text, timestamptz, text, interval, integer, text[], jsonb, text, interval, text, jsonb, text) is
    'Twin of enqueue().';

-- Many at once

create function sluice.enqueue_many(task text, payloads jsonb[], options jsonb[] default null) returns setof bigint
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.enqueue_many(text, jsonb[], jsonb[]) is
    'Makes a run for each payload and returns their ids in order.  options holds, for each payload or once for all, an object of enqueue''s other arguments, such as {"priority": 5}.';

create function sluice._assert_item(item bigint, options jsonb, executor text default null) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text;
    o       record;
begin
    if jsonb_typeof(_assert_item.options) not in ('object', 'null') then
        perform sluice._refuse(format('options of item %s', item), 'are not a JSON object', 'For example {"priority": 5}.');
    end if;
    if jsonb_typeof(_assert_item.options) = 'null' then
        return;
    end if;
    select k into unknown from jsonb_object_keys(_assert_item.options) as k
    where k not in ('queue', 'priority', 'concurrency_key', 'delay', 'run_at', 'idempotency_key', 'idempotency_ttl',
                    'max_attempts', 'tags', 'metadata', 'ttl', 'max_duration', 'machine', 'debounce', 'traceparent') limit 1;
    if found then
        perform sluice._refuse(format('options of item %s', item), format('have an unknown name "%s"', left(unknown, 64)),
                               'They are named as the arguments of sluice.enqueue.');
    end if;

    select * into o from jsonb_to_record(_assert_item.options)
        as (queue text, priority integer, concurrency_key text, idempotency_key text, idempotency_ttl interval,
            max_attempts integer, metadata jsonb, ttl text, max_duration interval, machine text, debounce jsonb, traceparent text);
    if o.debounce is not null then
        perform sluice._debounce_settings(o.debounce);
    end if;
    perform sluice._ttl(o.ttl), sluice._run_options(o.max_duration, o.machine, o.traceparent, _assert_item.executor);
    perform sluice._assert_run_options(o.priority, o.concurrency_key, o.idempotency_key, o.idempotency_ttl, o.max_attempts);
    perform sluice._assert_size(format('metadata of item %s', item), o.metadata, 'sluice.max_metadata');
    if o.queue is not null then
        perform sluice._queue_id(o.queue);
    end if;
end
$$;
comment on function sluice._assert_item(bigint, jsonb, text) is 'Raises an error that names the item for options of enqueue_many that are wrong.';

-- Debounced ones may be of one run: so they are made one by one; first those with an idempotency key, then the debounced, each
-- in key order, that no two calls can deadlock whatever kinds of keys they mix.
create function sluice._enqueue_each(task_id integer, payloads jsonb[], options jsonb[]) returns setof bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    name text := (select t.task from sluice.task as t where t.task_id = _enqueue_each.task_id);
    ids  bigint[] := array_fill(null::bigint, array[cardinality(payloads)]);
    made bigint;
    item record;
begin
    for item in
        select i.n, i.payload, o.*
        from (select u.n, u.payload, coalesce(nullif(case cardinality(options) when 1 then options[1] else u.o end, 'null'), '{}') as o
              from unnest(payloads, options) with ordinality as u (payload, o, n)) as i
        cross join lateral jsonb_to_record(i.o)
            as o (queue text, priority integer, concurrency_key text, delay text, run_at timestamptz, idempotency_key text,
                  idempotency_ttl interval, max_attempts integer, tags text[], metadata jsonb, ttl text, max_duration interval,
                  machine text, debounce jsonb, traceparent text)
        order by o.idempotency_key, o.debounce ->> 'key', i.n
    loop
        made := (sluice._enqueue_result(name, item.payload, item.queue, coalesce(item.priority, 0), item.concurrency_key, item.delay,
                                        item.run_at, item.idempotency_key, item.idempotency_ttl, item.max_attempts, item.tags,
                                        item.metadata, item.ttl, item.max_duration, item.machine, item.debounce, item.traceparent)).run_id;
        ids[item.n] := made;
    end loop;
    return query select u from unnest(ids) as u;
end
$$;
comment on function sluice._enqueue_each(integer, jsonb[], jsonb[]) is '_enqueue_all() where some are debounced.';

create function sluice._enqueue_all(task_id integer, payloads jsonb[], options jsonb[], origins jsonb[] default null)
returns setof bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    found_task record;
    as_of      timestamptz := clock_timestamp();
    too_large  bigint;
    fresh      bigint[]; -- an id for each item, which those make a run with that keep it
    ids        bigint[];
    item       record;
    holder     bigint;
    previous_key text;
    previous_id  bigint;
begin
    select t.task_id, t.queue_id, t.max_attempts, t.executor, t.ttl into found_task
    from sluice.task as t where t.task_id = _enqueue_all.task_id;
    if array_ndims(payloads) > 1 or array_ndims(options) > 1 then
        perform sluice._refuse('payloads and options', 'must be arrays of one dimension', 'Flatten them.');
    end if;
    payloads := array(select u from unnest(payloads) as u); -- subscripts from 1, whatever they were
    options := array(select u from unnest(options) as u);
    if cardinality(options) not in (0, 1, cardinality(payloads)) then
        perform sluice._refuse('options', 'must have one element for each payload, or one for all',
                               format('There are %s payloads and %s options.', cardinality(payloads), cardinality(options)));
    end if;

    select i.n into too_large from unnest(payloads) with ordinality as i (payload, n)
    where sluice._size(i.payload) > sluice._limit_bytes('sluice.max_payload') order by i.n limit 1;
    if found then
        perform sluice._assert_size(format('payload of item %s', too_large), payloads[too_large], 'sluice.max_payload');
    end if;
    if cardinality(options) > 0 then
        perform sluice._assert_item(i.n, i.options, found_task.executor) from unnest(options) with ordinality as i (options, n) where i.options is not null;
    end if;

    if cardinality(payloads) = 0 then
        return;
    end if;
    if exists (select from unnest(options) as o where o ? 'debounce') then
        return query select e from sluice._enqueue_each(_enqueue_all.task_id, payloads, options) as e;
        return;
    end if;
    select array_agg(sluice._new_run_id('sluice.run_seq')) into fresh from generate_series(1, cardinality(payloads));
    ids := fresh;

    -- Keys first, in key order, so that two calls with the same keys cannot deadlock.  An item whose key is taken gets
    -- the id of the run that has it.
    if exists (select from unnest(options) as o where o ? 'idempotency_key') then
        for item in
            select i.n, i.o
            from (select u.n, case cardinality(options) when 1 then options[1] else u.o end as o
                  from unnest(payloads, options) with ordinality as u (payload, o, n)) as i
            order by i.o ->> 'idempotency_key', i.n
        loop
            continue when item.o ->> 'idempotency_key' is null;
            if item.o ->> 'idempotency_key' = previous_key then -- twice in this call: one run
                ids[item.n] := previous_id;
                continue;
            end if;
            holder := sluice._take_key(found_task.task_id, item.o ->> 'idempotency_key',
                                       (item.o ->> 'idempotency_ttl')::interval, ids[item.n]);
            if holder is not null then
                ids[item.n] := holder;
            end if;
            previous_key := item.o ->> 'idempotency_key';
            previous_id := ids[item.n];
        end loop;
    end if;

    with item as materialized (
        select
            i.run_id, i.payload, o.metadata,
            case when o.tags is not null then sluice._clean_tags(o.tags) end as tags,
            case when o.delay is not null or o.run_at is not null then sluice._start_time(o.delay, o.run_at, as_of) end as start,
            coalesce(o.priority, 0) as priority, o.concurrency_key,
            coalesce(o.max_attempts, found_task.max_attempts) as max_attempts,
            case when o.max_duration is not null or o.machine is not null or o.traceparent is not null or i.origin is not null
                 then nullif(coalesce(sluice._run_options(o.max_duration, o.machine, o.traceparent, found_task.executor), '{}') || coalesce(i.origin, '{}'), '{}') end as options,
            case when o.ttl is null then found_task.ttl else sluice._ttl(o.ttl) end as ttl,
            case when o.queue is null then found_task.queue_id
                 when i.origin is not null then sluice._queue_id(o.queue) -- whose right it takes, a schedule has asked
                 else sluice._open_queue(o.queue, found_task.queue_id) end as queue_id
        -- The arrays side by side: an element of options by its number would be looked for from the first on.
        from unnest(ids, fresh, payloads, options, origins) as i (run_id, fresh, payload, o, origin)
        left join lateral jsonb_to_record(nullif(case cardinality(options) when 1 then options[1] else i.o end, 'null'))
            as o (queue text, priority integer, concurrency_key text, delay text, run_at timestamptz, max_attempts integer,
                  tags text[], metadata jsonb, ttl text, max_duration interval, machine text, traceparent text) on true
        where i.run_id = i.fresh
    ),
    made as (
        insert into sluice.run (run_id, lane, ready_at, claim_key, due_at, task_id, queue_id, priority, max_attempts, concurrency_key)
        select i.run_id, sluice._lane(i.concurrency_key), coalesce(i.start, as_of),
               coalesce(i.start, as_of) - i.priority * interval '1 second', i.start,
               found_task.task_id, i.queue_id, i.priority, i.max_attempts, i.concurrency_key
        from item as i
        returning sluice._index_push(run_id, queue_id, lane, class, claim_key, coalesce(due_at, '-infinity'), found_task.executor)
    ),
    mortal as (
        insert into sluice.expiry (run_id, expires_at, ttl)
        select i.run_id, coalesce(i.start, as_of) + i.ttl, i.ttl from item as i where i.ttl > interval '0'
        returning sluice._has_time_to_live()
    )
    insert into sluice.payload (run_id, payload, metadata, tags, options)
    select i.run_id, i.payload, i.metadata, i.tags, i.options
    from item as i
    where i.payload is not null or i.metadata is not null or i.tags is not null or i.options is not null;

    perform sluice._wake();
    return query select u from unnest(ids) as u;
end
$$;
comment on function sluice._enqueue_all(integer, jsonb[], jsonb[], jsonb[]) is 'Makes runs of a task that whoever wants them may use; origins is what their rows remember of where they come from.';

create function sluice._enqueue_many(task text, payloads jsonb[], options jsonb[]) returns setof bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    id integer := sluice._task_id(_enqueue_many.task);
begin
    perform sluice._assert_may_use(id, sluice._caller());
    return query select e from sluice._enqueue_all(id, _enqueue_many.payloads, _enqueue_many.options) as e;
end
$$;
comment on function sluice._enqueue_many(text, jsonb[], jsonb[]) is 'Twin of enqueue_many().';
