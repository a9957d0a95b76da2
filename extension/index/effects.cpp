// The log of a transaction's effects, and the callbacks that undo it or make it good; see effects.hpp.
//
// Before changing the callbacks: an error in them would be a PANIC.  They allocate nothing, wait for nothing but our own
// locks, and hold one of those at a time.  The commit callback runs when the transaction has left the list of running
// ones, so whoever takes a snapshot after an effect shows sees its rows.

#include <algorithm>

#include "core/effect_log.hpp"
#include "core/ready_index.hpp"

#include "pg/boundary.hpp"

#include "clock.hpp"
#include "index/effects.hpp"
#include "news.hpp"
#include "waiters.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;
using core::Ready;

enum class Kind : uint8 {
    none,
    push,
    moved,
    end,
    expiry,
    revoke,
    told,
    claimed,
    took,
    limits,
    mode,
    feed,
    refill,
    taken
};

struct Effect {
    int            level;
    Kind           kind;
    core::Executor executor;
    int16          run_class;
    core::QueueRef queue;
    core::LeaseRef lease;
    int64          lane;
    int64          claim_key;
    int64          run_id;
    core::Token    token;
    int64          time;   ///< push: ready_at; feed: fed_until before
    uint32         detail; ///< revoke: state; mode: mode; end: had credit
    uint32         reason;
};

core::EffectLog<Effect> effects;
dsm_handle              logged_in = DSM_HANDLE_INVALID; ///< the segment that the log's numbers belong to
bool                    missed    = false;              ///< something could not be logged
bool                    wanted    = false;              ///< a wake-up, in table mode
bool                    rebuild   = false;              ///< at commit the next claim is told to build
bool                    revoked   = false;              ///< the log has, or had, a revocation

Ready ready_of(const Effect &effect)
{
    return {effect.lane, {effect.run_class, effect.claim_key, effect.run_id}, effect.executor};
}

Effect effect_of(Kind kind)
{
    Effect effect{};
    effect.level = GetCurrentTransactionNestLevel();
    effect.kind  = kind;
    effect.queue = core::nowhere;
    effect.lease = core::nowhere;
    return effect;
}

Effect effect_of(Kind kind, core::QueueRef queue, const Ready &run)
{
    Effect effect    = effect_of(kind);
    effect.queue     = queue;
    effect.lane      = run.lane;
    effect.executor  = run.executor;
    effect.run_class = run.place.run_class;
    effect.claim_key = run.place.claim_key;
    effect.run_id    = run.place.run_id;
    return effect;
}

class Locked {
public:
    Locked(LWLock *lock, LWLockMode mode) : lock_(lock) { LWLockAcquire(lock_, mode); }
    ~Locked() { LWLockRelease(lock_); }
    Locked(const Locked &)            = delete;
    Locked &operator=(const Locked &) = delete;

private:
    LWLock *lock_;
};

// --- Commit ---------------------------------------------------------------------------------------------------

/// A run that can start later.  Returns whether somebody should wake up.
bool commit_due(const Attached &index, const Effect &effect, TimestampTz now)
{
    Locked     lock(index.timer_lock(), LW_EXCLUSIVE);
    Segment   &segment = *index.segment;
    const bool earlier = effect.time < segment.next_due;
    if (effect.time <= segment.fed_until) // the clock was set back
        segment.fed_until = now;
    if (earlier)
        segment.next_due = effect.time;
    return earlier;
}

void enter(const Attached &index, const Effect &effect)
{
    core::ReadyIndex ready = index.ready;
    if (ready.push(effect.queue, ready_of(effect)) == core::Pushed::no_room)
        mark_dirty();
}

/// Returns whether somebody should wake up.
bool commit_push(const Attached &index, const Effect &effect, TimestampTz now)
{
    if (effect.time > now)
        return commit_due(index, effect, now);
    Locked lock(index.lock_of(effect.queue), LW_EXCLUSIVE);
    enter(index, effect);
    return true;
}

/// Pushes in a row that go to one queue now, in one hold of its lock.  Returns how many, at least the first.
std::size_t commit_pushes(const Attached &index, std::size_t first, TimestampTz now)
{
    constexpr std::size_t most  = 64; // of a lock
    const Effect         &begin = effects[first];
    const std::size_t     end   = std::min(effects.size(), first + most);
    std::size_t           i     = first;
    Locked                lock(index.lock_of(begin.queue), LW_EXCLUSIVE);
    for (; i < end && effects[i].kind == Kind::push && effects[i].queue == begin.queue &&
           effects[i].time <= now;
         ++i)
        enter(index, effects[i]);
    return i - first;
}

