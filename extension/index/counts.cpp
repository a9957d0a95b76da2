// Counters of queues: what SQL counts, and what queue_stats() shows.  Where claims go by the tables nothing is counted.

#include "core/ready_index.hpp"

#include "pg/boundary.hpp"

#include "index/segment.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;

/// The index while it serves, else nullptr.
const Attached *serving()
{
    return is_serving() ? attach() : nullptr;
}

core::Count count_of(const char *outcome)
{
    struct Named {
        const char *outcome;
        core::Count count;
    };
    constexpr Named named[]{{"completed", core::Count::completed},
                            {"lost", core::Count::lost},
                            {"released", core::Count::released},
                            {"retried", core::Count::retried}};
    for (const Named &one : named)
        if (strcmp(outcome, one.outcome) == 0)
            return one.count;
    return core::Count::failed; // crashed, oom and timed_out are failures as well
}

} // namespace

// sluice._index_count(queue_id int, what text) returns void: one more, of an outcome or of what was retried.
SLUICE_FUNCTION(sluice_index_count)
{
    const Attached *index = serving();
    if (index == nullptr)
        PG_RETURN_VOID();
    core::ReadyIndex     ready = index->ready;
    const core::QueueRef queue = ready.make_queue(PG_GETARG_INT32(0));
    if (queue != core::nowhere)
        ready.counts(queue).add(count_of(text_to_cstring(PG_GETARG_TEXT_PP(1))), 1);
    PG_RETURN_VOID();
}

// sluice._index_counts() returns table (queue_id int, since timestamptz, and the counters in the order of core::Count).
SLUICE_FUNCTION(sluice_index_counts)
{
    InitMaterializedSRF(fcinfo, 0);
    auto           *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const Attached *index  = serving();
    if (index == nullptr)
        return Datum{0};
    const auto since = static_cast<TimestampTz>(pg_atomic_read_u64(&index->segment->counted_since));
    for (core::QueueRef queue = 0; queue < static_cast<core::QueueRef>(index->ready.queue_count()); ++queue) {
        Datum values[2 + core::count_kinds]{Int32GetDatum(index->ready.queue_id(queue)),
                                            TimestampTzGetDatum(since)};
        bool  nulls[2 + core::count_kinds]{};
        for (int kind = 0; kind < core::count_kinds; ++kind)
            values[2 + kind] = Int64GetDatum(index->ready.counts(queue).get(static_cast<core::Count>(kind)));
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return Datum{0};
}

// sluice._index_counted_since() returns timestamptz: when the counters began; null where nothing is counted.
SLUICE_FUNCTION(sluice_index_counted_since)
{
    (void)fcinfo;
    const Attached *index = serving();
    if (index == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ(static_cast<TimestampTz>(pg_atomic_read_u64(&index->segment->counted_since)));
}

// sluice._index_reset_counts() returns void.
SLUICE_FUNCTION(sluice_index_reset_counts)
{
    (void)fcinfo;
    const Attached *index = attach();
    if (index == nullptr)
        PG_RETURN_VOID();
    pg_atomic_write_u64(&index->segment->counted_since, static_cast<uint64>(GetCurrentTimestamp()));
    for (core::QueueRef queue = 0; queue < static_cast<core::QueueRef>(index->ready.queue_count()); ++queue)
        index->ready.counts(queue).reset();
    PG_RETURN_VOID();
}
