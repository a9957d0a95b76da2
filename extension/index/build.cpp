// Builds the index from the tables and switches modes; see build.hpp.
//
// A build holds the mode lock alone, so no claim is in flight.  Enqueues and ends of attempts are not held up: they may
// commit at any moment of it.
//
//   1. `building` is published.  A commit before that does not push; its rows are visible to what follows.  A commit
//      after that pushes; runs that are there twice do no harm.
//   2. Ready runs are forgotten; leases and held slots stay, since ends find them by their tokens.
//   3. With one snapshot all live rows are read: queued ones are pushed, executing ones that have no lease get one.
//   4. With a second snapshot the new leases are looked at again: whoever ended such an attempt between the first
//      snapshot and the making of the lease could not find it.  Leases that no row explains are dropped.
//   5. `index` is published.
//
// Where memory does not suffice for the lanes or leases, claims go by the tables.  On the way there each executing run
// gets a row in the table of slots, which is what table claims count.

#include <algorithm>

#include "core/ready_index.hpp"
#include "core/token.hpp"

#include "pg/boundary.hpp"
#include "pg/identity.hpp"

#include "clock.hpp"
#include "index/build.hpp"
#include "index/effects.hpp"
#include "index/executor.hpp"
#include "index/segment.hpp"
#include "index/spi.hpp"
#include "index/uuid.hpp"
#include "settings.hpp"
#include "waiters.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;
using core::Lease;

/// How much of the time builds may take where something dirties the index again and again.
constexpr int64 rest_factor = 10;
constexpr int64 least_rest  = 1'000'000;

/// When the index is tried again after memory did not suffice.
constexpr int64 try_index_again_us = 300'000'000;

/// How long a build may keep its statement from a shorter statement_timeout.
constexpr int64 longest_build_ms = 600'000;

/// What is due.
enum class Change { none, build, to_table };

struct Task {
    int32          task_id;
    core::Executor executor;
    int32          lease_ms;
};

/// Sorted by task_id.
struct Tasks {
    Task  *task;
    uint64 count;

    const Task *find(int32 task_id) const
    {
        uint64 low = 0, high = count;
        while (low < high) {
            const uint64 middle = (low + high) / 2;
            if (task[middle].task_id < task_id)
                low = middle + 1;
            else
                high = middle;
        }
        return low < count && task[low].task_id == task_id ? &task[low] : nullptr;
    }
};

Tasks read_tasks()
{
    static Statement statement("select task_id, executor,"
                               "       (extract(epoch from coalesce(lease, "
                               "current_setting('sluice.default_lease')::interval)) * 1000)::int"
                               "  from sluice.task order by task_id",
                               0, nullptr);
    const uint64     rows = statement.run(nullptr);
    Tasks            tasks{static_cast<Task *>(palloc(sizeof(Task) * (rows + 1))), rows};
    for (uint64 row = 0; row < rows; ++row)
        tasks.task[row] = {DatumGetInt32(column(row, 1)), executor_named(column(row, 2)),
                           DatumGetInt32(column(row, 3))};
    SPI_freetuptable(SPI_tuptable);
    return tasks;
}

/// Tokens of the leases that a build has added.
struct Added {
    Datum *tokens;
    int    count, room;

    void add(const core::Token &token)
    {
        if (count == room) {
            room = std::max(64, room * 2);
            tokens =
                tokens == nullptr
                    ? static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<std::size_t>(room)))
                    : static_cast<Datum *>(repalloc(tokens, sizeof(Datum) * static_cast<std::size_t>(room)));
        }
        auto *uuid = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
        memcpy(uuid->data, token.data(), UUID_LEN);
        tokens[count++] = UUIDPGetDatum(uuid);
    }
};

