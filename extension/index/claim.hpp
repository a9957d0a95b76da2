// claim: what waiting shares with claiming.
#pragma once

#include "index/segment.hpp"

namespace sluice::index {

/// Hands runs that fell due to the index, if it is time to.  With an SPI connection, as the storage's owner.
void feed(const Attached &index);

/// What a worker with these queues (numbers; nullptr for all) and executors would find.
struct Sight {
    bool        work;
    TimestampTz next; ///< when to look again at the latest, without being woken; PG_INT64_MAX: never
};
Sight look(const Attached &index, ArrayType *queues, core::ExecutorMask executors);

} // namespace sluice::index
