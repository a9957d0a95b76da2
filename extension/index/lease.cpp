// lease: what SQL asks of the leases in the index.  A heartbeat is a store to shared memory: it writes no WAL.
//
// The functions answer for the index alone; where claims go by the tables, sql/api/55_lease.sql asks those.

#include <algorithm>

#include "core/ready_index.hpp"
#include "core/token.hpp"

#include "pg/boundary.hpp"

#include "clock.hpp"
#include "index/effects.hpp"
#include "index/lease.hpp"
#include "index/segment.hpp"
#include "index/uuid.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;
using core::Lease;

struct Tokens {
    Datum *uuids;
    int    count;
};

/// The elements of a uuid[] that are not null.
Tokens tokens_of(ArrayType *array)
{
    Tokens tokens{};
    bool  *nulls;
    int    count;
    deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &tokens.uuids, &nulls, &count);
    for (int i = 0; i < count; ++i)
        if (!nulls[i])
            tokens.uuids[tokens.count++] = tokens.uuids[i];
    return tokens;
}

bool stands(const Lease &lease)
{
    return lease.state == Lease::State::standing || lease.state == Lease::State::uncommitted;
}

const char *why_dead(const Lease &lease)
{
    switch (lease.state) {
    case Lease::State::canceled:
        return "canceled";
    case Lease::State::requeued:
        return "requeued";
    default:
        return nullptr;
    }
}

/// One lease as a row: token, run_id, queue_id, lane, attempt, claimed_at, until, reply, lease_seconds, revoked, told,
/// committed, worker_hash.
void put_row(ReturnSetInfo *result, const Lease &lease)
{
    constexpr int    columns  = 13;
    constexpr double ms_per_s = 1000;
    const char      *why      = why_dead(lease);
    Datum            values[columns]{uuid_of(lease.token),
                                     Int64GetDatum(core::token_run_id(lease.token)),
                                     Int32GetDatum(lease.queue_id),
                                     Int64GetDatum(lease.lane),
                                     Int16GetDatum(lease.attempt),
                                     TimestampTzGetDatum(lease.claimed_at),
                                     TimestampTzGetDatum(lease.deadline),
                                     Int64GetDatum(lease.reply),
                                     Float8GetDatum(lease.lease_ms / ms_per_s),
                          why == nullptr ? Datum{0} : CStringGetTextDatum(why),
                                     BoolGetDatum(lease.told),
                                     BoolGetDatum(lease.state != Lease::State::uncommitted),
                                     Int64GetDatum(static_cast<int64>(lease.worker))};
    bool             nulls[columns]{};
    nulls[7] = lease.reply < 0;
    nulls[9] = why == nullptr;
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/// How many deadlines are put right while the lock is held.
constexpr int corrections = 1000;

/// Leases that were copied under the lock, since a row may not be made there.
struct Copy {
    Lease *leases;
    int    count; ///< that were wanted; may be more than there was room for
    int    room;

    void add(const Lease &lease)
    {
        if (count < room)
            leases[count] = lease;
        ++count;
    }
};

/// Adds what `fill` finds under the lock, once more if there was no room for it.
template <typename Fill>
Copy copied(const Attached &index, Fill fill)
{
    for (int room = 64;;) {
        Copy copy{static_cast<Lease *>(palloc(sizeof(Lease) * static_cast<std::size_t>(room))), 0, room};
        LWLockAcquire(index.lease_lock(), LW_SHARED);
        fill(copy);
        LWLockRelease(index.lease_lock());
        if (copy.count <= room) {
            // As this transaction sees them: what it has ended is gone, what it has revoked is dead.
            int kept = 0;
            for (int i = 0; i < copy.count; ++i)
                if (seen_from_here(copy.leases[i]))
                    copy.leases[kept++] = copy.leases[i];
            copy.count = kept;
            return copy;
        }
        room = copy.count + 64;
        pfree(copy.leases);
    }
}

void add_to_copy(void *copy, const Lease &lease)
{
    static_cast<Copy *>(copy)->add(lease);
}

Copy copy_all(const Attached &index)
{
    return copied(index, [&](Copy &copy) {
        for (core::LeaseRef ref = index.ready.next_lease(core::nowhere); ref != core::nowhere;
             ref                = index.ready.next_lease(ref))
            copy.add(*index.ready.lease(ref));
    });
}

Copy copy_late(const Attached &index, TimestampTz as_of)
{
    core::ReadyIndex ready = index.ready;
    for (bool done = false; !done;) {
        LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
        done = ready.correct_deadlines(as_of, corrections);
        LWLockRelease(index.lease_lock());
    }
    return copied(index, [&](Copy &copy) { ready.each_late(as_of, add_to_copy, &copy); });
}

Copy copy_of_worker(const Attached &index, uint64 worker)
{
    return copied(index, [&](Copy &copy) {
        for (core::LeaseRef ref = index.ready.first_lease_of(worker); ref != core::nowhere;
             ref                = index.ready.next_lease_of(ref))
            copy.add(*index.ready.lease(ref));
    });
}

Copy copy_one(const Attached &index, const core::Token &token)
{
    Copy copy{static_cast<Lease *>(palloc(sizeof(Lease))), 0, 1};
    LWLockAcquire(index.lease_lock(), LW_SHARED);
    const core::LeaseRef ref = index.ready.find_lease(token);
    if (ref != core::nowhere)
        copy.add(*index.ready.lease(ref));
    LWLockRelease(index.lease_lock());
    if (copy.count > 0 && !seen_from_here(copy.leases[0]))
        copy.count = 0;
    return copy;
}

} // namespace