/// Makes a lease with its slot, unless the token has one.  False: no room.
bool add_lease(const Attached &index, const Lease &lease, Added &added)
{
    core::ReadyIndex     ready = index.ready;
    const core::QueueRef queue = ready.make_queue(lease.queue_id);
    if (queue == core::nowhere)
        return false;

    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    core::LeaseRef ref   = ready.find_lease(lease.token);
    const bool     known = ref != core::nowhere;
    if (known)
        ready.lease(ref)->seen = true;
    LWLockRelease(index.lease_lock());
    if (known)
        return true;

    // The slot first: an end that finds the lease gives it back.
    LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
    const bool room = ready.take_slot(queue, lease.lane);
    LWLockRelease(index.lock_of(queue));
    if (!room)
        return false;
    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    ref = ready.add_lease(lease);
    LWLockRelease(index.lease_lock());
    if (ref == core::nowhere) {
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        (void)ready.give_slot(queue, lease.lane);
        LWLockRelease(index.lock_of(queue));
        return false;
    }
    added.add(lease.token);
    return true;
}

void drop_lease(const Attached &index, const core::Token &token)
{
    core::ReadyIndex ready = index.ready;
    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = ready.find_lease(token);
    if (ref == core::nowhere) {
        LWLockRelease(index.lease_lock());
        return;
    }
    const Lease was = *ready.lease(ref);
    ready.drop_lease(ref);
    LWLockRelease(index.lease_lock());

    const core::QueueRef queue = ready.find_queue(was.queue_id);
    LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
    (void)ready.give_slot(queue, was.lane);
    LWLockRelease(index.lock_of(queue));
}

/// All live runs: hints for the queued, leases for the executing.  False: no room.
bool read_runs(const Attached &index, const Tasks &tasks, TimestampTz now, Added &added)
{
    static Statement statement(
        "select r.queue_id, r.lane, r.class, r.claim_key, r.run_id, coalesce(r.due_at, '-infinity'),"
        "       r.task_id, r.status,"
        "       r.token, r.worker, r.claimed_at, r.attempt"
        "  from sluice.run as r where r.finished_at is null"
        " order by r.queue_id, r.lane, r.class, r.claim_key, r.run_id",
        0, nullptr);
    constexpr long  rows_at_once = 2000;
    constexpr int64 us_per_ms    = 1000;

    core::ReadyIndex ready  = index.ready;
    Portal           portal = statement.open(nullptr);
    bool             fits   = true;
    MemoryContext    scratch =
        AllocSetContextCreate(CurrentMemoryContext, "sluice build", ALLOCSET_DEFAULT_SIZES);
    for (;;) {
        SPI_cursor_fetch(portal, true, rows_at_once);
        const uint64 rows = SPI_processed;
        for (uint64 row = 0; row < rows && fits; ++row) {
            const int32 queue_id = DatumGetInt32(column(row, 1));
            const Task *task     = tasks.find(DatumGetInt32(column(row, 7)));
            if (task == nullptr)
                continue; // check() reports it
            const core::Ready run{DatumGetInt64(column(row, 2)),
                                  {DatumGetInt16(column(row, 3)), DatumGetTimestampTz(column(row, 4)),
                                   DatumGetInt64(column(row, 5))},
                                  task->executor};
            bool              no_token, no_worker;
            const Datum       token  = column(row, 9, &no_token);
            const Datum       worker = column(row, 10, &no_worker);
            if (!no_token) {
                Lease lease{};
                lease.token      = token_of(token);
                lease.worker     = no_worker ? 0 : hash_of_worker(DatumGetTextPP(worker));
                lease.lane       = run.lane;
                lease.queue_id   = queue_id;
                lease.claimed_at = DatumGetTimestampTz(column(row, 11));
                lease.lease_ms   = task->lease_ms;
                lease.deadline   = clock::steady() + lease.lease_ms * us_per_ms; // one more period
                lease.reply      = -1;
                lease.attempt    = DatumGetInt16(column(row, 12));
                lease.state      = Lease::State::standing;
                lease.seen       = true;
                fits             = add_lease(index, lease, added);
                continue;
            }
            if (DatumGetTimestampTz(column(row, 6)) > now)
                continue; // fed when it is due
            const core::QueueRef queue = ready.make_queue(queue_id);
            fits                       = queue != core::nowhere;
            if (!fits)
                break;
            LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
            fits = ready.push(queue, run) != core::Pushed::no_room;
            LWLockRelease(index.lock_of(queue));
        }
        SPI_freetuptable(SPI_tuptable);
        MemoryContextReset(scratch);
        CHECK_FOR_INTERRUPTS();
        if (rows == 0 || !fits)
            break;
    }
    MemoryContextDelete(scratch);
    SPI_cursor_close(portal);
    return fits;
}