bool give_slot(const Attached &index, int32 queue_id, int64 lane)
{
    core::ReadyIndex     ready = index.ready;
    const core::QueueRef queue = ready.find_queue(queue_id);
    if (queue == core::nowhere)
        return false;
    Locked lock(index.lock_of(queue), LW_EXCLUSIVE);
    return ready.give_slot(queue, lane);
}

bool commit_end(const Attached &index, const core::Token &token)
{
    core::ReadyIndex ready = index.ready;
    core::Lease      was;
    {
        Locked               lock(index.lease_lock(), LW_EXCLUSIVE);
        const core::LeaseRef lease = ready.find_lease(token);
        if (lease == core::nowhere)
            return false;
        was = *ready.lease(lease);
        ready.drop_lease(lease);
    }
    return give_slot(index, was.queue_id, was.lane);
}

bool commit_revoke(const Attached &index, const Effect &effect)
{
    Locked               lock(index.lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = index.ready.find_lease(effect.token);
    if (ref == core::nowhere)
        return false;
    core::Lease *lease = index.ready.lease(ref);
    lease->state       = static_cast<core::Lease::State>(effect.detail);
    lease->stored      = true;
    return true;
}

void commit_taken(const Attached &index, const Effect &effect)
{
    if (effect.lease == core::nowhere)
        return;
    Locked               lock(index.lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = index.ready.find_lease(effect.token);
    if (ref != core::nowhere && index.ready.lease(ref)->state == core::Lease::State::uncommitted)
        index.ready.lease(ref)->state = core::Lease::State::standing;
}

bool commit_limits(const Attached &index, const Effect &effect)
{
    core::ReadyIndex ready = index.ready;
    Locked           lock(index.lock_of(effect.queue), LW_EXCLUSIVE);
    ready.forget_limits(effect.queue);
    return true;
}

bool takes_pushes(const Attached &index)
{
    const ClaimMode mode = index.mode();
    return mode == ClaimMode::index || mode == ClaimMode::building;
}

/// All but a run that can start now.
bool commit(const Attached &index, const Effect &effect, TimestampTz now)
{
    switch (effect.kind) {
    case Kind::push:
        return takes_pushes(index) && commit_due(index, effect, now);
    case Kind::end:
        return commit_end(index, effect.token);
    case Kind::revoke:
        return commit_revoke(index, effect);
    case Kind::limits:
        return commit_limits(index, effect);
    case Kind::taken:
        commit_taken(index, effect);
        return false;
    default:
        return false;
    }
}

// --- Abort ----------------------------------------------------------------------------------------------------

void undo_end(const Attached &index, const Effect &effect)
{
    if (effect.detail == 0)
        return;
    Locked               lock(index.lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = index.ready.find_lease(effect.token);
    if (ref != core::nowhere)
        index.ready.lease(ref)->ending = false;
}

void undo_expiry(const Attached &index, const Effect &effect)
{
    Locked               lock(index.lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = index.ready.find_lease(effect.token);
    if (ref != core::nowhere)
        index.ready.lease(ref)->expiring = false;
}

/// Its worker has not heard it: it is woken for it again.
void undo_told(const Attached &index, const Effect &effect)
{
    {
        Locked               lock(index.lease_lock(), LW_EXCLUSIVE);
        const core::LeaseRef ref = index.ready.find_lease(effect.token);
        if (ref != core::nowhere)
            index.ready.lease(ref)->told = false;
    }
    waiters::wake();
}

void undo_taken(const Attached &index, const Effect &effect)
{
    core::ReadyIndex ready     = index.ready;
    bool             has_place = true;
    if (effect.lease != core::nowhere) {
        Locked               lock(index.lease_lock(), LW_EXCLUSIVE);
        const core::LeaseRef ref = ready.find_lease(effect.token);
        has_place                = ref != core::nowhere; // else it went with the lease
        if (has_place)
            ready.drop_lease(ref);
    } else {
        ready.break_lease_promises(1);
    }
    {
        Locked             lock(index.lock_of(effect.queue), LW_EXCLUSIVE);
        const core::Pushed pushed = has_place ? ready.put_back(effect.queue, ready_of(effect))
                                              : ready.push(effect.queue, ready_of(effect));
        if (pushed == core::Pushed::no_room)
            mark_dirty();
    }
    waiters::wake();
}

void undo_feed(const Attached &index, const Effect &effect)
{
    {
        Locked   lock(index.timer_lock(), LW_EXCLUSIVE);
        Segment &segment  = *index.segment;
        segment.fed_until = std::min<TimestampTz>(segment.fed_until, effect.time);
        segment.next_due  = PG_INT64_MIN; // read again at once
    }
    pg_atomic_write_u32(&index.segment->feeding, 0);
    waiters::wake();
}

void undo_refill(const Attached &index, const Effect &effect)
{
    core::ReadyIndex   ready = index.ready;
    const core::Refill refill{
        effect.lane, {effect.run_class, effect.claim_key, effect.run_id}, effect.executor, effect.reason};
    {
        Locked lock(index.lock_of(effect.queue), LW_EXCLUSIVE);
        ready.cancel_refill(effect.queue, refill);
    }
    waiters::wake();
}

void undo(const Effect &effect)
{
    const Attached *index = attached();
    if (index == nullptr || index->database->handle != logged_in)
        return;
    switch (effect.kind) {
    case Kind::end:
        undo_end(*index, effect);
        break;
    case Kind::expiry:
        undo_expiry(*index, effect);
        break;
    case Kind::told:
        undo_told(*index, effect);
        break;
    case Kind::taken:
        undo_taken(*index, effect);
        break;
    case Kind::moved:
        (void)commit_push(*index, effect, GetCurrentTimestamp());
        waiters::wake();
        break;
    case Kind::feed:
        undo_feed(*index, effect);
        break;
    case Kind::refill:
        undo_refill(*index, effect);
        break;
    default:
        break;
    }
}

// --- The callbacks ----------------------------------------------------------------------------------------------

void forget()
{
    effects.clear(); // its memory goes with the transaction's context
    missed  = false;
    wanted  = false;
    revoked = false;
    rebuild = false;
}

void at_commit()
{
    const Attached *index = attached();
    bool            woken = wanted && (index == nullptr || index->mode() == ClaimMode::table);

    pg_memory_barrier(); // the mode is read after our rows have become visible
    if (!effects.empty()) {
        const bool        same = index != nullptr && index->database->handle == logged_in;
        const TimestampTz now  = GetCurrentTimestamp();
        for (std::size_t i = 0; i < effects.size(); ++i) {
            const Effect &effect = effects[i];
            if (effect.kind == Kind::mode) {
                if (Database *database = place_known()) {
                    pg_atomic_write_u32(&database->reason, effect.reason);
                    pg_atomic_write_u32(&database->mode, effect.detail);
                }
                woken = true;
            } else if (same && effect.kind == Kind::push && effect.time <= now) {
                const bool taken = takes_pushes(*index);
                woken |= taken;
                if (taken)
                    i += commit_pushes(*index, i, now) - 1;
            } else if (same) {
                woken |= commit(*index, effect, now);
            } else if (effect.kind != Kind::none) {
                missed = true;
            }
        }
    }
    if (missed)
        mark_dirty();
    if (rebuild && index != nullptr)
        index->segment->built_at = 0; // at once
    if (woken || missed)
        waiters::wake();
    forget();
}

/// Has this transaction claimed or ended anything, whichever way?
bool touches_attempts(const Effect &effect)
{
    switch (effect.kind) {
    case Kind::taken:
    case Kind::took:
    case Kind::end:
    case Kind::expiry:
    case Kind::revoke:
        return true;
    default:
        return false;
    }
}

/// What would be held, or left undone, until somebody commits what is prepared: slots, the mode lock, reads of the tables.  Limits
/// that are changed by another session's commit would not be known to claims until the index is built anew.
bool holds_something(const Effect &effect)
{
    switch (effect.kind) {
    case Kind::claimed:
    case Kind::mode:
    case Kind::feed:
    case Kind::refill:
    case Kind::limits:
        return true;
    case Kind::end: // of a token that was dead already it ends nothing
        return effect.detail != 0;
    default:
        return touches_attempts(effect);
    }
}

template <typename Predicate>
bool any_effect(Predicate is_it)
{
    for (std::size_t i = 0; i < effects.size(); ++i)
        if (is_it(effects[i]))
            return true;
    return false;
}

void before_prepare()
{
    if (any_effect(holds_something))
        ereport(
            ERROR, errcode(pg::errcode_prepare_refused),
            errmsg("a transaction that claimed runs, ended attempts or changed a queue cannot be prepared"),
            errdetail("Its slots would be held for as long as nobody commits it, and claims would not know "
                      "of its limits."),
            errhint("Claim, complete and define in transactions of their own; enqueues can be prepared."));
}

void at_prepare()
{
    const Attached *index = attached();
    if (index != nullptr && !effects.empty())
        pg_atomic_write_u32(&index->segment->prepared, 1);
    if (missed)
        mark_dirty();
    forget();
}

void at_end_of_transaction(XactEvent event, void *)
{
    switch (event) {
    case XACT_EVENT_COMMIT:
        at_commit();
        break;
    case XACT_EVENT_ABORT:
        effects.abort(0, undo);
        if (rebuild) { // what it read on the way, it read by definitions that never came
            mark_dirty();
            if (const Attached *index = attached())
                index->segment->built_at = 0;
        }
        forget();
        break;
    case XACT_EVENT_PRE_PREPARE:
        before_prepare();
        break;
    case XACT_EVENT_PREPARE:
        at_prepare();
        break;
    default:
        break;
    }
}

void at_end_of_subtransaction(SubXactEvent event, SubTransactionId, SubTransactionId, void *)
{
    if (effects.empty())
        return;
    if (event == SUBXACT_EVENT_ABORT_SUB)
        effects.abort(GetCurrentTransactionNestLevel(), undo);
    else if (event == SUBXACT_EVENT_COMMIT_SUB)
        effects.merge(GetCurrentTransactionNestLevel());
}

void hook()
{
    static bool hooked = false;
    if (hooked)
        return;
    RegisterXactCallback(at_end_of_transaction, nullptr);
    RegisterSubXactCallback(at_end_of_subtransaction, nullptr);
    waiters::attach();
    hooked = true;
}

/// The index to log for, with room for `count` effects; nullptr if this transaction's effects are missed.
const Attached *ready_to_log(std::size_t count)
{
    hook();
    const Attached *index = attach();
    if (index == nullptr || (!effects.empty() && logged_in != index->database->handle)) {
        missed = true;
        return nullptr;
    }
    reserve(count);
    return index;
}

void log_run(Kind kind, int32 queue_id, const Ready &run, TimestampTz ready_at)
{
    const Attached *index = ready_to_log(1);
    if (index == nullptr)
        return;
    core::ReadyIndex     ready = index->ready;
    const core::QueueRef queue = ready.make_queue(queue_id);
    if (queue == core::nowhere) {
        missed = true;
        return;
    }
    Effect effect = effect_of(kind, queue, run);
    effect.time   = ready_at;
    effects.add(effect);
}

bool has_taken(const core::Token &token) noexcept
{
    for (std::size_t i = 0; i < effects.size(); ++i)
        if (effects[i].kind == Kind::taken && effects[i].lease != core::nowhere && effects[i].token == token)
            return true;
    return false;
}

/// Of the last effect of a kind, which is then over.
void close_last(Kind kind)
{
    for (std::size_t i = effects.size(); i > 0; --i) {
        if (effects[i - 1].kind != kind)
            continue;
        effects[i - 1].kind = Kind::none;
        return;
    }
}

} // namespace

void sluice::index::reserve(std::size_t count)
{
    constexpr std::size_t least = 16;
    const std::size_t     need  = effects.size() + count;
    hook();
    if (effects.empty()) {
        const Attached *index = attached();
        logged_in             = index == nullptr ? DSM_HANDLE_INVALID : index->database->handle;
    }
    if (need <= effects.capacity())
        return;
    const std::size_t capacity = std::max({least, need, effects.capacity() * 2});
    auto             *memory =
        static_cast<Effect *>(MemoryContextAllocHuge(TopTransactionContext, capacity * sizeof(Effect)));
    if (!effects.empty())
        memcpy(static_cast<void *>(memory), &effects[0], effects.size() * sizeof(Effect));
    effects.use(memory, capacity);
}

void sluice::index::push(int32 queue_id, const core::Ready &run, TimestampTz ready_at)
{
    if (!TIMESTAMP_IS_NOBEGIN(ready_at))
        news::delayed();
    log_run(Kind::push, queue_id, run, ready_at);
}

void sluice::index::moved(int32 queue_id, const core::Ready &run, TimestampTz ready_at)
{
    log_run(Kind::moved, queue_id, run, ready_at);
}

void sluice::index::push_early(TimestampTz now)
{
    const Attached *index = attached();
    if (index == nullptr || index->database->handle != logged_in)
        return;
    for (std::size_t i = 0; i < effects.size(); ++i) {
        Effect &effect = effects[i];
        if (effect.kind != Kind::push || effect.detail != 0 || effect.time > now)
            continue;
        core::ReadyIndex ready = index->ready;
        effect.detail          = 1;
        Locked lock(index->lock_of(effect.queue), LW_EXCLUSIVE);
        if (ready.push(effect.queue, ready_of(effect)) == core::Pushed::no_room)
            mark_dirty();
    }
}

void sluice::index::end(const core::Token &token)
{
    const Attached *index = ready_to_log(1);
    if (index == nullptr)
        return;
    Effect effect = effect_of(Kind::end);
    effect.token  = token;
    LWLockAcquire(index->lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = index->ready.find_lease(token);
    if (ref != core::nowhere && !index->ready.lease(ref)->ending) {
        core::Lease *lease = index->ready.lease(ref);
        lease->ending      = true;
        effect.detail      = 1;
        effect.queue       = index->ready.find_queue(lease->queue_id);
        effect.lane        = lease->lane;
    }
    LWLockRelease(index->lease_lock());
    effects.add(effect);
}

void sluice::index::revoke(const core::Token &token, core::Lease::State why)
{
    if (ready_to_log(1) == nullptr)
        return;
    Effect effect = effect_of(Kind::revoke);
    effect.token  = token;
    effect.detail = static_cast<uint32>(why);
    effects.add(effect);
    revoked = true;
}

void sluice::index::change_limits(int32 queue_id)
{
    const Attached *index = ready_to_log(1);
    if (index == nullptr)
        return;
    core::ReadyIndex     ready = index->ready;
    const core::QueueRef queue = ready.make_queue(queue_id);
    if (queue == core::nowhere) {
        missed = true;
        return;
    }
    Effect effect = effect_of(Kind::limits);
    effect.queue  = queue;
    effects.add(effect);
}

bool sluice::index::changes_limits(core::QueueRef queue) noexcept
{
    for (std::size_t i = 0; i < effects.size(); ++i)
        if (effects[i].kind == Kind::limits && effects[i].queue == queue)
            return true;
    return false;
}

void sluice::index::change_storage()
{
    hook();
    (void)attach();
    news::delayed();
    missed  = true;
    rebuild = true;
}

void sluice::index::wake()
{
    hook();
    wanted = true;
}

void sluice::index::change_mode(ClaimMode mode, Reason reason)
{
    reserve(1);
    Effect effect = effect_of(Kind::mode);
    effect.detail = static_cast<uint32>(mode);
    effect.reason = static_cast<uint32>(reason);
    effects.add(effect);
}

bool sluice::index::changes_mode() noexcept
{
    for (std::size_t i = 0; i < effects.size(); ++i)
        if (effects[i].kind == Kind::mode)
            return true;
    return false;
}

void sluice::index::begin_feed(TimestampTz from)
{
    Effect effect = effect_of(Kind::feed);
    effect.time   = from;
    effects.add(effect);
}

void sluice::index::end_feed()
{
    close_last(Kind::feed);
}

void sluice::index::begin_refill(core::QueueRef queue, const core::Refill &refill)
{
    Effect effect = effect_of(Kind::refill, queue, {refill.lane, refill.from, refill.executor});
    effect.reason = refill.number;
    effects.add(effect);
}

void sluice::index::end_refill()
{
    close_last(Kind::refill);
}

std::size_t sluice::index::taken(core::QueueRef queue, const core::Ready &run) noexcept
{
    return effects.add(effect_of(Kind::taken, queue, run));
}

void sluice::index::leased(std::size_t number, core::LeaseRef lease, const core::Token &token) noexcept
{
    effects[number].lease = lease;
    effects[number].token = token;
}

void sluice::index::not_taken(std::size_t number) noexcept
{
    effects[number].kind = Kind::none;
}

void sluice::index::note_claim()
{
    if (any_effect([](const Effect &effect) { return effect.kind == Kind::claimed; }))
        return;
    reserve(1);
    effects.add(effect_of(Kind::claimed));
}

bool sluice::index::must_not_build() noexcept
{
    return rebuild || any_effect(touches_attempts);
}

bool sluice::index::logged_elsewhere() noexcept
{
    const Attached *index = attached();
    return index != nullptr && !effects.empty() && logged_in != index->database->handle;
}

int sluice::index::all_ends() noexcept
{
    int count = 0;
    for (std::size_t i = 0; i < effects.size(); ++i)
        count += effects[i].kind == Kind::end && effects[i].detail != 0 ? 1 : 0;
    return count;
}

int sluice::index::credits(core::QueueRef queue, core::Credit *lanes) noexcept
{
    int count = 0;
    for (std::size_t i = 0; i < effects.size(); ++i)
        if (effects[i].kind == Kind::end && effects[i].detail != 0 && effects[i].queue == queue)
            lanes[count++] = {effects[i].lane, 1};

    // Each lane once.
    std::sort(lanes, lanes + count,
              [](const core::Credit &a, const core::Credit &b) { return a.lane < b.lane; });
    int kept = 0;
    for (int i = 0; i < count; ++i) {
        if (kept > 0 && lanes[kept - 1].lane == lanes[i].lane)
            lanes[kept - 1].slots += lanes[i].slots;
        else
            lanes[kept++] = lanes[i];
    }
    return kept;
}

bool sluice::index::end_if_late(const core::Token &token)
{
    const Attached *index = ready_to_log(1);
    if (index == nullptr)
        return false;
    bool late = false;
    LWLockAcquire(index->lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = index->ready.find_lease(token);
    if (ref != core::nowhere) {
        const core::Lease *lease = index->ready.lease(ref);
        late                     = !lease->ending && lease->deadline < clock::steady();
    }
    if (late)
        index->ready.lease(ref)->expiring = true;
    LWLockRelease(index->lease_lock());
    if (late) {
        Effect effect = effect_of(Kind::expiry);
        effect.token  = token;
        effects.add(effect);
    }
    return late;
}

void sluice::index::tell(const core::Token &token)
{
    const Attached *index = attach() == nullptr ? nullptr : ready_to_log(1);
    if (index == nullptr)
        return;
    bool news = false;
    LWLockAcquire(index->lease_lock(), LW_EXCLUSIVE);
    if (const core::LeaseRef ref = index->ready.find_lease(token); ref != core::nowhere) {
        core::Lease *lease = index->ready.lease(ref);
        news               = !lease->told;
        lease->told        = true;
    }
    LWLockRelease(index->lease_lock());
    if (news) {
        Effect effect = effect_of(Kind::told);
        effect.token  = token;
        effects.add(effect);
    }
}

bool sluice::index::seen_from_here(core::Lease &lease) noexcept
{
    if (lease.state == core::Lease::State::uncommitted && !has_taken(lease.token))
        return false; // somebody else's, who may not commit
    if (!lease.ending && !revoked)
        return true;
    for (std::size_t i = 0; i < effects.size(); ++i) {
        const Effect &effect = effects[i];
        if ((effect.kind != Kind::end && effect.kind != Kind::revoke) || effect.token != lease.token)
            continue;
        if (effect.kind == Kind::end)
            return false;
        lease.state = static_cast<core::Lease::State>(effect.detail);
    }
    return true;
}

// sluice._wake() returns void: wakes waiting workers when this transaction commits, where claims go by the tables; the
// index knows by itself when there is something to wake them for.
SLUICE_FUNCTION(sluice_wake)
{
    (void)fcinfo;
    sluice::index::wake();
    PG_RETURN_VOID();
}

// sluice._index_awaits_commit() returns bool: is there anything in the log?
SLUICE_FUNCTION(sluice_index_awaits_commit)
{
    (void)fcinfo;
    PG_RETURN_BOOL(!effects.empty() || missed);
}

// sluice._index_took() returns void: this transaction has claimed runs by the tables.
SLUICE_FUNCTION(sluice_index_took)
{
    (void)fcinfo;
    sluice::index::reserve(1);
    effects.add(effect_of(Kind::took));
    PG_RETURN_VOID();
}
