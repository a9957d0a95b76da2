// The claim: marks runs executing and gives a worker their leases; see claim.hpp.
//
// By the index it goes in rounds of four steps:
//
//   pop       takes hints out of the index, each with a slot
//   update    marks the rows executing that are where their hints say and nobody else has locked: leaf by leaf, without a
//             statement as a rule (pg/updater.hpp), by one for those that somebody else is at
//   hold      starts their leases
//   close     what remains of the hints: of a row that somebody has locked it rests for a moment, otherwise it is stale
//
// The rows decide, the hints only say where to look.

#include <algorithm>

#include "core/ready_index.hpp"
#include "core/token.hpp"

#include "pg/boundary.hpp"
#include "pg/updater.hpp"

#include "clock.hpp"
#include "id.hpp"
#include "index/build.hpp"
#include "index/claim.hpp"
#include "index/effects.hpp"
#include "index/executor.hpp"
#include "index/partition.hpp"
#include "index/pop.hpp"
#include "index/segment.hpp"
#include "index/spi.hpp"
#include "index/uuid.hpp"
#include "session.hpp"
#include "settings.hpp"
#include "waiters.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;

/// How long a run rests whose row was locked by somebody else.
constexpr int64 park_us = 100'000;

/// Many hints may be stale, of runs that were canceled, say; the bound is for a full memory, which gives some again.
constexpr int most_rounds = 10'000;

/// What a claim needs of a task; datums are in the transaction's memory.
struct Task {
    int32          task_id;
    core::Executor executor;
    int32          lease_ms;
    Claimed        of_task; ///< its columns
};

/// The claim at work; what its statements ask for is looked up here.
struct Claim {
    Hints              hints;
    core::ExecutorMask executors;
    Task              *tasks;
    int                task_count, task_room;
};
Claim claim;

/// A datum in the transaction's memory.
Datum kept(Datum value, bool is_null)
{
    return is_null ? Datum{0} : PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
}

const Task *find_task(int32 task_id)
{
    for (int i = 0; i < claim.task_count; ++i)
        if (claim.tasks[i].task_id == task_id)
            return &claim.tasks[i];
    return nullptr;
}

double seconds_of_interval(Datum interval)
{
    return DatumGetFloat8(DirectFunctionCall2(interval_part, CStringGetTextDatum("epoch"), interval));
}

/// Reads a task.
const Task *read_task(int32 task_id)
{
    enum TaskColumn : int {
        t_task_id,
        t_task,
        t_executor,
        t_target,
        t_options,
        t_lease,
        t_max_duration,
        t_machine,
        t_heartbeat
    };
    static const char *const columns[]{"task_id", "task",         "executor", "target",   "options",
                                       "lease",   "max_duration", "machine",  "heartbeat"};
    constexpr double         ms_per_s = 1000, longest_beat = 15, beats_per_lease = 4;

    pg::Rows row;
    row.open_ours("task", columns, lengthof(columns));
    if (!row.find(Int32GetDatum(task_id)))
        elog(ERROR, "task %d does not exist", task_id);

    const MemoryContext before = MemoryContextSwitchTo(CurTransactionContext);
    if (claim.task_count == claim.task_room) {
        claim.task_room = std::max(8, 2 * claim.task_room);
        auto *more = static_cast<Task *>(palloc(sizeof(Task) * static_cast<std::size_t>(claim.task_room)));
        std::copy_n(claim.tasks, claim.task_count, more);
        claim.tasks = more;
    }
    Task &task    = claim.tasks[claim.task_count];
    task          = {};
    task.task_id  = task_id;
    task.executor = executor_named(row.get(t_executor));
    constexpr struct {
        TaskColumn from;
        Column     to;
    } of_varlena[]{{t_task, c_task},
                   {t_executor, c_executor},
                   {t_target, c_target},
                   {t_options, c_options},
                   {t_machine, c_machine}};
    for (const auto &[from, to] : of_varlena) {
        bool        is_null;
        const Datum value       = row.get(from, &is_null);
        task.of_task.values[to] = kept(value, is_null);
        task.of_task.nulls[to]  = is_null;
    }
    bool         no_lease, no_max_duration;
    const Datum  lease                   = row.get(t_lease, &no_lease);
    const Datum  max_duration            = row.get(t_max_duration, &no_max_duration);
    const double seconds                 = no_lease ? default_lease_seconds() : seconds_of_interval(lease);
    task.lease_ms                        = static_cast<int32>(seconds * ms_per_s);
    task.of_task.values[c_lease_seconds] = Float8GetDatum(seconds);
    task.of_task.nulls[c_max_duration]   = no_max_duration;
    task.of_task.nulls[c_traceparent]    = true; // a run's own
    task.of_task.values[c_max_duration] =
        no_max_duration ? Datum{0} : Float8GetDatum(seconds_of_interval(max_duration));
    bool        automatic;
    const Datum heartbeat            = row.get(t_heartbeat, &automatic);
    task.of_task.values[c_heartbeat] = Float8GetDatum(
        automatic ? std::min(longest_beat, seconds / beats_per_lease) : seconds_of_interval(heartbeat));
    MemoryContextSwitchTo(before);
    row.close();
    return &claim.tasks[claim.task_count++];
}