/// The table of slots: of standing leases the reply and the deadline, and those that are dead but held.
/// In table mode the stored deadline is the one that beats move.  Else it may be one of an earlier time in that mode, and
/// beats have moved the one in memory since, which is never shortened then.
bool read_slots(const Attached &index, ClaimMode before, Added &added)
{
    static Statement statement(
        "select s.token, s.queue_id, s.lane, s.worker, s.claimed_at, s.reply, s.lease_seconds,"
        "       s.attempt, s.revoked, s.told, l.until"
        "  from sluice.slot as s left join sluice.lease as l on l.token = s.token",
        0, nullptr);
    constexpr double ms_per_s = 1000;

    const uint64 rows = statement.run(nullptr);
    bool         fits = true;
    for (uint64 row = 0; row < rows && fits; ++row) {
        bool        no_reply, not_revoked, no_deadline;
        const Datum reply   = column(row, 6, &no_reply);
        const Datum revoked = column(row, 9, &not_revoked);
        const Datum until   = column(row, 11, &no_deadline);
        Lease       lease{};
        lease.token = token_of(column(row, 1));
        if (!not_revoked) {
            lease.worker     = hash_of_worker(DatumGetTextPP(column(row, 4)));
            lease.lane       = DatumGetInt64(column(row, 3));
            lease.queue_id   = DatumGetInt32(column(row, 2));
            lease.claimed_at = DatumGetTimestampTz(column(row, 5));
            lease.lease_ms   = static_cast<int32>(DatumGetFloat8(column(row, 7)) * ms_per_s);
            lease.deadline   = TimestampTzPlusMilliseconds(clock::steady(), lease.lease_ms);
            lease.attempt    = DatumGetInt16(column(row, 8));
            lease.state      = text_to_cstring(DatumGetTextPP(revoked))[0] == 'r' ? Lease::State::requeued
                                                                                  : Lease::State::canceled;
            lease.told       = DatumGetBool(column(row, 10));
            lease.seen       = true;
            lease.reply      = -1;
            fits             = add_lease(index, lease, added);
        }
        LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
        const core::LeaseRef ref = index.ready.find_lease(lease.token);
        if (ref != core::nowhere) {
            Lease *known  = index.ready.lease(ref);
            known->stored = true;
            if (!not_revoked) { // by a cancel that was committed before we made the lease
                known->state = lease.state;
                known->told  = lease.told;
            }
            known->reply = no_reply ? known->reply : DatumGetInt64(reply);
            if (!no_deadline && (before == ClaimMode::table || known->deadline < DatumGetTimestampTz(until)))
                core::ReadyIndex{index.ready}.set_deadline(ref, DatumGetTimestampTz(until));
        }
        LWLockRelease(index.lease_lock());
    }
    SPI_freetuptable(SPI_tuptable);
    return fits;
}

/// Drops the added leases that were ended while they were made: of no executing run, and with no dead token whose place
/// is held.
void look_again(const Attached &index, const Added &added)
{
    static const Oid types[] = {UUIDARRAYOID};
    static Statement statement(
        "select u from unnest($1) as u"
        " where not exists (select from sluice.run as r where r.run_id = sluice._token_run(u)"
        "                      and r.token = u and r.status = 'executing')"
        "   and not exists (select from sluice.slot as s where s.token = u and s.revoked is not null)",
        1, types);
    if (added.count == 0)
        return;
    const Datum tokens[] = {
        PointerGetDatum(construct_array(added.tokens, added.count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR))};
    const uint64 rows = statement.run(tokens);
    for (uint64 row = 0; row < rows; ++row)
        drop_lease(index, token_of(column(row, 1)));
    SPI_freetuptable(SPI_tuptable);
}

