// pop: takes hints to runs out of the index for a claim, each with a slot, and keeps the index supplied: runs that fall
// due are fed to it, and shelves whose head has reached their horizon are refilled from the table.
//
// After a pop, statements take new snapshots, so that what was pushed at somebody's commit is seen.

#include <algorithm>

#include "core/ready_index.hpp"

#include "pg/boundary.hpp"

#include "clock.hpp"
#include "index/effects.hpp"
#include "index/executor.hpp"
#include "index/pop.hpp"
#include "index/segment.hpp"
#include "index/spi.hpp"
#include "waiters.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;
using core::Ready;

/// How many rows a refill reads, and how many due runs a feed.
constexpr int32 refill_rows = 1000;
constexpr int32 feed_rows   = 5000;

/// How long a call waits for somebody else's refill that is all it could get from.
constexpr int  busy_rounds  = 100;
constexpr long busy_wait_us = 1000;

// --- The tables --------------------------------------------------------------------------------------------------

/// The tasks of an executor as an int4[] for `= any`; null where every task has it.
Datum tasks_of(core::Executor executor, bool *is_all)
{
    static const Oid types[] = {TEXTARRAYOID};
    static Statement statement("select sluice._task_ids($1)", 1, types);
    Datum            name    = CStringGetTextDatum(name_of(executor));
    const Datum      names[] = {PointerGetDatum(construct_array(&name, 1, TEXTOID, -1, false, TYPALIGN_INT))};
    statement.run(names);
    return column(0, 1, is_all);
}

/// Limits as the table has them for this transaction; a queue that is not there is as one that is paused.
core::Limits read_limits(const Attached &index, core::QueueRef queue)
{
    static const Oid types[] = {INT4OID};
    static Statement statement("select concurrency, key_concurrency, paused_at is not null"
                               " from sluice.queue where queue_id = $1",
                               1, types);

    const Datum  values[] = {Int32GetDatum(index.ready.queue_id(queue))};
    core::Limits limits{.concurrency = 0, .key_concurrency = 0, .paused = true};
    if (statement.run(values) == 1) {
        bool no_limit, no_key_limit;
        limits.concurrency     = DatumGetInt32(column(0, 1, &no_limit));
        limits.key_concurrency = DatumGetInt32(column(0, 2, &no_key_limit));
        limits.paused          = DatumGetBool(column(0, 3));
        if (no_limit)
            limits.concurrency = core::unlimited;
        if (no_key_limit)
            limits.key_concurrency = core::unlimited;
    }
    SPI_freetuptable(SPI_tuptable);
    return limits;
}

/// Has the index know a queue's limits; read again if they change meanwhile.  Not for a transaction that has changed them.
void load_limits(const Attached &index, core::QueueRef queue)
{
    core::ReadyIndex ready   = index.ready;
    bool             current = false;
    while (!current) {
        LWLockAcquire(index.lock_of(queue), LW_SHARED);
        current              = ready.is_known(queue);
        const uint32 version = ready.limits_version(queue);
        LWLockRelease(index.lock_of(queue));
        if (current)
            return;

        const core::Limits limits = read_limits(index, queue);
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        current = version == ready.limits_version(queue);
        if (current)
            ready.set_limits(queue, limits);
        LWLockRelease(index.lock_of(queue));
    }
}

