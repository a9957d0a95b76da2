// lease_table: the leases of the ready index, found by token and by worker, and in the order of their deadlines.
//
// Two hash tables with chains over one pool of places, and a heap.  Everything is under the one lock of the leases, but
// for promises: whoever needs a lease later, and must not find the pool empty then, is promised its place before.
//
// A heartbeat moves a deadline and no more: the heap has the deadline that it knew last, which is never later than the
// lease's own, and is put right when that has come (lease_deadlines.cpp).  So a lease costs the heap one step for each of
// its periods, however often it beats.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/pool.hpp"
#include "core/ready_index.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

struct LeasePlace {
    Lease         lease{};
    Link          link;
    std::uint32_t next_by_token     = nowhere;
    std::uint32_t earlier_by_worker = nowhere;
    std::uint32_t later_by_worker   = nowhere;
    std::uint32_t in_heap           = 0; ///< where among the dues
    bool          taken             = false;
};

/// A lease in the heap.
struct Due {
    std::int64_t  deadline; ///< never later than the lease's
    std::uint32_t lease;
};

struct LeaseTableState {
    PoolState                 pool;
    std::atomic<std::int64_t> spoken_for{0}; ///< places that are taken or promised
    std::uint32_t             buckets = 0;   ///< of either table: a power of two
    std::uint32_t             dues    = 0;   ///< in the heap: all that are taken
};

class LeaseTable {
public:
    LeaseTable(LeaseTableState &state, std::uint64_t seed, LeasePlace *places, std::uint32_t *tokens,
               std::uint32_t *workers, Due *dues) noexcept
        : pool_(state.pool, places), spoken_for_(&state.spoken_for), seed_(seed), mask_(state.buckets - 1),
          tokens_(tokens), workers_(workers), dues_(dues), count_(&state.dues)
    {
    }

    int                    promise(int wanted) noexcept;
    void                   break_promises(int count) noexcept;
    LeaseRef               add(const Lease &lease) noexcept;
    LeaseRef               add_promised(const Lease &lease) noexcept;
    [[nodiscard]] LeaseRef find(const Token &token) const noexcept;
    [[nodiscard]] Lease   *at(LeaseRef ref) const noexcept { return &pool_[ref].lease; }
    void                   set_worker(LeaseRef ref, std::uint64_t worker) noexcept;
    void                   drop(LeaseRef ref) noexcept;
    [[nodiscard]] LeaseRef first_of(std::uint64_t worker) const noexcept;
    [[nodiscard]] LeaseRef next_of(LeaseRef ref) const noexcept;
    [[nodiscard]] LeaseRef next(LeaseRef ref) const noexcept;

    void set_deadline(LeaseRef ref, std::int64_t deadline) noexcept;
    bool correct_until(std::int64_t as_of, int most) noexcept;
    void each_late(std::int64_t as_of, void (*visit)(void *, const Lease &), void *context) const noexcept;
    std::int64_t next_deadline(std::int64_t as_of, int most) noexcept;

    [[nodiscard]] int count() const noexcept { return static_cast<int>(pool_.used()); }
    [[nodiscard]] int room() const noexcept
    {
        return static_cast<int>(pool_.room() - spoken_for_->load(std::memory_order_relaxed));
    }

private:
    [[nodiscard]] std::uint32_t &bucket_of(const Token &token) const noexcept;
    [[nodiscard]] std::uint32_t &bucket_of(std::uint64_t worker) const noexcept;
    void                         chain(LeaseRef ref) noexcept;
    void                         unchain(LeaseRef ref) noexcept;
    [[nodiscard]] LeaseRef       of_worker_from(LeaseRef ref, std::uint64_t worker) const noexcept;

    template <typename Enter>
    void                        walk(Enter enter) const noexcept;
    void                        put(std::uint32_t place, const Due &due) noexcept;
    void                        rise(std::uint32_t place, const Due &due) noexcept;
    void                        sink(std::uint32_t place, const Due &due) noexcept;
    void                        enter_heap(LeaseRef ref) noexcept;
    void                        leave_heap(LeaseRef ref) noexcept;
    void                        correct(std::uint32_t place) noexcept;
    [[nodiscard]] bool          is_behind(std::uint32_t place) const noexcept;
    [[nodiscard]] std::uint32_t first_from(std::int64_t as_of, int &steps) const noexcept;

    Pool<LeasePlace>           pool_;
    std::atomic<std::int64_t> *spoken_for_;
    std::uint64_t              seed_;
    std::uint32_t              mask_;
    std::uint32_t             *tokens_;
    std::uint32_t             *workers_;
    Due                       *dues_;
    std::uint32_t             *count_; ///< of dues
};

} // namespace sluice::core
