// ready_queue: what is stored in one queue, its lanes, shelves and rings.  How it is handed out is in ready_pop.cpp.

#include <algorithm>
#include <utility>

#include "core/lane.hpp"
#include "core/ready_queue.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

namespace {

constexpr std::int64_t no_bound = INT64_MAX / 2;

bool has_something(const Shelf &shelf) noexcept
{
    return !shelf.entries.empty() || shelf.horizon != no_place;
}

/// A timer says which run of which shelf is parked; no run if the table will give it again anyway.
std::int64_t parked_run(std::uint32_t shelf, std::uint32_t entry) noexcept
{
    return static_cast<std::int64_t>((std::uint64_t{shelf} << 32) | entry);
}

std::uint32_t shelf_of(const Entry &timer) noexcept
{
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(timer.run_id) >> 32);
}

std::uint32_t entry_of(const Entry &timer) noexcept
{
    return static_cast<std::uint32_t>(timer.run_id);
}

} // namespace

LaneTree<Lane> ReadyQueue::tree() const noexcept
{
    return {&lanes_[0], queue_.lane_root, block_.seed};
}

Backlog<Entry> ReadyQueue::backlog(Shelf &shelf) const noexcept
{
    return {&entries_[0], shelf.entries};
}

Backlog<Entry> ReadyQueue::timers() const noexcept
{
    return {&entries_[0], queue_.timers};
}

/// Its first entry in memory, if there is one.
const Entry *ReadyQueue::head_of(Shelf &shelf) const noexcept
{
    return shelf.entries.empty() ? nullptr : &entries_[backlog(shelf).head()];
}

// --- Runs

Pushed ReadyQueue::push(const Ready &run) noexcept
{
    const std::uint32_t shelf = make_shelf(run.lane, run.executor);
    if (shelf == nowhere)
        return Pushed::no_room;
    const Pushed pushed = store(shelf, run.place);
    settle(shelf);
    publish();
    return pushed;
}

Pushed ReadyQueue::put_back(const Ready &run) noexcept
{
    give_back_slot(run.lane);
    const Pushed pushed = push(run);
    if (const std::uint32_t lane = tree().find(run.lane); lane != nowhere)
        settle_lane(lane);
    publish();
    return pushed;
}

Pushed ReadyQueue::park(const Ready &run, std::int64_t until) noexcept
{
    give_back_slot(run.lane);
    Pushed              pushed = Pushed::no_room;
    const std::uint32_t at     = make_shelf(run.lane, run.executor);
    if (at != nowhere) {
        Shelf              &shelf = shelves_[at];
        const std::uint32_t entry = run.place < shelf.horizon ? entries_.take() : nowhere;
        const std::uint32_t timer = entry == nowhere ? nowhere : entries_.take();
        if (timer == nowhere) {
            if (entry != nowhere)
                entries_.give(entry);
            pushed = spill(shelf, run.place);
        } else {
            Entry &kept               = entries_[entry];
            kept.run_class            = run.place.run_class;
            kept.claim_key            = run.place.claim_key;
            kept.run_id               = run.place.run_id;
            entries_[timer].claim_key = until;
            entries_[timer].run_id    = parked_run(at, entry);
            timers().push(timer);
            ++shelf.parked;
            ++queue_.parked;
            pushed = Pushed::stored;
        }
        settle(at);
    }
    if (const std::uint32_t lane = tree().find(run.lane); lane != nowhere)
        settle_lane(lane);
    publish();
    return pushed;
}

std::int64_t ReadyQueue::unpark(std::int64_t now) noexcept
{
    Backlog<Entry> parked = timers();
    while (!parked.empty() && entries_[parked.head()].claim_key <= now) {
        const std::uint32_t timer = parked.pop();
        const std::uint32_t at    = shelf_of(entries_[timer]);
        const std::uint32_t entry = entry_of(entries_[timer]);
        entries_.give(timer);
        if (entry == nowhere)
            continue;
        Shelf      &shelf = shelves_[at];
        const Place place = entries_[entry].place();
        --shelf.parked;
        --queue_.parked;
        if (place < shelf.horizon) {
            insert(shelf, entry, place);
        } else {
            entries_.give(entry);
            spill(shelf, place);
        }
        settle(at);
    }
    publish();
    return parked.empty() ? INT64_MAX : entries_[parked.head()].claim_key;
}

