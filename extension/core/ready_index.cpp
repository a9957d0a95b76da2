// ready_index: the block and its queues' numbers.  What happens inside a queue is in ready_queue.cpp.

#include <algorithm>
#include <bit>
#include <new>

#include "core/ready_block.hpp"
#include "core/ready_index.hpp"
#include "core/ready_queue.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

namespace {

constexpr std::int64_t no_id = INT64_MIN;

constexpr std::size_t least = std::size_t{48} * 1024;

// What leases, lanes and shelves get of a block, in percent.  The head and the queues come before these, and entries get
// what is left.
constexpr std::size_t lease_share = 18;
constexpr std::size_t lane_share  = 10;
constexpr std::size_t shelf_share = 12;

constexpr std::size_t aligned(std::size_t bytes) noexcept
{
    return (bytes + 63) / 64 * 64;
}

constexpr std::uint32_t queues_in(std::size_t bytes) noexcept
{
    return static_cast<std::uint32_t>(std::clamp<std::size_t>(bytes / (std::size_t{16} * 1024), 64, 4096));
}

constexpr std::uint32_t number_slots_for(std::uint32_t queues) noexcept
{
    return std::bit_ceil(2 * queues); // half empty, so that a search ends
}

/// Head, queues and their numbers.
constexpr std::size_t bytes_before_pools(std::size_t bytes) noexcept
{
    const std::uint32_t queues = queues_in(bytes);
    return aligned(sizeof(ReadyBlock)) + aligned(queues * sizeof(std::atomic<std::int64_t>)) +
           aligned(number_slots_for(queues) * sizeof(std::atomic<std::uint64_t>)) +
           aligned(queues * sizeof(Queue));
}

// Else a small block would have fewer bytes than its parts.  Queues take the largest part of the smallest block.
static_assert(bytes_before_pools(least) + least / 100 * (lease_share + lane_share + shelf_share) +
                      std::size_t{4} * 1024 <=
                  least,
              "the smallest block must grow with what is in it");

/// A share of the block for so many places of so many bytes each.
std::uint32_t places(std::size_t bytes, std::size_t percent, std::size_t each) noexcept
{
    return static_cast<std::uint32_t>(std::min<std::size_t>(bytes / 100 * percent / each, INT32_MAX / 4));
}

std::uint64_t numbered(std::int32_t queue_id, QueueRef ref) noexcept
{
    return (std::uint64_t{static_cast<std::uint32_t>(queue_id)} << 32) | (ref + 1);
}

/// The slot of a queue's number, or the empty one where it belongs.
std::uint32_t slot_of(ReadyBlock &block, std::int32_t queue_id) noexcept
{
    const std::uint32_t mask = block.number_slots - 1;
    auto slot = static_cast<std::uint32_t>(mix(static_cast<std::uint32_t>(queue_id) ^ block.seed)) & mask;
    for (;; slot = (slot + 1) & mask) {
        const std::uint64_t found = block.number(slot).load(std::memory_order_acquire);
        if (found == 0 || found >> 32 == static_cast<std::uint32_t>(queue_id))
            return slot;
    }
}

} // namespace

std::size_t ReadyIndex::least_bytes() noexcept
{
    return least;
}

ReadyIndex ReadyIndex::create(void *memory, std::size_t bytes, std::uint64_t seed) noexcept
{
    auto *const block   = new (memory) ReadyBlock{};
    block->bytes        = bytes;
    block->seed         = seed;
    block->queue_room   = queues_in(bytes);
    block->number_slots = number_slots_for(block->queue_room);

    block->leases.pool.room =
        places(bytes, lease_share, sizeof(LeasePlace) + 2 * sizeof(std::uint32_t) + sizeof(Due));
    block->leases.buckets = std::bit_floor(block->leases.pool.room);
    block->lanes.room     = places(bytes, lane_share, sizeof(Lane));
    block->shelves.room   = places(bytes, shelf_share, sizeof(Shelf) + sizeof(Entry));

    std::size_t end  = aligned(sizeof(ReadyBlock));
    const auto  part = [&end](std::size_t count, std::size_t each) {
        const std::size_t start = end;
        end                     = aligned(end + count * each);
        return start;
    };
    block->at.ids     = part(block->queue_room, sizeof(std::atomic<std::int64_t>));
    block->at.numbers = part(block->number_slots, sizeof(std::atomic<std::uint64_t>));
    block->at.queues  = part(block->queue_room, sizeof(Queue));
    block->at.leases  = part(block->leases.pool.room, sizeof(LeasePlace));
    block->at.tokens  = part(block->leases.buckets, sizeof(std::uint32_t));
    block->at.workers = part(block->leases.buckets, sizeof(std::uint32_t));
    block->at.dues    = part(block->leases.pool.room, sizeof(Due));
    block->at.lanes   = part(block->lanes.room, sizeof(Lane));
    block->at.shelves = part(block->shelves.room, sizeof(Shelf));
    block->at.entries = end;
    block->entries.room =
        static_cast<std::uint32_t>(std::min<std::size_t>((bytes - end) / sizeof(Entry), INT32_MAX)) -
        block->shelves.room;

    for (QueueRef ref = 0; ref < block->queue_room; ++ref) {
        new (&block->queue(ref)) Queue{};
        new (&block->id(ref)) std::atomic<std::int64_t>{no_id};
    }
    for (std::uint32_t slot = 0; slot < block->number_slots; ++slot)
        new (&block->number(slot)) std::atomic<std::uint64_t>{0};
    std::fill_n(block->part<std::uint32_t>(block->at.tokens), block->leases.buckets, nowhere);
    std::fill_n(block->part<std::uint32_t>(block->at.workers), block->leases.buckets, nowhere);
    return ReadyIndex{block};
}

