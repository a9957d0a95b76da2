// report: what the index holds, for index_stats() and check().

#include <algorithm>

#include "core/ready_index.hpp"

#include "pg/boundary.hpp"

#include "index/build.hpp"
#include "index/executor.hpp"
#include "index/segment.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;

const char *name_of(ClaimMode mode)
{
    switch (mode) {
    case ClaimMode::unbuilt:
        return "unbuilt";
    case ClaimMode::building:
        return "building";
    case ClaimMode::index:
        return "index";
    default:
        return "table";
    }
}

const char *words_for(Reason reason)
{
    switch (reason) {
    case Reason::setting:
        return "sluice.index_memory is 0";
    case Reason::memory:
        return "sluice.index_memory does not suffice for the lanes or leases, or the system has no more";
    default:
        return nullptr;
    }
}

struct Row {
    static constexpr int columns = 18;

    Datum values[columns]{};
    bool  nulls[columns]{};
    int   next = 0;

    void add(Datum value) { values[next++] = value; }
    void add_null() { nulls[next++] = true; }
    void add_text(const char *value)
    {
        if (value == nullptr)
            add_null();
        else
            add(CStringGetTextDatum(value));
    }
    void add_count(int64 value) { add(Int64GetDatum(value)); }
};

struct Found {
    int64          lane;
    core::Place    place;
    core::Executor executor;
    int32          held;
};

/// Room for what a visit finds, taken before the lock.
struct Basket {
    Found *found;
    int64  count, room;

    void put(const Found &one)
    {
        if (count < room)
            found[count] = one;
        ++count; // beyond the room it only says how much is needed
    }
};

/// Calls visit(basket) under the queue's lock until everything fits.
template <typename Visit>
Basket gathered(const Attached &index, core::QueueRef queue, int64 guess, Visit visit)
{
    Basket basket{nullptr, 0, guess + 64};
    for (;;) {
        basket.found = static_cast<Found *>(
            MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Found) * static_cast<Size>(basket.room)));
        basket.count = 0;
        LWLockAcquire(index.lock_of(queue), LW_SHARED);
        visit(basket);
        LWLockRelease(index.lock_of(queue));
        if (basket.count <= basket.room)
            return basket;
        pfree(basket.found);
        basket.room = basket.count + basket.count / 4;
    }
}

void put_ready(void *basket, const core::Ready &run)
{
    static_cast<Basket *>(basket)->put({run.lane, run.place, run.executor, 0});
}

void put_horizon(void *basket, int64 lane, core::Executor executor, const core::Place &horizon)
{
    static_cast<Basket *>(basket)->put({lane, horizon, executor, 0});
}

void put_lane(void *basket, int64 lane, int32 held)
{
    static_cast<Basket *>(basket)->put({lane, {}, core::Executor::sql, held});
}

/// A row for each thing that `gather` finds in each queue: queue_id, lane, class, claim_key, run_id, executor, held.
template <typename Gather>
Datum each_queue(FunctionCallInfo fcinfo, Gather gather)
{
    InitMaterializedSRF(fcinfo, 0);
    auto           *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const Attached *index  = attach();
    if (index == nullptr)
        return Datum{0};
    for (core::QueueRef queue = 0; queue < static_cast<core::QueueRef>(index->ready.queue_count()); ++queue) {
        const Basket basket = gather(*index, queue);
        for (int64 i = 0; i < basket.count; ++i) {
            const Found &one = basket.found[i];
            Row          row;
            row.add(Int32GetDatum(index->ready.queue_id(queue)));
            row.add_count(one.lane);
            row.add(Int16GetDatum(one.place.run_class));
            row.add(TimestampTzGetDatum(one.place.claim_key));
            row.add_count(one.place.run_id);
            row.add_text(sluice::index::name_of(one.executor));
            row.add_count(one.held);
            tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
        }
        pfree(basket.found);
        CHECK_FOR_INTERRUPTS();
    }
    return Datum{0};
}

} // namespace

// sluice._index_ready() returns setof the runs that the index has at hand.
SLUICE_FUNCTION(sluice_index_ready)
{
    return each_queue(fcinfo, [](const Attached &index, core::QueueRef queue) {
        const core::QueueStats stats = index.ready.stats(queue);
        return gathered(index, queue, stats.entries + stats.parked,
                        [&](Basket &basket) { index.ready.each_ready(queue, put_ready, &basket); });
    });
}

// sluice._index_horizons() returns setof the places from which on lanes are in the table only.
SLUICE_FUNCTION(sluice_index_horizons)
{
    return each_queue(fcinfo, [](const Attached &index, core::QueueRef queue) {
        return gathered(index, queue, index.ready.stats(queue).shelves_beyond,
                        [&](Basket &basket) { index.ready.each_horizon(queue, put_horizon, &basket); });
    });
}