Pushed ReadyQueue::store(std::uint32_t at, const Place &place) noexcept
{
    Shelf              &shelf = shelves_[at];
    const std::uint32_t entry = place < shelf.horizon ? entries_.take() : nowhere;
    if (entry == nowhere)
        return spill(shelf, place);
    insert(shelf, entry, place);
    return Pushed::stored;
}

void ReadyQueue::insert(Shelf &shelf, std::uint32_t entry, const Place &place) noexcept
{
    entries_[entry].run_class = place.run_class;
    entries_[entry].claim_key = place.claim_key;
    entries_[entry].run_id    = place.run_id;
    backlog(shelf).push(entry);
    ++queue_.entries;
}

/// Leaves a place to the table.
Pushed ReadyQueue::spill(Shelf &shelf, const Place &place) noexcept
{
    if (place < shelf.horizon) {
        set_horizon(shelf, place);
        block_.spills.fetch_add(1, std::memory_order_relaxed);
    }
    if (shelf.refill != 0)
        shelf.beyond = std::min(shelf.beyond, place);
    return Pushed::beyond;
}

void ReadyQueue::set_horizon(Shelf &shelf, const Place &horizon) noexcept
{
    queue_.beyond -= shelf.horizon != no_place ? 1 : 0;
    shelf.horizon = horizon;
    queue_.beyond += shelf.horizon != no_place ? 1 : 0;
}

void ReadyQueue::free_entry(std::uint32_t entry) noexcept
{
    if (entry >= entries_.room())
        shelves_[entry - entries_.room()].spare_used = false;
    else
        entries_.give(entry);
    --queue_.entries;
}

void ReadyQueue::drop_entries(Shelf &shelf) noexcept
{
    backlog(shelf).drop([this](std::uint32_t entry) { free_entry(entry); });
}

/// The refill that begins now will find them, so their timers shall not bring them a second time.
void ReadyQueue::drop_parked_beyond(std::uint32_t at) noexcept
{
    Shelf &shelf = shelves_[at];
    if (shelf.parked == 0)
        return;
    timers().each([&](std::uint32_t place) {
        Entry              &timer = entries_[place];
        const std::uint32_t entry = entry_of(timer);
        if (entry == nowhere || shelf_of(timer) != at || entries_[entry].place() < shelf.horizon)
            return;
        entries_.give(entry);
        timer.run_id = parked_run(at, nowhere);
        --shelf.parked;
        --queue_.parked;
    });
}

// --- Lanes and limits

std::uint32_t ReadyQueue::make_lane(std::int64_t number) noexcept
{
    std::uint32_t lane = tree().find(number);
    if (lane != nowhere)
        return lane;
    lane = lanes_.take();
    if (lane == nowhere)
        return nowhere;
    lanes_[lane].number = number;
    tree().insert(lane);
    ++queue_.lanes;
    return lane;
}

std::uint32_t ReadyQueue::make_shelf(std::int64_t number, Executor executor) noexcept
{
    const std::uint32_t lane = make_lane(number);
    if (lane == nowhere)
        return nowhere;
    std::uint32_t &shelf = lanes_[lane].shelf[static_cast<int>(executor)];
    if (shelf == nowhere) {
        shelf = shelves_.take();
        if (shelf == nowhere) {
            free_lane_if_idle(lane);
            return nowhere;
        }
        shelves_[shelf].lane     = lane;
        shelves_[shelf].executor = executor;
    }
    return shelf;
}

std::int64_t ReadyQueue::lane_room(const Lane &lane) const noexcept
{
    if (lane.number == keyless_lane || queue_.limits.key_concurrency == unlimited)
        return no_bound;
    return std::int64_t{queue_.limits.key_concurrency} - lane.held;
}

std::int64_t ReadyQueue::queue_room() const noexcept
{
    return queue_.limits.concurrency == unlimited ? no_bound : queue_.limits.concurrency - queue_.held;
}

bool ReadyQueue::take_slot(std::int64_t number) noexcept
{
    const std::uint32_t lane = make_lane(number);
    if (lane == nowhere)
        return false;
    ++lanes_[lane].held;
    ++queue_.held;
    settle_lane(lane);
    publish();
    return true;
}