ReadyIndex ReadyIndex::open(void *block) noexcept
{
    return ReadyIndex{static_cast<ReadyBlock *>(block)};
}

// --- Queues

QueueRef ReadyIndex::find_queue(std::int32_t queue_id) const noexcept
{
    const std::uint64_t found = block_->number(slot_of(*block_, queue_id)).load(std::memory_order_acquire);
    return found == 0 ? nowhere : static_cast<QueueRef>(found) - 1;
}

QueueRef ReadyIndex::make_queue(std::int32_t queue_id) noexcept
{
    if (const QueueRef found = find_queue(queue_id); found != nowhere)
        return found;

    // The first free place decides: of two who make the same queue, the later one finds the earlier's number there.
    QueueRef ref = 0;
    for (; ref < block_->queue_room; ++ref) {
        std::int64_t id = no_id;
        if (block_->id(ref).compare_exchange_strong(id, queue_id) || id == queue_id)
            break;
    }
    if (ref == block_->queue_room)
        return nowhere;

    std::uint32_t count = block_->queue_count.load();
    while (count <= ref && !block_->queue_count.compare_exchange_weak(count, ref + 1))
        continue;
    for (;;) {
        std::uint64_t found = 0;
        if (block_->number(slot_of(*block_, queue_id))
                .compare_exchange_strong(found, numbered(queue_id, ref)) ||
            found == numbered(queue_id, ref))
            return ref;
    }
}

int ReadyIndex::queue_room() const noexcept
{
    return static_cast<int>(block_->queue_room);
}

int ReadyIndex::queue_count() const noexcept
{
    return static_cast<int>(block_->queue_count.load());
}

std::int32_t ReadyIndex::queue_id(QueueRef queue) const noexcept
{
    return static_cast<std::int32_t>(block_->id(queue).load());
}

// --- Ready runs

Pushed ReadyIndex::push(QueueRef queue, const Ready &run) noexcept
{
    return ReadyQueue{*block_, queue}.push(run);
}

PopResult ReadyIndex::pop(QueueRef queue, ExecutorMask executors, int wanted, const Credits &credits,
                          Ready *taken) noexcept
{
    return ReadyQueue{*block_, queue}.pop(executors, wanted, credits, taken);
}

Pushed ReadyIndex::put_back(QueueRef queue, const Ready &run) noexcept
{
    return ReadyQueue{*block_, queue}.put_back(run);
}

Pushed ReadyIndex::park(QueueRef queue, const Ready &run, std::int64_t until) noexcept
{
    return ReadyQueue{*block_, queue}.park(run, until);
}

std::int64_t ReadyIndex::unpark(QueueRef queue, std::int64_t now) noexcept
{
    return ReadyQueue{*block_, queue}.unpark(now);
}

bool ReadyIndex::take_slot(QueueRef queue, std::int64_t lane) noexcept
{
    return ReadyQueue{*block_, queue}.take_slot(lane);
}

bool ReadyIndex::give_slot(QueueRef queue, std::int64_t lane) noexcept
{
    return ReadyQueue{*block_, queue}.give_slot(lane);
}

bool ReadyIndex::is_known(QueueRef queue) const noexcept
{
    return block_->queue(queue).known;
}

Limits ReadyIndex::limits(QueueRef queue) const noexcept
{
    return block_->queue(queue).limits;
}

std::uint32_t ReadyIndex::limits_version(QueueRef queue) const noexcept
{
    return block_->queue(queue).limits_version.load(std::memory_order_relaxed);
}

void ReadyIndex::forget_limits(QueueRef queue) noexcept
{
    ReadyQueue{*block_, queue}.forget_limits();
}

void ReadyIndex::set_limits(QueueRef queue, const Limits &limits) noexcept
{
    ReadyQueue{*block_, queue}.set_limits(limits);
}

bool ReadyIndex::has_work(QueueRef queue, ExecutorMask executors) const noexcept
{
    return ReadyQueue{*block_, queue}.has_work(executors);
}

bool ReadyIndex::may_have_work(QueueRef queue, ExecutorMask executors) const noexcept
{
    return (block_->queue(queue).glance.load(std::memory_order_relaxed) & (executors | parked_in_glance)) !=
           0;
}

bool ReadyIndex::refill(QueueRef queue, const Refill &refill, const Place &found) noexcept
{
    return ReadyQueue{*block_, queue}.refill(refill, found);
}

