-- Debounce: of calls with one key that come close together one run is made, whose time each call puts off.
--
-- A key stands for a run of its task until that run has started or is final; the next call then makes a new one.  The
-- key's row is locked for the rest of the transaction, so of two calls that meet the second waits, as with an idempotency
-- key; then the run's row, for which it waits as well: a claim decides, with its commit, whether the run has started.

create function sluice._debounce_settings(debounce jsonb, out key text, out delay interval, out mode text, out max_delay interval)
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    example constant text := 'For example {"key": "order-1", "delay": "5s", "mode": "leading", "max_delay": "1m"}.';
    unknown text;
begin
    if jsonb_typeof(_debounce_settings.debounce) <> 'object' then
        perform sluice._refuse('debounce', 'must be a JSON object', example);
    end if;
    select k into unknown from jsonb_object_keys(_debounce_settings.debounce) as k
    where k not in ('key', 'delay', 'mode', 'max_delay') limit 1;
    if found then
        perform sluice._refuse('debounce', format('has no setting "%s"', left(unknown, 64)), 'Its settings are key, delay, mode and max_delay.');
    end if;
    key       := debounce ->> 'key';
    delay     := sluice._duration(debounce ->> 'delay');
    mode      := coalesce(debounce ->> 'mode', 'trailing');
    max_delay := sluice._duration(debounce ->> 'max_delay');
    if key is null or length(key) not between 1 and 512 then
        perform sluice._refuse('debounce', 'needs a key of 1 to 512 characters', example);
    end if;
    if delay is null or delay = interval '0' then
        perform sluice._refuse('debounce', 'needs a delay above 0', example);
    end if;
    if mode not in ('leading', 'trailing') then
        perform sluice._refuse('debounce', 'knows the modes "leading" and "trailing"', 'With leading the first payload stays, with trailing the latest one counts.');
    end if;
    if max_delay < delay then
        perform sluice._refuse('debounce', 'has a max_delay below its delay', example);
    end if;
end
$$;
comment on function sluice._debounce_settings(jsonb) is 'Reads what debounce says and fills in the defaults; raises SL006 for what is wrong.';

-- Gives the key to a run that is about to be made.  Returns the run that already has it and has not started, locked, and
-- since when its time has been put off; null if the key is now ours.
create function sluice._take_debounce_key(task_id integer, key text, run_id bigint, as_of timestamptz, out holder bigint, out since timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    held record;
begin
    loop
        insert into sluice.debounce_key (task_id, key, run_id, since, look_at)
        values (_take_debounce_key.task_id, _take_debounce_key.key, _take_debounce_key.run_id, as_of, as_of + interval '1 minute')
        on conflict on constraint debounce_key_pkey do nothing;
        if found then
            return;
        end if;

        select k.run_id, k.since into held
        from sluice.debounce_key as k
        where k.task_id = _take_debounce_key.task_id and k.key = _take_debounce_key.key
        for update;
        continue when not found; -- its run has started, and the leader has removed it in between

        perform from sluice.run as r
        where r.run_id = held.run_id and r.status = 'queued' and r.started_at is null
        for update;
        if found then
            holder := held.run_id;
            since := held.since;
            return;
        end if;
        update sluice.debounce_key as k
        set run_id = _take_debounce_key.run_id, since = as_of, look_at = as_of + interval '1 minute'
        where k.task_id = _take_debounce_key.task_id and k.key = _take_debounce_key.key;
        return;
    end loop;
end
$$;
comment on function sluice._take_debounce_key(integer, text, bigint, timestamptz) is
    'Claims a debounce key for a run; returns the run that holds it already, locked.  A run that has started does not count.';

-- What a call says of a run that is there: its time is put off, never brought forward, and its row of payload is that of the
-- latest call, unless the first one leads.
create function sluice._put_off(run_id bigint, start timestamptz, replace boolean, payload jsonb, metadata jsonb, tags text[], options jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    r record;
begin
    select run.ready_at, run.class, run.attempt into r from sluice.run as run where run.run_id = _put_off.run_id;
    if start > r.ready_at then
        perform sluice._leave_place(_put_off.run_id);
        perform sluice._queue_again(_put_off.run_id, start, r.class, r.attempt);
        perform sluice._move_expiry(_put_off.run_id);
    end if;
    if not _put_off.replace then
        return;
    end if;
    if _put_off.payload is null and _put_off.metadata is null and _put_off.tags is null and _put_off.options is null then
        delete from sluice.payload as p where p.run_id = _put_off.run_id;
    else
        insert into sluice.payload (run_id, payload, metadata, tags, options)
        values (_put_off.run_id, _put_off.payload, _put_off.metadata, _put_off.tags, _put_off.options)
        on conflict on constraint payload_pkey
        do update set (payload, metadata, tags, options) = (excluded.payload, excluded.metadata, excluded.tags, excluded.options);
    end if;
end
$$;
comment on function sluice._put_off(bigint, timestamptz, boolean, jsonb, jsonb, text[], jsonb) is
    'Puts the time of a run off that a debounce key stands for, and gives it the latest payload if so told.  The caller has locked its row.';

-- Keys whose run has started or is final stand for nothing any more.  One that waits is looked at again in a minute, or
-- when it is due.
create function sluice._forget_debounce_keys(out forgotten integer, out next_in interval)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    as_of     timestamptz := clock_timestamp();
    looked_at integer := 0;
    one       record;
    waits_to  timestamptz;
begin
    forgotten := 0;
    for one in
        select k.task_id, k.key, k.run_id from sluice.debounce_key as k
        where k.look_at <= as_of order by k.look_at limit 1000
        for update skip locked
    loop
        looked_at := looked_at + 1;
        select r.ready_at into waits_to from sluice.run as r
        where r.run_id = one.run_id and r.status = 'queued' and r.started_at is null;
        if found then
            update sluice.debounce_key as k set look_at = greatest(waits_to, as_of) + interval '1 minute'
            where k.task_id = one.task_id and k.key = one.key;
        else
            delete from sluice.debounce_key as k where k.task_id = one.task_id and k.key = one.key;
            forgotten := forgotten + 1;
        end if;
    end loop;
    if looked_at = 1000 then
        next_in := interval '0';
        return;
    end if;
    select greatest(k.look_at - clock_timestamp(), interval '0') into next_in
    from sluice.debounce_key as k where k.look_at > as_of order by k.look_at limit 1;
end
$$;
comment on function sluice._forget_debounce_keys() is 'Part of expire_idempotency_keys(): removes debounce keys whose run has started.';