const Task &task_of(int32 task_id)
{
    const Task *task = find_task(task_id);
    return *(task != nullptr ? task : read_task(task_id));
}

const Attached &the_index()
{
    const Attached *index = attach();
    if (index == nullptr)
        elog(ERROR, "the ready index is gone: %s", why_none());
    return *index;
}

// --- By the index --------------------------------------------------------------------------------------------------

/// A row that was marked executing.
struct Row {
    Hint       *hint;
    const Task *task;
    TimestampTz ready_at;
    core::Token token;
    Datum       payload, options; ///< in the memory of the round
    int16       attempt;
    bool        no_payload, no_options;
};

/// Takes apart what the statement has read of the table of payloads; all null without a row.
void read_given(Row &row, Datum given, bool no_row)
{
    row.no_payload = row.no_options = true;
    if (no_row)
        return;
    HeapTupleHeader header = DatumGetHeapTupleHeader(given);
    row.payload            = GetAttributeByNum(header, 1, &row.no_payload);
    row.options            = GetAttributeByNum(header, 2, &row.no_options);
}

/// Their place of now goes with the next row.
void keep_given(Row &row)
{
    row.payload = row.no_payload ? Datum{0} : datumCopy(row.payload, false, -1);
    row.options = row.no_options ? Datum{0} : datumCopy(row.options, false, -1);
}

/// Is the row where an open hint of the claim at work found it, and can its worker run the task?  Task 0: whoever can.
Hint *match(const core::Place &place, int64 lane, int32 queue_id, int32 task_id)
{
    const Attached &index = the_index();
    Hint           *one   = claim.hints.find(place.run_id, [&](const Hint &hint) {
        return hint.open && hint.run.place == place && hint.run.lane == lane &&
               index.ready.queue_id(hint.queue) == queue_id;
    });
    if (one == nullptr)
        return nullptr;
    one->matched = true;
    return task_id == 0 || (core::mask_of(task_of(task_id).executor) & claim.executors) != 0 ? one : nullptr;
}

/// What the claim reads and writes of a run, in the order of `run_columns`.
enum RunColumn : int {
    r_run_id,
    r_queue_id,
    r_lane,
    r_class,
    r_claim_key,
    r_task_id,
    r_status,
    r_ready_at,
    r_due_at,
    r_attempt,
    r_started_at,
    r_token,
    r_worker,
    r_claimed_at
};
constexpr const char *run_columns[]{"run_id",     "queue_id", "lane",     "class",     "claim_key",
                                    "task_id",    "status",   "ready_at", "due_at",    "attempt",
                                    "started_at", "token",    "worker",   "claimed_at"};

/// A run that was given no time to come is always due, whatever the clock says.
bool is_due(pg::Updater &run, TimestampTz as_of)
{
    bool        at_once;
    const Datum due = run.get(r_due_at, &at_once);
    return at_once || DatumGetTimestampTz(due) <= as_of;
}

