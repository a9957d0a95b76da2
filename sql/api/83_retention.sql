-- Retention: for how long final runs are kept, and how they go.
--
-- A week goes as a whole: what has to stay (runs that are not final, or have not been for long enough) is moved to the
-- DEFAULT partitions, the rest is dropped with its five tables, all in one transaction.  Row by row go only runs in the
-- DEFAULT, runs of tasks that keep theirs for a shorter time than the rest, and weeks of which more stays than can be moved
-- in a moment.  docs/design/009-retention.md has the reasons.
--
-- The leader looks through a week in steps of 5000 rows, since between them it has other duties, and notes in
-- sluice.retention_pass how far it is.

-- What is kept.

create function sluice.set_retention(keep interval, task text default null) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.set_retention(interval, text) is
    'For how long final runs are kept: all of them, where null is for ever, or those of one task, where null is as long as all others.';

create function sluice._set_retention(keep interval, task text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not (_set_retention.keep between interval '1 hour' and interval '36500 days') then
        perform sluice._refuse('keep', 'must be 1 hour to 36500 days', 'Give a time such as ''90 days''; null keeps all runs for ever.');
    end if;
    if _set_retention.task is null then
        if not pg_has_role(sluice._caller(), 'sluice_admin', 'usage') then
            raise exception using
                errcode = '42501',
                message = format('role "%s" may not say how long all runs are kept', pg_get_userbyid(sluice._caller())),
                hint    = 'Ask a member of sluice_admin; of a task of your own you may: select sluice.set_retention(keep, task).';
        end if;
        update sluice.meta as m set retention = _set_retention.keep;
    else
        -- Who may give a task away may also say for how long its runs are kept.
        update sluice.task as t set retention = _set_retention.keep where t.task_id = sluice._grantable_task(_set_retention.task, 'set the retention of');
    end if;
    -- What was found so far was judged by what it was before.
    delete from sluice.retention_pass;
end
$$;
comment on function sluice._set_retention(interval, text) is 'Twin of set_retention().';

-- The partitions, each with the bounds that it has in all tables; those of the DEFAULT are null.
create function sluice._weeks() returns table (week text, lowest bigint, highest bigint)
language sql stable
begin atomic
    select pg_catalog.substr(c.relname, 4), b.bound[1]::bigint, b.bound[2]::bigint
    from pg_catalog.pg_inherits as i
    join pg_catalog.pg_class as c on c.oid = i.inhrelid
    left join lateral pg_catalog.regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid),
                                              'FROM \(''(\d+)''\) TO \(''(\d+)''\)') as b (bound) on true
    where i.inhparent = pg_catalog.to_regclass('sluice.run')
      and c.relname operator(pg_catalog.~) '^run_(p\d{8}|default)$';
end;
comment on function sluice._weeks() is 'The weeks that have partitions, named by the end of their tables'' names, and their bounds.';

-- Beside the partitioned tables.  idempotency_key and slot have rows of runs with an end of their own.
create function sluice._tables_beside() returns table (name text)
language sql immutable parallel safe
begin atomic
    values ('expiry');
end;
comment on function sluice._tables_beside() is 'Tables that are not partitioned by run and whose rows, found by run_id, go with their runs.';

create function sluice._week_name(week text) returns text
language sql immutable
begin atomic
    select case when week = '_default' then 'the DEFAULT partitions'
                else pg_catalog.format('the week of %s', pg_catalog.to_date(pg_catalog.substr(week, 3), 'YYYYMMDD')) end;
end;
comment on function sluice._week_name(text) is 'What a week is called in messages.';

-- Looking through.

-- Each table of a week, whoever uses it now: what dropping it would have to wait for.
create function sluice._week_users(week text) returns table (pid integer, role oid, since timestamptz)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select distinct l.pid, t.role, t.started_at
    from pg_locks as l
    left join sluice._open_transactions() as t on t.pid = l.pid
    where l.granted and l.pid is distinct from pg_backend_pid()
      and l.database = (select d.oid from pg_database as d where d.datname = current_database())
      and l.relation in (
          select to_regclass(n.name)
          from sluice._partitioned_tables() as p
          cross join lateral (values (format('sluice.%I', p.name)), (format('sluice_storage.%I', p.name || _week_users.week)),
                                     (format('sluice_storage.%I', p.name || '_default'))) as n (name))
$$;
comment on function sluice._week_users(text) is 'Sessions that have locks on the tables of a week, the parents'' and the DEFAULT''s; a prepared transaction has no pid.';

