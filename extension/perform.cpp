// perform: runs one attempt of an sql task and completes it in the same transaction.
//
// What is to run is read, and the locks of that are let go; the body runs under the task's role; then comes the completion as
// the storage's owner.  If the attempt has ended meanwhile, however it did, the completion raises and the body's work is
// undone with it.  So an sql task takes effect exactly once, and a long body holds no lock on our tables while it runs.
//
// A worker in whose session tasks of several roles run one after another has what a task left there forgotten behind it, in a
// second transaction of the call; a statement of its own for that would cost more than the cleaning.
//
// The body is somebody else's code.  Inside the switch of identity SET ROLE is refused by Postgres; deferred triggers
// are fired before the switch ends, since at commit they would run as the worker's login; cursors WITH HOLD, which
// would be run at commit, are refused; settings that the body changed are put back.

#include <cstdint>

#include "pg/boundary.hpp"
#include "pg/identity.hpp"
#include "pg/version.hpp"

#include "clean_session.hpp"
#include "index/complete.hpp"
#include "index/spi.hpp"
#include "planner.hpp"
#include "settings.hpp"
#include "sql_job.hpp"
#include "task_plan.hpp"

namespace {

using namespace sluice::pg;
using sluice::SqlJob;
using sluice::index::Statement;

Datum copied(MemoryContext context, Datum value)
{
    const MemoryContext before = MemoryContextSwitchTo(context);
    const Datum         copy   = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
    MemoryContextSwitchTo(before);
    return copy;
}

SqlJob read_job(MemoryContext context, Datum token)
{
    const Identity before = switch_to_owner(storage_owner(extension_schema()));
    const SqlJob   job    = sluice::read_sql_job(context, token);
    become(before);
    return job;
}

/// A value of any type as jsonb, by the server's own to_jsonb.
Jsonb *to_jsonb(Oid type, Datum value, bool is_null)
{
    if (is_null || type == VOIDOID)
        return nullptr;

    FmgrInfo function;
    fmgr_info(F_TO_JSONB, &function);
    // It asks its call for the type.
    Node *argument = reinterpret_cast<Node *>(makeNullConst(type, -1, InvalidOid));
    fmgr_info_set_expr(reinterpret_cast<Node *>(makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(argument),
                                                             InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL)),
                       &function);
    return DatumGetJsonbP(FunctionCall1(&function, value));
}

Jsonb *row_to_jsonb(HeapTuple row, TupleDesc shape)
{
    if (shape->natts == 1) {
        bool        is_null;
        const Datum value = SPI_getbinval(row, shape, 1, &is_null);
        return to_jsonb(TupleDescAttr(shape, 0)->atttypid, value, is_null);
    }
    return to_jsonb(RECORDOID, heap_copy_tuple_as_datum(row, BlessTupleDesc(shape)), false);
}

void push_element(JsonbParseState **state, Jsonb *json)
{
    JsonbValue value;
    if (json == nullptr) {
        value.type = jbvNull;
        pushJsonbValue(state, WJB_ELEM, &value);
        return;
    }
    if (JB_ROOT_IS_SCALAR(json)) {
        JsonbExtractScalar(&json->root, &value);
        pushJsonbValue(state, WJB_ELEM, &value);
        return;
    }
    value.type            = jbvBinary;
    value.val.binary.data = &json->root;
    value.val.binary.len  = static_cast<int>(VARSIZE(json) - VARHDRSZ);
    pushJsonbValue(state, WJB_ELEM, &value);
}

/// A scalar as it is, a row as an object, several rows (or any set function) as an array; nothing for no row.
Jsonb *result_as_jsonb(SPITupleTable *rows, std::uint64_t count, bool always_array)
{
    if (!always_array && count == 0)
        return nullptr;
    if (!always_array && count == 1)
        return row_to_jsonb(rows->vals[0], rows->tupdesc);

    JsonbParseState *state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_ARRAY, nullptr);
    for (std::uint64_t i = 0; i < count; ++i)
        push_element(&state, row_to_jsonb(rows->vals[i], rows->tupdesc));
    return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, nullptr));
}