void forget_marks(const Attached &index)
{
    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    for (core::LeaseRef ref = index.ready.next_lease(core::nowhere); ref != core::nowhere;
         ref                = index.ready.next_lease(ref))
        index.ready.lease(ref)->seen = false;
    LWLockRelease(index.lease_lock());
}

/// Leases that no row explains: of a table that was truncated, or whose end is just being applied.
void drop_unseen(const Attached &index)
{
    const int room = index.ready.lease_count() + 64;
    auto *unseen   = static_cast<core::Token *>(palloc(sizeof(core::Token) * static_cast<std::size_t>(room)));
    int   count    = 0;
    LWLockAcquire(index.lease_lock(), LW_SHARED);
    for (core::LeaseRef ref = index.ready.next_lease(core::nowhere); ref != core::nowhere && count < room;
         ref                = index.ready.next_lease(ref))
        if (!index.ready.lease(ref)->seen)
            unseen[count++] = index.ready.lease(ref)->token;
    LWLockRelease(index.lease_lock());
    for (int i = 0; i < count; ++i)
        drop_lease(index, unseen[i]);
}

void clear_ready_runs(const Attached &index)
{
    core::ReadyIndex ready = index.ready;
    for (core::QueueRef queue = 0; queue < static_cast<core::QueueRef>(ready.queue_count()); ++queue) {
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        ready.clear(queue);
        ready.forget_limits(queue);
        LWLockRelease(index.lock_of(queue));
    }
}

/// So few places for leases are left that claims should go by the tables, while those in flight still find one.
int lease_reserve(const Attached &index)
{
    constexpr int part = 16;
    return std::max(1, index.ready.lease_places() / part);
}

/// Leases and their slots for a fresh segment.  Open transactions that end one of them log elsewhere, so they mark the fresh
/// one dirty instead; a beat that still goes to the old one is made good by one more period.
bool copy_leases(const Attached &old, core::ReadyIndex fresh)
{
    constexpr int64   us_per_ms = 1000;
    const TimestampTz now       = clock::steady();
    if (fresh.queue_room() < old.ready.queue_room() || fresh.lease_places() < old.ready.lease_places())
        return false;
    for (core::LeaseRef ref = old.ready.next_lease(core::nowhere); ref != core::nowhere;
         ref                = old.ready.next_lease(ref)) {
        Lease lease    = *old.ready.lease(ref);
        lease.deadline = std::max(lease.deadline, now + lease.lease_ms * us_per_ms);
        lease.ending   = false;
        lease.expiring = false;

        const core::QueueRef queue = fresh.make_queue(lease.queue_id);
        if (queue == core::nowhere || !fresh.take_slot(queue, lease.lane) ||
            fresh.add_lease(lease) == core::nowhere)
            return false;
    }
    return true;
}

/// A queue keeps its place for the life of a segment, since open transactions have logged it.  So when all places are
/// taken, and by queues that were dropped too, a fresh segment has room again.  Under the mode lock alone.
void make_places_for_queues(const Attached &index)
{
    static Statement statement("select count(*) from sluice.queue where dropped_at is null", 0, nullptr);
    if (index.ready.queue_count() < index.ready.queue_room())
        return;
    connect();
    (void)statement.run(nullptr);
    const int64 queues = DatumGetInt64(column(0, 1));
    SPI_finish();
    if (queues < index.ready.queue_room())
        (void)renew(copy_leases);
}

