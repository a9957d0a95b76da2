// ready_pop: how one queue hands out its runs, turn by turn, and fetches more of them from the table.

#include <algorithm>
#include <new>

#include "core/ready_queue.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

namespace {

std::uint32_t next_number(std::uint32_t &last) noexcept
{
    if (++last == 0) // 0 means none
        ++last;
    return last;
}

} // namespace

// --- Handing out

PopResult ReadyQueue::pop(ExecutorMask executors, int wanted, const Credits &credits, Ready *taken) noexcept
{
    PopResult result{};
    if (!queue_.known || queue_.limits.paused)
        return result;
    std::int64_t room = queue_room();
    for (int i = 0; i < credits.count; ++i)
        room += credits.lanes[i].slots;
    const std::int64_t most = std::min<std::int64_t>(wanted, room);

    next_number(queue_.pops);
    std::int64_t turns = 0; // left in this round
    std::int64_t share = 1;
    while (result.taken < most && !result.needs_refill) {
        const std::uint32_t shelf = next_shelf(executors);
        if (shelf == nowhere)
            break;
        if (turns == 0) {
            for (int executor = 0; executor < executor_kinds; ++executor)
                if ((executors >> executor & 1) != 0)
                    turns += queue_.rings[executor].count;
            share = std::max<std::int64_t>(1, (most - result.taken) / turns);
        }
        --turns;
        const std::uint32_t lane = shelves_[shelf].lane;
        const std::int64_t  fit  = std::min({share, most - result.taken, lane_room(lanes_[lane])});
        switch (serve(lane, executors, fit, result, taken)) {
        case Turn::served:
            end_turn(lane, executors);
            break;
        case Turn::refill:
            begin_refill(lane, executors, result);
            break;
        case Turn::busy:
        case Turn::nothing:
            pass_over(lane, executors);
            break;
        }
    }
    if (!result.needs_refill)
        serve_credits(executors, most, credits, result, taken);

    result.busy = result.busy && !result.needs_refill && result.taken < most;
    if (!result.needs_refill && result.taken < most)
        for (int executor = 0; executor < executor_kinds; ++executor)
            if ((executors >> executor & 1) != 0 && queue_.rings[executor].busy > 0)
                result.busy = true;
    publish();
    return result;
}

/// Lanes that are full for others.
void ReadyQueue::serve_credits(ExecutorMask executors, std::int64_t most, const Credits &credits,
                               PopResult &result, Ready *taken) noexcept
{
    for (int i = 0; i < credits.count && result.taken < most; ++i) {
        const std::uint32_t lane = tree().find(credits.lanes[i].lane);
        if (lane == nowhere)
            continue;
        const std::int64_t fit =
            std::min(most - result.taken, lane_room(lanes_[lane]) + credits.lanes[i].slots);
        switch (serve(lane, executors, fit, result, taken)) {
        case Turn::served:
            end_turn(lane, executors);
            break;
        case Turn::refill:
            begin_refill(lane, executors, result);
            return;
        case Turn::busy:
        case Turn::nothing:
            break;
        }
    }
}

/// The shelf whose turn it is.
std::uint32_t ReadyQueue::next_shelf(ExecutorMask executors) const noexcept
{
    std::uint32_t next = nowhere;
    for (int executor = 0; executor < executor_kinds; ++executor) {
        if ((executors >> executor & 1) == 0)
            continue;
        // Few are passed over: those beside a shelf of their lane that somebody refills just now.
        std::uint32_t first = queue_.rings[executor].first;
        while (first != nowhere && is_passed(first))
            first = shelves_[first].later;
        if (first != nowhere && (next == nowhere || shelves_[first].turn < shelves_[next].turn))
            next = first;
    }
    return next;
}

bool ReadyQueue::is_passed(std::uint32_t shelf) const noexcept
{
    return shelves_[shelf].passed == queue_.pops;
}

/// The shelf with the lane's first place, in memory or not.
std::uint32_t ReadyQueue::lowest_shelf(const Lane &lane, ExecutorMask executors) const noexcept
{
    std::uint32_t lowest = nowhere;
    Place         least  = no_place;
    for (int executor = 0; executor < executor_kinds; ++executor) {
        const std::uint32_t at = lane.shelf[executor];
        if ((executors >> executor & 1) == 0 || at == nowhere)
            continue;
        const Entry *const head = head_of(shelves_[at]);
        const Place        place =
            head == nullptr ? shelves_[at].horizon : std::min(shelves_[at].horizon, head->place());
        if (place < least) {
            least  = place;
            lowest = at;
        }
    }
    return lowest;
}

