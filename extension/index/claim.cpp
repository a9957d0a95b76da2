// claim: takes runs out of the index for a worker, and says what became of each.
//
// A claim goes in four steps, which sql/api/52_index.sql calls in turn:
//
//   _index_pop      takes hints out of the index, each with a slot; feeds it with runs that fell due, and refills
//                   shelves from the table, as needed
//   _index_matches  is a row still what the hint said?  Asked by the statement that locks the rows
//   _index_hold     the row is the claim's now: its lease
//   _index_close    what remains of the hints: of a row that somebody has locked it is parked, otherwise dropped
//
// The rows decide, the hints only say where to look.  After the pop, statements take new snapshots, so that what was
// pushed at somebody's commit is seen.

#include <algorithm>

#include "core/lane.hpp"
#include "core/ready_index.hpp"
#include "core/token.hpp"

#include "pg/boundary.hpp"

#include "index/claim.hpp"
#include "index/effects.hpp"
#include "index/executor.hpp"
#include "index/segment.hpp"
#include "index/spi.hpp"
#include "waiters.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;
using core::Ready;

/// How long a run rests whose row was locked by somebody else.
constexpr int64 park_us = 100'000;

/// How many rows a refill reads, and how many due runs a feed.
constexpr int32 refill_rows = 1000;
constexpr int32 feed_rows   = 5000;

/// How long a call waits for somebody else's refill that is all it could get from.
constexpr int  busy_rounds  = 100;
constexpr long busy_wait_us = 1000;

/// What this claim has popped; lives in the transaction's context until the next claim.
struct Popped {
    Ready          run;
    core::QueueRef queue;
    std::size_t    effect;
    bool           open;    ///< not held, parked or dropped yet
    bool           matched; ///< its row is where it says
};

Popped *popped      = nullptr;
int     popped_size = 0;
int    *by_run      = nullptr; ///< numbers of `popped`, in order of run ids

// --- The tables --------------------------------------------------------------------------------------------------

/// The tasks of an executor as an int4[] for `= any`; null where every task has it.
Datum tasks_of(core::Executor executor, bool *is_all)
{
    static const Oid types[] = {TEXTARRAYOID};
    static Statement statement("select sluice._task_ids($1)", 1, types);
    Datum            name    = CStringGetTextDatum(name_of(executor));
    const Datum      names[] = {PointerGetDatum(construct_array(&name, 1, TEXTOID, -1, false, TYPALIGN_INT))};
    statement.run(names);
    return column(0, 1, is_all);
}

/// Limits as the table has them for this transaction; a queue that is not there is as one that is paused.
core::Limits read_limits(const Attached &index, core::QueueRef queue)
{
    static const Oid types[] = {INT4OID};
    static Statement statement("select concurrency, key_concurrency, paused_at is not null"
                               " from sluice.queue where queue_id = $1",
                               1, types);

    const Datum  values[] = {Int32GetDatum(index.ready.queue_id(queue))};
    core::Limits limits{.concurrency = 0, .key_concurrency = 0, .paused = true};
    if (statement.run(values) == 1) {
        bool no_limit, no_key_limit;
        limits.concurrency     = DatumGetInt32(column(0, 1, &no_limit));
        limits.key_concurrency = DatumGetInt32(column(0, 2, &no_key_limit));
        limits.paused          = DatumGetBool(column(0, 3));
        if (no_limit)
            limits.concurrency = core::unlimited;
        if (no_key_limit)
            limits.key_concurrency = core::unlimited;
    }
    SPI_freetuptable(SPI_tuptable);
    return limits;
}

/// Has the index know a queue's limits; read again if they change meanwhile.  Not for a transaction that has changed them.
void load_limits(const Attached &index, core::QueueRef queue)
{
    core::ReadyIndex ready   = index.ready;
    bool             current = false;
    while (!current) {
        LWLockAcquire(index.lock_of(queue), LW_SHARED);
        current              = ready.is_known(queue);
        const uint32 version = ready.limits_version(queue);
        LWLockRelease(index.lock_of(queue));
        if (current)
            return;

        const core::Limits limits = read_limits(index, queue);
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        current = version == ready.limits_version(queue);
        if (current)
            ready.set_limits(queue, limits);
        LWLockRelease(index.lock_of(queue));
    }
}