/// Reads one class of a lane from a place on.  Returns the first place that was not read.
core::Place refill_class(const Attached &index, core::QueueRef queue, const core::Refill &refill,
                         int16 run_class, Datum tasks, bool all_tasks, TimestampTz now, int32 *left)
{
    static const Oid types[] = {INT4OID, INT8OID,        INT2OID,      TIMESTAMPTZOID,
                                INT8OID, TIMESTAMPTZOID, INT4ARRAYOID, INT4OID};
    static Statement statement(
        "select r.claim_key, r.run_id from sluice.run as r"
        " where r.finished_at is null and r.queue_id = $1 and r.lane = $2 and r.class = $3"
        "   and (r.claim_key, r.run_id) >= ($4, $5) and r.claim_key <= $6"
        "   and (r.due_at is null or r.due_at <= $6)"
        "   and r.status = 'queued' and ($7 is null or r.task_id = any ($7))"
        " order by r.claim_key, r.run_id limit $8",
        8, types);

    const bool   first    = run_class == refill.from.run_class;
    const Datum  values[] = {Int32GetDatum(index.ready.queue_id(queue)),
                             Int64GetDatum(refill.lane),
                             Int16GetDatum(run_class),
                             TimestampTzGetDatum(first && refill.from.claim_key != PG_INT64_MIN
                                                     ? refill.from.claim_key
                                                     : DT_NOBEGIN),
                             Int64GetDatum(first ? refill.from.run_id : PG_INT64_MIN),
                             TimestampTzGetDatum(now),
                             tasks,
                             Int32GetDatum(*left)};
    const char   nulls[]  = {' ', ' ', ' ', ' ', ' ', ' ', all_tasks ? 'n' : ' ', ' ', '\0'};
    const uint64 rows     = statement.run(values, nulls);

    core::ReadyIndex ready = index.ready;
    core::Place      next  = core::no_place;
    constexpr uint64 batch = 64; // of a lock
    for (uint64 row = 0; row < rows && next == core::no_place; row += batch) {
        core::Place  found[batch];
        const uint64 count = std::min(batch, rows - row);
        for (uint64 i = 0; i < count; ++i)
            found[i] = {run_class, DatumGetTimestampTz(column(row + i, 1)),
                        DatumGetInt64(column(row + i, 2))};
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        for (uint64 i = 0; i < count; ++i) {
            if (ready.refill(queue, refill, found[i]))
                continue;
            next = found[i];
            break;
        }
        LWLockRelease(index.lock_of(queue));
    }
    if (next == core::no_place && rows == static_cast<uint64>(*left)) // there may be more
        next = {run_class, DatumGetTimestampTz(column(rows - 1, 1)), DatumGetInt64(column(rows - 1, 2)) + 1};
    *left -= static_cast<int32>(rows);
    SPI_freetuptable(SPI_tuptable);
    return next;
}

void refill_shelf(const Attached &index, core::QueueRef queue, const core::Refill &refill)
{
    constexpr int16   last_class = 2;
    const TimestampTz now        = GetCurrentTimestamp();
    int32             left       = refill_rows;
    bool              all_tasks  = false;
    const Datum       tasks      = tasks_of(refill.executor, &all_tasks);
    core::Place       next       = core::no_place;
    for (int16 run_class = std::max<int16>(0, refill.from.run_class); run_class <= last_class; ++run_class) {
        next = refill_class(index, queue, refill, run_class, tasks, all_tasks, now, &left);
        if (next != core::no_place)
            break;
    }

    core::ReadyIndex ready = index.ready;
    LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
    ready.end_refill(queue, refill, next);
    LWLockRelease(index.lock_of(queue));
    end_refill();
    pg_atomic_fetch_add_u64(&index.segment->refills, 1);
    waiters::wake(); // who looked meanwhile passed it over
}

} // namespace

void sluice::index::feed(const Attached &index)
{
    static const Oid types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
    static Statement fell_due(
        "select r.queue_id, r.lane, r.class, r.claim_key, r.run_id, t.executor, r.due_at"
        " from sluice.run as r join sluice.task as t on t.task_id = r.task_id"
        " where r.finished_at is null and r.due_at > $1 and r.due_at <= $2 and r.status = 'queued'"
        " order by r.due_at fetch first $3 rows with ties",
        3, types);
    static Statement next_due("select r.due_at from sluice.run as r"
                              " where r.finished_at is null and r.due_at > $1 order by r.due_at limit 1",
                              1, types);

    Segment          &segment = *index.segment;
    const TimestampTz now     = GetCurrentTimestamp();
    TimestampTz       from;
    uint32            free = 0;

    LWLockAcquire(index.timer_lock(), LW_SHARED);
    const bool due = now >= segment.next_due;
    LWLockRelease(index.timer_lock());
    if (!due)
        return;

    reserve(1);
    if (!pg_atomic_compare_exchange_u32(&segment.feeding, &free, 1))
        return;
    LWLockAcquire(index.timer_lock(), LW_EXCLUSIVE);
    from                 = segment.fed_until;
    segment.feeding_from = from;
    segment.fed_until    = std::max(from, now);
    segment.next_due     = PG_INT64_MAX; // what is committed from here on lowers it
    LWLockRelease(index.timer_lock());
    begin_feed(from);

    const Datum  window[] = {TimestampTzGetDatum(from == PG_INT64_MIN ? DT_NOBEGIN : from),
                             TimestampTzGetDatum(now), Int32GetDatum(feed_rows)};
    const uint64 rows     = fell_due.run(window);
    TimestampTz  last     = now;

    core::ReadyIndex ready = index.ready;
    for (uint64 row = 0; row < rows; ++row) {
        const Ready run{DatumGetInt64(column(row, 2)),
                        {DatumGetInt16(column(row, 3)), DatumGetTimestampTz(column(row, 4)),
                         DatumGetInt64(column(row, 5))},
                        executor_named(column(row, 6))};
        last                       = DatumGetTimestampTz(column(row, 7));
        const core::QueueRef queue = ready.make_queue(DatumGetInt32(column(row, 1)));
        if (queue == core::nowhere) {
            mark_dirty();
            continue;
        }
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        if (ready.push(queue, run) == core::Pushed::no_room)
            mark_dirty();
        LWLockRelease(index.lock_of(queue));
    }
    SPI_freetuptable(SPI_tuptable);
    pg_atomic_fetch_add_u64(&segment.fed, rows);

    TimestampTz next = PG_INT64_MAX;
    if (rows >= feed_rows) {
        next = last; // there may be more: at once
    } else {
        const Datum after[] = {TimestampTzGetDatum(now)};
        if (next_due.run(after) == 1)
            next = DatumGetTimestampTz(column(0, 1));
        SPI_freetuptable(SPI_tuptable);
    }
    LWLockAcquire(index.timer_lock(), LW_EXCLUSIVE);
    if (rows >= feed_rows)
        segment.fed_until = std::min(segment.fed_until, last);
    segment.next_due = std::min(segment.next_due, next);
    LWLockRelease(index.timer_lock());
    pg_atomic_write_u32(&segment.feeding, 0);
    end_feed();
    waiters::wake();
}

