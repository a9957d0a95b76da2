-- Statistics: what has happened in each queue since the counters began.
--
-- The counters are in shared memory, beside the ready index (extension/core/queue_counts.hpp): they cost no statement and no
-- lock, begin anew with the server, and are not known where claims go by the tables.

create function sluice._index_count(queue_id integer, what text) returns void
language c volatile strict as 'MODULE_PATHNAME', 'sluice_index_count';
comment on function sluice._index_count(integer, text) is 'Counts one more outcome of an attempt in a queue, or one that was retried.';

create function sluice._index_counts()
returns table (queue_id integer, since timestamptz, claimed bigint, waited_us bigint, completed bigint, failed bigint, lost bigint,
               released bigint, retried bigint, conflicts bigint, stale bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_index_counts';
comment on function sluice._index_counts() is 'The counters of each queue that the index knows; none where claims go by the tables.';

create function sluice._index_counted_since() returns timestamptz
language c volatile as 'MODULE_PATHNAME', 'sluice_index_counted_since';
comment on function sluice._index_counted_since() is 'When the counters of queues began; null where claims go by the tables.';

create function sluice._index_reset_counts() returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_index_reset_counts';
comment on function sluice._index_reset_counts() is 'Sets the counters of all queues to 0.';

create function sluice.queue_stats()
returns table (queue text, since timestamptz, claimed bigint, waited interval, completed bigint, failed bigint, lost bigint,
               released bigint, retried bigint, conflicts bigint, stale bigint)
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.queue_stats() is
    'What has happened in each queue since the server started or reset_queue_stats(): claims and how long those runs had been ready in all, outcomes of attempts, retries, conflicts.  Null where claims go by the tables.';

create function sluice._queue_stats()
returns table (queue text, since timestamptz, claimed bigint, waited interval, completed bigint, failed bigint, lost bigint,
               released bigint, retried bigint, conflicts bigint, stale bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    began timestamptz := sluice._index_counted_since();
begin
    -- A queue that the index has not met yet has zeros.
    return query
    select q.queue, began, n.claimed, n.waited_us * interval '1 microsecond', n.completed, n.failed, n.lost, n.released, n.retried,
           n.conflicts, n.stale
    from sluice.queue as q
    left join sluice._index_counts() as c on c.queue_id = q.queue_id
    left join lateral (
        select coalesce(c.claimed, 0) as claimed, coalesce(c.waited_us, 0) as waited_us, coalesce(c.completed, 0) as completed,
               coalesce(c.failed, 0) as failed, coalesce(c.lost, 0) as lost, coalesce(c.released, 0) as released,
               coalesce(c.retried, 0) as retried, coalesce(c.conflicts, 0) as conflicts, coalesce(c.stale, 0) as stale
    ) as n on began is not null
    where q.dropped_at is null
    order by q.queue;
end
$$;
comment on function sluice._queue_stats() is 'Twin of queue_stats().';

-- Of the extension, not of the storage: it holds no rows, so a dump has nothing to lose with it, and it goes with the
-- function that it calls.  A reader calls that in his own name.
create view sluice.queue_stats as
select s.queue, s.since, s.claimed, s.waited, s.completed, s.failed, s.lost, s.released, s.retried, s.conflicts, s.stale
from sluice.queue_stats() as s;
comment on view sluice.queue_stats is
    'What has happened in each queue since the server started or reset_queue_stats(): the rows of the function queue_stats().';
comment on column sluice.queue_stats.queue is 'Name of the queue.';
comment on column sluice.queue_stats.since is 'When counting began; null, as all that follows, where claims go by the tables.';
comment on column sluice.queue_stats.claimed is 'Attempts that were handed out.';
comment on column sluice.queue_stats.waited is 'How long these had been ready, all together.';
comment on column sluice.queue_stats.completed is 'Attempts that completed.';
comment on column sluice.queue_stats.failed is 'Attempts that failed, crashed, or ran out of memory or time.';
comment on column sluice.queue_stats.lost is 'Attempts whose lease or session ended before they did.';
comment on column sluice.queue_stats.released is 'Attempts that were given back.';
comment on column sluice.queue_stats.retried is 'Times that a run was queued again after an attempt that failed or was lost.';
comment on column sluice.queue_stats.conflicts is 'Times that a run was to be handed out while somebody had its row locked.';
comment on column sluice.queue_stats.stale is 'Hints of the index to runs that had moved on.';

create function sluice.reset_queue_stats() returns void
language c volatile as 'MODULE_PATHNAME', 'sluice_call';
comment on function sluice.reset_queue_stats() is 'Sets what queue_stats() shows to 0.';

create function sluice._reset_queue_stats() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform sluice._index_reset_counts();
end
$$;
comment on function sluice._reset_queue_stats() is 'Twin of reset_queue_stats().';