bool ReadyQueue::give_slot(std::int64_t number) noexcept
{
    const auto eligible = [this] {
        std::uint32_t count = 0;
        for (const Ring &ring : queue_.rings)
            count += ring.count;
        return count;
    };
    const bool          had_room = queue_room() > 0;
    const std::uint32_t before   = eligible();
    give_back_slot(number);
    if (const std::uint32_t lane = tree().find(number); lane != nowhere)
        settle_lane(lane);
    publish();
    return eligible() > before || (!had_room && queue_room() > 0 && before > 0);
}

void ReadyQueue::give_back_slot(std::int64_t number) noexcept
{
    const std::uint32_t lane = tree().find(number);
    if (lane == nowhere || lanes_[lane].held == 0)
        return;
    --lanes_[lane].held;
    --queue_.held;
}

void ReadyQueue::forget_limits() noexcept
{
    queue_.known = false;
    queue_.limits_version.fetch_add(1, std::memory_order_relaxed);
    publish();
}

void ReadyQueue::set_limits(const Limits &limits) noexcept
{
    const bool lanes_change = queue_.limits.key_concurrency != limits.key_concurrency;
    queue_.limits           = limits;
    queue_.known            = true;
    if (lanes_change)
        tree().each([this](std::uint32_t lane) {
            for (const std::uint32_t shelf : lanes_[lane].shelf)
                if (shelf != nowhere)
                    update(shelf);
        });
    publish();
}

// --- Shelves and their rings

void ReadyQueue::settle(std::uint32_t at) noexcept
{
    const Shelf &shelf = shelves_[at];
    if (has_something(shelf) || shelf.refill != 0 || shelf.parked != 0) {
        update(at);
        return;
    }
    leave(at);
    const std::uint32_t lane                             = shelf.lane;
    lanes_[lane].shelf[static_cast<int>(shelf.executor)] = nowhere;
    shelves_.give(at);
    free_lane_if_idle(lane);
}

void ReadyQueue::settle_lane(std::uint32_t lane) noexcept
{
    for (const std::uint32_t shelf : lanes_[lane].shelf)
        if (shelf != nowhere)
            update(shelf);
    free_lane_if_idle(lane);
}

void ReadyQueue::free_lane_if_idle(std::uint32_t at) noexcept
{
    const Lane &lane = lanes_[at];
    if (lane.held != 0 || std::any_of(std::begin(lane.shelf), std::end(lane.shelf),
                                      [](std::uint32_t shelf) { return shelf != nowhere; }))
        return;
    tree().remove(at);
    lanes_.give(at);
    --queue_.lanes;
}

/// Puts a shelf where it belongs: into its ring, aside, or out.
void ReadyQueue::update(std::uint32_t at) noexcept
{
    Shelf     &shelf  = shelves_[at];
    const bool room   = lane_room(lanes_[shelf.lane]) > 0;
    Standing   wanted = Standing::out;
    if (room && shelf.refill != 0)
        wanted = Standing::busy;
    else if (room && has_something(shelf))
        wanted = Standing::in_ring;
    if (!room)
        shelf.keeps_turn = false;
    if (wanted == shelf.standing)
        return;

    leave(at);
    shelf.standing = wanted;
    if (wanted == Standing::in_ring)
        join(at);
    else if (wanted == Standing::busy)
        ++ring_of(shelf).busy;
}

Ring &ReadyQueue::ring_of(const Shelf &shelf) const noexcept
{
    return queue_.rings[static_cast<int>(shelf.executor)];
}

/// At the end.
void ReadyQueue::join(std::uint32_t at) noexcept
{
    shelves_[at].turn = ++queue_.turns;
    link_after(at, ring_of(shelves_[at]).last);
}

/// At the turn that it had.  Only shelves that did the same can be before it.
void ReadyQueue::rejoin(std::uint32_t at) noexcept
{
    std::uint32_t earlier = nowhere;
    std::uint32_t later   = ring_of(shelves_[at]).first;
    while (later != nowhere && shelves_[later].turn < shelves_[at].turn) {
        earlier = later;
        later   = shelves_[later].later;
    }
    link_after(at, earlier);
}

void ReadyQueue::link_after(std::uint32_t at, std::uint32_t earlier) noexcept
{
    Shelf &shelf   = shelves_[at];
    Ring  &ring    = ring_of(shelf);
    shelf.standing = Standing::in_ring;
    shelf.earlier  = earlier;
    shelf.later    = earlier == nowhere ? ring.first : shelves_[earlier].later;
    (earlier == nowhere ? ring.first : shelves_[earlier].later)          = at;
    (shelf.later == nowhere ? ring.last : shelves_[shelf.later].earlier) = at;
    ++ring.count;
}

