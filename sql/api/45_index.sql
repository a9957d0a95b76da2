-- The ready index: what SQL asks of shared memory.  extension/index/ has the code, docs/design/005-ready-index.md the why.
--
-- The index is a cache of the tables: which runs could start now, how many slots are held, who holds a lease until when.
-- Everything here that changes it does so with this transaction: pushes, ends and revocations at its commit, and what was
-- popped is given back when it aborts.

create function sluice._index_before_end() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_before_end';
comment on function sluice._index_before_end() is 'Before an attempt is ended: builds the index if nobody has claimed since the server started.';

create function sluice._index_serves() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_serves';
comment on function sluice._index_serves() is 'Whether leases are in the index now; otherwise in tables.';

create function sluice._index_keeps_leases() returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_keeps_leases';
comment on function sluice._index_keeps_leases() is
    'Whether leases are in the index (false: in tables), where they stay until this transaction ends; null if that is not known, since nobody has claimed yet.';

-- Ready runs

create function sluice._index_push(run_id bigint, queue_id integer, lane bigint, class smallint, claim_key timestamptz,
                                   ready_at timestamptz, executor text) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_push';
comment on function sluice._index_push(bigint, integer, bigint, smallint, timestamptz, timestamptz, text) is
    'Hands a run to the index when this transaction commits; it can be claimed from ready_at on, which is -infinity for a run without a delay.';

create function sluice._index_moved(run_id bigint, queue_id integer, lane bigint, class smallint, claim_key timestamptz,
                                    ready_at timestamptz, executor text) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_moved';
comment on function sluice._index_moved(bigint, integer, bigint, smallint, timestamptz, timestamptz, text) is
    'A queued run leaves its place; if this transaction aborts, the index is told of the place again.';

create function sluice._index_matches(run_id bigint, queue_id integer, lane bigint, class smallint, claim_key timestamptz,
                                      task_id integer) returns boolean
language c volatile as 'MODULE_PATHNAME', 'sluice_index_matches';
comment on function sluice._index_matches(bigint, integer, bigint, smallint, timestamptz, integer) is
    'Whether a row is still where the hint that the claim at work has popped found it, and is of a task that its worker can run; a null task is.  For statements of the claim.';

create function sluice._index_took() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_took';
comment on function sluice._index_took() is 'Says that this transaction has claimed runs by the tables.';

create function sluice._index_change_limits(queue_id integer) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_change_limits';
comment on function sluice._index_change_limits(integer) is 'The row of a queue changes when this transaction commits.';

create function sluice._index_change_storage() returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_change_storage';
comment on function sluice._index_change_storage() is 'Something changes at this commit that the index cannot follow; it is built anew.';

-- Leases

create function sluice._index_end(tokens uuid[]) returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_end';
comment on function sluice._index_end(uuid[]) is
    'Frees the slots of attempts when this transaction commits; true if one of them may have a row in the table of slots too.';

create function sluice._index_revoke(token uuid, why text) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_revoke';
comment on function sluice._index_revoke(uuid, text) is 'Marks a token dead when this transaction commits; its slot stays held.';

create function sluice._index_beat(worker text, tokens uuid[]) returns table (token uuid, lease_until timestamptz)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_beat';
comment on function sluice._index_beat(text, uuid[]) is
    'Moves the deadlines of the leases that stand; returns those.  Ends what _index_keeps_leases() began.';

create function sluice._index_lease(token uuid)
returns table (lease_token uuid, run_id bigint, queue_id integer, lane bigint, attempt smallint, claimed_at timestamptz,
               until timestamptz, reply bigint, lease_seconds double precision, revoked text, told boolean, committed boolean,
               worker_hash bigint)
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_lease';
comment on function sluice._index_lease(uuid) is 'The lease of a token, as this transaction sees it.';

