// The quick ways of enqueue, enqueue_result and enqueue_many: runs that need no look at other tables than that of tasks.
//
// Most runs are such, and a statement in plpgsql costs several times what their rows cost.  Whoever gives another queue,
// an idempotency key, tags, metadata, a time to live (or a task that has one) or a max_duration, a machine, a debounce key or a traceparent, names no task, or gives what is too large or out of range is served by the twin
// (sql/api/40_enqueue.sql), which has every rule and raises every error; test/pgtap/62_enqueue_quick.sql compares the
// rows that the two make.

#include <algorithm>
#include <optional>

#include "core/ready_index.hpp"

#include "pg/boundary.hpp"
#include "pg/inserter.hpp"

#include "id.hpp"
#include "index/effects.hpp"
#include "index/executor.hpp"
#include "quick.hpp"
#include "right.hpp"
#include "settings.hpp"

namespace {

using namespace sluice;

struct Task {
    int32          task_id;
    int32          queue_id;
    int16          max_attempts;
    core::Executor executor;
};

/// What a run has beside its task and payload; 0 and null where the caller said nothing.
struct Options {
    TimestampTz start; ///< 0: now
    text       *concurrency_key;
    int32       priority;
    int16       max_attempts;
};

Datum field(HeapTuple row, Relation table, const char *column, bool *is_null)
{
    return heap_getattr(row, get_attnum(RelationGetRelid(table), column), RelationGetDescr(table), is_null);
}

TaskRights rights_of(HeapTuple row, Relation table, const Task &task)
{
    bool        no_id, no_name;
    const Datum id   = field(row, table, "owner_id", &no_id);
    const Datum name = field(row, table, "owner", &no_name);
    return TaskRights{task.task_id, task.executor == core::Executor::sql,
                      no_id ? InvalidOid : DatumGetObjectId(id),
                      no_name ? nullptr : TextDatumGetCString(name)};
}

/// False if there is none of that name that the caller may use, or it was dropped, or its runs have a time to live.
bool find_task(Oid schema, Datum name, Task *task)
{
    Relation         table  = table_open(get_relname_relid("task", schema), AccessShareLock);
    const AttrNumber column = get_attnum(RelationGetRelid(table), "task");
    ScanKeyData      key;
    ScanKeyInit(&key, column, BTEqualStrategyNumber, F_TEXTEQ, name);
    key.sk_collation = TupleDescAttr(RelationGetDescr(table), column - 1)->attcollation;
    SysScanDesc scan = systable_beginscan(table, get_relname_relid("task_name_is_unique", schema), true,
                                          GetActiveSnapshot(), 1, &key);

    bool            is_there = false;
    const HeapTuple row      = systable_getnext(scan);
    if (HeapTupleIsValid(row)) {
        bool is_null, lives_for_ever;
        (void)field(row, table, "dropped_at", &is_there); // null while it was not
        (void)field(row, table, "ttl", &lives_for_ever);
        task->task_id      = DatumGetInt32(field(row, table, "task_id", &is_null));
        task->queue_id     = DatumGetInt32(field(row, table, "queue_id", &is_null));
        task->max_attempts = DatumGetInt16(field(row, table, "max_attempts", &is_null));
        task->executor     = index::executor_named(field(row, table, "executor", &is_null));
        is_there           = is_there && lives_for_ever && may_use(schema, rights_of(row, table, *task));
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    return is_there;
}

/// The rows of fresh runs of one task, all made at the same time.
class Runs {
public:
    /// The ids must lie from `lowest` to `highest`.  False if it takes statements.
    bool open(Oid schema, const Task &task, TimestampTz as_of, int64 lowest, int64 highest, bool payloads)
    {
        static const char *const run_columns[]     = {"run_id",   "lane",       "ready_at",       "claim_key",
                                                      "due_at",   "started_at", "claimed_at",     "finished_at",
                                                      "token",    "worker",     "task_id",        "queue_id",
                                                      "priority", "class",      "attempt",        "max_attempts",
                                                      "releases", "status",     "concurrency_key"};
        static const char *const payload_columns[] = {"run_id", "payload", "metadata", "tags", "options"};

        task_     = task;
        as_of_    = as_of;
        status_   = CStringGetTextDatum("queued");
        payloads_ = payloads;
        if (!run_.open(get_relname_relid("run", schema), lowest, highest, run_columns, lengthof(run_columns)))
            return false;
        if (payloads_ && !payload_.open(get_relname_relid("payload", schema), lowest, highest,
                                        payload_columns, lengthof(payload_columns))) {
            run_.close();
            return false;
        }
        return true;
    }

    void add(int64 run_id, Datum payload, bool has_payload, const Options &options)
    {
        constexpr int16   fresh    = 2;
        const bool        delayed  = options.start > as_of_;
        const text       *key      = options.concurrency_key;
        const int64       lane     = lane_of(key);
        const TimestampTz ready_at = delayed ? options.start : as_of_;
        const TimestampTz place    = ready_at - options.priority * USECS_PER_SEC;
        const int16       attempts = options.max_attempts != 0 ? options.max_attempts : task_.max_attempts;
        const Datum       values[] = {Int64GetDatum(run_id),
                                      Int64GetDatum(lane),
                                      TimestampTzGetDatum(ready_at),
                                      TimestampTzGetDatum(place),
                                      TimestampTzGetDatum(options.start),
                                      0,
                                      0,
                                      0,
                                      0,
                                      0,
                                      Int32GetDatum(task_.task_id),
                                      Int32GetDatum(task_.queue_id),
                                      Int32GetDatum(options.priority),
                                      Int16GetDatum(fresh),
                                      Int16GetDatum(0),
                                      Int16GetDatum(attempts),
                                      Int16GetDatum(0),
                                      status_,
                                      PointerGetDatum(key)};
        const bool nulls[] = {false, false, false, false, !delayed, true,  true,  true,  true,          true,
                              false, false, false, false, false,    false, false, false, key == nullptr};
        run_.insert(values, nulls);
        index::push(task_.queue_id, {lane, {fresh, place, run_id}, task_.executor},
                    delayed ? ready_at : PG_INT64_MIN);
        if (!has_payload)
            return;
        const Datum    given[]       = {Int64GetDatum(run_id), payload, 0, 0, 0};
        constexpr bool given_nulls[] = {false, false, true, true, true};
        payload_.insert(given, given_nulls);
    }

    void close()
    {
        run_.close();
        if (payloads_)
            payload_.close();
        index::wake();
    }

private:
    pg::Inserter run_;
    pg::Inserter payload_;
    Task         task_;
    TimestampTz  as_of_;
    Datum        status_;
    bool         payloads_;
};

/// Begins and ends as a statement does: what this transaction has done is seen, and what is done here will be.
void begin_command()
{
    CommandCounterIncrement();
    PushActiveSnapshot(GetTransactionSnapshot());
}

void end_command()
{
    PopActiveSnapshot();
    CommandCounterIncrement();
}

bool is_small(Datum payload)
{
    return toast_raw_datum_size(payload) <= max_payload_bytes();
}

/// The arguments of enqueue, by number.
enum Argument {
    a_task,
    a_payload,
    a_queue,
    a_priority,
    a_concurrency_key,
    a_delay,
    a_run_at,
    a_idempotency_key,
    a_idempotency_ttl,
    a_max_attempts,
    a_tags,
    a_metadata,
    a_ttl,
    a_max_duration,
    a_machine,
    a_debounce,
    a_traceparent,
    arguments
};

/// When a run may start that was told so.  False for what the twin refuses.
bool read_start(FunctionCallInfo call, TimestampTz as_of, TimestampTz *start)
{
    constexpr int64 century = 36'500 * USECS_PER_DAY;
    if (!call->args[a_delay].isnull) {
        const std::optional<int64> seconds = seconds_of(DatumGetTextPP(call->args[a_delay].value));
        if (!seconds || !call->args[a_run_at].isnull)
            return false;
        *start = as_of + *seconds * USECS_PER_SEC;
    } else if (!call->args[a_run_at].isnull) {
        *start = DatumGetTimestampTz(call->args[a_run_at].value);
    }
    return *start <= as_of + century;
}

/// What is given beside task and payload.  False where the twin is to look at it: see the top of this file.
bool read_options(FunctionCallInfo call, TimestampTz as_of, Options *options)
{
    constexpr int32 highest_priority = 1'000'000, most_attempts = 250;
    constexpr int   longest_key = 512;

    if (call->nargs != arguments || call->args[a_task].isnull ||
        (!call->args[a_payload].isnull && !is_small(call->args[a_payload].value)))
        return false;
    for (const Argument other : {a_queue, a_idempotency_key, a_idempotency_ttl, a_tags, a_metadata, a_ttl,
                                 a_max_duration, a_machine, a_debounce, a_traceparent})
        if (!call->args[other].isnull)
            return false;

    *options = {};
    if (!call->args[a_priority].isnull)
        options->priority = DatumGetInt32(call->args[a_priority].value);
    if (!call->args[a_concurrency_key].isnull)
        options->concurrency_key = DatumGetTextPP(call->args[a_concurrency_key].value);
    int32 attempts = 1;
    if (!call->args[a_max_attempts].isnull) {
        attempts              = DatumGetInt32(call->args[a_max_attempts].value);
        options->max_attempts = static_cast<int16>(attempts);
    }
    return options->priority >= 0 && options->priority <= highest_priority && attempts >= 1 &&
           attempts <= most_attempts &&
           (options->concurrency_key == nullptr ||
            VARSIZE_ANY_EXHDR(options->concurrency_key) <= longest_key) &&
           read_start(call, as_of, &options->start);
}

/// Returns the id; 0 if the twin is to do it.
int64 enqueue_one(FunctionCallInfo call, Oid schema)
{
    const TimestampTz as_of = GetCurrentTimestamp();
    Options           options;
    if (!read_options(call, as_of, &options))
        return 0;

    const bool has_payload = !call->args[a_payload].isnull;
    int64      run_id      = 0;
    Task       task;
    Runs       runs;
    begin_command();
    if (find_task(schema, call->args[a_task].value, &task)) {
        run_id = new_run_id(get_relname_relid("run_seq", schema));
        if (runs.open(schema, task, as_of, run_id, run_id, has_payload)) {
            runs.add(run_id, call->args[a_payload].value, has_payload, options);
            runs.close();
        } else {
            run_id = 0;
        }
    }
    end_command();
    return run_id;
}

bool enqueue(FunctionCallInfo call, Oid schema, Datum *result)
{
    const int64 run_id = enqueue_one(call, schema);
    *result            = Int64GetDatum(run_id);
    return run_id != 0;
}

bool enqueue_result(FunctionCallInfo call, Oid schema, Datum *result)
{
    TupleDesc   columns;
    const int64 run_id = enqueue_one(call, schema);
    if (run_id == 0)
        return false;
    if (get_call_result_type(call, nullptr, &columns) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "enqueue_result has no row type");
    const Datum values[] = {Int64GetDatum(run_id), BoolGetDatum(false)};
    const bool  nulls[]  = {false, false};
    *result =
        HeapTupleGetDatum(heap_form_tuple(columns, const_cast<Datum *>(values), const_cast<bool *>(nulls)));
    return true;
}

/// enqueue_many(task, payloads, options) without options.
bool enqueue_many(FunctionCallInfo call, Oid schema, Datum *)
{
    constexpr int its_arguments = 3;
    if (call->nargs != its_arguments || call->args[0].isnull || call->args[1].isnull || !call->args[2].isnull)
        return false;
    ArrayType *array = DatumGetArrayTypeP(call->args[1].value);
    if (ARR_NDIM(array) != 1)
        return false;

    Datum *payloads;
    bool  *nulls;
    int    count;
    bool   any_payload = false;
    deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &payloads, &nulls, &count);
    for (int i = 0; i < count; ++i) {
        if (!nulls[i] && !is_small(payloads[i]))
            return false;
        any_payload |= !nulls[i];
    }

    const TimestampTz as_of = GetCurrentTimestamp();
    bool              done  = false;
    Task              task;
    Runs              runs;
    begin_command();
    if (find_task(schema, call->args[0].value, &task)) {
        const Oid sequence = get_relname_relid("run_seq", schema);
        auto     *ids      = static_cast<int64 *>(palloc(sizeof(int64) * static_cast<std::size_t>(count)));
        for (int i = 0; i < count; ++i)
            ids[i] = new_run_id(sequence);
        done = runs.open(schema, task, as_of, *std::min_element(ids, ids + count),
                         *std::max_element(ids, ids + count), any_payload);
        if (done) {
            index::reserve(static_cast<std::size_t>(count));
            for (int i = 0; i < count; ++i) {
                CHECK_FOR_INTERRUPTS();
                runs.add(ids[i], payloads[i], !nulls[i], {});
            }
            runs.close();
            InitMaterializedSRF(call, MAT_SRF_USE_EXPECTED_DESC);
            const auto *set = reinterpret_cast<ReturnSetInfo *>(call->resultinfo);
            for (int i = 0; i < count; ++i) {
                const Datum id      = Int64GetDatum(ids[i]);
                const bool  is_null = false;
                tuplestore_putvalues(set->setResult, set->setDesc, const_cast<Datum *>(&id),
                                     const_cast<bool *>(&is_null));
            }
        }
    }
    end_command();
    return done;
}

} // namespace

sluice::QuickWay sluice::quick_way(const char *function)
{
    static constexpr struct {
        const char *function;
        QuickWay    way;
    } ways[] = {{"enqueue", enqueue}, {"enqueue_result", enqueue_result}, {"enqueue_many", enqueue_many}};
    for (const auto &quick : ways)
        if (strcmp(function, quick.function) == 0)
            return quick.way;
    return nullptr;
}