/// Marks what nobody is at, and returns how many; ids of those that somebody is at are put into `busy`.  None where the
/// tables want statements: then all are busy.
int update_directly(const Leaves &leaves, const int64 *ids, int count, TimestampTz as_of, text *worker,
                    Row *rows, int64 *busy, int *busy_count)
{
    static const char *const payload_columns[]{"run_id", "payload", "options"};
    pg::Updater              run;
    pg::Rows                 payload;
    *busy_count = 0;
    if (!run.open(leaves.run, run_columns, lengthof(run_columns))) {
        *busy_count = count;
        std::copy_n(ids, count, busy);
        return 0;
    }
    const bool  has_payloads = payload.open(leaves.payload, payload_columns, lengthof(payload_columns));
    const Datum executing    = CStringGetTextDatum("executing");
    int         found        = 0;
    for (int i = 0; i < count; ++i) {
        if ((i > 0 && ids[i] == ids[i - 1]) || !run.find(Int64GetDatum(ids[i])) ||
            !is_text(run.get(r_status), "queued") || !is_due(run, as_of))
            continue;
        const core::Place place{DatumGetInt16(run.get(r_class)), DatumGetTimestampTz(run.get(r_claim_key)),
                                ids[i]};
        const int32       task_id = DatumGetInt32(run.get(r_task_id));
        Hint             *hint =
            match(place, DatumGetInt64(run.get(r_lane)), DatumGetInt32(run.get(r_queue_id)), task_id);
        if (hint == nullptr)
            continue;

        Row &row     = rows[found];
        row.hint     = hint;
        row.ready_at = DatumGetTimestampTz(run.get(r_ready_at));
        row.task     = &task_of(task_id);
        row.token    = new_token(ids[i]);
        row.attempt  = static_cast<int16>(DatumGetInt16(run.get(r_attempt)) + 1);
        bool first;
        (void)run.get(r_started_at, &first);
        pg_uuid_t token;
        memcpy(token.data, row.token.data(), UUID_LEN);
        run.set(r_status, executing);
        run.set(r_attempt, Int16GetDatum(row.attempt));
        run.set(r_token, UUIDPGetDatum(&token));
        run.set(r_worker, PointerGetDatum(worker));
        run.set(r_claimed_at, TimestampTzGetDatum(as_of));
        if (first)
            run.set(r_started_at, TimestampTzGetDatum(as_of));
        if (!has_payloads || !run.update()) {
            busy[(*busy_count)++] = ids[i];
            continue;
        }
        row.no_payload = row.no_options = true;
        if (payload.find(Int64GetDatum(ids[i]))) {
            row.payload = payload.get(1, &row.no_payload);
            row.options = payload.get(2, &row.no_options);
        }
        keep_given(row);
        ++found;
    }
    if (has_payloads)
        payload.close();
    run.close();
    return found;
}

/// The same by a statement, which passes over rows that somebody has locked, and sees what has become of those that
/// somebody has changed.
int update_by_statement(const Leaves &leaves, const int64 *ids, int count, TimestampTz as_of, text *worker,
                        Row *rows)
{
    static const Oid     types[] = {INT8ARRAYOID, TIMESTAMPTZOID, TEXTOID};
    static LeafStatement statement(
        "with locked as materialized ("
        "    select r.ctid from %1$s as r"
        "     where r.run_id = any ($1) and r.status = 'queued' and (r.due_at is null or r.due_at <= $2)"
        "       and sluice._index_matches(r.run_id, r.queue_id, r.lane, r.class, r.claim_key, r.task_id)"
        "     for update skip locked)"
        " update %1$s as r"
        "    set status = 'executing', attempt = r.attempt + 1, token = sluice._new_token(r.run_id), worker "
        "= $3,"
        "        claimed_at = $2, started_at = coalesce(r.started_at, $2)"
        "  where r.ctid = any (array(select l.ctid from locked as l))"
        " returning r.run_id, r.token, r.attempt, r.task_id,"
        "           (select row(p.payload, p.options) from %2$s as p where p.run_id = r.run_id), r.ready_at",
        3, types);

    const Datum values[] = {int8_array(ids, count), TimestampTzGetDatum(as_of), PointerGetDatum(worker)};
    const int   found    = static_cast<int>(statement.run(leaves, values));
    for (int i = 0; i < found; ++i) {
        const auto  place  = static_cast<uint64>(i);
        const int64 run_id = DatumGetInt64(column(place, 1));
        Row        &row    = rows[i];
        row.hint           = claim.hints.find_matched(run_id);
        if (row.hint == nullptr)
            elog(ERROR, "run " INT64_FORMAT " was not popped", run_id);
        row.token    = token_of(column(place, 2));
        row.attempt  = DatumGetInt16(column(place, 3));
        row.task     = &task_of(DatumGetInt32(column(place, 4)));
        row.ready_at = DatumGetTimestampTz(column(place, 6));
        bool        no_row;
        const Datum given = column(place, 5, &no_row);
        read_given(row, given, no_row);
        keep_given(row);
    }
    SPI_freetuptable(SPI_tuptable);
    return found;
}