void set_mode(Database *database, ClaimMode mode, Reason reason)
{
    pg_atomic_write_u32(&database->reason, static_cast<uint32>(reason));
    pg_atomic_write_u32(&database->mode, static_cast<uint32>(mode));
    pg_memory_barrier();
}

/// The first due time after `now`.
TimestampTz first_due(TimestampTz now)
{
    static const Oid  types[] = {TIMESTAMPTZOID};
    static Statement  statement("select r.due_at from sluice.run as r"
                                 " where r.finished_at is null and r.due_at > $1 order by r.due_at limit 1",
                                1, types);
    const Datum       after[] = {TimestampTzGetDatum(now)};
    const TimestampTz due     = statement.run(after) == 1 ? DatumGetTimestampTz(column(0, 1)) : PG_INT64_MAX;
    SPI_freetuptable(SPI_tuptable);
    return due;
}

/// Of the numbers of the transactions that are prepared in this database now; 0 if there are none.  Connected to SPI.
int64 sum_of_prepared()
{
    static Statement statement(
        "select coalesce(sum(transaction::text::bigint), 0)::bigint from pg_catalog.pg_prepared_xacts"
        " where database = pg_catalog.current_database()",
        0, nullptr);
    (void)statement.run(nullptr);
    const int64 sum = DatumGetInt64(column(0, 1));
    SPI_freetuptable(SPI_tuptable);
    return sum;
}

/// Under the mode lock alone.  False: memory does not suffice.
bool build(const Attached &index)
{
    Segment          &segment = *index.segment;
    const TimestampTz now     = GetCurrentTimestamp();
    const ClaimMode   before  = index.mode();
    bool              fits    = false;

    set_mode(index.database, ClaimMode::building, Reason::none);
    PG_TRY();
    {
        connect();
        segment.built_dirty = pg_atomic_read_u32(&index.database->dirty);
        segment.storage     = get_relname_relid("run", pg::extension_schema());
        forget_marks(index);
        clear_ready_runs(index);
        LWLockAcquire(index.timer_lock(), LW_EXCLUSIVE);
        segment.fed_until = now;
        segment.next_due  = PG_INT64_MAX;
        LWLockRelease(index.timer_lock());

        Added       added{};
        const Tasks tasks = read_tasks();
        fits              = read_runs(index, tasks, now, added) && read_slots(index, before, added);
        // The slots once more: a run that was canceled while its lease was made is explained by them.
        fits = fits && read_slots(index, before, added);
        if (fits) {
            look_again(index, added);
            drop_unseen(index);
            const TimestampTz due = first_due(now);
            LWLockAcquire(index.timer_lock(), LW_EXCLUSIVE);
            segment.next_due = std::min(segment.next_due, due);
            LWLockRelease(index.timer_lock());
            // Prepared before the server started, perhaps: nobody but us knows.
            segment.prepared_sum = sum_of_prepared();
            if (segment.prepared_sum != 0)
                pg_atomic_write_u32(&segment.prepared, 1);
        }
        SPI_finish();
        // If they would run short soon again, claims had better stay with the tables.
        fits = fits && (before == ClaimMode::index || index.ready.lease_room() > 2 * lease_reserve(index));
    }
    PG_CATCH();
    {
        set_mode(index.database, before == ClaimMode::table ? ClaimMode::table : ClaimMode::unbuilt,
                 Reason::none);
        PG_RE_THROW();
    }
    PG_END_TRY();

    if (!fits) {
        mark_dirty(); // it was cleared already
        set_mode(index.database, before, Reason::memory);
        return false;
    }
    segment.due_since = 0;
    segment.built_at  = clock::steady();
    segment.build_us  = segment.built_at - now;
    pg_atomic_fetch_add_u64(&segment.builds, 1);
    set_mode(index.database, ClaimMode::index, Reason::none);
    waiters::wake();
    return true;
}