create function sluice._plan_passes(as_of timestamptz, general interval, shortest interval) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from sluice.retention_pass as p where not exists (select from sluice._weeks() as w where w.week = p.week);
    if _plan_passes.shortest is null then
        return;
    end if;
    insert into sluice.retention_pass as p (week, whole, deleting, next_at)
    select n.week, n.whole, not n.whole, _plan_passes.as_of
    from (
        select w.week, coalesce(sluice._run_time(w.highest) + _plan_passes.general <= _plan_passes.as_of, false) as whole
        from sluice._weeks() as w
        where w.lowest is null or sluice._run_time(w.lowest) + _plan_passes.shortest <= _plan_passes.as_of
    ) as n
    where not exists (select from sluice.retention_pass as o where o.week = n.week and (o.whole or not n.whole))
      and (n.whole or n.week = '_default' or _plan_passes.shortest < coalesce(_plan_passes.general, interval '36501 days'))
    on conflict on constraint retention_pass_pkey do update
    set (whole, deleting, up_to, stays, soonest, next_at, blocked_since, blocked_by)
      = (true, false, -1, '{}', null, excluded.next_at, null, null);
end
$$;
comment on function sluice._plan_passes(timestamptz, interval, interval) is
    'Notes which weeks are to be looked through: those that are over, those that may have runs of tasks with a shorter retention, the DEFAULT.';

create function sluice._delete_runs(week text, runs bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    free bigint[];
    name text;
begin
    if _delete_runs.runs = '{}' then
        return '{}';
    end if;
    -- Whoever holds a final run's row looks at it, and is not waited for.
    execute format('select coalesce(array_agg(f.run_id), ''{}'') from (
                        select r.run_id from sluice_storage.%I as r where r.run_id = any ($1) order by r.run_id for update skip locked) as f',
                   'run' || _delete_runs.week)
    into free using _delete_runs.runs;
    for name in select p.name from sluice._partitioned_tables() as p loop
        execute format('delete from sluice_storage.%I as x where x.run_id = any ($1)', name || _delete_runs.week) using free;
    end loop;
    return free;
end
$$;
comment on function sluice._delete_runs(text, bigint[]) is 'Deletes runs of a week from every table, those that somebody has locked excepted; returns which.';

-- A key of a run that failed does not stand for it, and must not begin to when nobody can see any more that it failed.
create function sluice._free_keys(runs bigint[]) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
    if _free_keys.runs = '{}' then
        return '{}';
    end if;
    delete from sluice.idempotency_key as k
    using (select f.task_id, f.key from sluice.idempotency_key as f where f.run_id = any (_free_keys.runs) for update skip locked) as free
    where k.task_id = free.task_id and k.key = free.key;
    return array(select k.run_id from sluice.idempotency_key as k where k.run_id = any (_free_keys.runs));
end
$$;
comment on function sluice._free_keys(bigint[]) is 'Deletes the idempotency keys of runs; returns the runs of those that somebody has locked.';

-- Whether what stays of a week can be moved in a moment, while nobody can enqueue or claim.
create function sluice._can_be_moved(week text, runs bigint[]) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    name  text;
    size  text;
    part  record;
    rows  bigint := 0;
    bytes bigint := 0;
begin
    for name in select p.name from sluice._partitioned_tables() as p loop
        -- Of a value that is stored apart that is its size there, and it is not read.
        select string_agg(format('coalesce(pg_column_size(x.%I), 0)', a.attname), ' + ') into size
        from pg_attribute as a
        where a.attrelid = format('sluice.%I', name)::regclass and a.attnum > 0 and not a.attisdropped and a.attlen = -1;
        execute format('select count(*) as n, coalesce(sum(%s), 0) as size from sluice_storage.%I as x where x.run_id = any ($1)',
                       coalesce(size, '0'), name || _can_be_moved.week)
        into part using _can_be_moved.runs;
        rows := rows + part.n;
        bytes := bytes + part.size;
    end loop;
    return rows <= 20000 and bytes <= 67108864;
end
$$;
comment on function sluice._can_be_moved(text, bigint[]) is 'Whether runs of a week are few and small enough to be moved at once: 20,000 rows in all tables, 64 MB.';