/// Marks the rows of one pair of leaves; returns how many.
int update_rows(const Leaves &leaves, const int64 *ids, int count, TimestampTz as_of, text *worker, Row *rows)
{
    auto *busy       = static_cast<int64 *>(palloc(sizeof(int64) * static_cast<std::size_t>(count)));
    int   busy_count = 0;
    int   found      = update_directly(leaves, ids, count, as_of, worker, rows, busy, &busy_count);
    if (busy_count > 0)
        found += update_by_statement(leaves, busy, busy_count, as_of, worker, rows + found);
    pfree(busy);
    return found;
}

/// Starts the leases of rows.
void hold(const Attached &index, const Request &request, TimestampTz as_of, const Row *rows, int count)
{
    core::ReadyIndex  ready = index.ready;
    core::Lease       lease{};
    const TimestampTz now = clock::steady();
    lease.worker          = hash_of_worker(request.worker);
    lease.claimed_at      = as_of;
    lease.reply           = request.reply;
    lease.state           = core::Lease::State::uncommitted;

    LWLockAcquire(index.lease_lock(), LW_EXCLUSIVE);
    for (int i = 0; i < count; ++i) {
        const Row &row = rows[i];
        lease.token    = row.token;
        lease.lane     = row.hint->run.lane;
        lease.queue_id = ready.queue_id(row.hint->queue);
        lease.lease_ms = row.task->lease_ms;
        lease.deadline = TimestampTzPlusMilliseconds(now, lease.lease_ms);
        lease.attempt  = row.attempt;
        leased(row.hint->effect, ready.add_promised_lease(lease), row.token);
        row.hint->open = false;
    }
    LWLockRelease(index.lease_lock());
}

/// Counts what was claimed, and how long it had been ready; rows of a queue come together.
void count_claims(const Attached &index, TimestampTz as_of, const Row *rows, int count)
{
    for (int first = 0, next = 0; first < count; first = next) {
        const core::QueueRef queue  = rows[first].hint->queue;
        int64                waited = 0;
        for (next = first; next < count && rows[next].hint->queue == queue; ++next)
            waited += as_of - rows[next].ready_at;
        index.ready.counts(queue).add(core::Count::claimed, next - first);
        index.ready.counts(queue).add(core::Count::waited, waited);
    }
}

/// What a run's own options say under a name, if it is a number.
bool read_number(Datum options, const char *name, Datum *number)
{
    JsonbContainer   *object = &DatumGetJsonbP(options)->root;
    const JsonbValue *value =
        getKeyJsonValueFromContainer(object, name, static_cast<int>(strlen(name)), nullptr);
    if (value == nullptr || value->type != jbvNumeric)
        return false;
    *number = DirectFunctionCall1(numeric_float8, NumericGetDatum(value->val.numeric));
    return true;
}

/// The same for a text.
bool read_text(Datum options, const char *name, Datum *value)
{
    JsonbContainer   *object = &DatumGetJsonbP(options)->root;
    const JsonbValue *found =
        getKeyJsonValueFromContainer(object, name, static_cast<int>(strlen(name)), nullptr);
    if (found == nullptr || found->type != jbvString)
        return false;
    *value = PointerGetDatum(cstring_to_text_with_len(found->val.string.val, found->val.string.len));
    return true;
}

void emit_rows(const Row *rows, int count, TimestampTz as_of, void (*emit)(void *, const Claimed &),
               void *context)
{
    for (int i = 0; i < count; ++i) {
        const Row &row = rows[i];
        Claimed    run = row.task->of_task;
        pg_uuid_t  token;
        memcpy(token.data, row.token.data(), UUID_LEN);
        run.values[c_token]   = UUIDPGetDatum(&token);
        run.values[c_run_id]  = Int64GetDatum(row.hint->run.place.run_id);
        run.values[c_attempt] = Int32GetDatum(row.attempt);
        run.values[c_payload] = row.payload;
        run.nulls[c_payload]  = row.no_payload;
        if (!row.no_options && read_number(row.options, "max_duration", &run.values[c_max_duration]))
            run.nulls[c_max_duration] = false;
        if (!row.no_options && read_text(row.options, "machine", &run.values[c_machine]))
            run.nulls[c_machine] = false;
        if (!row.no_options && read_text(row.options, "traceparent", &run.values[c_traceparent]))
            run.nulls[c_traceparent] = false;
        run.values[c_lease_until] =
            TimestampTzGetDatum(TimestampTzPlusMilliseconds(as_of, row.task->lease_ms));
        emit(context, run);
    }
}

