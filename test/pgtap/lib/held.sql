-- What is held and until when, whichever way claims go: `held_slot` reads as the tables slot and lease do where claims go by
-- the tables.  Of another transaction only what it has committed is shown.  For pgTAP, the isolation specs and Python.

create view held_slot as
select l.lease_token as token, l.run_id, l.queue_id, l.lane, l.attempt, coalesce(s.worker, r.worker) as worker, l.reply,
       l.revoked, l.told, l.lease_seconds, l.until
from sluice._index_leases(null) as l
left join sluice.slot as s on s.token = l.lease_token
left join sluice.run as r on r.run_id = l.run_id and r.token = l.lease_token
where sluice._index_serves() and (l.committed or r.run_id is not null)
union all
select s.token, s.run_id, s.queue_id, s.lane, s.attempt, s.worker, s.reply, s.revoked, s.told, s.lease_seconds, l.until
from sluice.slot as s
left join sluice.lease as l on l.token = s.token
where not sluice._index_serves();

-- The time of leases is over; of all if no tokens are named.
create function expire(variadic tokens uuid[] default null) returns void
language plpgsql
as $$
begin
    update sluice.lease as l set until = sluice._steady_now() - interval '1 second' where tokens is null or l.token = any (tokens);
    perform sluice._lease_news();
    perform sluice._index_expire(h.token) from held_slot as h where tokens is null or h.token = any (tokens);
end
$$;

-- Nothing is held and there are no runs.
create function forget_all() returns void
language plpgsql
as $$
begin
    perform sluice._free_slots(array(select h.token from held_slot as h));
    truncate sluice.run, sluice.slot, sluice.lease, sluice.rotation, sluice.payload, sluice.output, sluice.attempt, sluice.log, sluice.resource,
             sluice.idempotency_key, sluice.debounce_key, sluice.expiry;
    perform sluice.claim('nobody', capacity => 10000, executors => '{sql,process,external}'); -- meets what the index still hints to
end
$$;