/// Reads one class of a lane from a place on.  Returns the first place that was not read.
core::Place refill_class(const Attached &index, core::QueueRef queue, const core::Refill &refill,
                         int16 run_class, Datum tasks, bool all_tasks, TimestampTz now, int32 *left)
{
    static const Oid types[] = {INT4OID, INT8OID,        INT2OID,      TIMESTAMPTZOID,
                                INT8OID, TIMESTAMPTZOID, INT4ARRAYOID, INT4OID};
    static Statement statement(
        "select r.claim_key, r.run_id from sluice.run as r"
        " where r.finished_at is null and r.queue_id = $1 and r.lane = $2 and r.class = $3"
        "   and (r.claim_key, r.run_id) >= ($4, $5) and r.claim_key <= $6 and r.ready_at <= $6"
        "   and r.status = 'queued' and ($7 is null or r.task_id = any ($7))"
        " order by r.claim_key, r.run_id limit $8",
        8, types);

    const bool   first    = run_class == refill.from.run_class;
    const Datum  values[] = {Int32GetDatum(index.ready.queue_id(queue)),
                             Int64GetDatum(refill.lane),
                             Int16GetDatum(run_class),
                             TimestampTzGetDatum(first && refill.from.claim_key != PG_INT64_MIN
                                                     ? refill.from.claim_key
                                                     : DT_NOBEGIN),
                             Int64GetDatum(first ? refill.from.run_id : PG_INT64_MIN),
                             TimestampTzGetDatum(now),
                             tasks,
                             Int32GetDatum(*left)};
    const char   nulls[]  = {' ', ' ', ' ', ' ', ' ', ' ', all_tasks ? 'n' : ' ', ' ', '\0'};
    const uint64 rows     = statement.run(values, nulls);

    core::ReadyIndex ready = index.ready;
    core::Place      next  = core::no_place;
    constexpr uint64 batch = 64; // of a lock
    for (uint64 row = 0; row < rows && next == core::no_place; row += batch) {
        core::Place  found[batch];
        const uint64 count = std::min(batch, rows - row);
        for (uint64 i = 0; i < count; ++i)
            found[i] = {run_class, DatumGetTimestampTz(column(row + i, 1)),
                        DatumGetInt64(column(row + i, 2))};
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        for (uint64 i = 0; i < count; ++i) {
            if (ready.refill(queue, refill, found[i]))
                continue;
            next = found[i];
            break;
        }
        LWLockRelease(index.lock_of(queue));
    }
    if (next == core::no_place && rows == static_cast<uint64>(*left)) // there may be more
        next = {run_class, DatumGetTimestampTz(column(rows - 1, 1)), DatumGetInt64(column(rows - 1, 2)) + 1};
    *left -= static_cast<int32>(rows);
    SPI_freetuptable(SPI_tuptable);
    return next;
}

void refill_shelf(const Attached &index, core::QueueRef queue, const core::Refill &refill)
{
    constexpr int16   last_class = 2;
    const TimestampTz now        = GetCurrentTimestamp();
    int32             left       = refill_rows;
    bool              all_tasks  = false;
    const Datum       tasks      = tasks_of(refill.executor, &all_tasks);
    core::Place       next       = core::no_place;
    for (int16 run_class = std::max<int16>(0, refill.from.run_class); run_class <= last_class; ++run_class) {
        next = refill_class(index, queue, refill, run_class, tasks, all_tasks, now, &left);
        if (next != core::no_place)
            break;
    }

    core::ReadyIndex ready = index.ready;
    LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
    ready.end_refill(queue, refill, next);
    LWLockRelease(index.lock_of(queue));
    end_refill();
    pg_atomic_fetch_add_u64(&index.segment->refills, 1);
    waiters::wake(); // who looked meanwhile passed it over
}

} // namespace

