// pop: what claims and waiting take from the index, or ask it.
#pragma once

#include <algorithm>

#include "index/segment.hpp"

namespace sluice::index {

/// Where a run was when it was pushed.  Its row decides.
struct Hint {
    core::Ready    run;
    core::QueueRef queue;
    std::size_t    effect;  ///< its number in the log of this transaction
    bool           open;    ///< not held, parked or dropped yet
    bool           matched; ///< its row was found to be where it says
};

/// What a claim has popped, in order, each with a slot; in the transaction's memory.
struct Hints {
    Hint *hint;
    int  *by_run; ///< numbers of hints, in order of run ids
    int   count;

    /// The first hint to a run that `is_it`.  There may be several: to where the run was, and to where it is.
    template <typename Predicate>
    Hint *find(int64 run_id, Predicate is_it) const
    {
        const int *begin = by_run;
        const int *end   = begin + count;
        const int *place = std::lower_bound(
            begin, end, run_id, [this](int number, int64 id) { return hint[number].run.place.run_id < id; });
        for (; place != end && hint[*place].run.place.run_id == run_id; ++place)
            if (is_it(hint[*place]))
                return &hint[*place];
        return nullptr;
    }

    /// The one that its row was found to agree with.
    Hint *find_matched(int64 run_id) const
    {
        return find(run_id, [](const Hint &one) { return one.open && one.matched; });
    }
};

/// Takes up to `wanted` hints for executors of the mask from queues (numbers; nullptr for all), no more than there is room
/// for leases.  Feeds and refills the index as needed.  With an SPI connection, as the storage's owner.
Hints pop(const Attached &index, ArrayType *queues, core::ExecutorMask executors, int wanted);

/// Hands runs that fell due to the index, if it is time to.  With an SPI connection, as the storage's owner.
void feed(const Attached &index);

/// What a worker with these queues (numbers; nullptr for all) and executors would find.
struct Sight {
    bool        work;
    TimestampTz next; ///< when to look again at the latest, without being woken; PG_INT64_MAX: never
};
Sight look(const Attached &index, ArrayType *queues, core::ExecutorMask executors);

} // namespace sluice::index