/// The function of this name with these argument types in the search_path; InvalidOid if there is none.
Oid find_function(const char *name, const char *arguments)
{
    LOCAL_FCINFO(call, 1);
    InitFunctionCallInfoData(*call, nullptr, 1, InvalidOid, nullptr, nullptr);
    call->args[0] = {CStringGetTextDatum(psprintf("%s%s", name, arguments)), false};

    const Datum found = to_regprocedure(call);
    return call->isnull ? InvalidOid : DatumGetObjectId(found);
}

/// The statement that calls the target function with the payload, or without arguments if that is how it is declared.
const char *call_of_function(const char *target, bool *returns_set)
{
    Oid function = find_function(target, "(jsonb)");
    if (!OidIsValid(function))
        function = find_function(target, "()");
    if (!OidIsValid(function))
        ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
                errmsg("function %s(jsonb) does not exist", target),
                errdetail("The task's target names a function that takes the payload as jsonb, or nothing."),
                errhint("Create the function, or correct the target with sluice.create_task."));
    if (!may_execute(function, GetUserId()))
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, target);

    *returns_set = get_func_retset(function);
    return psprintf(
        "select %s(%s)",
        quote_qualified_identifier(get_namespace_name(get_func_namespace(function)), get_func_name(function)),
        get_func_nargs(function) == 0 ? "" : "$1");
}

void refuse_held_cursors()
{
    if (ThereAreNoReadyPortals())
        return; // the one that runs this is active
    static Statement held("select name from pg_catalog.pg_cursors where is_holdable", 0, nullptr);
    if (held.run(nullptr) > 0)
        ereport(ERROR, errcode(errcode_sql_task_forbidden),
                errmsg("an sql task may not leave a cursor with hold"),
                errdetail("Cursor \"%s\" would be run at commit, when the task's role is no longer in force.",
                          SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
                errhint("Close the cursor before the task ends."));
}

void set_search_path(const char *search_path)
{
    (void)set_config_option("search_path", search_path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                            false);
}

/// A task's role and search_path in force, with an SPI connection; SPI procedures are atomic in it, so a COMMIT of the
/// body is refused.  Plain data, as Identity.
struct Stage {
    Identity before;
    int      nest;
};

Stage enter(Oid role, const char *search_path)
{
    Stage stage{switch_to(role), NewGUCNestLevel()};
    set_search_path(search_path);
    SPI_connect();
    return stage;
}

void leave(const Stage &stage)
{
    SPI_finish();
    AtEOXact_GUC(false, stage.nest); // false: put back also what the body changed with a plain SET
    become(stage.before);
}

/// Runs the body under the task's role and leaves its result as jsonb in `context`; nullptr for none.
Jsonb *run_body(MemoryContext context, const SqlJob &job)
{
    const Stage stage       = enter(job.role, job.search_path);
    bool        returns_set = false;
    const char *statement   = job.is_function ? call_of_function(job.target, &returns_set) : job.target;
    Oid         types[]     = {JSONBOID};
    Datum       values[]    = {job.payload};
    const char  nulls[]     = {job.has_payload ? ' ' : 'n', '\0'};

    const SPIPlanPtr plan = sluice::task_plan(job.role, job.search_path, statement);
    const int        code = plan != nullptr ? SPI_execute_plan(plan, values, nulls, false, 0)
                                            : SPI_execute_with_args(statement, 1, types, values, nulls, false, 0);
    if (code < 0)
        ereport(ERROR, errcode(errcode_sql_task_forbidden),
                errmsg("the task's statement cannot run here: %s", SPI_result_code_string(code)),
                errhint("Transaction control is not possible in an sql task; it is one transaction."));

    SPITupleTable      *rows  = SPI_tuptable;
    const std::uint64_t count = SPI_processed;
    PushActiveSnapshot(
        GetTransactionSnapshot()); // a row may have parts elsewhere, a type its own cast to json
    Jsonb *result = rows == nullptr ? nullptr : result_as_jsonb(rows, count, returns_set);
    if (result != nullptr)
        result = DatumGetJsonbP(copied(context, JsonbPGetDatum(result)));
    PopActiveSnapshot();

    AfterTriggerFireDeferred();
    leave(stage);
    return result;
}

/// Ends the attempt.  Whatever is not a completion, or not any more, the statement knows.
void complete(Datum token, Jsonb *output)
{
    static const Oid types[] = {UUIDOID, JSONBOID};
    static Statement complete("select sluice._complete_performed($1, $2)", 2, types);

    const Datum    values[]  = {token, JsonbPGetDatum(output)};
    const char     nulls[]   = {' ', output == nullptr ? 'n' : ' ', '\0'};
    const bool     no_output = output == nullptr;
    bool           done      = false;
    const Identity before    = switch_to_owner(storage_owner(extension_schema()));
    const int      nest      = NewGUCNestLevel();
    set_search_path("pg_catalog, pg_temp");
    const int level = sluice::plan_as_usual();
    CommandCounterIncrement(); // what the body's last triggers did is seen
    refuse_held_cursors();
    if (no_output || VARSIZE(output) <= sluice::max_output_bytes())
        (void)sluice::index::complete_many({&values[0], 1, &values[1], &no_output, 1}, &done);
    if (!done)
        (void)complete.run(values, nulls);
    sluice::plan_as_before(level);
    AtEOXact_GUC(true, nest);
    become(before);
}

} // namespace

