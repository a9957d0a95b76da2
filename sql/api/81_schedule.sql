-- Schedules: when a cron ticks, and which schedules there are.
--
-- What is due is fired in sql/api/83_fire.sql.  Fields are read, and instants found, in C++ (extension/cron.cpp).

create function sluice._cron_tick(cron text, timezone text, after timestamptz) returns timestamptz
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_tick';
comment on function sluice._cron_tick(text, text, timestamptz) is 'The first tick after an instant; null if there is none before the year 10000.';

create function sluice._cron_ticks(cron text, timezone text, after timestamptz, count integer) returns timestamptz[]
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_ticks';
comment on function sluice._cron_ticks(text, text, timestamptz, integer) is 'The next ticks after an instant, in order.';

create function sluice._cron_count(cron text, timezone text, after timestamptz, until timestamptz) returns bigint
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_count';
comment on function sluice._cron_count(text, text, timestamptz, timestamptz) is 'How many ticks there are after one instant and not after another.';

create function sluice._cron_last(cron text, timezone text, after timestamptz, until timestamptz, most integer) returns timestamptz[]
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_last';
comment on function sluice._cron_last(text, text, timestamptz, timestamptz, integer) is 'The last ticks after one instant and not after another, in order.';

create function sluice._cron_zone(timezone text) returns text
language c stable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_zone';
comment on function sluice._cron_zone(text) is 'A zone''s name as it is spelled; null unless it is one of the IANA data base.';

create function sluice._cron_words(cron text) returns text
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'sluice_cron_words';
comment on function sluice._cron_words(text) is 'What a cron means, in words; raises SL006 for what is none.';