namespace {

// --- Popping -------------------------------------------------------------------------------------------------------

/// Takes runs of one queue, refilling as needed.  True if somebody else refills what could be had.
bool pop_from(const Attached &index, core::QueueRef queue, core::ExecutorMask executors, int wanted,
              Hints &hints)
{
    core::ReadyIndex ready = index.ready;
    const int        ends  = all_ends();
    auto            *lanes =
        ends == 0
                       ? nullptr
                       : static_cast<core::Credit *>(palloc(sizeof(core::Credit) * static_cast<std::size_t>(ends)));
    const core::Credits credit{lanes, ends == 0 ? 0 : credits(queue, lanes)};
    auto               *got = static_cast<Ready *>(palloc(sizeof(Ready) * static_cast<std::size_t>(wanted)));

    core::PopResult result{};
    int             taken_here = 0;
    do {
        // Limits that this transaction has changed hold for itself, and for as long as it has the lock.
        const bool   own = changes_limits(queue);
        core::Limits mine{};
        if (own)
            mine = read_limits(index, queue);
        else
            load_limits(index, queue);
        reserve(static_cast<std::size_t>(wanted) + 1);
        const TimestampTz now = clock::steady();
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        if (own)
            ready.set_limits(queue, mine);
        (void)ready.unpark(queue, now);
        // What is popped has its lease for certain; up to commit or abort nothing fails between the two.
        const int promised = ready.promise_leases(wanted - taken_here);
        result             = ready.pop(queue, executors, promised, credit, got);
        for (int i = 0; i < result.taken; ++i)
            hints.hint[hints.count++] = {got[i], queue, taken(queue, got[i]), true, false};
        ready.break_lease_promises(promised - result.taken);
        if (result.needs_refill)
            begin_refill(queue, result.refill);
        if (own)
            ready.forget_limits(queue);
        LWLockRelease(index.lock_of(queue));
        taken_here += result.taken;
        if (result.needs_refill)
            refill_shelf(index, queue, result.refill);
        CHECK_FOR_INTERRUPTS();
    } while (result.needs_refill && taken_here < wanted);
    return result.busy && taken_here == 0;
}

/// Once around the queues: those that were named, or all, from a random one on.
bool pop_around(const Attached &index, ArrayType *queues, core::ExecutorMask executors, int wanted,
                Hints &hints)
{
    core::ReadyIndex ready = index.ready;
    const int        count =
        queues == nullptr ? ready.queue_count() : ArrayGetNItems(ARR_NDIM(queues), ARR_DIMS(queues));
    const auto *ids = queues == nullptr ? nullptr : reinterpret_cast<const int32 *>(ARR_DATA_PTR(queues));
    const int   first =
        count == 0 ? 0 : static_cast<int>(pg_prng_uint32(&pg_global_prng_state) % static_cast<uint32>(count));
    bool busy = false;

    for (int i = 0; i < count && hints.count < wanted; ++i) {
        const int            number = (first + i) % count;
        const core::QueueRef queue =
            ids == nullptr ? static_cast<core::QueueRef>(number) : ready.find_queue(ids[number]);
        if (queue == core::nowhere || (!ready.may_have_work(queue, executors) && all_ends() == 0))
            continue;
        busy |= pop_from(index, queue, executors, wanted - hints.count, hints);
    }
    return busy;
}

} // namespace