/// Gives back what was popped, to be handed out again at `until`, or drops it with its slot.
void close_hint(const Attached &index, Hint &one, bool again, TimestampTz until)
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
    ready.counts(one.queue).add(again ? core::Count::conflicts : core::Count::stale, 1);
}

/// Ends the round for hints that are still open.
void close_open(const Attached &index)
{
    static const Oid types[] = {INT8ARRAYOID};
    static Statement statement(
        "select r.run_id from sluice.run as r"
        " where r.run_id = any ($1) and r.status = 'queued'"
        "   and sluice._index_matches(r.run_id, r.queue_id, r.lane, r.class, r.claim_key, null)",
        1, types);

    Hints &hints = claim.hints;
    int    open  = 0;
    auto  *ids   = static_cast<int64 *>(palloc(sizeof(int64) * static_cast<std::size_t>(hints.count + 1)));
    for (int i = 0; i < hints.count; ++i)
        if (hints.hint[i].open)
            ids[open++] = hints.hint[i].run.place.run_id;
    if (open == 0)
        return;

    const Datum       values[] = {int8_array(ids, open)};
    const uint64      rows     = statement.run(values);
    const TimestampTz until    = clock::steady() + park_us;
    for (uint64 row = 0; row < rows; ++row)
        if (Hint *one = hints.find_matched(DatumGetInt64(column(row, 1))))
            close_hint(index, *one, true, until);
    SPI_freetuptable(SPI_tuptable);
    for (int i = 0; i < hints.count; ++i)
        if (hints.hint[i].open)
            close_hint(index, hints.hint[i], false, until);
    waiters::wake(); // their slots are free again
}

