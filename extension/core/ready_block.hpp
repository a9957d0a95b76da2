// ready_block: how the ready index lies in its block of shared memory.
//
// The head, the queues and their table of numbers, the leases and their buckets, then the pools of lanes, shelves and
// entries.  Whoever changes anything here raises ReadyIndex::layout.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/backlog.hpp"
#include "core/lane_tree.hpp"
#include "core/lease_table.hpp"
#include "core/pool.hpp"
#include "core/ready_index.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// A run in a shelf's backlog; or a timer in that of a queue's parked runs: then claim_key is the time and run_id says
/// which run of which shelf.
struct Entry {
    std::int64_t  claim_key = 0;
    std::int64_t  run_id    = 0;
    Link          link;
    std::uint32_t left      = nowhere;
    std::uint32_t right     = nowhere;
    std::int16_t  run_class = 0;
    std::uint8_t  rank      = 1;

    [[nodiscard]] Place place() const noexcept { return {run_class, claim_key, run_id}; }
    friend bool         operator<(const Entry &a, const Entry &b) noexcept { return a.place() < b.place(); }
};
static_assert(sizeof(Entry) == 32);

struct Lane {
    std::int64_t  number = 0;
    Link          link;
    std::uint32_t child[2] = {nowhere, nowhere};
    std::int32_t  held     = 0;
    std::uint32_t shelf[executor_kinds]{nowhere, nowhere, nowhere, nowhere, nowhere};
};

/// What a shelf is in its ring's eyes.
enum class Standing : std::uint8_t {
    out,     ///< nothing to hand out, or its lane has no room
    in_ring, ///< eligible
    busy,    ///< being refilled, or it would be eligible
};

struct Shelf {
    Place horizon = no_place;
    Place beyond  = no_place; ///< while it is refilled: the lowest place that was sent beyond the horizon
    std::uint64_t turn = 0;   ///< rings are in this order
    Link          link;
    std::uint32_t lane = nowhere;
    BacklogState  entries;
    std::uint32_t earlier    = nowhere; ///< in its ring
    std::uint32_t later      = nowhere;
    std::uint32_t refill     = 0; ///< the number of the refill under way, or 0
    std::uint32_t passed     = 0; ///< the pop that has found it busy
    std::uint32_t parked     = 0;
    Executor      executor   = Executor::sql;
    Standing      standing   = Standing::out;
    bool          keeps_turn = false; ///< after its refill it takes its turn, instead of joining at the end
    bool          spare_used = false; ///< its own entry is among its entries
};

struct Ring {
    std::uint32_t first = nowhere;
    std::uint32_t last  = nowhere;
    std::uint32_t count = 0;
    std::uint32_t busy  = 0; ///< shelves that stand aside as `busy`
};

inline constexpr ExecutorMask parked_in_glance =
    0x80; ///< no executor's bit: something is parked, look and unpark

struct alignas(64) Queue {
    std::atomic<ExecutorMask> glance{
        0xff}; ///< what may_have_work() reads: a bit for each executor, and parked_in_glance
    bool                       known = false;
    Limits                     limits;
    std::atomic<std::uint32_t> limits_version{0};
    std::uint32_t              lane_root = nowhere;
    BacklogState               timers;      ///< of the parked runs
    std::uint32_t              refills = 0; ///< numbers given to refills
    std::uint32_t              pops    = 0;
    std::uint64_t              turns   = 0;
    std::int64_t               held    = 0;
    std::int64_t               entries = 0;
    std::int64_t               lanes   = 0;
    std::int64_t               parked  = 0;
    std::int64_t               beyond  = 0; ///< shelves with a horizon
    Ring                       rings[executor_kinds];
    alignas(64) QueueCounts counts; ///< apart from what is read under the lock
};

/// Parts of a block, as bytes from its start.
struct Layout {
    std::size_t ids, numbers, queues, leases, tokens, workers, dues, lanes, shelves, entries;
};

struct ReadyBlock {
    std::size_t                bytes = 0;
    std::uint64_t              seed  = 0;
    Layout                     at{};
    std::uint32_t              queue_room   = 0;
    std::uint32_t              number_slots = 0; ///< of the table of queues' numbers: a power of two
    LeaseTableState            leases;
    PoolState                  lanes;
    PoolState                  shelves;
    PoolState                  entries;
    std::atomic<std::uint32_t> queue_count{0};
    std::atomic<std::int64_t>  spills{0};

    template <typename T>
    [[nodiscard]] T *part(std::size_t offset) noexcept
    {
        return reinterpret_cast<T *>(reinterpret_cast<std::byte *>(this) + offset);
    }

    Queue                     &queue(QueueRef ref) noexcept { return part<Queue>(at.queues)[ref]; }
    std::atomic<std::int64_t> &id(QueueRef ref) noexcept
    {
        return part<std::atomic<std::int64_t>>(at.ids)[ref];
    }
    std::atomic<std::uint64_t> &number(std::uint32_t slot) noexcept
    {
        return part<std::atomic<std::uint64_t>>(at.numbers)[slot];
    }

    Pool<Lane>  lane_pool() noexcept { return {lanes, part<Lane>(at.lanes)}; }
    Pool<Shelf> shelf_pool() noexcept { return {shelves, part<Shelf>(at.shelves)}; }
    /// Behind the pool's own entries lies a spare one for each shelf.
    Pool<Entry> entry_pool() noexcept { return {entries, part<Entry>(at.entries)}; }
    LeaseTable  lease_table() noexcept
    {
        return {leases,
                seed,
                part<LeasePlace>(at.leases),
                part<std::uint32_t>(at.tokens),
                part<std::uint32_t>(at.workers),
                part<Due>(at.dues)};
    }
};

} // namespace sluice::core
