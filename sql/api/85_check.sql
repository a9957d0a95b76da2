-- check: does everything that is stored twice agree?  One statement, so one snapshot: work in flight is never reported.

create function sluice.check() returns table (what text, run_id bigint, detail text)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.check() is
    'Compares runs, slots, leases, attempts and payloads; one row for each difference, none when all is well.  Safe on a live system.';

create function sluice._check() returns table (what text, run_id bigint, detail text)
language sql stable
set search_path = pg_catalog, pg_temp
-- From the live rows to what belongs to them: history is long, and compiling a query over its partitions takes seconds.
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
    union all
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
comment on function sluice._check() is 'Twin of check().';