void sluice::index::feed(const Attached &index)
{
    static const Oid types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
    static Statement fell_due(
        "select r.queue_id, r.lane, r.class, r.claim_key, r.run_id, t.executor, r.due_at"
        " from sluice.run as r join sluice.task as t on t.task_id = r.task_id"
        " where r.finished_at is null and r.due_at > $1 and r.due_at <= $2 and r.status = 'queued'"
        " order by r.due_at fetch first $3 rows with ties",
        3, types);
    static Statement next_due("select r.due_at from sluice.run as r"
                              " where r.finished_at is null and r.due_at > $1 order by r.due_at limit 1",
                              1, types);

    Segment          &segment = *index.segment;
    const TimestampTz now     = GetCurrentTimestamp();
    TimestampTz       from;
    uint32            free = 0;

    LWLockAcquire(index.timer_lock(), LW_SHARED);
    const bool due = now >= segment.next_due;
    LWLockRelease(index.timer_lock());
    if (!due)
        return;

    reserve(1);
    if (!pg_atomic_compare_exchange_u32(&segment.feeding, &free, 1))
        return;
    LWLockAcquire(index.timer_lock(), LW_EXCLUSIVE);
    from                 = segment.fed_until;
    segment.feeding_from = from;
    segment.fed_until    = std::max(from, now);
    segment.next_due     = PG_INT64_MAX; // what is committed from here on lowers it
    LWLockRelease(index.timer_lock());
    begin_feed(from);

    const Datum  window[] = {TimestampTzGetDatum(from == PG_INT64_MIN ? DT_NOBEGIN : from),
                             TimestampTzGetDatum(now), Int32GetDatum(feed_rows)};
    const uint64 rows     = fell_due.run(window);
    TimestampTz  last     = now;

    core::ReadyIndex ready = index.ready;
    for (uint64 row = 0; row < rows; ++row) {
        const Ready run{DatumGetInt64(column(row, 2)),
                        {DatumGetInt16(column(row, 3)), DatumGetTimestampTz(column(row, 4)),
                         DatumGetInt64(column(row, 5))},
                        executor_named(column(row, 6))};
        last                       = DatumGetTimestampTz(column(row, 7));
        const core::QueueRef queue = ready.make_queue(DatumGetInt32(column(row, 1)));
        if (queue == core::nowhere) {
            mark_dirty();
            continue;
        }
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        if (ready.push(queue, run) == core::Pushed::no_room)
            mark_dirty();
        LWLockRelease(index.lock_of(queue));
    }
    SPI_freetuptable(SPI_tuptable);
    pg_atomic_fetch_add_u64(&segment.fed, rows);

    TimestampTz next = PG_INT64_MAX;
    if (rows >= feed_rows) {
        next = last; // there may be more: at once
    } else {
        const Datum after[] = {TimestampTzGetDatum(now)};
        if (next_due.run(after) == 1)
            next = DatumGetTimestampTz(column(0, 1));
        SPI_freetuptable(SPI_tuptable);
    }
    LWLockAcquire(index.timer_lock(), LW_EXCLUSIVE);
    if (rows >= feed_rows)
        segment.fed_until = std::min(segment.fed_until, last);
    segment.next_due = std::min(segment.next_due, next);
    LWLockRelease(index.timer_lock());
    pg_atomic_write_u32(&segment.feeding, 0);
    end_feed();
    waiters::wake();
}

