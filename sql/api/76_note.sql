-- Notes: metadata and tags that an attempt adds to its run while it works.
--
-- By its token, so that only who owns the run now changes it.  The same call again changes nothing more: who had no answer
-- asks again.

-- The run of a token, locked until the end of the transaction, so that it does not end meanwhile.
create function sluice._own_run(token uuid) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    id bigint;
begin
    select r.run_id into id from sluice.run as r
    where r.run_id = sluice._token_run(_own_run.token) and r.token = _own_run.token and r.status = 'executing'
    for update;
    if not found then
        perform sluice._raise_lease_lost(_own_run.token, sluice._why_stale(_own_run.token));
    end if;
    return id;
end
$$;
comment on function sluice._own_run(uuid) is 'Locks the run that a token owns; raises SL102 if there is none.';

create function sluice.set_metadata(token uuid, metadata jsonb) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.set_metadata(uuid, jsonb) is
    'Sets members of the metadata of an attempt''s run, an object; null removes one, and the others stay.  Raises SL102 if the lease is lost.';

create function sluice._set_metadata(token uuid, metadata jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    id    bigint;
    held  jsonb;
    noted jsonb;
begin
    if jsonb_typeof(_set_metadata.metadata) is distinct from 'object' then
        perform sluice._refuse('metadata', 'must be a JSON object', 'For example {"progress": 0.5}.');
    end if;
    id := sluice._own_run(_set_metadata.token);
    select nullif(p.metadata, 'null') into held from sluice.payload as p where p.run_id = id;
    if jsonb_typeof(held) <> 'object' then
        perform sluice._refuse('metadata', 'of this run is no object, so it has no members to set', 'Enqueue the run with an object, or without metadata.');
    end if;
    noted := nullif((coalesce(held, '{}') || _set_metadata.metadata)
                    - array(select m.key from jsonb_each(_set_metadata.metadata) as m where m.value = 'null'), '{}');
    if noted is distinct from held then
        perform sluice._assert_size('metadata', noted, 'sluice.max_metadata');
        insert into sluice.payload (run_id, metadata) values (id, noted)
        on conflict on constraint payload_pkey do update set metadata = excluded.metadata;
    end if;
end
$$;
comment on function sluice._set_metadata(uuid, jsonb) is 'Twin of set_metadata().';

create function sluice.add_tags(token uuid, tags text[]) returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.add_tags(uuid, text[]) is
    'Adds tags to an attempt''s run, which has 10 at most; those that it has stay as they are.  Raises SL102 if the lease is lost.';

create function sluice._add_tags(token uuid, tags text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    id   bigint := sluice._own_run(_add_tags.token);
    held text[];
    new  text[];
begin
    select coalesce(p.tags, '{}') into held from sluice.payload as p where p.run_id = id;
    select array_agg(t.tag order by t.n) into new
    from (select u.tag, min(u.n) as n from unnest(_add_tags.tags) with ordinality as u (tag, n) group by u.tag) as t
    where t.tag <> all (coalesce(held, '{}'));
    new := sluice._clean_tags(held || new);
    if new is distinct from held then
        insert into sluice.payload (run_id, tags) values (id, new)
        on conflict on constraint payload_pkey do update set tags = excluded.tags;
    end if;
end
$$;
comment on function sluice._add_tags(uuid, text[]) is 'Twin of add_tags().';
