// ready_index: which runs could start now, and who holds which, in one block of memory that many processes share.
//
// A cache of the tables, without Postgres in it.  All links are numbers of places in pools, never pointers, so every
// process may map the block elsewhere.  Nothing here allocates, throws or waits; when a pool is empty the functions say
// so.  Locks are the caller's: everything that takes a QueueRef needs that queue's lock unless it says otherwise,
// everything about leases the one lock of the leases.  The pools hand out their places without a lock.
//
//   queue ── lanes (a digital search tree by lane number) ── shelves (one for each executor) ── entries (in order)
//         └─ a ring of eligible shelves for each executor
//
// A lane counts the slots that are held in it.  A shelf holds the runs of its lane that one kind of executor can take,
// in order of their places, and is complete below its `horizon`: what lies at or beyond it is in the table only, and is
// fetched from there (a refill) when the shelf's head reaches it.  So memory is bounded, and a full pool loses nothing.
//
// A shelf is eligible while it has something to hand out (or to refill) and its lane has room.  Eligible shelves take
// turns; one that becomes eligible joins at the end.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/pool.hpp"
#include "core/queue_counts.hpp"
#include "core/token.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// How a task runs.  The numbers are bits' positions in a mask and indexes of rings; they are never stored in tables.
enum class Executor : std::uint8_t { sql, process, python, http, external };
inline constexpr int executor_kinds = 5;
using ExecutorMask                  = std::uint8_t;

constexpr ExecutorMask mask_of(Executor executor) noexcept
{
    return static_cast<ExecutorMask>(1U << static_cast<unsigned>(executor));
}

/// A run's place in its lane: lower is handed out first.
struct Place {
    std::int16_t run_class; ///< 0 resumed, 1 retried, 2 fresh
    std::int64_t claim_key; ///< microseconds
    std::int64_t run_id;

    auto
    operator<=>(const Place &) const = default; // NOLINT(modernize-use-nullptr): clang-tidy 14 sees a 0 in it
};
inline constexpr Place first_place{-1, INT64_MIN, INT64_MIN};
inline constexpr Place no_place{INT16_MAX, INT64_MAX, INT64_MAX}; ///< as a horizon: memory has everything

/// A run that could start, with where it belongs.
struct Ready {
    std::int64_t lane;
    Place        place;
    Executor     executor;
};

inline constexpr std::int32_t unlimited = INT32_MAX;
struct Limits {
    std::int32_t concurrency     = unlimited;
    std::int32_t key_concurrency = unlimited; ///< of each lane but the keyless one
    bool         paused          = false;
};

/// Slots that this transaction gave back and may use again before it commits.  Each lane once.
struct Credit {
    std::int64_t lane;
    std::int32_t slots;
};
struct Credits {
    const Credit *lanes = nullptr;
    int           count = 0; ///< of `lanes`; the queue's credit is their sum
};

/// What a shelf needs from the table before more can be handed out.
struct Refill {
    std::int64_t  lane;
    Place         from; ///< the first place that memory does not know
    Executor      executor;
    std::uint32_t number; ///< of the refill: what is no longer awaited does nothing
};

using QueueRef = std::uint32_t; ///< `nowhere` for none, as for leases
using LeaseRef = std::uint32_t;

enum class Pushed : std::uint8_t {
    stored,  ///< in memory now; wake somebody
    beyond,  ///< at or beyond the horizon (which may have fallen to it just now): the table has it
    no_room, ///< its lane or shelf could not be made: the index is no longer complete
};

struct PopResult {
    int  taken;        ///< none while limits are not known
    bool needs_refill; ///< `refill` must be done for more to be found; the shelf is marked as being refilled
    bool busy;         ///< fewer than wanted, and a shelf was passed over because somebody else refills it
    Refill refill;
};

struct QueueStats {
    std::int32_t queue_id;
    std::int64_t held, entries, lanes, parked, shelves_beyond;
};

struct Lease {
    enum class State : std::uint8_t { uncommitted, standing, canceled, requeued };