/// Is there an executing run without a row in the table of slots, or one whose deadline has moved in memory since?
bool lacks_slots()
{
    static Statement statement(
        "select exists (select from sluice.run as r where r.finished_at is null and r.status = 'executing'"
        "               and not exists (select from sluice.slot as s where s.token = r.token))"
        "    or exists (select from sluice.lease as l join sluice._index_leases(null) as i"
        "                on i.lease_token = l.token where l.until < i.until)",
        0, nullptr);
    connect();
    (void)statement.run(nullptr);
    const bool lacks = DatumGetBool(column(0, 1));
    SPI_finish();
    return lacks;
}

void set_all_stored(const Attached &index)
{
    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    for (core::LeaseRef ref = index.ready.next_lease(core::nowhere); ref != core::nowhere;
         ref                = index.ready.next_lease(ref))
        index.ready.lease(ref)->stored =
            true; // whoever ends it looks for its row, also before the mode shows
    LWLockRelease(index.lease_lock());
}

enum class Switched { not_due, no, now, at_commit };

/// Gives each executing run a row in the table of slots; then claims of this transaction go by the tables, and those of all
/// from its commit on, or at once if no row was needed.  Under the mode lock alone.
Switched go_to_table(Database *database, Reason reason, bool urgent)
{
    static const Oid types[] = {BOOLOID};
    static Statement statement("select sluice._write_slots($1)", 1, types);
    const Attached  *index    = attached();
    const Datum      values[] = {BoolGetDatum(urgent)};

    if (!lacks_slots()) {
        if (index != nullptr)
            index->segment->switched_at = clock::steady();
        set_mode(database, ClaimMode::table, reason);
        return Switched::now;
    }
    // Others would wait for as long as a transaction block stays open.
    if (!urgent && IsTransactionBlock())
        return Switched::no;
    if (index != nullptr)
        index->segment->switched_at = clock::steady();
    connect();
    (void)statement.run(values);
    const bool all = DatumGetInt32(column(0, 1)) >= 0;
    SPI_finish();
    if (!all)
        return Switched::no;
    if (index != nullptr)
        set_all_stored(*index);
    change_mode(ClaimMode::table, reason);
    return Switched::at_commit;
}

bool rested(const Segment &segment)
{
    return clock::steady() > segment.built_at + std::max(least_rest, rest_factor * segment.build_us);
}

Change due_change(Database *database, const Attached *index)
{
    const auto mode   = static_cast<ClaimMode>(pg_atomic_read_u32(&database->mode));
    const auto reason = static_cast<Reason>(pg_atomic_read_u32(&database->reason));
    if (index == nullptr || index_memory_bytes() == 0)
        return mode == ClaimMode::table ? Change::none : Change::to_table;
    if (mode == ClaimMode::table)
        return reason == Reason::memory && clock::steady() < index->segment->switched_at + try_index_again_us
                   ? Change::none
                   : Change::build;
    if (mode != ClaimMode::index ||
        index->segment->storage != get_relname_relid("run", pg::extension_schema()))
        return Change::build;
    if (index->ready.lease_room() <= lease_reserve(*index))
        return clock::steady() > index->segment->switched_at + least_rest ? Change::to_table : Change::none;
    return index->is_dirty() && rested(*index->segment) ? Change::build : Change::none;
}

/// Claims that begin now let a build that has been due for long have its turn, for a moment.
void wait_at_gate(const Segment &segment)
{
    constexpr long nap_us = 1000;
    while (!must_not_build() && clock::steady() < segment.gate_until) {
        pg_usleep(nap_us);
        CHECK_FOR_INTERRUPTS();
    }
}

/// After seconds in which there was always a claim open: holds new ones up until those that are open have ended, for a
/// fraction of a second and not often, as somebody may keep one open for hours.
bool lock_behind_gate(Segment &segment)
{
    constexpr int64   patience_us = 2'000'000;
    constexpr int64   gate_us     = 300'000;
    constexpr long    nap_us      = 1000;
    const TimestampTz now         = clock::steady();
    if (segment.due_since == 0)
        segment.due_since = now;
    if (now < segment.due_since + patience_us)
        return false;
    segment.due_since  = now; // the next time so much later
    segment.gate_until = now + gate_us;
    bool locked        = false;
    while (!locked && clock::steady() < segment.gate_until) {
        pg_usleep(nap_us);
        CHECK_FOR_INTERRUPTS();
        locked = try_lock_mode(ExclusiveLock);
    }
    segment.gate_until = 0;
    return locked;
}

