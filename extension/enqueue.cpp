// The quick ways of enqueue, enqueue_result and enqueue_many: runs that have nothing but a task and a payload.
//
// Most runs are such, and a statement in plpgsql costs several times what their rows cost.  Whoever gives another
// argument, names no task, or has a payload that is too large is served by the twin (sql/api/40_enqueue.sql), which
// has every rule and raises every error; test/pgtap/62_enqueue_quick.sql compares the rows that the two make.

#include <algorithm>

#include "core/lane.hpp"
#include "core/ready_index.hpp"

#include "pg/boundary.hpp"
#include "pg/inserter.hpp"

#include "id.hpp"
#include "index/effects.hpp"
#include "index/executor.hpp"
#include "quick.hpp"
#include "settings.hpp"

namespace {

using namespace sluice;

struct Task {
    int32          task_id;
    int32          queue_id;
    int16          max_attempts;
    core::Executor executor;
};

Datum field(HeapTuple row, Relation table, const char *column, bool *is_null)
{
    return heap_getattr(row, get_attnum(RelationGetRelid(table), column), RelationGetDescr(table), is_null);
}

/// False if there is none of that name, or it was dropped.
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
        bool is_null;
        (void)field(row, table, "dropped_at", &is_there); // null while it was not
        task->task_id      = DatumGetInt32(field(row, table, "task_id", &is_null));
        task->queue_id     = DatumGetInt32(field(row, table, "queue_id", &is_null));
        task->max_attempts = DatumGetInt16(field(row, table, "max_attempts", &is_null));
        task->executor     = index::executor_named(field(row, table, "executor", &is_null));
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    return is_there;
}

/// The rows of fresh runs of one task, all with the same time.
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
        static const char *const payload_columns[] = {"run_id", "payload", "metadata", "tags"};

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

    void add(int64 run_id, Datum payload, bool has_payload)
    {
        constexpr int16 fresh    = 2;
        const Datum     values[] = {Int64GetDatum(run_id),
                                    Int64GetDatum(core::keyless_lane),
                                    TimestampTzGetDatum(as_of_),
                                    TimestampTzGetDatum(as_of_),
                                    0,
                                    0,
                                    0,
                                    0,
                                    0,
                                    0,
                                    Int32GetDatum(task_.task_id),
                                    Int32GetDatum(task_.queue_id),
                                    Int32GetDatum(0),
                                    Int16GetDatum(fresh),
                                    Int16GetDatum(0),
                                    Int16GetDatum(task_.max_attempts),
                                    Int16GetDatum(0),
                                    status_,
                                    0};
        constexpr bool  nulls[]  = {false, false, false, false, true,  true,  true,  true,  true, true,
                                    false, false, false, false, false, false, false, false, true};
        run_.insert(values, nulls);
        index::push(task_.queue_id, {core::keyless_lane, {fresh, as_of_, run_id}, task_.executor}, as_of_);
        if (!has_payload)
            return;
        const Datum    given[]       = {Int64GetDatum(run_id), payload, 0, 0};
        constexpr bool given_nulls[] = {false, false, true, true};
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

/// Arguments as those of enqueue.  Nothing but a task and a payload is given, and no priority is the same as 0.
bool is_ordinary(FunctionCallInfo call)
{
    constexpr int priority = 3;
    constexpr int first    = 2;
    constexpr int end      = 12;
    if (call->nargs != end || call->args[0].isnull ||
        (!call->args[1].isnull && !is_small(call->args[1].value)))
        return false;
    for (int i = first; i < end; ++i)
        if (!call->args[i].isnull && (i != priority || DatumGetInt32(call->args[i].value) != 0))
            return false;
    return true;
}

/// Returns the id; 0 if the twin is to do it.
int64 enqueue_one(FunctionCallInfo call, Oid schema)
{
    if (!is_ordinary(call))
        return 0;

    const bool        has_payload = !call->args[1].isnull;
    const TimestampTz as_of       = GetCurrentTimestamp();
    int64             run_id      = 0;
    Task              task;
    Runs              runs;
    begin_command();
    if (find_task(schema, call->args[0].value, &task)) {
        run_id = new_run_id(get_relname_relid("run_seq", schema));
        if (runs.open(schema, task, as_of, run_id, run_id, has_payload)) {
            runs.add(run_id, call->args[1].value, has_payload);
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
    constexpr int arguments = 3;
    if (call->nargs != arguments || call->args[0].isnull || call->args[1].isnull || !call->args[2].isnull)
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
                runs.add(ids[i], payloads[i], !nulls[i]);
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
