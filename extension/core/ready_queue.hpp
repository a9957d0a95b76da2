// ready_queue: one queue of the ready index, under its lock.  What its functions promise is said in ready_index.hpp.
#pragma once

#include <cstdint>

#include "core/ready_block.hpp"
#include "core/ready_index.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

class ReadyQueue {
public:
    ReadyQueue(ReadyBlock &block, QueueRef ref) noexcept
        : block_(block), queue_(block.queue(ref)), lanes_(block.lane_pool()), shelves_(block.shelf_pool()),
          entries_(block.entry_pool())
    {
    }

    Pushed       push(const Ready &run) noexcept;
    Pushed       put_back(const Ready &run) noexcept;
    Pushed       park(const Ready &run, std::int64_t until) noexcept;
    std::int64_t unpark(std::int64_t now) noexcept;
    PopResult    pop(ExecutorMask executors, int wanted, const Credits &credits, Ready *taken) noexcept;

    bool               take_slot(std::int64_t lane) noexcept;
    bool               give_slot(std::int64_t lane) noexcept;
    void               forget_limits() noexcept;
    void               set_limits(const Limits &limits) noexcept;
    [[nodiscard]] bool has_work(ExecutorMask executors) const noexcept;

    bool   refill(const Refill &refill, const Place &found) noexcept;
    void   end_refill(const Refill &refill, const Place &next) noexcept;
    void   cancel_refill(const Refill &refill) noexcept;
    Pushed lower_horizon(std::int64_t lane, Executor executor, const Place &from) noexcept;
    void   clear() noexcept;

    void each_ready(void (*visit)(void *, const Ready &), void *context) const noexcept;
    void each_horizon(void (*visit)(void *, std::int64_t, Executor, const Place &),
                      void *context) const noexcept;
    void each_lane(void (*visit)(void *, std::int64_t, std::int32_t), void *context) const noexcept;

private:
    /// What a lane's turn came to.
    enum class Turn : std::uint8_t { served, nothing, busy, refill };

    [[nodiscard]] LaneTree<Lane> tree() const noexcept;
    [[nodiscard]] Backlog<Entry> backlog(Shelf &shelf) const noexcept;
    [[nodiscard]] Backlog<Entry> timers() const noexcept;
    [[nodiscard]] const Entry   *head_of(Shelf &shelf) const noexcept;

    std::uint32_t               make_lane(std::int64_t number) noexcept;
    std::uint32_t               make_shelf(std::int64_t number, Executor executor) noexcept;
    [[nodiscard]] std::uint32_t awaited_by(const Refill &refill) const noexcept;
    [[nodiscard]] std::int64_t  lane_room(const Lane &lane) const noexcept;
    [[nodiscard]] std::int64_t  queue_room() const noexcept;

    // After a change: what is no longer needed is freed, rings and the glance are brought up to date.
    void settle(std::uint32_t shelf) noexcept;
    void settle_lane(std::uint32_t lane) noexcept;
    void free_lane_if_idle(std::uint32_t lane) noexcept;
    void update(std::uint32_t shelf) noexcept;
    void publish() noexcept;

    [[nodiscard]] Ring &ring_of(const Shelf &shelf) const noexcept;
    void                join(std::uint32_t shelf) noexcept;
    void                rejoin(std::uint32_t shelf) noexcept;
    void                link_after(std::uint32_t shelf, std::uint32_t earlier) noexcept;
    void                leave(std::uint32_t shelf) noexcept;

    Pushed store(std::uint32_t shelf, const Place &place) noexcept;
    void   insert(Shelf &shelf, std::uint32_t entry, const Place &place) noexcept;
    Pushed spill(Shelf &shelf, const Place &place) noexcept;
    void   set_horizon(Shelf &shelf, const Place &horizon) noexcept;
    void   free_entry(std::uint32_t entry) noexcept;
    void   drop_entries(Shelf &shelf) noexcept;
    void   drop_parked_beyond(std::uint32_t shelf) noexcept;
    void   give_back_slot(std::int64_t lane) noexcept;

    [[nodiscard]] std::uint32_t next_shelf(ExecutorMask executors) const noexcept;
    [[nodiscard]] std::uint32_t lowest_shelf(const Lane &lane, ExecutorMask executors) const noexcept;
    [[nodiscard]] bool          is_passed(std::uint32_t shelf) const noexcept;
    Turn serve(std::uint32_t lane, ExecutorMask executors, std::int64_t most, PopResult &result,
               Ready *taken) noexcept;
    void end_turn(std::uint32_t lane, ExecutorMask executors) noexcept;
    void pass_over(std::uint32_t lane, ExecutorMask executors) noexcept;
    void begin_refill(std::uint32_t lane, ExecutorMask executors, PopResult &result) noexcept;
    void serve_credits(ExecutorMask executors, std::int64_t most, const Credits &credits, PopResult &result,
                       Ready *taken) noexcept;

    ReadyBlock &block_;
    Queue      &queue_;
    Pool<Lane>  lanes_;
    Pool<Shelf> shelves_;
    Pool<Entry> entries_;
};

} // namespace sluice::core
