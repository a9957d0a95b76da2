// pool: numbered places in shared memory, handed out and taken back without a lock.
//
// The free places are a list whose head carries a tag that changes with every step, so a head that was taken and given
// back meanwhile is not mistaken for itself.  Places that were never used come from a counter instead, so a new pool of
// any size is ready at once and touches no memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include "core/pure.hpp" // keep last

namespace sluice::core {

inline constexpr std::uint32_t nowhere = UINT32_MAX;

/// A number in a place.  The pool's while the place is free; then its holder may use it.  Atomic, because somebody who is
/// late may still look at it when the place already has a new holder (and then finds that the tag has changed).
class Link {
public:
    Link() noexcept = default;
    Link(const Link &other) noexcept : number_(other.get()) {}
    Link(Link &&other) noexcept : number_(other.get()) {}
    Link &operator=(const Link &other) noexcept
    {
        set(other.get());
        return *this;
    }
    Link &operator=(Link &&other) noexcept
    {
        set(other.get());
        return *this;
    }
    ~Link() = default;

    [[nodiscard]] std::uint32_t get() const noexcept { return number_.load(std::memory_order_relaxed); }
    void set(std::uint32_t number) noexcept { number_.store(number, std::memory_order_relaxed); }

private:
    std::atomic<std::uint32_t> number_{nowhere};
};

/// What a pool remembers, in shared memory.
struct alignas(64) PoolState {
    std::atomic<std::uint64_t> free{nowhere}; ///< tag in the high half, first free place in the low
    std::atomic<std::uint32_t> fresh{0};      ///< places from here on were never used
    std::atomic<std::int64_t>  used{0};
    std::uint32_t              room = 0;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
              std::atomic<std::int64_t>::is_always_lock_free);

/// A process's view of a pool.  `Node` has a `Link link` and can be made from nothing.
template <typename Node>
class Pool {
public:
    Pool(PoolState &state, Node *nodes) noexcept : state_(&state), nodes_(nodes) {}

    /// A place with a new Node in it, or nowhere.
    [[nodiscard]] std::uint32_t take() const noexcept
    {
        std::uint64_t head = state_->free.load(std::memory_order_acquire);
        while (place_of(head) != nowhere) {
            const std::uint32_t place = place_of(head);
            if (state_->free.compare_exchange_weak(head, after(head, nodes_[place].link.get()),
                                                   std::memory_order_acq_rel, std::memory_order_acquire)) {
                nodes_[place] = Node{};
                state_->used.fetch_add(1, std::memory_order_relaxed);
                return place;
            }
        }

        std::uint32_t fresh = state_->fresh.load(std::memory_order_relaxed);
        while (fresh < state_->room) {
            if (state_->fresh.compare_exchange_weak(fresh, fresh + 1, std::memory_order_relaxed)) {
                new (&nodes_[fresh]) Node{};
                state_->used.fetch_add(1, std::memory_order_relaxed);
                return fresh;
            }
        }
        return nowhere;
    }

    void give(std::uint32_t place) const noexcept
    {
        state_->used.fetch_sub(1, std::memory_order_relaxed);
        std::uint64_t head = state_->free.load(std::memory_order_relaxed);
        do
            nodes_[place].link.set(place_of(head));
        while (!state_->free.compare_exchange_weak(head, after(head, place), std::memory_order_acq_rel,
                                                   std::memory_order_relaxed));
    }

    Node &operator[](std::uint32_t place) const noexcept { return nodes_[place]; }

    [[nodiscard]] std::int64_t  used() const noexcept { return state_->used.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint32_t room() const noexcept { return state_->room; }
    /// No place at or beyond this has ever been used.
    [[nodiscard]] std::uint32_t fresh() const noexcept
    {
        return state_->fresh.load(std::memory_order_relaxed);
    }

private:
    static std::uint32_t place_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head); }
    static std::uint64_t after(std::uint64_t head, std::uint32_t place) noexcept
    {
        return (((head >> 32) + 1) << 32) | place;
    }

    PoolState *state_;
    Node      *nodes_;
};

} // namespace sluice::core