namespace {

// --- Popping -------------------------------------------------------------------------------------------------------

void remember(core::QueueRef queue, const Ready &run)
{
    popped[popped_size++] = {run, queue, taken(queue, run), true, false};
}

/// Takes runs of one queue, refilling as needed.  True if somebody else refills what could be had.
bool pop_from(const Attached &index, core::QueueRef queue, core::ExecutorMask executors, int wanted)
{
    core::ReadyIndex ready = index.ready;
    const int        ends  = all_ends();
    auto            *lanes =
        ends == 0
                       ? nullptr
                       : static_cast<core::Credit *>(palloc(sizeof(core::Credit) * static_cast<std::size_t>(ends)));
    const core::Credits credit{lanes, ends == 0 ? 0 : credits(queue, lanes)};
    auto               *got = static_cast<Ready *>(palloc(sizeof(Ready) * static_cast<std::size_t>(wanted)));

    core::PopResult result{};
    int             taken_here = 0;
    do {
        // Limits that this transaction has changed hold for itself, and for as long as it has the lock.
        const bool   own = changes_limits(queue);
        core::Limits mine{};
        if (own)
            mine = read_limits(index, queue);
        else
            load_limits(index, queue);
        reserve(static_cast<std::size_t>(wanted) + 1);
        const TimestampTz now = GetCurrentTimestamp();
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        if (own)
            ready.set_limits(queue, mine);
        (void)ready.unpark(queue, now);
        // What is popped has its lease for certain; up to commit or abort nothing fails between the two.
        const int promised = ready.promise_leases(wanted - taken_here);
        result             = ready.pop(queue, executors, promised, credit, got);
        for (int i = 0; i < result.taken; ++i)
            remember(queue, got[i]);
        ready.break_lease_promises(promised - result.taken);
        if (result.needs_refill)
            begin_refill(queue, result.refill);
        if (own)
            ready.forget_limits(queue);
        LWLockRelease(index.lock_of(queue));
        taken_here += result.taken;
        if (result.needs_refill)
            refill_shelf(index, queue, result.refill);
        CHECK_FOR_INTERRUPTS();
    } while (result.needs_refill && taken_here < wanted);
    return result.busy && taken_here == 0;
}

/// Once around the queues: those that were named, or all, from a random one on.
bool pop_around(const Attached &index, ArrayType *queues, core::ExecutorMask executors, int wanted)
{
    core::ReadyIndex ready = index.ready;
    const int        count =
        queues == nullptr ? ready.queue_count() : ArrayGetNItems(ARR_NDIM(queues), ARR_DIMS(queues));
    const auto *ids = queues == nullptr ? nullptr : reinterpret_cast<const int32 *>(ARR_DATA_PTR(queues));
    const int   first =
        count == 0 ? 0 : static_cast<int>(pg_prng_uint32(&pg_global_prng_state) % static_cast<uint32>(count));
    bool busy = false;

    for (int i = 0; i < count && popped_size < wanted; ++i) {
        const int            number = (first + i) % count;
        const core::QueueRef queue =
            ids == nullptr ? static_cast<core::QueueRef>(number) : ready.find_queue(ids[number]);
        if (queue == core::nowhere || (!ready.may_have_work(queue, executors) && all_ends() == 0))
            continue;
        busy |= pop_from(index, queue, executors, wanted - popped_size);
    }
    return busy;
}

/// The first of what was popped for a run that `is_it`.  There may be several: a hint to where the run was, and one to where
/// it is.
template <typename Predicate>
Popped *find_popped(int64 run_id, Predicate is_it)
{
    const int *begin = by_run;
    const int *end   = begin + popped_size;
    const int *place = std::lower_bound(
        begin, end, run_id, [](int number, int64 id) { return popped[number].run.place.run_id < id; });
    for (; place != end && popped[*place].run.place.run_id == run_id; ++place)
        if (is_it(popped[*place]))
            return &popped[*place];
    return nullptr;
}

/// The one that its row was found to agree with.
Popped *find_matched(int64 run_id)
{
    return find_popped(run_id, [](const Popped &one) { return one.open && one.matched; });
}

void start_popping(int wanted)
{
    const auto size = static_cast<std::size_t>(wanted);
    popped          = static_cast<Popped *>(MemoryContextAlloc(CurTransactionContext, size * sizeof(Popped)));
    by_run          = static_cast<int *>(MemoryContextAlloc(CurTransactionContext, size * sizeof(int)));
    popped_size     = 0;
}

void sort_popped()
{
    for (int i = 0; i < popped_size; ++i)
        by_run[i] = i;
    std::sort(by_run, by_run + popped_size, [](int a, int b) {
        const int64 first = popped[a].run.place.run_id, second = popped[b].run.place.run_id;
        return first != second ? first < second : a < b;
    });
}

const Attached &the_index()
{
    const Attached *index = attach();
    if (index == nullptr)
        elog(ERROR, "the ready index is gone: %s", why_none());
    return *index;
}

} // namespace

Sight sluice::index::look(const Attached &index, ArrayType *queues, core::ExecutorMask executors)
{
    core::ReadyIndex ready = index.ready;
    const int        count =
        queues == nullptr ? ready.queue_count() : ArrayGetNItems(ARR_NDIM(queues), ARR_DIMS(queues));
    const auto *ids = queues == nullptr ? nullptr : reinterpret_cast<const int32 *>(ARR_DATA_PTR(queues));
    Sight       sight{.work = false, .next = PG_INT64_MAX};

    LWLockAcquire(index.timer_lock(), LW_SHARED);
    sight.next = index.segment->next_due;
    LWLockRelease(index.timer_lock());
    for (int i = 0; i < count && !sight.work; ++i) {
        const core::QueueRef queue =
            ids == nullptr ? static_cast<core::QueueRef>(i) : ready.find_queue(ids[i]);
        if (queue == core::nowhere)
            continue;
        load_limits(index, queue);
        LWLockAcquire(index.lock_of(queue), LW_EXCLUSIVE);
        sight.next = std::min<TimestampTz>(sight.next, ready.unpark(queue, GetCurrentTimestamp()));
        sight.work = ready.has_work(queue, executors) && ready.lease_room() > 0;
        LWLockRelease(index.lock_of(queue));
    }
    return sight;
}