/// Without it claims would be wrong, so they wait; otherwise it may be done later.
bool is_urgent(Database *database)
{
    const auto mode = static_cast<ClaimMode>(pg_atomic_read_u32(&database->mode));
    return mode == ClaimMode::unbuilt || mode == ClaimMode::building;
}

bool goes_by_index(Database *database)
{
    return static_cast<ClaimMode>(pg_atomic_read_u32(&database->mode)) == ClaimMode::index;
}

/// What is due, under the mode lock alone: somebody else may have done it meanwhile.
Switched change_ways(Database *database, const Attached *index)
{
    Change change = due_change(database, index);
    if (change == Change::build) {
        make_places_for_queues(*index);
        if (!build(*index))
            change = Change::to_table;
    }
    if (change != Change::to_table)
        return Switched::not_due;
    return go_to_table(database, index_memory_bytes() == 0 ? Reason::setting : Reason::memory,
                       is_urgent(database));
}

void say_how_to_build(void *)
{
    errcontext("making the ready index from the tables");
    if (geterrcode() == ERRCODE_QUERY_CANCELED)
        errhint("The next claim begins it anew. If it never gets done, have it made in a session that nobody "
                "cancels: select from sluice.claim('nobody', '{}').");
}

/// A build takes longer than some sessions' statement_timeout.  If it were canceled by that, the next session would begin
/// it anew, and so on: no run would be claimed.  So its time does not count, within bounds.
template <typename Work>
auto without_timeout(Work work)
{
    constexpr long    us_per_ms = 1000;
    const TimestampTz finish =
        get_timeout_active(STATEMENT_TIMEOUT) ? get_timeout_finish_time(STATEMENT_TIMEOUT) : 0;
    const long left_ms = finish == 0 ? 0 : std::max(1L, (finish - clock::steady()) / us_per_ms);
    const bool held    = left_ms != 0 && left_ms < longest_build_ms;
    const auto limit   = [](long ms) {
        disable_timeout(STATEMENT_TIMEOUT, false);
        enable_timeout_after(STATEMENT_TIMEOUT, static_cast<int>(ms));
    };
    decltype(work()) done{};

    ErrorContextCallback context{error_context_stack, say_how_to_build, nullptr};
    error_context_stack = &context;
    if (held)
        limit(longest_build_ms);
    PG_TRY();
    {
        done = work();
    }
    PG_FINALLY();
    {
        if (held)
            limit(left_ms);
    }
    PG_END_TRY();
    error_context_stack = context.previous; // after the try, whose end sets it to what it found
    return done;
}

} // namespace

void sluice::index::look_at_prepared(const Attached &index)
{
    Segment          &segment = *index.segment;
    const TimestampTz now     = clock::steady();
    if (pg_atomic_read_u32(&segment.prepared) == 0 || now < segment.prepared_at + least_rest)
        return;
    segment.prepared_at = now;
    pg_atomic_write_u32(&segment.prepared, 0);
    connect();
    const int64 sum = sum_of_prepared();
    SPI_finish();
    if (sum != 0)
        pg_atomic_write_u32(&segment.prepared, 1);
    if (sum != segment.prepared_sum || sum == 0)
        mark_dirty();
    segment.prepared_sum = sum;
}

