-- Leases and slots of the table claim: move a deadline, give a place back, mark a token dead.
--
-- With 50_claim.sql these are what a faster claim replaces.  Besides them only the mark that a worker was told
-- (65_exchange.sql), the leader (80_leader.sql) and adopt() write these tables.

create function sluice._beat(worker text, tokens uuid[]) returns table (token uuid, lease_until timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    as_of timestamptz := clock_timestamp();
    moved uuid[];
    stood integer;
begin
    with held as materialized (
        select s.token, as_of + s.lease_seconds * interval '1 second' as until
        from sluice.slot as s
        where s.token = any (_beat.tokens) and s.revoked is null
          and (_beat.worker is null or s.worker = _beat.worker)
    ),
    beats as (
        insert into sluice.lease as l (token, until)
        select h.token, h.until from held as h order by h.token
        on conflict on constraint lease_pkey do update set until = excluded.until
    )
    select array_agg(h.token) into moved from held as h;

    -- The insert may have waited for the leader to end the attempt: only what still has its slot stands.
    return query
    select s.token, as_of + s.lease_seconds * interval '1 second'
    from sluice.slot as s
    where s.token = any (moved) and s.revoked is null;
    get diagnostics stood = row_count;
    if stood < cardinality(moved) then
        delete from sluice.lease as l where l.token = any (moved) and not exists (select from sluice.slot as s where s.token = l.token);
    end if;
end
$$;
comment on function sluice._beat(text, uuid[]) is 'Moves the deadlines of the leases that stand; returns those.';

create function sluice._free_slot(token uuid) returns table (worker text, claimed_at timestamptz)
language plpgsql -- which keeps its plans; language sql would plan anew in each call
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query delete from sluice.slot as s where s.token = _free_slot.token returning s.worker, s.claimed_at;
    delete from sluice.lease as l where l.token = _free_slot.token;
end
$$;
comment on function sluice._free_slot(uuid) is 'Gives the place of an attempt back; returns who held it.';

create function sluice._revoke_slot(token uuid, why text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    update sluice.slot as s set revoked = _revoke_slot.why where s.token = _revoke_slot.token;
$$;
comment on function sluice._revoke_slot(uuid, text) is 'Marks the token of an attempt dead while its worker still holds the place.';

create function sluice._free_slots(tokens uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
    delete from sluice.slot as s where s.token = any (_free_slots.tokens);
    delete from sluice.lease as l where l.token = any (_free_slots.tokens);
end
$$;
comment on function sluice._free_slots(uuid[]) is 'Gives the places of attempts back.';