    Token         token;
    std::uint64_t worker; ///< hash of the worker's name
    std::int64_t  lane;
    std::int64_t  deadline;   ///< microseconds
    std::int64_t  claimed_at; ///< microseconds
    std::int64_t  reply;      ///< the number of the exchange that handed it out; -1 without a session
    std::int32_t  queue_id;
    std::int32_t  lease_ms;
    std::int16_t  attempt;
    State         state;
    bool          told;     ///< its worker has been told that the token is dead
    bool          seen;     ///< mark of a rebuild
    bool          stored;   ///< it has a row in the table of slots too
    bool          ending;   ///< an open transaction ends it
    bool          expiring; ///< it is being ended because its time is over: no beat moves it
};

struct ReadyBlock;

/// A view of the block.  Copyable; holds the process's own address of it.
class ReadyIndex {
public:
    /// Changes whenever the layout of the block changes, so that two builds of the library never share one.
#ifdef SLUICE_LAYOUT // a test builds a library that differs in this
    static constexpr std::uint32_t layout = SLUICE_LAYOUT;
#else
    static constexpr std::uint32_t layout = 4;
#endif

    /// The smallest block that create() accepts.
    static std::size_t least_bytes() noexcept;

    /// Formats a block (aligned to 64 bytes).  `seed` varies the shape of the trees.
    static ReadyIndex create(void *block, std::size_t bytes, std::uint64_t seed) noexcept;
    static ReadyIndex open(void *block) noexcept;

    // --- Queues.  Without a lock: a queue once made stays, at its place, for the life of the block.

    QueueRef     find_queue(std::int32_t queue_id) const noexcept; ///< nowhere if there is none
    QueueRef     make_queue(std::int32_t queue_id) noexcept; ///< finds or makes; nowhere if there is no room
    int          queue_room() const noexcept;                ///< how many queues there can be: locks to make
    int          queue_count() const noexcept;               ///< QueueRefs are 0 … queue_count() - 1
    std::int32_t queue_id(QueueRef queue) const noexcept;

    // --- Ready runs.  Under the queue's lock.

    Pushed push(QueueRef queue, const Ready &run) noexcept;

    /// Takes up to `wanted` runs for executors of the mask, turn by turn: of each eligible shelf's lane at most an even
    /// share, then on.  A lane is served in order of places over all executors of the mask.  Each one takes a slot
    /// (held + 1 in lane and queue).  Room is limit - held + credit.  Stops, with needs_refill, at a shelf whose head
    /// has reached its horizon; what was taken until then stays taken; call again after end_refill().
    PopResult pop(QueueRef queue, ExecutorMask executors, int wanted, const Credits &credits,
                  Ready *taken) noexcept;

    /// Gives a popped run back, with its slot: at abort, or because it was not the claim's to take just now.
    /// The same answers as push().
    Pushed put_back(QueueRef queue, const Ready &run) noexcept;

    /// As put_back(), but the run is not handed out again before `until` (microseconds): somebody holds its row.
    Pushed park(QueueRef queue, const Ready &run, std::int64_t until) noexcept;

    /// Moves parked runs whose time has come back to their shelves.  Returns when the next one's comes; INT64_MAX if none.
    std::int64_t unpark(QueueRef queue, std::int64_t now) noexcept;

    /// A slot more or less; give_slot() returns whether a shelf became eligible by it (or the queue has room again).
    /// take_slot() is for leases that are found in the tables: it may exceed limits.  False: no room for the lane.
    bool take_slot(QueueRef queue, std::int64_t lane) noexcept;
    bool give_slot(QueueRef queue, std::int64_t lane) noexcept;

    bool   is_known(QueueRef queue) const noexcept; ///< have limits been set since forget_limits()?
    Limits limits(QueueRef queue) const noexcept;
    /// Counts up at each forget_limits(): limits read before that are old.
    std::uint32_t limits_version(QueueRef queue) const noexcept;
    void          forget_limits(QueueRef queue) noexcept;
    void          set_limits(QueueRef queue, const Limits &limits) noexcept;

    /// Is there something for these executors that could be popped or refilled now?  True if limits are not known.
    bool has_work(QueueRef queue, ExecutorMask executors) const noexcept;

    /// The same without the lock, or is something parked: may be wrong for the length of a concurrent change.
    bool may_have_work(QueueRef queue, ExecutorMask executors) const noexcept;

    /// One found in the table, for the refill that pop() asked for; in order.  False: no room, stop and end_refill().
    bool refill(QueueRef queue, const Refill &refill, const Place &found) noexcept;

