// queue_counts: what has happened in a queue since the counters began, for statistics.
//
// Counted without a lock and when it happens, so what is rolled back later stays counted.  Nothing is decided by these.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/pure.hpp" // keep last

namespace sluice::core {

enum class Count : std::uint8_t {
    claimed,   ///< runs handed out
    waited,    ///< microseconds that these had been ready
    completed, ///< attempts, by how they ended
    failed,
    lost,
    released,
    retried,   ///< runs that were queued again after an attempt that counts
    conflicts, ///< hints to runs whose row somebody had locked
    stale,     ///< hints to runs that had moved on
};
inline constexpr int count_kinds = 9;

class QueueCounts {
public:
    void add(Count what, std::int64_t more) noexcept
    {
        counts_[static_cast<int>(what)].fetch_add(more, std::memory_order_relaxed);
    }
    [[nodiscard]] std::int64_t get(Count what) const noexcept
    {
        return counts_[static_cast<int>(what)].load(std::memory_order_relaxed);
    }
    void reset() noexcept
    {
        for (std::atomic<std::int64_t> &count : counts_)
            count.store(0, std::memory_order_relaxed);
    }

private:
    std::atomic<std::int64_t> counts_[count_kinds]{};
};

} // namespace sluice::core
