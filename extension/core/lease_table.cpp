// lease_table: chains by token and by worker; the order of deadlines is in lease_deadlines.cpp.

#include <algorithm>
#include <cstring>

#include "core/lane_tree.hpp"
#include "core/lease_table.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// Returns for how many there is room.
int LeaseTable::promise(int wanted) noexcept
{
    std::int64_t spoken_for = spoken_for_->load(std::memory_order_relaxed);
    std::int64_t granted    = 0;
    do
        granted = std::clamp<std::int64_t>(pool_.room() - spoken_for, 0, wanted);
    while (granted > 0 && !spoken_for_->compare_exchange_weak(spoken_for, spoken_for + granted));
    return static_cast<int>(granted);
}

void LeaseTable::break_promises(int count) noexcept
{
    spoken_for_->fetch_sub(count);
}

LeaseRef LeaseTable::add(const Lease &lease) noexcept
{
    return promise(1) == 1 ? add_promised(lease) : nowhere;
}

LeaseRef LeaseTable::add_promised(const Lease &lease) noexcept
{
    const LeaseRef ref = pool_.take();
    if (ref == nowhere)
        return nowhere;
    LeasePlace &place    = pool_[ref];
    place.lease          = lease;
    place.taken          = true;
    std::uint32_t &first = bucket_of(lease.token);
    place.next_by_token  = first;
    first                = ref;
    chain(ref);
    enter_heap(ref);
    return ref;
}

LeaseRef LeaseTable::find(const Token &token) const noexcept
{
    LeaseRef ref = bucket_of(token);
    while (ref != nowhere && pool_[ref].lease.token != token)
        ref = pool_[ref].next_by_token;
    return ref;
}

void LeaseTable::set_worker(LeaseRef ref, std::uint64_t worker) noexcept
{
    unchain(ref);
    pool_[ref].lease.worker = worker;
    chain(ref);
}

void LeaseTable::drop(LeaseRef ref) noexcept
{
    std::uint32_t *path = &bucket_of(pool_[ref].lease.token);
    while (*path != ref)
        path = &pool_[*path].next_by_token;
    *path = pool_[ref].next_by_token;
    unchain(ref);
    leave_heap(ref);
    pool_[ref].taken = false;
    pool_.give(ref);
    break_promises(1); // last: then its place is there for others
}

LeaseRef LeaseTable::first_of(std::uint64_t worker) const noexcept
{
    return of_worker_from(bucket_of(worker), worker);
}

LeaseRef LeaseTable::next_of(LeaseRef ref) const noexcept
{
    return of_worker_from(pool_[ref].later_by_worker, pool_[ref].lease.worker);
}

LeaseRef LeaseTable::next(LeaseRef ref) const noexcept
{
    const std::uint32_t end = pool_.fresh();
    for (LeaseRef next = ref + 1; next < end; ++next) // nowhere + 1 is 0
        if (pool_[next].taken)
            return next;
    return nowhere;
}

std::uint32_t &LeaseTable::bucket_of(const Token &token) const noexcept
{
    std::uint64_t halves[2];
    static_assert(sizeof halves == sizeof token);
    std::memcpy(halves, token.data(), sizeof halves);
    return tokens_[mix(mix(halves[0] ^ seed_) ^ halves[1]) & mask_];
}

std::uint32_t &LeaseTable::bucket_of(std::uint64_t worker) const noexcept
{
    return workers_[mix(worker ^ seed_) & mask_];
}

void LeaseTable::chain(LeaseRef ref) noexcept
{
    LeasePlace    &place    = pool_[ref];
    std::uint32_t &first    = bucket_of(place.lease.worker);
    place.earlier_by_worker = nowhere;
    place.later_by_worker   = first;
    if (first != nowhere)
        pool_[first].earlier_by_worker = ref;
    first = ref;
}

void LeaseTable::unchain(LeaseRef ref) noexcept
{
    const LeasePlace &place = pool_[ref];
    if (place.later_by_worker != nowhere)
        pool_[place.later_by_worker].earlier_by_worker = place.earlier_by_worker;
    if (place.earlier_by_worker != nowhere)
        pool_[place.earlier_by_worker].later_by_worker = place.later_by_worker;
    else
        bucket_of(place.lease.worker) = place.later_by_worker;
}

LeaseRef LeaseTable::of_worker_from(LeaseRef ref, std::uint64_t worker) const noexcept
{
    while (ref != nowhere && pool_[ref].lease.worker != worker)
        ref = pool_[ref].later_by_worker;
    return ref;
}

} // namespace sluice::core