    /// Ends a refill.  `next`: the first place that was not read, no_place if the table has no more.  Places that were
    /// pushed beyond the horizon meanwhile lower it again.
    void end_refill(QueueRef queue, const Refill &refill, const Place &next) noexcept;

    /// Ends one that failed: the horizon stays where it was.
    void cancel_refill(QueueRef queue, const Refill &refill) noexcept;

    /// Makes the shelf's horizon fall to `from` (made if need be): the table has more from there on.
    Pushed lower_horizon(QueueRef queue, std::int64_t lane, Executor executor, const Place &from) noexcept;

    /// Forgets all ready runs, parked ones and horizons; slots stay held.
    void clear(QueueRef queue) noexcept;

    QueueStats stats(QueueRef queue) const noexcept;

    QueueCounts &counts(QueueRef queue) const noexcept; ///< without a lock

    /// Calls visit(context, ready) for each run in memory (parked ones too); for check().
    void each_ready(QueueRef queue, void (*visit)(void *, const Ready &), void *context) const noexcept;
    /// Calls visit(context, lane, executor, horizon) for each shelf whose horizon is not no_place.
    void each_horizon(QueueRef queue, void (*visit)(void *, std::int64_t, Executor, const Place &),
                      void    *context) const noexcept;
    /// Calls visit(context, lane, held) for each lane with slots held.
    void each_lane(QueueRef queue, void (*visit)(void *, std::int64_t, std::int32_t),
                   void    *context) const noexcept;

    // --- Leases.  Under the leases' lock.  They do not touch slots: the caller takes and gives those.

    LeaseRef
    add_lease(const Lease &lease) noexcept; ///< nowhere if there is no room; precondition: token not there
    LeaseRef find_lease(const Token &token) const noexcept;
    /// In place.  Its token never changes; worker and deadline do by their functions only.
    Lease *lease(LeaseRef ref) const noexcept;
    void   set_worker(LeaseRef ref, std::uint64_t worker) noexcept;
    void   drop_lease(LeaseRef ref) noexcept;
    /// The leases of a worker: first, then next; nowhere at the end.
    LeaseRef first_lease_of(std::uint64_t worker) const noexcept;
    LeaseRef next_lease_of(LeaseRef ref) const noexcept;
    /// All leases: pass nowhere for the first; nowhere at the end.  A lease may be dropped after its next was asked for.
    LeaseRef next_lease(LeaseRef ref) const noexcept;

    /// Cheap for a later one, as a heartbeat sets it: the order of deadlines is put right when the old one has come, by
    /// correct_deadlines() in up to `most` steps (false: there is more), or by next_deadline().
    void set_deadline(LeaseRef ref, std::int64_t deadline) noexcept;
    bool correct_deadlines(std::int64_t as_of, int most) noexcept;
    /// Calls visit(context, lease) for each whose deadline is before `as_of`, in no order.
    void each_late(std::int64_t as_of, void (*visit)(void *, const Lease &), void *context) const noexcept;
    /// The earliest deadline from `as_of` on, INT64_MAX if there is none; too early if it is not found in `most` steps.
    std::int64_t next_deadline(std::int64_t as_of, int most) noexcept;

    int lease_count() const noexcept;
    int lease_places() const noexcept; ///< how many there can be
    int lease_room() const noexcept;   ///< how many more there can be, without those that are promised

    /// Without a lock.  Places for leases that will be added by add_promised_lease(), which then cannot fail, or given up by
    /// break_lease_promises().  Returns how many of those wanted there are.
    int      promise_leases(int wanted) noexcept;
    void     break_lease_promises(int count) noexcept;
    LeaseRef add_promised_lease(const Lease &lease) noexcept; ///< as add_lease(), under the lock

    // --- Figures, without a lock.

    std::size_t  bytes() const noexcept;
    std::int64_t entries_used() const noexcept;
    std::int64_t entries_room() const noexcept; ///< in all
    std::int64_t lanes_used() const noexcept;
    std::int64_t shelves_used() const noexcept;
    std::int64_t spills() const noexcept; ///< how often a horizon has fallen for want of room

private:
    explicit ReadyIndex(ReadyBlock *block) noexcept : block_(block) {}
    ReadyBlock *block_;
};

} // namespace sluice::core