/// Hands out the first `most` of a lane.  Stops before a horizon; whether that needs a refill is for the next turn to say.
ReadyQueue::Turn ReadyQueue::serve(std::uint32_t at, ExecutorMask executors, std::int64_t most,
                                   PopResult &result, Ready *taken) noexcept
{
    Lane &lane   = lanes_[at];
    bool  served = false;
    for (; most > 0; --most) {
        const std::uint32_t lowest = lowest_shelf(lane, executors);
        if (lowest == nowhere)
            break;
        Shelf &shelf = shelves_[lowest];
        if (shelf.refill != 0) {
            result.busy = true;
            return served ? Turn::served : Turn::busy;
        }
        if (const Entry *const head = head_of(shelf); head == nullptr || !(head->place() < shelf.horizon))
            return served ? Turn::served : Turn::refill;

        const std::uint32_t entry = backlog(shelf).pop();
        taken[result.taken++]     = {lane.number, entries_[entry].place(), shelf.executor};
        free_entry(entry);
        ++lane.held;
        ++queue_.held;
        served = true;
    }
    return served ? Turn::served : Turn::nothing;
}

/// The lane's shelves move to the end together.
void ReadyQueue::end_turn(std::uint32_t lane, ExecutorMask executors) noexcept
{
    for (int executor = 0; executor < executor_kinds; ++executor) {
        const std::uint32_t shelf = lanes_[lane].shelf[executor];
        if (shelf == nowhere)
            continue;
        if ((executors >> executor & 1) != 0 && shelves_[shelf].standing == Standing::in_ring)
            leave(shelf); // settle() lets it join again if it is still eligible
        settle(shelf);
    }
}

/// For this pop; they keep their turn.
void ReadyQueue::pass_over(std::uint32_t lane, ExecutorMask executors) noexcept
{
    for (int executor = 0; executor < executor_kinds; ++executor)
        if (const std::uint32_t shelf = lanes_[lane].shelf[executor];
            shelf != nowhere && (executors >> executor & 1) != 0)
            shelves_[shelf].passed = queue_.pops;
}

bool ReadyQueue::has_work(ExecutorMask executors) const noexcept
{
    if (!queue_.known)
        return true;
    if (queue_.limits.paused || queue_room() <= 0)
        return false;
    for (int executor = 0; executor < executor_kinds; ++executor) {
        if ((executors >> executor & 1) == 0)
            continue;
        for (std::uint32_t shelf = queue_.rings[executor].first; shelf != nowhere;
             shelf               = shelves_[shelf].later)
            if (shelves_[lowest_shelf(lanes_[shelves_[shelf].lane], executors)].refill == 0)
                return true;
    }
    return false;
}

// --- Refills

void ReadyQueue::begin_refill(std::uint32_t lane, ExecutorMask executors, PopResult &result) noexcept
{
    const std::uint32_t at    = lowest_shelf(lanes_[lane], executors);
    Shelf              &shelf = shelves_[at];
    // What is still in memory lies beyond the horizon: the table gives it again.
    drop_entries(shelf);
    drop_parked_beyond(at);
    shelf.beyond        = no_place;
    shelf.refill        = next_number(queue_.refills);
    shelf.keeps_turn    = shelf.standing == Standing::in_ring;
    result.needs_refill = true;
    result.refill       = {lanes_[lane].number, shelf.horizon, shelf.executor, shelf.refill};
    update(at);
}

/// The shelf, or nowhere if its refill is not awaited any more.
std::uint32_t ReadyQueue::awaited_by(const Refill &refill) const noexcept
{
    const std::uint32_t lane = tree().find(refill.lane);
    if (lane == nowhere)
        return nowhere;
    const std::uint32_t shelf = lanes_[lane].shelf[static_cast<int>(refill.executor)];
    return shelf != nowhere && refill.number != 0 && shelves_[shelf].refill == refill.number ? shelf
                                                                                             : nowhere;
}

bool ReadyQueue::refill(const Refill &refill, const Place &found) noexcept
{
    const std::uint32_t at = awaited_by(refill);
    if (at == nowhere)
        return false;
    Shelf &shelf = shelves_[at];
    if (!(found < shelf.beyond)) // the horizon will be there
        return false;

    // A full pool must not stop a shelf for ever, so each has one entry of its own that only its refills use; at the
    // beginning of a refill it is free.
    std::uint32_t entry = entries_.take();
    if (entry == nowhere) {
        if (shelf.spare_used)
            return false;
        shelf.spare_used = true;
        entry            = entries_.room() + at;
        new (&entries_[entry]) Entry{};
    }
    insert(shelf, entry, found);
    return true;
}

void ReadyQueue::end_refill(const Refill &refill, const Place &next) noexcept
{
    const std::uint32_t at = awaited_by(refill);
    if (at == nowhere)
        return;
    Shelf &shelf = shelves_[at];
    set_horizon(shelf, std::min(next, shelf.beyond));
    shelf.refill = 0;
    // One that has got nothing gives way to the others.
    const Entry *const head     = head_of(shelf);
    const bool         progress = head != nullptr && head->place() < shelf.horizon;
    if (shelf.keeps_turn && progress) {
        leave(at);
        rejoin(at);
    }
    shelf.keeps_turn = false;
    settle(at);
    publish();
}

void ReadyQueue::cancel_refill(const Refill &refill) noexcept
{
    const std::uint32_t at = awaited_by(refill);
    if (at == nowhere)
        return;
    shelves_[at].refill     = 0;
    shelves_[at].keeps_turn = false;
    settle(at);
    publish();
}

} // namespace sluice::core
