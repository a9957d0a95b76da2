// watched: the trigger function of a watch.  Enqueues runs for the rows that a statement changed.
//
// The expressions of the watch run here, as any trigger does, with the rights of whoever changed the rows; only what
// they gave is handed to the storage's owner, who enqueues it if the table's owner may.  Rows are read from the transition tables and enqueued
// in large batches, so that neither many rows nor large ones need much memory at once.

#include "pg/boundary.hpp"

#include "pg/identity.hpp"
#include "pg/version.hpp"
#include "index/spi.hpp"
#include "watch.hpp"

namespace {

using namespace sluice::pg;
using sluice::index::Statement;
namespace watch = sluice::watch;

/// What is enqueued at once, at most.
constexpr int  batch_rows  = 100'000;
constexpr Size batch_bytes = Size{32} << 20;

/// One of the two sides of a changed row: a transition table and where we are in it.
struct Side {
    Tuplestorestate *rows;
    TupleTableSlot  *slot;
    int              pointer;
};

struct Batch {
    MemoryContext    context;
    ArrayBuildState *payloads;
    ArrayBuildState *keys;
    ArrayBuildState *priorities;
    int              rows;
    Size             bytes;
};

/// Errors, of the users' expressions too, say which watch they come from.
void say_which_watch(void *argument)
{
    const auto *data = static_cast<const TriggerData *>(argument);
    errcontext("watch \"%s\" on table %s", data->tg_trigger->tgargs[watch::name],
               RelationGetRelationName(data->tg_relation));
}

int event_of(const TriggerData &data)
{
    if (TRIGGER_FIRED_BY_INSERT(data.tg_event))
        return TRIGGER_TYPE_INSERT;
    return TRIGGER_FIRED_BY_UPDATE(data.tg_event) ? TRIGGER_TYPE_UPDATE : TRIGGER_TYPE_DELETE;
}

/// A partition's own trigger counts while the table that it is a partition of is watched.
bool is_watched_from_above(const TriggerData &data)
{
    if (!data.tg_relation->rd_rel->relispartition)
        return false;
    bool      found = false;
    ListCell *cell;
    foreach (cell, get_partition_ancestors(RelationGetRelid(data.tg_relation))) {
        Relation       ancestor = table_open(lfirst_oid(cell), AccessShareLock);
        const Trigger *above    = watch::find(ancestor, data.tg_trigger->tgfoid,
                                              data.tg_trigger->tgargs[watch::name], event_of(data), false);
        found                   = found || (above != nullptr && above->tgenabled != TRIGGER_DISABLED);
        table_close(ancestor, AccessShareLock);
    }
    return found;
}

[[noreturn]] void report_broken(const TriggerData &data, const char *detail)
{
    const Trigger &trigger = *data.tg_trigger;
    ereport(ERROR, errcode(errcode_broken_watch),
            errmsg("watch \"%s\" on table \"%s\" is broken", trigger.tgargs[watch::name],
                   RelationGetRelationName(data.tg_relation)),
            errdetail("%s", detail),
            errhint("Call sluice.watch again with the same name, or sluice.unwatch."));
    pg_unreachable();
}

/// The row of expressions in the WHEN clause of the row trigger: false AND ROW(…) IS NULL.  Whoever may create triggers
/// may have written another one by hand.
List *elements(const TriggerData &data)
{
    const Trigger *row = watch::find(data.tg_relation, data.tg_trigger->tgfoid,
                                     data.tg_trigger->tgargs[watch::name], event_of(data), true);
    if (row == nullptr)
        report_broken(data,
                      "The row trigger that holds its columns was dropped, as by drop column … cascade.");

    Node *node = row->tgqual == nullptr ? nullptr : static_cast<Node *>(stringToNode(row->tgqual));
    if (node != nullptr && is_andclause(node))
        node = static_cast<Node *>(llast(reinterpret_cast<BoolExpr *>(node)->args));
    if (node != nullptr && IsA(node, NullTest))
        node = reinterpret_cast<Node *>(reinterpret_cast<NullTest *>(node)->arg);

    static const Oid types[] = {BOOLOID, TEXTOID, INT4OID, JSONBOID};
    List *found = node != nullptr && IsA(node, RowExpr) ? reinterpret_cast<RowExpr *>(node)->args : NIL;
    bool  fits  = list_length(found) == watch::element_count;
    for (int i = 0; fits && i < watch::element_count; ++i)
        fits = exprType(static_cast<Node *>(list_nth(found, i))) == types[i];
    if (!fits)
        report_broken(data, "The row trigger that holds its columns was not made by sluice.watch.");

    ChangeVarNodes(reinterpret_cast<Node *>(found), PRS2_OLD_VARNO, INNER_VAR, 0);
    ChangeVarNodes(reinterpret_cast<Node *>(found), PRS2_NEW_VARNO, OUTER_VAR, 0);
    return found;
}

Side open_side(Tuplestorestate *rows, Relation table)
{
    if (rows == nullptr)
        return Side{};
    Side side{rows, MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsMinimalTuple),
              tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND)};
    tuplestore_select_read_pointer(rows, side.pointer);
    tuplestore_rescan(rows);
    return side;
}

