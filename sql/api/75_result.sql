-- Results and logs: what came of a run.

create function sluice.result(run_id bigint, wait interval default '0', out status text, out output jsonb, out error jsonb)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.result(bigint, interval) is
    'Status, output and error of a run.  With wait it returns when the run is final, or with its status then when the time is over; it holds this statement''s snapshot meanwhile, so keep waits short.';

create function sluice._result(run_id bigint, wait interval, out status text, out output jsonb, out error jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    until    timestamptz := sluice._steady_now() + least(coalesce(wait, interval '0'), interval '1 hour');
    pause    double precision := 0.005;
    r        record;
begin
    loop
        select run.status, run.finished_at, run.ready_at, run.attempt, run.task_id, run.xmin as made_by into r
        from sluice.run as run where run.run_id = _result.run_id;
        if not found then
            perform sluice._no_such_run(_result.run_id);
        end if;
        perform sluice._assert_may_read(r.task_id);
        exit when r.finished_at is not null or sluice._steady_now() >= until;

        if sluice._is_own_transaction(r.made_by) or current_setting('transaction_isolation') <> 'read committed' then
            raise exception using
                errcode = 'SL013',
                message = format('this transaction cannot see run %s finish', _result.run_id),
                detail  = 'It wrote the run itself, or its snapshot does not move.',
                hint    = 'Commit first, then wait for the result in a transaction of isolation level read committed.';
        end if;
        perform pg_sleep(least(pause, greatest(0, extract(epoch from until - sluice._steady_now()))));
        pause := least(pause * 1.5, 0.1);
    end loop;

    status := case
        when r.status <> 'queued' or r.ready_at <= clock_timestamp() then r.status
        when r.attempt > 0 then 'retrying'
        else 'delayed'
    end;
    select o.output, o.error into output, error from sluice.output as o where o.run_id = _result.run_id;
    if r.finished_at is null then
        select a.error into error from sluice.attempt as a
        where a.run_id = _result.run_id order by a.attempt desc limit 1;
    end if;
end
$$;
comment on function sluice._result(bigint, interval) is 'Twin of result().';

create function sluice.append_logs(token uuid, lines jsonb) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.append_logs(uuid, jsonb) is
    'Keeps lines that an attempt wrote: [{seq, stream, line, age_ms}].  Accepted while its worker holds the slot, also after the token has died; lines of an attempt that was given back are not kept.';

-- What is kept of an attempt is not summed up in each call, as that would make a long log cost its square: the last line
-- says how much it is.  Lines nearly always come in their order; where they do not, those that are there already are left
-- out, and the last line is told.
create function sluice._append_logs(token uuid, lines jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    no_more constant bigint := 9223372036854775807; -- the total of a log that takes no further line
    most    constant bigint := sluice._limit_bytes('sluice.max_log');
    held    record;
    last    record;
    first   integer;
    there   integer[] := '{}';
    added   record;
begin
    if jsonb_typeof(lines) <> 'array'
       or exists (select from jsonb_to_recordset(lines) as g (seq integer, stream text)
                  where g.seq is null or g.stream not in ('stdout', 'stderr', 'sluice'))
    then
        raise exception using
            errcode = 'SL006',
            message = 'lines must be an array of objects with a number seq, and stream stdout or stderr',
            hint    = 'Write [{"seq": 0, "stream": "stdout", "line": "…"}, …]; stream may be left out.';
    end if;
    select s.run_id, s.attempt, s.revoked into held from sluice._slot(_append_logs.token) as s;
    if held.run_id is null then
        perform sluice._raise_lease_lost(_append_logs.token, sluice._why_stale(_append_logs.token));
    end if;
    if held.revoked = 'requeued' then
        return; -- its number was given back: these would pass for lines of the next attempt
    end if;
    select l.seq, l.total into last
    from sluice.log as l where l.run_id = held.run_id and l.attempt = held.attempt order by l.seq desc limit 1;
    if last.total = no_more then
        return;
    end if;
    select min(g.seq) into first from jsonb_to_recordset(lines) as g (seq integer);
    if first <= last.seq then
        there := array(select l.seq from sluice.log as l
                       where l.run_id = held.run_id and l.attempt = held.attempt
                         and l.seq = any (array(select g.seq from jsonb_to_recordset(lines) as g (seq integer))));
    end if;

    with kept as (
        insert into sluice.log (run_id, attempt, seq, at, total, stream, line)
        select held.run_id, held.attempt, n.seq, clock_timestamp() - n.age_ms * interval '1 millisecond',
               case when n.total <= most then n.total else no_more end,
               case when n.total <= most then n.stream else 'sluice' end,
               -- The line that says so is ours, and the last.
               case when n.total <= most then n.line else format('[further lines are dropped: more than %s]', current_setting('sluice.max_log')) end
        from (
            select l.seq, l.stream, l.line, l.age_ms, l.size, coalesce(last.total, 0) + sum(l.size) over (order by l.seq) as total
            from (
                -- A line counts with its newline: else there could be any number of blank ones.
                select distinct on (g.seq) g.seq, coalesce(g.stream, 'stdout') as stream, coalesce(g.line, '') as line,
                       coalesce(g.age_ms, 0) as age_ms, octet_length(coalesce(g.line, '')) + 1 as size
                from jsonb_to_recordset(lines) as g (seq integer, stream text, line text, age_ms double precision)
                where g.seq <> all (there)
                order by g.seq
            ) as l
        ) as n
        where n.total - n.size <= most
        on conflict on constraint log_pkey do nothing
        returning seq, total
    )
    select max(k.seq) as seq, max(k.total) as total into added from kept as k;
    if added.seq < last.seq then
        update sluice.log as l set total = added.total
        where l.run_id = held.run_id and l.attempt = held.attempt and l.seq = last.seq;
    end if;
end
$$;
comment on function sluice._append_logs(uuid, jsonb) is 'Twin of append_logs().';

create function sluice.logs(run_id bigint, attempt integer default null)
returns table (attempt_number integer, seq integer, at timestamptz, stream text, line text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.logs(bigint, integer) is 'What the attempts of a run wrote, line by line; of one attempt if given.';

create function sluice._logs(run_id bigint, attempt integer)
returns table (attempt_number integer, seq integer, at timestamptz, stream text, line text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform sluice._assert_may_read(r.task_id) from sluice.run as r where r.run_id = _logs.run_id;
    return query
    select l.attempt::integer, l.seq, l.at, l.stream, l.line
    from sluice.log as l
    where l.run_id = _logs.run_id and (_logs.attempt is null or l.attempt = _logs.attempt)
    order by l.attempt, l.seq;
end
$$;
comment on function sluice._logs(bigint, integer) is 'Twin of logs().';