bool sluice::index::has_dead_token(const Attached &index, uint64 worker)
{
    bool found = false;
    LWLockAcquire(index.lease_lock(), LW_SHARED);
    for (core::LeaseRef ref = index.ready.first_lease_of(worker); ref != core::nowhere && !found;
         ref                = index.ready.next_lease_of(ref))
        found = !stands(*index.ready.lease(ref)) && !index.ready.lease(ref)->told;
    LWLockRelease(index.lease_lock());
    return found;
}

namespace {

/// Counts completions, those of one queue that come in a row at once.
class CountedQueue {
public:
    explicit CountedQueue(const Attached *index) : index_(index) {}

    void add(int32 queue_id)
    {
        if (queue_id != queue_id_)
            flush();
        queue_id_ = queue_id;
        ++count_;
    }
    void flush()
    {
        const core::QueueRef queue = count_ == 0 ? core::nowhere : index_->ready.find_queue(queue_id_);
        if (queue != core::nowhere)
            index_->ready.counts(queue).add(core::Count::completed, count_);
        count_ = 0;
    }

private:
    const Attached *index_;
    int32           queue_id_ = -1;
    int64           count_    = 0;
};

} // namespace

bool sluice::index::end_leases(const Datum *tokens, int count, Ended how)
{
    const Attached *index  = attach();
    const bool      serves = is_serving();
    bool            stored = false;
    CountedQueue    completed{index};

    for (int i = 0; i < count; ++i) {
        const core::Token token = token_of(tokens[i]);
        if (index != nullptr && serves) {
            LWLockAcquire(index->lease_lock(), LW_SHARED);
            const core::LeaseRef ref   = index->ready.find_lease(token);
            const bool           known = ref != core::nowhere;
            Lease                lease = known ? *index->ready.lease(ref) : Lease{};
            LWLockRelease(index->lease_lock());
            // Dead tokens have a row, also those that this transaction itself has made so.
            stored = stored || !known || !seen_from_here(lease) || lease.stored || !stands(lease);
            if (known && how == Ended::completed)
                completed.add(lease.queue_id);
        }
        end(token);
    }
    completed.flush();
    return stored || !serves;
}