create function sluice._assert_cron(cron text, timezone text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if _assert_cron.cron is null then
        perform sluice._refuse('cron', 'must not be null', 'For example ''30 9 * * mon-fri'' or ''@daily''.');
    end if;
    if _assert_cron.timezone is null then
        perform sluice._refuse('timezone', 'must not be null', 'Leave it out for UTC.');
    end if;
    perform sluice._cron_tick(_assert_cron.cron, _assert_cron.timezone, clock_timestamp());
end
$$;
comment on function sluice._assert_cron(text, text) is 'Raises SL006, naming the field, unless cron and zone can be read.';

create function sluice.cron_next(cron text, timezone text default 'UTC', after timestamptz default null) returns timestamptz
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.cron_next(text, text, timestamptz) is
    'When a cron ticks for the first time after an instant, which is now unless given, by the clocks of a time zone.';

create function sluice._cron_next(cron text, timezone text, after timestamptz) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._assert_cron(_cron_next.cron, _cron_next.timezone);
    return sluice._cron_tick(_cron_next.cron, _cron_next.timezone, coalesce(_cron_next.after, clock_timestamp()));
end
$$;
comment on function sluice._cron_next(text, text, timestamptz) is 'Twin of cron_next().';

create function sluice.cron_describe(cron text) returns text
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.cron_describe(text) is 'What a cron means, in words: at 09:30, Monday to Friday.';

create function sluice._cron_describe(cron text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._assert_cron(_cron_describe.cron, 'UTC');
    return sluice._cron_words(_cron_describe.cron);
end
$$;
comment on function sluice._cron_describe(text) is 'Twin of cron_describe().';

-- Definitions

-- Two statements, as "is not distinct from" cannot be looked up in an index: a schedule may have very many instances.  Whoever
-- calls it keeps the number in a variable: in a condition it would be called for each row, should all of them be read.
create function sluice._schedule_id(schedule text, external_id text) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    if _schedule_id.external_id is null then
        return (select s.schedule_id from sluice.schedule as s where s.schedule = _schedule_id.schedule and s.external_id is null);
    end if;
    return (select s.schedule_id from sluice.schedule as s
            where s.schedule = _schedule_id.schedule and s.external_id = _schedule_id.external_id);
end
$$;
comment on function sluice._schedule_id(text, text) is 'The number of an instance of a schedule; null if there is none.';

create function sluice._no_such_schedule(schedule text, external_id text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'SL019',
        message = case
            when _no_such_schedule.schedule is null then 'schedule must not be null'
            when _no_such_schedule.external_id is null then format('schedule "%s" does not exist', left(_no_such_schedule.schedule, 128))
            else format('schedule "%s" has no instance "%s"', left(_no_such_schedule.schedule, 128), left(_no_such_schedule.external_id, 128)) end,
        hint    = 'The view sluice.schedules lists them; an instance is named by schedule and external_id together.';
end
$$;
comment on function sluice._no_such_schedule(text, text) is 'Raises SL019.';

-- What keeps a schedule from enqueueing, asked anew at each tick.
create function sluice._schedule_problem(task_id integer, owner text, owner_id oid, queue text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    role oid := sluice._role_id(_schedule_problem.owner_id, _schedule_problem.owner);
    used record;
    id   integer := (select q.queue_id from sluice.queue as q where q.queue = _schedule_problem.queue and q.dropped_at is null);
begin
    select t.task, t.queue_id, t.dropped_at into used from sluice.task as t where t.task_id = _schedule_problem.task_id;
    return case
        when used.dropped_at is not null then format('task "%s" was dropped', used.task)
        when role is null then format('role "%s", in whose name it enqueues, is gone', _schedule_problem.owner)
        when not sluice._may_use(_schedule_problem.task_id, role) then format('role "%s" may not use task "%s"', pg_get_userbyid(role), used.task)
        when not (select bool_or(has_function_privilege(role, p.oid, 'execute')) from pg_proc as p
                  where p.pronamespace = 'sluice'::regnamespace and p.proname = 'enqueue')
            then format('role "%s" may not call sluice.enqueue', pg_get_userbyid(role))
        when _schedule_problem.queue is null or id = used.queue_id then null
        when id is null then format('queue "%s" does not exist', _schedule_problem.queue)
        when not pg_has_role(role, 'sluice_producer', 'usage') and not sluice._has_queue(id, role)
            then format('role "%s" may not put runs into queue "%s"', pg_get_userbyid(role), _schedule_problem.queue)
    end;
end
$$;
comment on function sluice._schedule_problem(integer, text, oid, text) is 'Why a schedule cannot enqueue: its task, queue or role is gone, or a right was lost; null if it can.';

create function sluice._assert_schedule_options(options jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    wrong text;
begin
    if jsonb_typeof(_assert_schedule_options.options) <> 'object' then
        perform sluice._refuse('options', 'must be a JSON object', 'For example {"priority": 5}.');
    end if;
    select k into wrong from jsonb_object_keys(_assert_schedule_options.options) as k
    where k in ('delay', 'run_at', 'idempotency_key', 'idempotency_ttl', 'debounce', 'traceparent') limit 1;
    if found then
        perform sluice._refuse('options', format('of a schedule have no "%s"', wrong), 'The tick says when a run is made, and makes one.');
    end if;
    perform sluice._assert_item(1, _assert_schedule_options.options);
    perform sluice._clean_tags((select o.tags from jsonb_to_record(_assert_schedule_options.options) as o (tags text[])));
end
$$;
comment on function sluice._assert_schedule_options(jsonb) is 'Raises an error for options that runs of a schedule cannot have.';

create function sluice._assert_schedule_payload(payload jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    taken text;
begin
    if jsonb_typeof(_assert_schedule_payload.payload) <> 'object' then
        perform sluice._refuse('payload', 'of a schedule must be a JSON object', 'Each run gets it together with the time of its tick.');
    end if;
    select k into taken from jsonb_object_keys(_assert_schedule_payload.payload) as k
    where k in ('timestamp', 'last_timestamp', 'timezone', 'schedule', 'external_id', 'upcoming') limit 1;
    if found then
        perform sluice._refuse('payload', format('of a schedule must not have "%s"', taken), 'Each tick puts its own there.');
    end if;
    perform sluice._assert_size('payload', _assert_schedule_payload.payload, 'sluice.max_payload');
end
$$;
comment on function sluice._assert_schedule_payload(jsonb) is 'Raises an error for a payload that a schedule cannot have.';

-- Where a schedule's runs start inside of its window: by its name alone, so that it is the same for ever.
create function sluice._spread_by(schedule text, external_id text, spread interval) returns interval
language sql immutable
begin atomic
    select case when extract(epoch from spread) < 1 then interval '0'
                else mod(abs(sluice._lane(schedule || coalesce('/' || external_id, '')) / 2), extract(epoch from spread)::bigint) * interval '1 second' end;
end;
comment on function sluice._spread_by(text, text, interval) is 'How long behind its ticks a schedule fires: a hash of its name, in seconds of its window.';

create function sluice._wake_schedules() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    notify sluice_schedules;
end
$$;
comment on function sluice._wake_schedules() is 'Lets the leader look when the next schedule is due, at commit.';

-- The caller may change schedules of its own and of roles that it is a member of.
create function sluice._assert_schedule_owner(schedule text, owner text, owner_id oid) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    caller oid := sluice._caller();
begin
    if caller <> 0 and not pg_has_role(caller, 'sluice_admin', 'usage')
        and not coalesce(pg_has_role(caller, sluice._role_id(_assert_schedule_owner.owner_id, _assert_schedule_owner.owner), 'member'), false)
    then
        raise exception using
            errcode = '42501',
            message = format('schedule "%s" belongs to role "%s"', _assert_schedule_owner.schedule, _assert_schedule_owner.owner),
            hint    = format('Change it as a member of "%s" or of sluice_admin.', _assert_schedule_owner.owner);
    end if;
end
$$;
comment on function sluice._assert_schedule_owner(text, text, oid) is 'Raises 42501 unless the caller may change a schedule of that owner.';

create function sluice.create_schedule(
    schedule    text,
    task        text,
    cron        text     default null,
    timezone    text     default 'UTC',
    payload     jsonb    default null,
    external_id text     default null,
    catch_up    text     default 'skip',
    overlap     text     default 'allow',
    spread      interval default '0',
    options     jsonb    default null,
    active      boolean  default null)
returns timestamptz
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.create_schedule(text, text, text, text, jsonb, text, text, text, interval, jsonb, boolean) is
    'Enqueues a task whenever a cron ticks by the clocks of a time zone; one of the same name and external_id is replaced.  Returns its next tick.';

create function sluice._create_schedule(
    schedule text, task text, cron text, timezone text, payload jsonb, external_id text, catch_up text, overlap text,
    spread interval, options jsonb, active boolean)
returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    caller   oid := sluice._caller();
    instance bigint;
    id       integer;
    zone     text;
    previous record;
    moment   timestamptz;
    shift    interval;
    on_duty  boolean;
begin
    perform sluice._assert_name('schedule', _create_schedule.schedule);
    if length(_create_schedule.external_id) not between 1 and 512 then
        perform sluice._refuse('external_id', 'must have 1 to 512 characters', 'Use a shorter one, such as an id, or leave it out.');
    end if;
    perform sluice._assert_cron(_create_schedule.cron, _create_schedule.timezone);
    zone := sluice._cron_zone(_create_schedule.timezone);
    if coalesce(_create_schedule.catch_up, '') not in ('skip', 'one', 'all') then
        perform sluice._refuse('catch_up', 'must be skip, one or all', 'It says how many runs are made for ticks that were missed.');
    end if;
    if coalesce(_create_schedule.overlap, '') not in ('allow', 'skip', 'cancel_previous') then
        perform sluice._refuse('overlap', 'must be allow, skip or cancel_previous', 'It says what a tick does while the run of the one before is not final.');
    end if;
    if _create_schedule.catch_up = 'all' and _create_schedule.overlap <> 'allow' then
        perform sluice._refuse('catch_up', 'all needs overlap allow', 'Missed ticks are all fired at once; one fires the last of them.');
    end if;
    if _create_schedule.spread is null or _create_schedule.spread < interval '0' or _create_schedule.spread > interval '1 day' then
        perform sluice._refuse('spread', 'must be 0 to 1 day', 'Runs start that long behind the tick at most.');
    end if;
    if _create_schedule.payload is not null then
        perform sluice._assert_schedule_payload(_create_schedule.payload);
    end if;
    if _create_schedule.options is not null then
        perform sluice._assert_schedule_options(_create_schedule.options);
    end if;
    id := sluice._task_id(_create_schedule.task);
    perform sluice._assert_may_use(id, caller);
    shift := sluice._spread_by(_create_schedule.schedule, _create_schedule.external_id, _create_schedule.spread);

    loop
        insert into sluice.schedule (schedule, external_id, task_id, active, cron, timezone, description, spread, spread_by,
                                     catch_up, overlap, owner, owner_id)
        values (_create_schedule.schedule, _create_schedule.external_id, id, false, '', '', '', '0', '0', 'skip', 'allow',
                pg_get_userbyid(caller), caller)
        on conflict on constraint schedule_instance_is_unique do nothing;
        on_duty := found; -- a new one is active, another stays as it is
        instance := sluice._schedule_id(_create_schedule.schedule, _create_schedule.external_id);
        select s.schedule_id, s.cron, s.timezone, s.spread_by, s.active, s.next_tick, s.last_tick, s.owner, s.owner_id into previous
        from sluice.schedule as s where s.schedule_id = instance for update;
        exit when found; -- or it was dropped in between
    end loop;
    perform sluice._assert_schedule_owner(_create_schedule.schedule, previous.owner, previous.owner_id);
    perform sluice._assert_may_use(id, sluice._role_id(previous.owner_id, previous.owner));
    perform sluice._open_queue(_create_schedule.options ->> 'queue', (select t.queue_id from sluice.task as t where t.task_id = id))
    where _create_schedule.options ->> 'queue' is not null;
    on_duty := coalesce(_create_schedule.active, on_duty or previous.active);

    -- To define it again as it was must not lose a tick that is due, nor bring back one that has been.
    moment := previous.next_tick;
    if moment is null or not previous.active or (previous.cron, previous.timezone) <> (_create_schedule.cron, zone) then
        moment := sluice._cron_tick(_create_schedule.cron, zone, greatest(clock_timestamp(), previous.last_tick));
    end if;

    if not on_duty then
        moment := null;
    end if;

    update sluice.schedule as s
    set task_id = id, active = on_duty, cron = _create_schedule.cron, timezone = zone,
        description = sluice._cron_words(_create_schedule.cron), spread = _create_schedule.spread, spread_by = shift,
        catch_up = _create_schedule.catch_up, overlap = _create_schedule.overlap, payload = _create_schedule.payload,
        options = nullif(_create_schedule.options, '{}'), problem = null, next_tick = moment, fire_at = moment + shift, updated_at = clock_timestamp()
    where s.schedule_id = previous.schedule_id;
    perform sluice._wake_schedules();
    return moment;
end
$$;
comment on function sluice._create_schedule(text, text, text, text, jsonb, text, text, text, interval, jsonb, boolean) is 'Twin of create_schedule().';

-- The instances that a call names, locked, in the order of their numbers; raises SL019 for none.
create function sluice._named_schedules(schedule text, external_id text, all_instances boolean) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    s     record;
    named bigint[] := array[sluice._schedule_id(_named_schedules.schedule, _named_schedules.external_id)];
    ids   bigint[] := '{}';
begin
    if _named_schedules.all_instances then
        named := array(select a.schedule_id from sluice.schedule as a where a.schedule = _named_schedules.schedule);
    end if;
    for s in
        select n.schedule_id, n.owner, n.owner_id from sluice.schedule as n
        where n.schedule_id = any (named)
        order by n.schedule_id
        for update
    loop
        perform sluice._assert_schedule_owner(_named_schedules.schedule, s.owner, s.owner_id);
        ids := ids || s.schedule_id;
    end loop;
    if ids = '{}' then
        perform sluice._no_such_schedule(_named_schedules.schedule, _named_schedules.external_id);
    end if;
    return ids;
end
$$;
comment on function sluice._named_schedules(text, text, boolean) is 'Locks instances of a schedule that the caller may change and returns their numbers.';

create function sluice.activate_schedule(schedule text, external_id text default null, all_instances boolean default false) returns integer
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.activate_schedule(text, text, boolean) is
    'Lets an instance of a schedule, or all of them, tick again from now on; what came while it was inactive is not caught up.  Returns how many were inactive.';

create function sluice._activate_schedule(schedule text, external_id text, all_instances boolean) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    ids     bigint[] := sluice._named_schedules(_activate_schedule.schedule, _activate_schedule.external_id, _activate_schedule.all_instances);
    changed integer;
begin
    update sluice.schedule as s
    set active = true, next_tick = n.tick, fire_at = n.tick + s.spread_by, problem = null, updated_at = clock_timestamp()
    from (select i.schedule_id, sluice._cron_tick(i.cron, i.timezone, greatest(clock_timestamp(), i.last_tick)) as tick
          from sluice.schedule as i
          where i.schedule_id = any (ids)) as n
    where s.schedule_id = n.schedule_id and not s.active;
    get diagnostics changed = row_count;
    perform sluice._wake_schedules();
    return changed;
end
$$;
comment on function sluice._activate_schedule(text, text, boolean) is 'Twin of activate_schedule().';

create function sluice.deactivate_schedule(schedule text, external_id text default null, all_instances boolean default false) returns integer
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.deactivate_schedule(text, text, boolean) is
    'Keeps an instance of a schedule, or all of them, from ticking; runs that were made stay.  Returns how many were active.';

create function sluice._deactivate_schedule(schedule text, external_id text, all_instances boolean) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    ids     bigint[] := sluice._named_schedules(_deactivate_schedule.schedule, _deactivate_schedule.external_id, _deactivate_schedule.all_instances);
    changed integer;
begin
    update sluice.schedule as s set active = false, next_tick = null, fire_at = null, updated_at = clock_timestamp()
    where s.active and s.schedule_id = any (ids);
    get diagnostics changed = row_count;
    return changed;
end
$$;
comment on function sluice._deactivate_schedule(text, text, boolean) is 'Twin of deactivate_schedule().';

create function sluice.drop_schedule(schedule text, external_id text default null, all_instances boolean default false) returns integer
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.drop_schedule(text, text, boolean) is
    'Deletes an instance of a schedule, or all of them; runs that were made stay as they are.  Returns how many were deleted.';

create function sluice._drop_schedule(schedule text, external_id text, all_instances boolean) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    ids     bigint[] := sluice._named_schedules(_drop_schedule.schedule, _drop_schedule.external_id, _drop_schedule.all_instances);
    deleted integer;
begin
    delete from sluice.schedule as s
    where s.schedule_id = any (ids);
    get diagnostics deleted = row_count;
    return deleted;
end
$$;
comment on function sluice._drop_schedule(text, text, boolean) is 'Twin of drop_schedule().';

create function sluice.next_ticks(schedule text, n integer default 10, external_id text default null) returns setof timestamptz
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.next_ticks(text, integer, text) is
    'The next ticks of a schedule, up to 1000; of an inactive one those that it would have from now on.';

create function sluice._next_ticks(schedule text, n integer, external_id text) returns setof timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    instance bigint := sluice._schedule_id(_next_ticks.schedule, _next_ticks.external_id);
    s        record;
begin
    if n is null or n not between 1 and 1000 then
        perform sluice._refuse('n', 'must be 1 to 1000', 'It is how many ticks are wanted.');
    end if;
    select i.cron, i.timezone, i.next_tick, i.last_tick, i.task_id, i.owner, i.owner_id into s from sluice.schedule as i
    where i.schedule_id = instance;
    if not found then
        perform sluice._no_such_schedule(_next_ticks.schedule, _next_ticks.external_id);
    end if;
    perform sluice._assert_may_look(s.task_id);
    return query select t from unnest(sluice._cron_ticks(
        s.cron, s.timezone, coalesce(s.next_tick - interval '1 microsecond', greatest(clock_timestamp(), s.last_tick)), n)) as t;
end
$$;
comment on function sluice._next_ticks(text, integer, text) is 'Twin of next_ticks().';