create function sluice._note_blocked(week text, why text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update sluice.retention_pass as p
    set blocked_since = coalesce(p.blocked_since, clock_timestamp()), blocked_by = _note_blocked.why,
        next_at = clock_timestamp() + interval '5 seconds'
    where p.week = _note_blocked.week;
end
$$;
comment on function sluice._note_blocked(text, text) is 'Notes that a week cannot go now; it is tried again in five seconds.';

create function sluice._user_of_week(week text, before timestamptz) returns text
language sql
set search_path = pg_catalog, pg_temp
as $$
    select case when u.pid is null then 'a prepared transaction has locks on its tables'
                else format('backend %s of role %s has had a transaction open for %s', u.pid, u.role::regrole,
                            sluice._span(clock_timestamp() - u.since)) end
    from sluice._week_users(_user_of_week.week) as u
    where u.pid is null or u.since < _user_of_week.before
    order by u.since nulls first
    limit 1
$$;
comment on function sluice._user_of_week(text, timestamptz) is 'Who has used a week''s tables since before an instant, in words; null for nobody.';

-- One step further in a week.  Returns how many runs were removed.
create function sluice._look_through(week text, general interval, shortest interval) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    step   constant integer := 5000;
    most   constant integer := 10000; -- so many runs are moved at most
    as_of  timestamptz := clock_timestamp();
    pass   sluice.retention_pass;
    bounds record;
    seen   record;
    gone   bigint[] := '{}';
    staying  bigint[];
    earliest timestamptz;
    blocked  text;
    name     text;
begin
    select * into strict pass from sluice.retention_pass as p where p.week = _look_through.week;
    select * into strict bounds from sluice._weeks() as w where w.week = _look_through.week;

    -- Runs of a transaction that has been open since that week could still come to light behind us.
    if pass.whole and pass.up_to < 0 then
        blocked := sluice._user_of_week(_look_through.week, sluice._run_time(bounds.highest));
        if blocked is not null then
            perform sluice._note_blocked(_look_through.week, blocked);
            return 0;
        end if;
    end if;

    execute format($look$
        select count(*) as rows, max(c.run_id) as up_to,
               coalesce(array_agg(c.run_id) filter (where c.goes), '{}') as goes,
               coalesce(array_agg(c.run_id) filter (where c.goes and not sluice._key_stands(c.status)), '{}') as failed,
               coalesce(array_agg(c.run_id) filter (where not c.goes), '{}') as stays,
               min(coalesce(c.finished_at, $2) + c.keep) filter (where not c.goes) as soonest
        from (
            select r.run_id, r.status, r.finished_at, k.keep,
                   coalesce(r.finished_at + k.keep <= $2 and r.run_id <> all ($6), false) as goes
            from (select x.run_id, x.status, x.finished_at, x.task_id from sluice_storage.%I as x
                  where x.run_id > $1 order by x.run_id limit $3) as r
            left join sluice.task as t on t.task_id = r.task_id
            cross join lateral (
                select case when $4 then coalesce(t.retention, $5) when t.retention < coalesce($5, interval '36501 days') then t.retention end
            ) as k (keep)
        ) as c$look$, 'run' || _look_through.week)
    into seen
    -- A run that is final while its worker has not let go of its place stays.
    using pass.up_to, as_of, step, pass.whole or bounds.lowest is null, _look_through.general, array(select s.run_id from sluice.slot as s);

    for name in select b.name from sluice._tables_beside() as b where seen.goes <> '{}' loop
        execute format('delete from sluice.%I as x where x.run_id = any ($1)', name) using seen.goes;
    end loop;
    staying := seen.stays;
    if seen.failed <> '{}' then
        seen.failed := sluice._free_keys(seen.failed);
        staying := staying || seen.failed;
    end if;
    if pass.deleting then
        gone := sluice._delete_runs(_look_through.week, array(select g from unnest(seen.goes) as g where g <> all (seen.failed)));
        if cardinality(gone) < cardinality(seen.goes) then
            staying := staying || array(select g from unnest(seen.goes) as g where g <> all (gone) and g <> all (seen.failed));
            seen.soonest := as_of;
        end if;
    end if;
    earliest := least(pass.soonest, seen.soonest);
    if pass.whole and cardinality(pass.stays) + cardinality(staying) <= most then
        staying := pass.stays || staying;
    else
        staying := null; -- too many
    end if;

    if seen.rows = step and (staying is not null or pass.deleting) then
        update sluice.retention_pass as p set up_to = seen.up_to, stays = staying, soonest = earliest where p.week = _look_through.week;
    elsif staying is not null and sluice._can_be_moved(_look_through.week, staying) then
        update sluice.retention_pass as p set up_to = bounds.highest, stays = staying where p.week = _look_through.week;
    elsif not pass.deleting then
        -- It cannot go whole: what goes is to be deleted, from the beginning.
        update sluice.retention_pass as p set deleting = true, up_to = -1, stays = '{}', soonest = null where p.week = _look_through.week;
    else
        -- Until the first of what has stayed is over.  Where runs still come in, one of those may be earlier.
        if bounds.highest is null or sluice._run_time(bounds.highest) > as_of then
            earliest := least(earliest, as_of + _look_through.shortest);
        end if;
        update sluice.retention_pass as p
        set up_to = -1, stays = '{}', soonest = null,
            next_at = case when earliest is null then 'infinity'
                           else greatest(earliest, as_of + least(greatest(_look_through.shortest / 20, interval '1 minute'), interval '1 day')) end
        where p.week = _look_through.week;
    end if;
    return cardinality(gone);
end
$$;
comment on function sluice._look_through(text, interval, interval) is
    'Looks at the next 5000 runs of a week: notes what stays, removes what goes if the week cannot go as a whole.';

-- Going.

-- In one transaction, so that a crash leaves all or nothing.  While it has its locks nobody enqueues or claims, so it comes
-- last, moves by primary key what was found before, and waits for nobody longer than 50 ms: those who come behind it would wait
-- as long.
create function sluice._drop_week(week text, stays bigint[]) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
set enable_seqscan = off
set jit = off
as $$
declare
    tables text[] := array(select p.name from sluice._partitioned_tables() as p);
    name   text;
    list   text;
    astray boolean;
begin
    execute format('lock table only %s in access exclusive mode', (select string_agg(format('sluice.%I', t), ', only ') from unnest(tables) as t));
    execute format('lock table %s in access exclusive mode',
                   (select string_agg(format('sluice_storage.%I, sluice_storage.%I', t || _drop_week.week, t || '_default'), ', ') from unnest(tables) as t));
    execute format('select exists (select from sluice_storage.%I as r where r.finished_at is null and r.run_id <> all ($1))', 'run' || _drop_week.week)
    into astray using _drop_week.stays;
    if astray then
        return 'runs came to light that had not been there';
    end if;

    foreach name in array tables loop
        execute format('alter table sluice.%I detach partition sluice_storage.%I', name, name || _drop_week.week);
    end loop;
    if _drop_week.stays <> '{}' then
        foreach name in array tables loop
            select string_agg(format('%I', a.attname), ', ' order by a.attnum) into list
            from pg_attribute as a where a.attrelid = format('sluice.%I', name)::regclass and a.attnum > 0 and not a.attisdropped;
            execute format('insert into sluice.%1$I (%2$s) select %2$s from sluice_storage.%3$I as x where x.run_id = any ($1)',
                           name, list, name || _drop_week.week) using _drop_week.stays;
        end loop;
    end if;
    foreach name in array tables loop
        execute format('drop table sluice_storage.%I', name || _drop_week.week);
    end loop;
    delete from sluice.retention_pass as p where p.week in (_drop_week.week, '_default'); -- what came to the DEFAULT is looked at there
    return null;
end
$$;
comment on function sluice._drop_week(text, bigint[]) is
    'Moves what stays of a week to the DEFAULT partitions and drops its tables; null if that was done, else why not.  Raises 55P03 if a table is in use.';

create function sluice.remove_old_runs(out removed bigint, out finding text, out next_in interval)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.remove_old_runs() is
    'Leader''s duty: removes final runs that have been kept for long enough, a week as a whole where it can.  finding says which week went, if one did.';

create function sluice._remove_old_runs(out removed bigint, out finding text, out next_in interval)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    as_of    timestamptz := clock_timestamp();
    general  interval := (select m.retention from sluice.meta as m);
    shortest interval := (select min(t.retention) from sluice.task as t);
    pass     record;
    blocked  text;
begin
    perform sluice._assert_leader();
    shortest := least(general, shortest);
    removed := 0;
    perform sluice._plan_passes(as_of, general, shortest);
    loop
        select p.week, p.up_to, p.stays, w.highest into pass
        from sluice.retention_pass as p
        join sluice._weeks() as w on w.week = p.week
        where p.next_at <= clock_timestamp()
        order by p.next_at, p.week limit 1
        for update of p skip locked;
        exit when not found;

        if pass.up_to < pass.highest or pass.highest is null then
            removed := removed + sluice._look_through(pass.week, general, shortest);
            if clock_timestamp() >= as_of + interval '100 milliseconds' then
                next_in := interval '100 milliseconds'; -- the rest is not urgent, and the leader has other duties
                return;
            end if;
            continue;
        end if;

        -- Not tried where it is sure to be in vain, as enqueues would wait as long as we do.
        blocked := sluice._user_of_week(pass.week, clock_timestamp() - interval '1 second');
        if blocked is null then
            begin
                blocked := sluice._drop_week(pass.week, pass.stays);
                if blocked is null then
                    finding := format('%s is gone; %s of its runs stay', sluice._week_name(pass.week), cardinality(pass.stays));
                    next_in := interval '0';
                    return;
                end if;
                update sluice.retention_pass as p set up_to = -1, stays = '{}' where p.week = pass.week;
            exception when lock_not_available then
                blocked := coalesce(sluice._user_of_week(pass.week, clock_timestamp()), 'its tables are in use all the time');
            end;
        end if;
        perform sluice._note_blocked(pass.week, blocked);
    end loop;
    select greatest(min(p.next_at) - clock_timestamp(), interval '0') into next_in
    from sluice.retention_pass as p where p.next_at < 'infinity';
end
$$;
comment on function sluice._remove_old_runs() is 'Twin of remove_old_runs().';