/// Moves to the next row; false at the end.
bool advance(const Side &side)
{
    tuplestore_select_read_pointer(side.rows, side.pointer);
    return tuplestore_gettupleslot(side.rows, true, false, side.slot);
}

void close_side(const Side &side)
{
    if (side.rows != nullptr)
        ExecDropSingleTupleTableSlot(side.slot);
}

/// The rights of the table's owner decide.
void enqueue(Oid table_owner, const Trigger &trigger, Batch &batch)
{
    static const Oid types[] = {TEXTOID, INT4OID, JSONBARRAYOID, TEXTARRAYOID, INT4ARRAYOID, OIDOID};
    static Statement statement("select sluice._enqueue_watched($1, $2, $3, $4, $5, $6)", 6, types);

    if (batch.rows == 0)
        return;
    const MemoryContext before   = MemoryContextSwitchTo(batch.context);
    const Datum         values[] = {CStringGetTextDatum(trigger.tgargs[watch::task]),
                                    Int32GetDatum(pg_strtoint32(trigger.tgargs[watch::rows_per_run])),
                                    makeArrayResult(batch.payloads, batch.context),
                                    makeArrayResult(batch.keys, batch.context),
                                    makeArrayResult(batch.priorities, batch.context),
                                    ObjectIdGetDatum(table_owner)};
    sluice::index::connect();
    const Identity caller = switch_to_owner(storage_owner(extension_schema()));
    statement.run(values);
    become(caller);
    SPI_finish();
    MemoryContextSwitchTo(before);
    MemoryContextReset(batch.context);
    batch = Batch{batch.context, nullptr, nullptr, nullptr, 0, 0};
}