void sluice::index::beat(const Attached &index, const uint64 *worker, const Datum *tokens, int count,
                         TimestampTz *until)
{
    core::ReadyIndex  ready = index.ready;
    const TimestampTz now   = clock::steady();
    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    for (int i = 0; i < count; ++i) {
        until[i]                 = 0;
        const core::LeaseRef ref = index.ready.find_lease(token_of(tokens[i]));
        if (ref == core::nowhere)
            continue;
        const Lease *lease = ready.lease(ref);
        Lease        here  = *lease;
        if ((worker != nullptr && lease->worker != *worker) || !seen_from_here(here) || !stands(here) ||
            here.expiring)
            continue;
        until[i] = TimestampTzPlusMilliseconds(now, lease->lease_ms);
        ready.set_deadline(ref, until[i]);
    }
    LWLockRelease(index.lease_lock());
}

int sluice::index::leases_of(const Attached &index, uint64 worker)
{
    int count = 0;
    LWLockAcquire(index.lease_lock(), LW_SHARED);
    for (core::LeaseRef ref = index.ready.first_lease_of(worker); ref != core::nowhere;
         ref                = index.ready.next_lease_of(ref))
        ++count;
    LWLockRelease(index.lease_lock());
    return count;
}

int sluice::index::unseen_leases(const Attached &index, uint64 worker, int64 reply, core::Token *tokens,
                                 int room)
{
    int count = 0;
    LWLockAcquire(index.lease_lock(), LW_SHARED);
    for (core::LeaseRef ref = index.ready.first_lease_of(worker); ref != core::nowhere && count < room;
         ref                = index.ready.next_lease_of(ref)) {
        const Lease &lease = *index.ready.lease(ref);
        if (lease.state == Lease::State::standing && !lease.ending && lease.reply >= 0 &&
            lease.reply <= reply)
            tokens[count++] = lease.token;
    }
    LWLockRelease(index.lease_lock());
    return count;
}

// sluice._index_end(tokens uuid[]) returns bool: their slots are free at commit.  True if one of them may have a row in the
// table of slots too.
SLUICE_FUNCTION(sluice_index_end)
{
    const Tokens tokens = tokens_of(PG_GETARG_ARRAYTYPE_P(0));
    PG_RETURN_BOOL(end_leases(tokens.uuids, tokens.count, Ended::otherwise));
}

// sluice._index_revoke(token uuid, why text) returns void: the token is dead from this commit on, its slot stays held.
SLUICE_FUNCTION(sluice_index_revoke)
{
    const char *why = text_to_cstring(PG_GETARG_TEXT_PP(1));
    revoke(token_of(PG_GETARG_DATUM(0)),
           strcmp(why, "requeued") == 0 ? Lease::State::requeued : Lease::State::canceled);
    PG_RETURN_VOID();
}

