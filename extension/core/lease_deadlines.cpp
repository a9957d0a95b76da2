// lease_deadlines: leases in the order of their deadlines, a binary heap that is put right late.
//
// The heap's own deadline of a lease may lie before the lease's, where that has been moved since: the heap is behind.
// Nothing is missed by that, as such a lease comes up too early and is put right then.

#include <utility>

#include "core/lease_table.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// Earlier than the heap knows: at once.  Later, as a heartbeat goes: when it comes up.
void LeaseTable::set_deadline(LeaseRef ref, std::int64_t deadline) noexcept
{
    LeasePlace &place = pool_[ref];
    const auto  old   = std::exchange(place.lease.deadline, deadline);
    if (deadline < old &&
        deadline < dues_[place.in_heap].deadline) // so a beat does not even look into the heap
        rise(place.in_heap, {deadline, ref});
}

/// Puts right what the heap says of the time before `as_of`, in up to `most` steps.  False: there is more.
bool LeaseTable::correct_until(std::int64_t as_of, int most) noexcept
{
    bool done = true;
    walk([&](std::uint32_t place) {
        while (done && dues_[place].deadline < as_of && is_behind(place)) {
            done = most-- > 0;
            if (done)
                correct(place); // which puts another here, and changes nothing outside what is below
        }
        return done && dues_[place].deadline < as_of;
    });
    return done;
}

void LeaseTable::each_late(std::int64_t as_of, void (*visit)(void *, const Lease &),
                           void        *context) const noexcept
{
    walk([&](std::uint32_t place) {
        if (const Lease &lease = pool_[dues_[place].lease].lease; lease.deadline < as_of)
            visit(context, lease);
        return dues_[place].deadline < as_of;
    });
}

/// The earliest that is not before `as_of`, INT64_MAX if there is none.  Where it is not found in `most` steps, because the
/// heap is behind, it may be too early, never too late.
std::int64_t LeaseTable::next_deadline(std::int64_t as_of, int most) noexcept
{
    for (;;) {
        const std::uint32_t place = first_from(as_of, most);
        if (place == nowhere)
            return INT64_MAX;
        if (!is_behind(place) || most <= 0)
            return dues_[place].deadline < as_of ? as_of : dues_[place].deadline;
        correct(place);
    }
}

/// Of those whose own deadline is not before `as_of`: where the one is that the heap puts first.
std::uint32_t LeaseTable::first_from(std::int64_t as_of, int &steps) const noexcept
{
    std::uint32_t first = nowhere;
    walk([&](std::uint32_t place) {
        --steps;
        const bool is_late = pool_[dues_[place].lease].lease.deadline < as_of;
        if (!is_late && (first == nowhere || dues_[place].deadline < dues_[first].deadline))
            first = place;
        return is_late; // below any other one there are only later ones
    });
    return first;
}

bool LeaseTable::is_behind(std::uint32_t place) const noexcept
{
    return dues_[place].deadline != pool_[dues_[place].lease].lease.deadline;
}

void LeaseTable::correct(std::uint32_t place) noexcept
{
    const LeaseRef ref = dues_[place].lease;
    sink(place, {pool_[ref].lease.deadline, ref});
}

/// Visits places, parents first; enter(place) says whether to go on below.
template <typename Enter>
void LeaseTable::walk(Enter enter) const noexcept
{
    std::uint32_t place = 0;
    for (;;) {
        if (place < *count_ && enter(place)) {
            place = 2 * place + 1;
            continue;
        }
        while (place != 0 && place % 2 == 0) // a right child
            place = (place - 1) / 2;
        if (place == 0)
            return;
        ++place;
    }
}

void LeaseTable::put(std::uint32_t place, const Due &due) noexcept
{
    dues_[place]             = due;
    pool_[due.lease].in_heap = place;
}

/// Puts a due at a place or above it.
void LeaseTable::rise(std::uint32_t place, const Due &due) noexcept
{
    while (place != 0 && due.deadline < dues_[(place - 1) / 2].deadline) {
        put(place, dues_[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(place, due);
}

/// Puts a due at a place or below it.
void LeaseTable::sink(std::uint32_t place, const Due &due) noexcept
{
    for (;;) {
        std::uint32_t child = 2 * place + 1;
        if (child + 1 < *count_ && dues_[child + 1].deadline < dues_[child].deadline)
            ++child;
        if (child >= *count_ || dues_[child].deadline >= due.deadline)
            break;
        put(place, dues_[child]);
        place = child;
    }
    put(place, due);
}

void LeaseTable::enter_heap(LeaseRef ref) noexcept
{
    rise((*count_)++, {pool_[ref].lease.deadline, ref});
}

void LeaseTable::leave_heap(LeaseRef ref) noexcept
{
    const std::uint32_t place = pool_[ref].in_heap;
    const Due           last  = dues_[--*count_];
    if (place == *count_)
        return;
    if (place != 0 && last.deadline < dues_[(place - 1) / 2].deadline)
        rise(place, last);
    else
        sink(place, last);
}

} // namespace sluice::core