Hints sluice::index::pop(const Attached &index, ArrayType *queues, core::ExecutorMask executors, int wanted)
{
    const int  room  = std::min(wanted, index.ready.lease_room());
    const auto bytes = static_cast<std::size_t>(std::max(1, room));
    Hints      hints{static_cast<Hint *>(MemoryContextAlloc(CurTransactionContext, bytes * sizeof(Hint))),
                static_cast<int *>(MemoryContextAlloc(CurTransactionContext, bytes * sizeof(int))), 0};

    push_early(GetCurrentTimestamp());
    feed(index);
    for (int round = 0; round < busy_rounds && room > 0; ++round) {
        if (!pop_around(index, queues, executors, room, hints) || hints.count > 0)
            break;
        pg_usleep(busy_wait_us);
        CHECK_FOR_INTERRUPTS();
    }

    for (int i = 0; i < hints.count; ++i)
        hints.by_run[i] = i;
    std::sort(hints.by_run, hints.by_run + hints.count, [&](int a, int b) {
        const int64 first = hints.hint[a].run.place.run_id, second = hints.hint[b].run.place.run_id;
        return first != second ? first < second : a < b;
    });
    return hints;
}

Sight sluice::index::look(const Attached &index, ArrayType *queues, core::ExecutorMask executors)
{
    core::ReadyIndex ready = index.ready;
    const int        count =
        queues == nullptr ? ready.queue_count() : ArrayGetNItems(ARR_NDIM(queues), ARR_DIMS(queues));
    const auto *ids = queues == nullptr ? nullptr : reinterpret_cast<const int32 *>(ARR_DATA_PTR(queues));
    Sight       sight{.work = false, .next = PG_INT64_MAX};

    LWLockAcquire(index.timer_lock(), LW_SHARED);
    sight.next = index.segment->next_due;
    LWLockRelease(index.timer_lock());
    for (int i = 0; i < count && !sight.work; ++i) {
        const core::QueueRef queue =
            ids == nullptr ? static_cast<core::QueueRef>(i) : ready.find_queue(ids[i]);
        if (queue == core::nowhere)
            continue;
        load_limits(index, queue);
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        const TimestampTz rested = ready.unpark(queue, clock::steady());
        if (rested != PG_INT64_MAX)
            sight.next = std::min(sight.next, clock::wall(rested));
        sight.work = ready.has_work(queue, executors) && ready.lease_room() > 0;
        LWLockRelease(index.lock_of(queue));
    }
    return sight;
}

// sluice._index_push(run_id bigint, queue_id int, lane bigint, class smallint, claim_key timestamptz, ready_at timestamptz,
// executor text) returns void: at commit the run is handed out, from ready_at on.
SLUICE_FUNCTION(sluice_index_push)
{
    const Ready run{PG_GETARG_INT64(2),
                    {PG_GETARG_INT16(3), PG_GETARG_TIMESTAMPTZ(4), PG_GETARG_INT64(0)},
                    executor_named(PG_GETARG_DATUM(6))};
    push(PG_GETARG_INT32(1), run, PG_GETARG_TIMESTAMPTZ(5));
    PG_RETURN_VOID();
}

// sluice._index_moved(run_id bigint, queue_id int, lane bigint, class smallint, claim_key timestamptz, ready_at timestamptz,
// executor text) returns void: a queued run leaves this place, unless this transaction aborts.
SLUICE_FUNCTION(sluice_index_moved)
{
    const Ready run{PG_GETARG_INT64(2),
                    {PG_GETARG_INT16(3), PG_GETARG_TIMESTAMPTZ(4), PG_GETARG_INT64(0)},
                    executor_named(PG_GETARG_DATUM(6))};
    moved(PG_GETARG_INT32(1), run, PG_GETARG_TIMESTAMPTZ(5));
    PG_RETURN_VOID();
}

// sluice._index_change_limits(queue_id int) returns void: the table's row of the queue counts from this commit on.
SLUICE_FUNCTION(sluice_index_change_limits)
{
    change_limits(PG_GETARG_INT32(0));
    PG_RETURN_VOID();
}

// sluice._index_change_storage() returns void: the index is built anew after this commit.
SLUICE_FUNCTION(sluice_index_change_storage)
{
    (void)fcinfo;
    change_storage();
    PG_RETURN_VOID();
}