// sluice._index_lanes() returns setof the lanes in which slots are held.
SLUICE_FUNCTION(sluice_index_lanes)
{
    return each_queue(fcinfo, [](const Attached &index, core::QueueRef queue) {
        return gathered(index, queue, index.ready.stats(queue).lanes,
                        [&](Basket &basket) { index.ready.each_lane(queue, put_lane, &basket); });
    });
}

// sluice._index_limits() returns setof (queue_id int, concurrency int, key_concurrency int, paused bool): of the queues whose
// limits it knows; null is no limit.
SLUICE_FUNCTION(sluice_index_limits)
{
    InitMaterializedSRF(fcinfo, 0);
    auto           *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const Attached *index  = attach();
    if (index == nullptr)
        return Datum{0};
    for (core::QueueRef queue = 0; queue < static_cast<core::QueueRef>(index->ready.queue_count()); ++queue) {
        LWLockAcquire(index->lock_of(queue), LW_SHARED);
        const bool         known  = index->ready.is_known(queue);
        const core::Limits limits = index->ready.limits(queue);
        LWLockRelease(index->lock_of(queue));
        if (!known)
            continue;
        Datum values[] = {Int32GetDatum(index->ready.queue_id(queue)), Int32GetDatum(limits.concurrency),
                          Int32GetDatum(limits.key_concurrency), BoolGetDatum(limits.paused)};
        bool  nulls[]  = {false, limits.concurrency == core::unlimited,
                          limits.key_concurrency == core::unlimited, false};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return Datum{0};
}

// sluice._index_stats() returns one row: see sluice.index_stats().
SLUICE_FUNCTION(sluice_index_stats)
{
    TupleDesc shape;
    if (get_call_result_type(fcinfo, nullptr, &shape) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "_index_stats must have out arguments");

    Row             row;
    Database       *database = place();
    const Attached *index    = attach();
    if (database == nullptr) {
        row.add_text("table");
        row.add_text(why_none());
    } else {
        const Reason reason = static_cast<Reason>(pg_atomic_read_u32(&database->reason));
        row.add_text(name_of(static_cast<ClaimMode>(pg_atomic_read_u32(&database->mode))));
        row.add_text(index == nullptr ? why_none() : words_for(reason));
    }
    if (index == nullptr) {
        while (row.next < Row::columns)
            row.add_null();
        return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape), row.values, row.nulls));
    }

    Segment                &segment = *index->segment;
    const core::ReadyIndex &ready   = index->ready;
    LWLockAcquire(index->timer_lock(), LW_SHARED);
    const TimestampTz next_due = pg_atomic_read_u32(&segment.feeding) != 0
                                     ? std::min(segment.feeding_from, segment.next_due)
                                     : segment.next_due;
    LWLockRelease(index->timer_lock());
    row.add_count(static_cast<int64>(ready.bytes()));
    row.add_count(ready.entries_used());
    row.add_count(ready.entries_room());
    row.add_count(ready.lanes_used());
    row.add_count(ready.lease_count());
    row.add_count(ready.lease_places());
    row.add_count(ready.spills());
    for (pg_atomic_uint64 *counter :
         {&segment.refills, &segment.fed, &segment.stale, &segment.parked, &segment.builds})
        row.add_count(static_cast<int64>(pg_atomic_read_u64(counter)));
    if (segment.built_at == 0)
        row.add_null();
    else
        row.add(TimestampTzGetDatum(segment.built_at));
    row.add(Float8GetDatum(static_cast<double>(segment.build_us) / 1000));
    if (next_due == PG_INT64_MAX)
        row.add_null();
    else
        row.add(TimestampTzGetDatum(next_due == PG_INT64_MIN ? DT_NOBEGIN : next_due));
    row.add(BoolGetDatum(due() != Due::nothing || index->is_dirty() ||
                         pg_atomic_read_u32(&segment.prepared) != 0));
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape), row.values, row.nulls));
}

// sluice._index_is_dirty() returns bool: was something committed that it could not be told?
SLUICE_FUNCTION(sluice_index_is_dirty)
{
    (void)fcinfo;
    const Attached *index = attach();
    PG_RETURN_BOOL(index != nullptr && index->is_dirty());
}

// sluice._index_lock_out() returns bool: keeps others from claiming, without making them wait behind a claim that stays open.
SLUICE_FUNCTION(sluice_index_lock_out)
{
    constexpr int  tries   = 1000;
    constexpr long wait_us = 1000;
    (void)fcinfo;
    for (int i = 0; i < tries; ++i) {
        if (try_lock_mode(ExclusiveLock))
            PG_RETURN_BOOL(true);
        pg_usleep(wait_us);
        CHECK_FOR_INTERRUPTS();
    }
    PG_RETURN_BOOL(false);
}

// sluice._index_let_in() returns void.
SLUICE_FUNCTION(sluice_index_let_in)
{
    (void)fcinfo;
    unlock_mode(ExclusiveLock);
    PG_RETURN_VOID();
}