void ReadyIndex::end_refill(QueueRef queue, const Refill &refill, const Place &next) noexcept
{
    ReadyQueue{*block_, queue}.end_refill(refill, next);
}

void ReadyIndex::cancel_refill(QueueRef queue, const Refill &refill) noexcept
{
    ReadyQueue{*block_, queue}.cancel_refill(refill);
}

Pushed ReadyIndex::lower_horizon(QueueRef queue, std::int64_t lane, Executor executor,
                                 const Place &from) noexcept
{
    return ReadyQueue{*block_, queue}.lower_horizon(lane, executor, from);
}

void ReadyIndex::clear(QueueRef queue) noexcept
{
    ReadyQueue{*block_, queue}.clear();
}

QueueStats ReadyIndex::stats(QueueRef queue) const noexcept
{
    const Queue &seen = block_->queue(queue);
    return {queue_id(queue), seen.held, seen.entries, seen.lanes, seen.parked, seen.beyond};
}

QueueCounts &ReadyIndex::counts(QueueRef queue) const noexcept
{
    return block_->queue(queue).counts;
}

void ReadyIndex::each_ready(QueueRef queue, void (*visit)(void *, const Ready &),
                            void    *context) const noexcept
{
    ReadyQueue{*block_, queue}.each_ready(visit, context);
}

void ReadyIndex::each_horizon(QueueRef queue, void (*visit)(void *, std::int64_t, Executor, const Place &),
                              void    *context) const noexcept
{
    ReadyQueue{*block_, queue}.each_horizon(visit, context);
}

void ReadyIndex::each_lane(QueueRef queue, void (*visit)(void *, std::int64_t, std::int32_t),
                           void    *context) const noexcept
{
    ReadyQueue{*block_, queue}.each_lane(visit, context);
}

// --- Leases

LeaseRef ReadyIndex::add_lease(const Lease &lease) noexcept
{
    return block_->lease_table().add(lease);
}

LeaseRef ReadyIndex::find_lease(const Token &token) const noexcept
{
    return block_->lease_table().find(token);
}

Lease *ReadyIndex::lease(LeaseRef ref) const noexcept
{
    return block_->lease_table().at(ref);
}

void ReadyIndex::set_worker(LeaseRef ref, std::uint64_t worker) noexcept
{
    block_->lease_table().set_worker(ref, worker);
}

void ReadyIndex::drop_lease(LeaseRef ref) noexcept
{
    block_->lease_table().drop(ref);
}

LeaseRef ReadyIndex::first_lease_of(std::uint64_t worker) const noexcept
{
    return block_->lease_table().first_of(worker);
}

LeaseRef ReadyIndex::next_lease_of(LeaseRef ref) const noexcept
{
    return block_->lease_table().next_of(ref);
}

LeaseRef ReadyIndex::next_lease(LeaseRef ref) const noexcept
{
    return block_->lease_table().next(ref);
}

void ReadyIndex::set_deadline(LeaseRef ref, std::int64_t deadline) noexcept
{
    block_->lease_table().set_deadline(ref, deadline);
}

bool ReadyIndex::correct_deadlines(std::int64_t as_of, int most) noexcept
{
    return block_->lease_table().correct_until(as_of, most);
}

void ReadyIndex::each_late(std::int64_t as_of, void (*visit)(void *, const Lease &),
                           void        *context) const noexcept
{
    block_->lease_table().each_late(as_of, visit, context);
}

std::int64_t ReadyIndex::next_deadline(std::int64_t as_of, int most) noexcept
{
    return block_->lease_table().next_deadline(as_of, most);
}

int ReadyIndex::lease_count() const noexcept
{
    return block_->lease_table().count();
}

int ReadyIndex::lease_places() const noexcept
{
    return static_cast<int>(block_->leases.pool.room);
}

int ReadyIndex::lease_room() const noexcept
{
    return block_->lease_table().room();
}

int ReadyIndex::promise_leases(int wanted) noexcept
{
    return block_->lease_table().promise(wanted);
}

void ReadyIndex::break_lease_promises(int count) noexcept
{
    block_->lease_table().break_promises(count);
}

LeaseRef ReadyIndex::add_promised_lease(const Lease &lease) noexcept
{
    return block_->lease_table().add_promised(lease);
}

// --- Figures

std::size_t ReadyIndex::bytes() const noexcept
{
    return block_->bytes;
}

std::int64_t ReadyIndex::entries_used() const noexcept
{
    return block_->entry_pool().used();
}

std::int64_t ReadyIndex::entries_room() const noexcept
{
    return block_->entry_pool().room();
}

std::int64_t ReadyIndex::lanes_used() const noexcept
{
    return block_->lane_pool().used();
}

std::int64_t ReadyIndex::shelves_used() const noexcept
{
    return block_->shelf_pool().used();
}

std::int64_t ReadyIndex::spills() const noexcept
{
    return block_->spills.load(std::memory_order_relaxed);
}

} // namespace sluice::core