/// Marks what was popped, leaf by leaf.  Returns how many.
int take_popped(const Attached &index, const Request &request, void (*emit)(void *, const Claimed &),
                void *context)
{
    const MemoryContext round =
        AllocSetContextCreate(CurrentMemoryContext, "sluice claimed", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext before = MemoryContextSwitchTo(round);

    const Hints      &hints = claim.hints;
    const auto        size  = static_cast<std::size_t>(hints.count);
    auto             *ids   = static_cast<int64 *>(palloc(sizeof(int64) * size));
    auto             *rows  = static_cast<Row *>(palloc(sizeof(Row) * size));
    const TimestampTz as_of = GetCurrentTimestamp();
    int               taken = 0;

    for (int i = 0; i < hints.count; ++i)
        ids[i] = hints.hint[hints.by_run[i]].run.place.run_id;
    const Partitions partitions;
    for (int first = 0, next = 0; first < hints.count; first = next) {
        next            = partitions.end_of_leaf(ids, first, hints.count);
        const int found = update_rows(partitions.leaves_of(ids[first]), ids + first, next - first, as_of,
                                      request.worker, rows);
        std::sort(rows, rows + found, [](const Row &a, const Row &b) { return a.hint < b.hint; });
        hold(index, request, as_of, rows, found);
        count_claims(index, as_of, rows, found);
        emit_rows(rows, found, as_of, emit, context);
        taken += found;
    }
    partitions.close();
    MemoryContextSwitchTo(before);
    MemoryContextDelete(round);
    return taken;
}

/// The queues' numbers, of which some may be missing; an empty array for none.
ArrayType *numbers_of(ArrayType *names)
{
    static const Oid types[] = {TEXTARRAYOID};
    static Statement statement(
        "select coalesce(array_agg(queue_id), '{}') from sluice.queue where queue = any ($1)", 1, types);
    const Datum values[] = {PointerGetDatum(names)};
    (void)statement.run(values);
    return DatumGetArrayTypePCopy(column(0, 1));
}

void claim_by_index(const Request &request, void (*emit)(void *, const Claimed &), void *context)
{
    if (request.executors == nullptr)
        return;
    const Attached &index   = the_index();
    ArrayType      *numbers = request.queues == nullptr ? nullptr : numbers_of(request.queues);
    int             wanted  = request.capacity;

    claim = {.hints      = {},
             .executors  = executors_named(request.executors),
             .tasks      = nullptr,
             .task_count = 0,
             .task_room  = 0};
    for (int round = 0; round < most_rounds && wanted > 0; ++round) {
        claim.hints = pop(index, numbers, claim.executors, wanted);
        if (claim.hints.count == 0)
            break;
        wanted -= take_popped(index, request, emit, context);
        close_open(index);
    }
    claim.hints.count = 0;
}

// --- By the tables -------------------------------------------------------------------------------------------------

void claim_from_table(const Request &request, void (*emit)(void *, const Claimed &), void *context)
{
    static const Oid types[] = {TEXTOID, TEXTARRAYOID, INT4OID, TEXTARRAYOID, INT8OID};
    static Statement statement("select * from sluice._claim_from_table($1, $2, $3, $4, $5)", 5, types);

    const Datum  values[] = {PointerGetDatum(request.worker), PointerGetDatum(request.queues),
                             Int32GetDatum(request.capacity), PointerGetDatum(request.executors),
                             Int64GetDatum(request.reply)};
    const char   nulls[]  = {' ',
                          request.queues == nullptr ? 'n' : ' ',
                             ' ',
                          request.executors == nullptr ? 'n' : ' ',
                          request.reply < 0 ? 'n' : ' ',
                             '\0'};
    const uint64 rows     = statement.run(values, nulls);
    for (uint64 row = 0; row < rows; ++row) {
        Claimed run;
        for (int i = 0; i < claimed_columns; ++i)
            run.values[i] = column(row, i + 1, &run.nulls[i]);
        emit(context, run);
    }
    SPI_freetuptable(SPI_tuptable);
}

void put_claimed(void *context, const Claimed &run)
{
    const auto *result = static_cast<ReturnSetInfo *>(context);
    Claimed     row    = run;
    tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

} // namespace

void sluice::index::assert_home()
{
    static Statement         complain("select sluice._assert_home()", 0, nullptr);
    static const char *const columns[]{"only_row", "home"};

    pg::Rows meta;
    meta.open_ours("meta", columns, lengthof(columns));
    const bool at_home = meta.find(BoolGetDatum(true)) && is_text(meta.get(1), home());
    meta.close_and_unlock();
    if (!at_home)
        (void)complain.run(nullptr);
}

void sluice::index::claim_runs(const Request &request, void (*emit)(void *, const Claimed &), void *context)
{
    static Statement complain("select sluice._assert_isolation()", 0, nullptr);

    assert_home();
    if (XactIsoLevel != XACT_READ_COMMITTED)
        (void)complain.run(nullptr);
    if (request.capacity <= 0)
        return;
    switch (enter()) {
    case Way::none:
        return;
    case Way::index:
        claim_by_index(request, emit, context);
        return;
    case Way::table:
        claim_from_table(request, emit, context);
        return;
    }
}

// sluice._claim_runs(worker text, queues text[], capacity int, executors text[], reply bigint) returns table (token uuid,
// run_id bigint, attempt int, task text, payload jsonb, lease_until timestamptz, executor text, target text, options jsonb,
// lease_seconds float8, max_duration_seconds float8, machine text, heartbeat_seconds float8,
// traceparent text).
SLUICE_FUNCTION(sluice_claim_runs)
{
    InitMaterializedSRF(fcinfo, 0);
    const Request request{PG_GETARG_TEXT_PP(0), PG_ARGISNULL(1) ? nullptr : PG_GETARG_ARRAYTYPE_P(1),
                          PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2),
                          PG_ARGISNULL(3) ? nullptr : PG_GETARG_ARRAYTYPE_P(3),
                          PG_ARGISNULL(4) ? -1 : PG_GETARG_INT64(4)};
    connect();
    claim_runs(request, put_claimed, fcinfo->resultinfo);
    SPI_finish();
    return Datum{0};
}

// sluice._index_matches(run_id bigint, queue_id int, lane bigint, class smallint, claim_key timestamptz, task_id int) returns
// bool: is the row where a hint of the claim at work found it, and can its worker run the task?  Null task: whoever can.
// If not, whoever moved it has pushed another hint.
SLUICE_FUNCTION(sluice_index_matches)
{
    const core::Place place{PG_GETARG_INT16(3), PG_GETARG_TIMESTAMPTZ(4), PG_GETARG_INT64(0)};
    PG_RETURN_BOOL(match(place, PG_GETARG_INT64(2), PG_GETARG_INT32(1),
                         PG_ARGISNULL(5) ? 0 : PG_GETARG_INT32(5)) != nullptr);
}