create function sluice._index_leases(worker text)
returns table (lease_token uuid, run_id bigint, queue_id integer, lane bigint, attempt smallint, claimed_at timestamptz,
               until timestamptz, reply bigint, lease_seconds double precision, revoked text, told boolean, committed boolean,
               worker_hash bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_leases';
comment on function sluice._index_leases(text) is 'The leases of a worker, or all, as this transaction sees them.';

create function sluice._index_late(as_of timestamptz, wanted integer)
returns table (lease_token uuid, run_id bigint, queue_id integer, lane bigint, attempt smallint, claimed_at timestamptz,
               until timestamptz, reply bigint, lease_seconds double precision, revoked text, told boolean, committed boolean,
               worker_hash bigint)
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_late';
comment on function sluice._index_late(timestamptz, integer) is 'Leases whose deadline is over, in order of their runs.';

create function sluice._index_end_if_late(token uuid) returns boolean
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_end_if_late';
comment on function sluice._index_end_if_late(uuid) is
    'Whether the time of a lease is over; if so no beat moves it any more, unless this transaction aborts.';

create function sluice._index_next_deadline(as_of timestamptz) returns timestamptz
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_next_deadline';
comment on function sluice._index_next_deadline(timestamptz) is 'The earliest deadline that is still to come.';

create function sluice._index_told(token uuid) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_told';
comment on function sluice._index_told(uuid) is 'Its worker knows that the token is dead.';

create function sluice._index_expire(token uuid) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_expire';
comment on function sluice._index_expire(uuid) is 'Ends the time of a lease in the index: how the tests come late.';

-- What it holds

create function sluice._index_ready()
returns table (queue_id integer, lane bigint, class smallint, claim_key timestamptz, run_id bigint, executor text, held bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_ready';
comment on function sluice._index_ready() is 'Hints that the index has at hand; held means nothing here.';

create function sluice._index_horizons()
returns table (queue_id integer, lane bigint, class smallint, claim_key timestamptz, run_id bigint, executor text, held bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_horizons';
comment on function sluice._index_horizons() is 'The place in a lane from which on runs are in the table only; held means nothing here.';

create function sluice._index_lanes()
returns table (queue_id integer, lane bigint, class smallint, claim_key timestamptz, run_id bigint, executor text, held bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_lanes';
comment on function sluice._index_lanes() is 'Lanes with held slots and how many; the other columns mean nothing here.';

create function sluice._index_limits()
returns table (queue_id integer, concurrency integer, key_concurrency integer, paused boolean)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_limits';
comment on function sluice._index_limits() is 'The limits that claims by the index go by, of the queues that it knows them of; null is no limit.';

create function sluice._index_stats(
    out mode text, out why text, out bytes bigint, out entries bigint, out entry_room bigint, out lanes bigint,
    out leases bigint, out lease_room bigint, out spills bigint, out refills bigint, out fed bigint, out stale_hints bigint,
    out rested bigint, out builds bigint, out built_at timestamptz, out build_ms double precision, out next_due timestamptz,
    out build_due boolean)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_stats';
comment on function sluice._index_stats() is 'Twin of index_stats().';

create function sluice.index_stats(
    out mode text, out why text, out bytes bigint, out entries bigint, out entry_room bigint, out lanes bigint,
    out leases bigint, out lease_room bigint, out spills bigint, out refills bigint, out fed bigint, out stale_hints bigint,
    out rested bigint, out builds bigint, out built_at timestamptz, out build_ms double precision, out next_due timestamptz,
    out build_due boolean)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.index_stats() is
    'How runs are claimed (mode: index, table, or unbuilt before the first claim after a start) and why; memory, entries, lanes and leases in the index, and since it was made: spills, refills from the tables, due runs fed, stale hints, hints that rested, builds.';

create function sluice._rebuild_index() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._index_change_storage();
end
$$;
comment on function sluice._rebuild_index() is 'Twin of rebuild_index().';

create function sluice.rebuild_index() returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.rebuild_index() is
    'Has the next claim build the index anew, as is needed after the tables of sluice were written to by hand.';