Way sluice::index::enter()
{
    Database *database = place();
    if (changes_mode())
        return Way::table;
    if (database == nullptr) {
        if (!RecoveryInProgress())
            lock_mode(ShareLock); // another session may yet find a place and build
        return Way::table;
    }
    const Attached *index = attach();
    if (index == nullptr && database->handle != DSM_HANDLE_INVALID)
        ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("this session cannot reach the ready index"),
                errdetail("Others claim by it: %s.", why_none()), errhint("Reconnect and try again."));
    if (index != nullptr)
        look_at_prepared(*index);

    if (index != nullptr)
        wait_at_gate(*index->segment);
    lock_mode(ShareLock);
    const auto as_it_is = [&] {
        if (goes_by_index(database) && logged_elsewhere()) {
            unlock_mode(ShareLock);
            return Way::none;
        }
        note_claim();
        return goes_by_index(database) ? Way::index : Way::table;
    };
    for (;;) {
        if (due_change(database, index) == Change::none)
            return as_it_is();
        // A build would take what this transaction has done for done, and what it has ended for ended.
        if (must_not_build()) {
            if (!is_urgent(database))
                return as_it_is();
            unlock_mode(ShareLock);
            return Way::none;
        }

        if (is_urgent(database)) {
            unlock_mode(ShareLock);
            lock_mode(ExclusiveLock);
            lock_mode(ShareLock);
        } else if (!try_lock_mode(ExclusiveLock) &&
                   !(index != nullptr && lock_behind_gate(*index->segment))) {
            return as_it_is();
        }

        const Switched done = without_timeout([&] { return change_ways(database, index); });
        if (done != Switched::not_due) {
            if (done == Switched::at_commit)
                return Way::table; // with the lock, which nobody may share before this commits
            unlock_mode(ExclusiveLock);
            return as_it_is();
        }
        unlock_mode(ExclusiveLock);
    }
}

Due sluice::index::due()
{
    Database *database = place();
    if (database == nullptr || due_change(database, attach()) == Change::none)
        return Due::nothing;
    return is_urgent(database) ? Due::now : Due::later;
}

void sluice::index::enter_if_unbuilt()
{
    // Not where its snapshots do not move, or what it ended itself would not be taken for ended by others.
    if (due() == Due::now && !must_not_build() && !XactReadOnly && !IsolationUsesXactSnapshot())
        (void)enter();
}

Leases sluice::index::keep_leases()
{
    enter_if_unbuilt();
    if (changes_mode())
        return Leases::in_tables; // it has the lock alone
    Database *database = place();
    if (database == nullptr && RecoveryInProgress())
        return Leases::in_tables;
    lock_mode(ShareLock);
    if (is_serving())
        return Leases::in_index;
    const bool known = database == nullptr ||
                       static_cast<ClaimMode>(pg_atomic_read_u32(&database->mode)) == ClaimMode::table;
    return known ? Leases::in_tables : Leases::unknown;
}

bool sluice::index::settle()
{
    if (due() == Due::nothing)
        return true;
    if (must_not_build() || XactReadOnly || IsolationUsesXactSnapshot())
        return false;
    (void)enter();
    return due() == Due::nothing;
}

// sluice._index_before_end() returns void: a transaction that ends an attempt before anybody has claimed since the server
// started builds the index first, so that it can claim too.
SLUICE_FUNCTION(sluice_index_before_end)
{
    (void)fcinfo;
    sluice::index::enter_if_unbuilt();
    PG_RETURN_VOID();
}

// sluice._index_keeps_leases() returns bool: are leases in the index, and stay there to the end of this transaction?  False: in
// the tables.  Null: that is not known.
SLUICE_FUNCTION(sluice_index_keeps_leases)
{
    const Leases leases = sluice::index::keep_leases();
    if (leases == Leases::unknown)
        PG_RETURN_NULL();
    PG_RETURN_BOOL(leases == Leases::in_index);
}

// sluice._index_serves() returns bool: are leases in the index?  Who asks first after a start of the server builds it.
SLUICE_FUNCTION(sluice_index_serves)
{
    (void)fcinfo;
    sluice::index::enter_if_unbuilt();
    PG_RETURN_BOOL(sluice::index::is_serving());
}