void ReadyQueue::leave(std::uint32_t at) noexcept
{
    Shelf &shelf = shelves_[at];
    Ring  &ring  = ring_of(shelf);
    if (shelf.standing == Standing::busy)
        --ring.busy;
    if (shelf.standing == Standing::in_ring) {
        (shelf.earlier == nowhere ? ring.first : shelves_[shelf.earlier].later) = shelf.later;
        (shelf.later == nowhere ? ring.last : shelves_[shelf.later].earlier)    = shelf.earlier;
        --ring.count;
    }
    shelf.standing = Standing::out;
}

void ReadyQueue::publish() noexcept
{
    unsigned glance = 0;
    if (!queue_.known)
        glance = 0xff;
    else if (!queue_.limits.paused && queue_room() > 0)
        for (int executor = 0; executor < executor_kinds; ++executor)
            if (queue_.rings[executor].count + queue_.rings[executor].busy > 0)
                glance |= 1U << executor;
    if (queue_.parked > 0)
        glance |= parked_in_glance;
    queue_.glance.store(static_cast<ExecutorMask>(glance), std::memory_order_relaxed);
}

// --- What the table has

Pushed ReadyQueue::lower_horizon(std::int64_t lane, Executor executor, const Place &from) noexcept
{
    const std::uint32_t at = make_shelf(lane, executor);
    if (at == nowhere)
        return Pushed::no_room;
    Shelf &shelf = shelves_[at];
    if (from < shelf.horizon)
        set_horizon(shelf, from);
    if (shelf.refill != 0)
        shelf.beyond = std::min(shelf.beyond, from);
    settle(at);
    publish();
    return Pushed::beyond;
}

void ReadyQueue::clear() noexcept
{
    timers().drop([this](std::uint32_t timer) {
        if (const std::uint32_t entry = entry_of(entries_[timer]); entry != nowhere)
            entries_.give(entry);
        entries_.give(timer);
    });
    queue_.parked = 0;

    std::uint32_t  root = std::exchange(queue_.lane_root, nowhere);
    LaneTree<Lane> old{&lanes_[0], root, block_.seed};
    old.each([this](std::uint32_t at) {
        Lane &lane = lanes_[at];
        for (std::uint32_t &shelf : lane.shelf) {
            if (shelf == nowhere)
                continue;
            drop_entries(shelves_[shelf]);
            set_horizon(shelves_[shelf], no_place);
            leave(shelf);
            shelves_.give(std::exchange(shelf, nowhere));
        }
        lane.child[0] = lane.child[1] = nowhere;
        if (lane.held != 0) {
            tree().insert(at);
        } else {
            lanes_.give(at);
            --queue_.lanes;
        }
    });
    publish();
}

// --- Looking

void ReadyQueue::each_ready(void (*visit)(void *, const Ready &), void *context) const noexcept
{
    tree().each([&](std::uint32_t lane) {
        for (const std::uint32_t at : lanes_[lane].shelf)
            if (at != nowhere)
                backlog(shelves_[at]).each([&](std::uint32_t entry) {
                    visit(context, {lanes_[lane].number, entries_[entry].place(), shelves_[at].executor});
                });
    });
    timers().each([&](std::uint32_t timer) {
        if (entry_of(entries_[timer]) == nowhere)
            return;
        const Shelf &shelf = shelves_[shelf_of(entries_[timer])];
        visit(context,
              {lanes_[shelf.lane].number, entries_[entry_of(entries_[timer])].place(), shelf.executor});
    });
}

void ReadyQueue::each_horizon(void (*visit)(void *, std::int64_t, Executor, const Place &),
                              void *context) const noexcept
{
    tree().each([&](std::uint32_t lane) {
        for (const std::uint32_t at : lanes_[lane].shelf)
            if (at != nowhere && shelves_[at].horizon != no_place)
                visit(context, lanes_[lane].number, shelves_[at].executor, shelves_[at].horizon);
    });
}

void ReadyQueue::each_lane(void (*visit)(void *, std::int64_t, std::int32_t), void *context) const noexcept
{
    tree().each([&](std::uint32_t lane) {
        if (lanes_[lane].held > 0)
            visit(context, lanes_[lane].number, lanes_[lane].held);
    });
}

} // namespace sluice::core