namespace {

/// Gives back what was popped, to be handed out again at `until`, or drops it with its slot.
void close_one(const Attached &index, Popped &one, bool again, TimestampTz until)
{
    core::ReadyIndex ready = index.ready;
    LWLockAcquire(index.lock_of(one.queue), LW_EXCLUSIVE);
    if (!again)
        (void)ready.give_slot(one.queue, one.run.lane);
    else if (ready.park(one.queue, one.run, until) == core::Pushed::no_room)
        mark_dirty();
    LWLockRelease(index.lock_of(one.queue));
    ready.break_lease_promises(1);
    not_taken(one.effect);
    one.open = false;
    pg_atomic_fetch_add_u64(again ? &index.segment->parked : &index.segment->stale, 1);
}

core::Token token_of(Datum uuid)
{
    core::Token token;
    memcpy(token.data(), DatumGetUUIDP(uuid)->data, UUID_LEN);
    return token;
}

} // namespace

// sluice._index_pop(queues int[], wanted int, executors text[]) returns bigint[]: hints to runs, in order, each with a
// slot.  Null queues: all.  No more than there is room for leases.
SLUICE_FUNCTION(sluice_index_pop)
{
    const Attached          &index  = the_index();
    ArrayType               *queues = PG_ARGISNULL(0) ? nullptr : PG_GETARG_ARRAYTYPE_P(0);
    const core::ExecutorMask executors =
        executors_named(PG_ARGISNULL(2) ? nullptr : PG_GETARG_ARRAYTYPE_P(2));
    const int           wanted  = std::min(PG_GETARG_INT32(1), index.ready.lease_room());
    const MemoryContext context = CurrentMemoryContext;

    start_popping(std::max(1, wanted));
    connect();
    push_early(GetCurrentTimestamp());
    feed(index);
    for (int round = 0; round < busy_rounds && wanted > 0; ++round) {
        if (!pop_around(index, queues, executors, wanted) || popped_size > 0)
            break;
        pg_usleep(busy_wait_us);
        CHECK_FOR_INTERRUPTS();
    }
    SPI_finish();
    sort_popped();

    MemoryContextSwitchTo(context);
    auto *ids =
        static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<std::size_t>(std::max(1, popped_size))));
    for (int i = 0; i < popped_size; ++i)
        ids[i] = Int64GetDatum(popped[i].run.place.run_id);
    PG_RETURN_ARRAYTYPE_P(
        construct_array(ids, popped_size, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

// sluice._index_matches(run_id bigint, queue_id int, lane bigint, class smallint, claim_key timestamptz) returns bool: is
// the row where the hint that was popped found it?  If not, whoever moved it has pushed another hint.
SLUICE_FUNCTION(sluice_index_matches)
{
    const core::Place place{PG_GETARG_INT16(3), PG_GETARG_TIMESTAMPTZ(4), PG_GETARG_INT64(0)};
    const int64       lane     = PG_GETARG_INT64(2);
    const int32       queue_id = PG_GETARG_INT32(1);
    const Attached   &index    = the_index();
    Popped           *one      = find_popped(place.run_id, [&](const Popped &hint) {
        return hint.open && hint.run.place == place && hint.run.lane == lane &&
               index.ready.queue_id(hint.queue) == queue_id;
    });
    if (one != nullptr)
        one->matched = true;
    PG_RETURN_BOOL(one != nullptr);
}

// sluice._index_hold(run_id bigint, token uuid, attempt int, lease_seconds float8, worker text, reply bigint,
// claimed_at timestamptz) returns int: starts the lease of a run that was popped; returns its number in the order of claiming.
SLUICE_FUNCTION(sluice_index_hold)
{
    const Attached &index = the_index();
    Popped         *one   = find_matched(PG_GETARG_INT64(0));
    if (one == nullptr)
        elog(ERROR, "run " INT64_FORMAT " was not popped", PG_GETARG_INT64(0));

    constexpr double ms_per_s = 1000;
    core::Lease      lease{};
    lease.token      = token_of(PG_GETARG_DATUM(1));
    lease.worker     = hash_of_worker(PG_GETARG_TEXT_PP(4));
    lease.lane       = one->run.lane;
    lease.queue_id   = index.ready.queue_id(one->queue);
    lease.claimed_at = PG_GETARG_TIMESTAMPTZ(6);
    lease.lease_ms   = static_cast<int32>(PG_GETARG_FLOAT8(3) * ms_per_s);
    lease.deadline   = TimestampTzPlusMilliseconds(lease.claimed_at, lease.lease_ms);
    lease.reply      = PG_ARGISNULL(5) ? -1 : PG_GETARG_INT64(5);
    lease.attempt    = static_cast<int16>(PG_GETARG_INT32(2));
    lease.state      = core::Lease::State::uncommitted;

    core::ReadyIndex ready = index.ready;
    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    const core::LeaseRef ref = ready.add_promised_lease(lease);
    LWLockRelease(index.lease_lock());
    leased(one->effect, ref, lease.token);
    one->open = false;
    PG_RETURN_INT32(static_cast<int32>(one - popped));
}

// sluice._index_left() returns bigint[]: runs that were popped and not held.
SLUICE_FUNCTION(sluice_index_left)
{
    (void)fcinfo;
    auto *ids   = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<std::size_t>(popped_size + 1)));
    int   count = 0;
    for (int i = 0; i < popped_size; ++i)
        if (popped[i].open)
            ids[count++] = Int64GetDatum(popped[i].run.place.run_id);
    if (count == 0)
        PG_RETURN_NULL();
    PG_RETURN_ARRAYTYPE_P(
        construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

// sluice._index_close(again bigint[]) returns void: of what is left, these runs rest for a moment, as their rows are locked
// or not ready yet; the other hints are stale.
SLUICE_FUNCTION(sluice_index_close)
{
    const Attached   &index = the_index();
    const TimestampTz until = GetCurrentTimestamp() + park_us;
    Datum            *again;
    bool             *nulls;
    int               count;
    deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
                      &again, &nulls, &count);

    for (int i = 0; i < count; ++i) {
        Popped *one = find_matched(DatumGetInt64(again[i]));
        if (one != nullptr)
            close_one(index, *one, true, until);
    }
    for (int i = 0; i < popped_size; ++i)
        if (popped[i].open)
            close_one(index, popped[i], false, until);
    popped_size = 0;
    waiters::wake(); // their slots are free again
    PG_RETURN_VOID();
}

// sluice._index_push(run_id bigint, queue_id int, lane bigint, class smallint, claim_key timestamptz, ready_at timestamptz,
// executor text) returns void: at commit the run is handed out, from ready_at on.
SLUICE_FUNCTION(sluice_index_push)
{
    const Ready run{PG_GETARG_INT64(2),
                    {PG_GETARG_INT16(3), PG_GETARG_TIMESTAMPTZ(4), PG_GETARG_INT64(0)},
                    executor_named(PG_GETARG_DATUM(6))};
    push(PG_GETARG_INT32(1), run, PG_GETARG_TIMESTAMPTZ(5));
    PG_RETURN_VOID();
}

// sluice._index_moved(run_id bigint, queue_id int, lane bigint, class smallint, claim_key timestamptz, ready_at timestamptz,
// executor text) returns void: a queued run leaves this place, unless this transaction aborts.
SLUICE_FUNCTION(sluice_index_moved)
{
    const Ready run{PG_GETARG_INT64(2),
                    {PG_GETARG_INT16(3), PG_GETARG_TIMESTAMPTZ(4), PG_GETARG_INT64(0)},
                    executor_named(PG_GETARG_DATUM(6))};
    moved(PG_GETARG_INT32(1), run, PG_GETARG_TIMESTAMPTZ(5));
    PG_RETURN_VOID();
}

// sluice._index_change_limits(queue_id int) returns void: the table's row of the queue counts from this commit on.
SLUICE_FUNCTION(sluice_index_change_limits)
{
    change_limits(PG_GETARG_INT32(0));
    PG_RETURN_VOID();
}

// sluice._index_change_storage() returns void: the index is built anew after this commit.
SLUICE_FUNCTION(sluice_index_change_storage)
{
    (void)fcinfo;
    change_storage();
    PG_RETURN_VOID();
}