void enqueue_rows(const TriggerData &data)
{
    const Oid      table_owner = data.tg_relation->rd_rel->relowner;
    const Trigger &trigger     = *data.tg_trigger;
    EState        *state       = CreateExecutorState();
    MemoryContext  outer       = MemoryContextSwitchTo(state->es_query_cxt);
    ExprState     *expressions[watch::element_count];
    int            number = 0;
    ListCell      *cell;
    foreach (cell, elements(data))
        expressions[number++] = ExecPrepareExpr(static_cast<Expr *>(lfirst(cell)), state);

    ExprContext *row    = GetPerTupleExprContext(state);
    const Side   before = open_side(data.tg_oldtable, data.tg_relation);
    const Side   after  = open_side(data.tg_newtable, data.tg_relation);
    Batch        batch{};
    batch.context = AllocSetContextCreate(state->es_query_cxt, "rows of a watch", ALLOCSET_DEFAULT_SIZES);
    row->ecxt_innertuple    = before.slot;
    row->ecxt_outertuple    = after.slot;
    const MemoryContext own = GetPerTupleMemoryContext(state);

    for (;;) {
        // Both sides at once: what was updated is at the same place in the two tables.
        const bool more_before = before.rows != nullptr && advance(before);
        const bool more_after  = after.rows != nullptr && advance(after);
        if (!more_before && !more_after)
            break;
        CHECK_FOR_INTERRUPTS();
        ResetPerTupleExprContext(state);
        bool        is_null;
        const Datum take = ExecEvalExprSwitchContext(expressions[watch::applies], row, &is_null);
        if (is_null || !DatumGetBool(take))
            continue;

        bool        no_key, no_priority, no_payload;
        const Datum key = ExecEvalExprSwitchContext(expressions[watch::key_of_run], row, &no_key);
        const Datum priority =
            ExecEvalExprSwitchContext(expressions[watch::priority_of_run], row, &no_priority);
        const Datum payload = ExecEvalExprSwitchContext(expressions[watch::payload_of_run], row, &no_payload);
        MemoryContextSwitchTo(own); // what is detoasted on the way
        batch.payloads   = accumArrayResult(batch.payloads, payload, no_payload, JSONBOID, batch.context);
        batch.keys       = accumArrayResult(batch.keys, key, no_key, TEXTOID, batch.context);
        batch.priorities = accumArrayResult(batch.priorities, priority, no_priority, INT4OID, batch.context);
        batch.bytes += no_payload ? 0 : VARSIZE_ANY(DatumGetPointer(payload));
        MemoryContextSwitchTo(state->es_query_cxt);
        if (++batch.rows >= batch_rows || batch.bytes >= batch_bytes)
            enqueue(table_owner, trigger, batch);
    }
    enqueue(table_owner, trigger, batch);

    close_side(before);
    close_side(after);
    MemoryContextSwitchTo(outer);
    FreeExecutorState(state);
}

} // namespace

SLUICE_FUNCTION(sluice_watched)
{
    check_version();
    const auto *data    = reinterpret_cast<TriggerData *>(fcinfo->context);
    const bool  trigger = CALLED_AS_TRIGGER(fcinfo);
    if (trigger && TRIGGER_FIRED_FOR_ROW(data->tg_event) && TRIGGER_FIRED_AFTER(data->tg_event))
        return PointerGetDatum(nullptr); // holds the expressions, and has nothing to do
    if (!trigger || data->tg_trigger->tgnargs < watch::argument_count ||
        !TRIGGER_FIRED_AFTER(data->tg_event) ||
        (data->tg_oldtable == nullptr && data->tg_newtable == nullptr))
        ereport(ERROR, errcode(errcode_wrong_context),
                errmsg("sluice.watched is not for triggers of one's own"),
                errhint("Make the triggers with sluice.watch."));

    ErrorContextCallback context{error_context_stack, say_which_watch, const_cast<TriggerData *>(data)};
    error_context_stack = &context;

    const int64 before = data->tg_oldtable == nullptr ? 0 : tuplestore_tuple_count(data->tg_oldtable);
    const int64 after  = data->tg_newtable == nullptr ? 0 : tuplestore_tuple_count(data->tg_newtable);
    if ((before != 0 || after != 0) &&
        (!watch::is_partition_trigger(*data->tg_trigger) || is_watched_from_above(*data))) {
        // A trigger of the target partition can swallow a row that an update moves there.
        if (data->tg_oldtable != nullptr && data->tg_newtable != nullptr && before != after)
            ereport(ERROR, errcode(errcode_broken_watch),
                    errmsg("the rows before and after an update of table \"%s\" do not pair",
                           RelationGetRelationName(data->tg_relation)),
                    errdetail("There are %lld rows before it and %lld after it: a trigger of a partition "
                              "dropped rows that moved.",
                              static_cast<long long>(before), static_cast<long long>(after)),
                    errhint("Leave out update in sluice.watch, or let that trigger return the row."));
        enqueue_rows(*data);
    }

    error_context_stack = context.previous;
    return PointerGetDatum(nullptr);
}