// call sluice.perform(token uuid, inout answer text, clean boolean)
SLUICE_FUNCTION(sluice_perform)
{
    check_version();
    if (!IsA(fcinfo->context, CallContext) || castNode(CallContext, fcinfo->context)->atomic)
        ereport(ERROR, errcode(errcode_wrong_context),
                errmsg("perform cannot run inside a transaction block"),
                errhint("Call it on its own, outside of begin and commit and not from a function."));
    if (PG_ARGISNULL(0))
        ereport(ERROR, errcode(errcode_invalid_value), errmsg("token must not be null"),
                errhint("Pass the token that the claim has returned."));

    SPI_connect_ext(SPI_OPT_NONATOMIC);
    const MemoryContext context = CurrentMemoryContext; // outlives the rollback below
    const Datum         token   = datumCopy(PG_GETARG_DATUM(0), false, UUID_LEN);

    const SqlJob job    = read_job(context, token);
    Jsonb       *output = run_body(context, job);
    if (output != nullptr && VARSIZE(output) > sluice::max_output_bytes())
        SPI_rollback(); // it ends the attempt as failed, and a failed attempt leaves nothing of its work
    complete(token, output);
    if (!PG_ARGISNULL(2) && PG_GETARG_BOOL(2)) {
        SPI_commit(); // first: what the task holds for its session, locks above all, it holds until its work is seen
        sluice::forget_in_session(); // but for settings, which are put back, and are the worker's own
    }
    SPI_finish();

    TupleDesc shape;
    if (get_call_result_type(fcinfo, nullptr, &shape) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "perform must have an inout argument");
    Datum value   = CStringGetTextDatum("done");
    bool  is_null = false;
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape), &value, &is_null));
}

// sluice._assert_sql_target(role text, search_path text, target text, is_function bool): raises what Postgres would when
// the role runs the target.  The statement is parsed, not planned or run.
SLUICE_FUNCTION(sluice_assert_sql_target)
{
    const Oid   role        = get_role_oid(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
    const char *target      = text_to_cstring(PG_GETARG_TEXT_PP(2));
    const Stage stage       = enter(role, text_to_cstring(PG_GETARG_TEXT_PP(1)));
    bool        returns_set = false;
    Oid         types[]     = {JSONBOID};

    if (SPI_prepare(PG_GETARG_BOOL(3) ? call_of_function(target, &returns_set) : target, 1, types) == nullptr)
        elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
    leave(stage);
    PG_RETURN_VOID();
}