// sluice._index_beat(worker text, tokens uuid[]) returns table (token uuid, lease_until timestamptz): moves the deadlines of
// the leases that stand, and are the worker's if one is named.  Ends what _index_keeps_leases() began.
SLUICE_FUNCTION(sluice_index_beat)
{
    InitMaterializedSRF(fcinfo, 0);
    auto           *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const Attached *index  = attach();
    if (index == nullptr || PG_ARGISNULL(1))
        return Datum{0};
    const bool   any    = PG_ARGISNULL(0);
    const uint64 worker = any ? 0 : hash_of_worker(PG_GETARG_TEXT_PP(0));
    const Tokens tokens = tokens_of(PG_GETARG_ARRAYTYPE_P(1));
    auto        *until =
        static_cast<TimestampTz *>(palloc(sizeof(TimestampTz) * static_cast<std::size_t>(tokens.count + 1)));
    beat(*index, any ? nullptr : &worker, tokens.uuids, tokens.count, until);
    unlock_mode(ShareLock); // what the beat has done stands, though this transaction may go on for long
    for (int i = 0; i < tokens.count; ++i) {
        Datum values[]{tokens.uuids[i], TimestampTzGetDatum(clock::wall(until[i]))};
        bool  nulls[]{false, false};
        if (until[i] != 0)
            tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return Datum{0};
}

// sluice._index_lease(token uuid) returns setof the lease of a token; at most one row.
SLUICE_FUNCTION(sluice_index_lease)
{
    InitMaterializedSRF(fcinfo, 0);
    auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    if (const Attached *index = attach()) {
        const Copy copy = copy_one(*index, token_of(PG_GETARG_DATUM(0)));
        for (int i = 0; i < copy.count; ++i)
            put_row(result, copy.leases[i]);
    }
    return Datum{0};
}

// sluice._index_leases(worker text) returns setof leases of a worker, or all.
SLUICE_FUNCTION(sluice_index_leases)
{
    InitMaterializedSRF(fcinfo, 0);
    auto           *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const Attached *index  = attach();
    if (index == nullptr)
        return Datum{0};
    const Copy copy =
        PG_ARGISNULL(0) ? copy_all(*index) : copy_of_worker(*index, hash_of_worker(PG_GETARG_TEXT_PP(0)));
    for (int i = 0; i < copy.count; ++i)
        put_row(result, copy.leases[i]);
    return Datum{0};
}

// sluice._index_late(as_of timestamptz, wanted int) returns setof leases whose deadline is over, in order of runs.
SLUICE_FUNCTION(sluice_index_late)
{
    InitMaterializedSRF(fcinfo, 0);
    auto           *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const Attached *index  = attach();
    if (index == nullptr)
        return Datum{0};
    const TimestampTz as_of = PG_GETARG_TIMESTAMPTZ(0);
    const Copy        copy  = copy_late(*index, as_of);
    std::sort(copy.leases, copy.leases + copy.count,
              [](const Lease &a, const Lease &b) { return a.token < b.token; });
    for (int i = 0; i < std::min(copy.count, PG_GETARG_INT32(1)); ++i)
        put_row(result, copy.leases[i]);
    return Datum{0};
}

// sluice._index_end_if_late(token uuid) returns bool: is its time over?  From here on no beat is accepted for it, unless this
// transaction aborts.
SLUICE_FUNCTION(sluice_index_end_if_late)
{
    PG_RETURN_BOOL(end_if_late(token_of(PG_GETARG_DATUM(0))));
}

// sluice._index_next_deadline(as_of timestamptz) returns timestamptz: the earliest that is still to come; null without one.
SLUICE_FUNCTION(sluice_index_next_deadline)
{
    const Attached *index = attach();
    if (index == nullptr)
        PG_RETURN_NULL();
    core::ReadyIndex ready = index->ready;
    LWLockAcquire(index->lease_lock(), LW_EXCLUSIVE);
    const TimestampTz earliest = ready.next_deadline(PG_GETARG_TIMESTAMPTZ(0), corrections);
    LWLockRelease(index->lease_lock());
    if (earliest == PG_INT64_MAX)
        PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ(earliest);
}

// sluice._index_told(token uuid) returns void: the worker is told that its token is dead.
SLUICE_FUNCTION(sluice_index_told)
{
    tell(token_of(PG_GETARG_DATUM(0)));
    PG_RETURN_VOID();
}

// sluice._index_expire(token uuid) returns void: as if its worker had been silent for too long.
SLUICE_FUNCTION(sluice_index_expire)
{
    if (const Attached *index = attach()) {
        const core::Token token = token_of(PG_GETARG_DATUM(0));
        LWLockAcquire(index->lease_lock(), LW_EXCLUSIVE);
        const core::LeaseRef ref = index->ready.find_lease(token);
        if (ref != core::nowhere)
            core::ReadyIndex{index->ready}.set_deadline(ref, clock::steady() - 1);
        LWLockRelease(index->lease_lock());
    }
    PG_RETURN_VOID();
}
