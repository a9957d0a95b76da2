-- check: does everything that is stored twice agree?
--
-- Tables are compared with each other in one statement, so in one snapshot: work in flight is never reported.  The index
-- changes a moment after a commit shows; so claims are locked out for the moment, and only what is found three times
-- counts.

create function sluice.check() returns table (what text, run_id bigint, detail text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.check() is
    'Compares runs, slots, leases, attempts, payloads and the index; one row for each difference, none when all is well.  Safe on a live system; in a transaction that has changed runs, or where the index will be built anew, it leaves the index out.';

create function sluice._check_tables() returns table (what text, run_id bigint, detail text)
language sql
set search_path = pg_catalog, pg_temp
-- From the live rows to what belongs to them: history is long, and compiling a query over its partitions takes seconds.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
    select 'slot in another queue or lane than its run', s.run_id, format('token %s', s.token)
    from sluice.slot as s
    join sluice.run as r on r.run_id = s.run_id and r.token = s.token and r.status = 'executing'
    where (r.queue_id, r.lane) <> (s.queue_id, s.lane)
    union all
    select 'revoked slot of a run that still has its token', s.run_id, format('token %s', s.token)
    from sluice.slot as s
    join sluice.run as r on r.run_id = s.run_id and r.token = s.token and r.status = 'executing'
    where s.revoked is not null
    union all
    select 'live run of an unknown task or queue', r.run_id, format('task %s, queue %s', r.task_id, r.queue_id)
    from sluice.run as r
    where r.finished_at is null
      and not (exists (select from sluice.task as t where t.task_id = r.task_id)
               and exists (select from sluice.queue as q where q.queue_id = r.queue_id))
    union all
    select 'live run of an unknown class', r.run_id, format('class %s', r.class)
    from sluice.run as r
    where r.finished_at is null and r.class not between 0 and 2
    union all
    select 'live run with an output', r.run_id, null
    from sluice.run as r
    where r.finished_at is null and exists (select from sluice.output as o where o.run_id = r.run_id)
    union all
    select 'claim key or lane that does not fit its run', r.run_id, null
    from sluice.run as r
    where r.finished_at is null
      and (r.claim_key <> r.ready_at - r.priority * interval '1 second' or r.lane <> sluice._lane(r.concurrency_key))
    union all
    select 'executing attempt that has already ended', r.run_id, format('attempt %s', r.attempt)
    from sluice.run as r
    where r.finished_at is null and r.status = 'executing'
      and exists (select from sluice.attempt as a where a.run_id = r.run_id and a.attempt = r.attempt)
$$;
comment on function sluice._check_tables() is 'Part of check(): tables that must agree however runs are claimed.';

create function sluice._check_slots() returns table (what text, run_id bigint, detail text)
language sql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
    select 'executing run without a slot', r.run_id, format('token %s', r.token)
    from sluice.run as r
    where r.finished_at is null and r.status = 'executing'
      and not exists (select from sluice.slot as s where s.token = r.token and s.revoked is null)
    union all
    select 'slot whose token its run does not have', s.run_id, format('token %s of worker %s', s.token, s.worker)
    from sluice.slot as s
    where s.revoked is null
      and not exists (select from sluice.run as r where r.run_id = s.run_id and r.token = s.token and r.status = 'executing')
$$;
comment on function sluice._check_slots() is 'Part of check() where claims go by the tables: runs and slots.';

create function sluice._index_lock_out() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_lock_out';
comment on function sluice._index_lock_out() is 'Keeps others from claiming; false if a claim stays open for too long.';

create function sluice._index_awaits_commit() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_awaits_commit';
comment on function sluice._index_awaits_commit() is 'Whether this transaction has done what the index learns at its commit.';

create function sluice._index_let_in() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_let_in';
comment on function sluice._index_let_in() is 'Lets others claim again.';

create function sluice._index_is_dirty() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_is_dirty';
comment on function sluice._index_is_dirty() is 'Whether something was committed that the index could not be told; it will be built anew.';

create function sluice._check_leases(suspects bigint[]) returns table (what text, run_id bigint, detail text)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
    with lease as materialized (select * from sluice._index_leases(null)),
    executing as materialized (
        select r.run_id, r.token, r.queue_id, r.lane from sluice.run as r
        where r.finished_at is null and r.status = 'executing' and (suspects is null or r.run_id = any (suspects))
    )
    select 'executing run without a lease in the index', e.run_id, format('token %s', e.token)
    from executing as e
    where not exists (select from lease as l where l.lease_token = e.token and l.revoked is null)
    union all
    select 'lease in the index whose token its run does not have', l.run_id, format('token %s', l.lease_token)
    from lease as l
    where l.revoked is null and l.committed and (suspects is null or l.run_id = any (suspects))
      and not exists (select from executing as e where e.token = l.lease_token)
    union all
    select 'lease in another queue or lane than its run', l.run_id, format('token %s', l.lease_token)
    from lease as l
    join executing as e on e.token = l.lease_token
    where (e.queue_id, e.lane) <> (l.queue_id, l.lane)
    union all
    select 'dead token whose place the index has forgotten', s.run_id, format('token %s of worker %s', s.token, s.worker)
    from sluice.slot as s
    where s.revoked is not null and not exists (select from lease as l where l.lease_token = s.token and l.revoked is not null)
    union all
    select 'dead token that a restart would forget', l.run_id, format('token %s', l.lease_token)
    from lease as l
    where l.revoked is not null and not exists (select from sluice.slot as s where s.token = l.lease_token)
    union all
    select 'slots of a lane are counted wrong', null, format('queue %s, lane %s: %s counted, %s leases', coalesce(h.queue_id, c.queue_id),
                                                             coalesce(h.lane, c.lane), coalesce(h.held, 0), coalesce(c.leases, 0))
    from sluice._index_lanes() as h
    full join (select l.queue_id, l.lane, count(*) as leases from lease as l group by l.queue_id, l.lane) as c
        on c.queue_id = h.queue_id and c.lane = h.lane
    where coalesce(h.held, 0) <> coalesce(c.leases, 0);
end
$$;
comment on function sluice._check_leases(bigint[]) is 'Part of check(): leases and counters of the index against the tables, once.';

create function sluice._check_ready(suspects bigint[]) returns table (what text, run_id bigint, detail text)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    stats record;
    as_of timestamptz := clock_timestamp();
begin
    stats := sluice._index_stats();
    if stats.build_due then
        return; -- it knows that it misses something
    end if;
    return query
    with hint as materialized (select distinct i.run_id from sluice._index_ready() as i),
    horizon as materialized (select h.queue_id, h.lane, h.executor, h.class, h.claim_key, h.run_id from sluice._index_horizons() as h),
    ready as materialized (
        select r.run_id, r.queue_id, r.lane, r.class, r.claim_key, t.executor
        from sluice.run as r
        join sluice.task as t on t.task_id = r.task_id
        where r.finished_at is null and r.status = 'queued' and r.ready_at <= as_of
          and (r.due_at is null or r.due_at < coalesce(stats.next_due, 'infinity'))
          and (suspects is null or r.run_id = any (suspects))
    )
    select 'run that could start and that the index does not know', r.run_id, format('queue %s, lane %s', r.queue_id, r.lane)
    from ready as r
    left join hint as i on i.run_id = r.run_id
    left join horizon as h on h.queue_id = r.queue_id and h.lane = r.lane and h.executor = r.executor
    where i.run_id is null
      and (h.run_id is null or (r.class, r.claim_key, r.run_id) < (h.class, h.claim_key, h.run_id));
end
$$;
comment on function sluice._check_ready(bigint[]) is 'Part of check(): runs that could start against the hints of the index, once.';

create function sluice._check_limits() returns table (what text, run_id bigint, detail text)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select 'limits in the index that are not those of the queue', null::bigint,
           format('queue %s: concurrency %s, for each key %s, paused %s', l.queue_id, coalesce(l.concurrency::text, 'without limit'),
                  coalesce(l.key_concurrency::text, 'without limit'), l.paused)
    from sluice._index_limits() as l
    left join sluice.queue as q on q.queue_id = l.queue_id
    where (l.concurrency, l.key_concurrency, l.paused)
          is distinct from (case when q.queue_id is null then 0 else q.concurrency end,
                            case when q.queue_id is null then 0 else q.key_concurrency end,
                            q.paused_at is not null or q.queue_id is null)
$$;
comment on function sluice._check_limits() is 'Part of check(): the limits that claims by the index go by against the table, once.';

create function sluice._check_index() returns table (what text, run_id bigint, detail text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    suspect jsonb;
    again   jsonb;
    runs    bigint[];
    alone   boolean;
    before  record := sluice._index_stats();
    after   record;
begin
    -- All of it once, beside the work that goes on, and what is suspicious again while nobody claims.
    select jsonb_agg(to_jsonb(c)), array_agg(c.run_id) into suspect, runs
    from (select l.* from sluice._check_leases(null) as l union all select r.* from sluice._check_ready(null) as r
          union all select q.* from sluice._check_limits() as q) as c;
    if suspect is null then
        return;
    end if;
    alone := sluice._index_lock_out();
    for look in 1 .. 2 loop
        select coalesce(jsonb_agg(to_jsonb(c)), '[]') into again
        from (select l.* from sluice._check_leases(runs) as l
              where alone or l.what <> 'slots of a lane are counted wrong'
              union all
              select r.* from sluice._check_ready(runs) as r where alone
              union all
              select q.* from sluice._check_limits() as q) as c;
        -- Counts may differ from look to look on the way; what stays wrong is wrong when nobody claims.
        select coalesce(jsonb_agg(a), '[]') into suspect
        from jsonb_array_elements(again) as a
        where (look = 1 and a ->> 'what' = 'slots of a lane are counted wrong')
           or a in (select s from jsonb_array_elements(suspect) as s);
        exit when suspect = '[]';
        perform pg_sleep(0.02);
    end loop;
    after := sluice._index_stats();
    if alone then
        perform sluice._index_let_in();
    end if;
    if (after.mode, after.builds) <> (before.mode, before.builds) then
        return; -- built anew, or given up for the tables meanwhile: what was seen is of another time
    end if;
    if sluice._index_is_dirty() then
        return; -- it knows that it misses something: an attempt that a session ended in which it was not there yet
    end if;
    return query select s.what, s.run_id, s.detail from jsonb_to_recordset(suspect) as s (what text, run_id bigint, detail text);
end
$$;
comment on function sluice._check_index() is 'Part of check() where claims go by the index.';

create function sluice._check() returns table (what text, run_id bigint, detail text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query select t.what, t.run_id, t.detail from sluice._check_tables() as t;
    if not sluice._index_serves() then
        if (sluice._index_stats()).mode = 'table' then
            return query select s.what, s.run_id, s.detail from sluice._check_slots() as s;
        end if;
        return; -- nobody has claimed since the server started
    end if;
    if sluice._index_awaits_commit() then
        return; -- what this transaction did is in the tables, for itself, and not in the index
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'SL013',
            message = format('the index cannot be compared at isolation level %s', current_setting('transaction_isolation')),
            detail  = 'Its snapshot of the tables does not move, the index does.',
            hint    = 'Call sluice.check() in a transaction of isolation level read committed.';
    end if;
    return query select i.what, i.run_id, i.detail from sluice._check_index() as i;
end
$$;
comment on function sluice._check() is 'Twin of check().';
