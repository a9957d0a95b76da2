-- Clock: what the leader does when the wall clock of the database's machine was set.
--
-- Leases are measured by the steady clock and know nothing of it.  What waits until an instant (run_at, delay) goes by the
-- wall clock, as people mean it.  Two things are meant otherwise, and are put right here as soon as the two clocks are found
-- to have moved apart: a time to live is so long, whatever the clock says meanwhile; and a run that was enqueued to start at
-- once, or waits to be tried again in a moment, does not have to wait until an earlier clock has caught up with it.
--
-- One second is the least that counts, which is above what clocks are slewed by.

create function sluice._mend_after_forward(step interval) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    as_of timestamptz := clock_timestamp();
begin
    update sluice.expiry as e
    set expires_at = least(e.expires_at + step, as_of + e.ttl)
    from sluice.run as r
    where r.run_id = e.run_id and r.status = 'queued' and r.started_at is null and r.ready_at <= as_of
      and e.expires_at > as_of - step;
end
$$;
comment on function sluice._mend_after_forward(interval) is
    'Part of _follow_clock(): nobody''s time to live has passed because the clock went forward.';

-- `unseen` is how long ago the clock was not yet set; null if that is not known.
create function sluice._mend_after_backward(step interval, unseen interval default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    as_of timestamptz := clock_timestamp();
begin
    -- Whose time began before the clock can have been set: it began by the other one, however long ago.
    update sluice.expiry as e set expires_at = e.expires_at + step
    from sluice.run as r
    where r.run_id = e.run_id and r.status = 'queued' and r.started_at is null and r.ready_at < as_of - unseen - interval '1 second';
    with ready as (
        update sluice.run as r
        set ready_at = r.ready_at + step, claim_key = r.claim_key + step
        where r.finished_at is null and r.status = 'queued' and r.due_at is null and r.ready_at > as_of
        returning r.run_id, r.ready_at
    )
    update sluice.expiry as e set expires_at = r.ready_at + e.ttl
    from ready as r where r.run_id = e.run_id;
    -- Whose last attempt ended by the other clock, and who does not wait for longer than the policy has it: others wait until
    -- an instant that somebody named.
    update sluice.run as r
    set ready_at = r.ready_at + step, claim_key = r.claim_key + step, due_at = r.due_at + step
    from sluice.task as t, sluice.attempt as a
    where t.task_id = r.task_id and r.finished_at is null and r.status = 'queued' and r.due_at > as_of
      and a.run_id = r.run_id and a.attempt = r.attempt and a.ended_at > as_of and r.due_at between a.started_at and a.ended_at + t.max_delay;
    update sluice.expiry as e set expires_at = as_of + e.ttl
    from sluice.run as r
    where r.run_id = e.run_id and r.ready_at <= as_of and e.expires_at > as_of + e.ttl;
    update sluice.leader as l set announced_at = least(l.announced_at, as_of);
    delete from sluice.retention_pass; -- when weeks are to be looked at again was noted by the other clock
    perform sluice._index_change_storage(); -- it has at hand what fell due by the other clock
    perform sluice._wake();
end
$$;
comment on function sluice._mend_after_backward(interval, interval) is
    'Part of _follow_clock(): what could start before the clock went back can start now.';

create function sluice._follow_clock() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $$
declare
    anchor constant timestamptz := sluice._clock_anchor();
    shift  constant interval := sluice._clock_offset();
    known  record;
    step   interval;
begin
    if anchor is null or sluice._clock_is_followed() then
        return true; -- each second, and no table is read for it
    end if;
    select l.clock_anchor, l.clock_offset into known from sluice.leader as l;
    if known.clock_anchor = anchor and abs(extract(epoch from shift - known.clock_offset)) < 1 then
        if pg_current_xact_id_if_assigned() is null then -- else it may be of this transaction, which may yet fail
            perform sluice._clock_was_followed(known.clock_offset);
        end if;
        return true;
    end if;
    -- A server that has started since has set both clocks to one.
    step := shift - case when known.clock_anchor = anchor then known.clock_offset else interval '0' end;
    begin
        if step >= interval '1 second' then
            perform sluice._mend_after_forward(step);
        elsif step <= interval '-1 second' then
            perform sluice._mend_after_backward(step, sluice._clock_unseen_for());
        end if;
    exception when lock_not_available then
        return false; -- somebody has locked one of them: in a moment
    end;
    if abs(extract(epoch from step)) >= 1 then
        raise log 'sluice: the clock was set by %', step;
    end if;
    update sluice.leader as l set clock_anchor = anchor, clock_offset = shift;
    return true;
end
$$;
comment on function sluice._follow_clock() is
    'Sees whether the wall clock was set since the last look, and puts right what would suffer; false if that has to wait.';
