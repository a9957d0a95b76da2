// The trampoline: every public SQL function enters here and is carried out by its private twin as the storage's owner.
//
// The twin of sluice.enqueue(…) is sluice._enqueue(…) with the same argument types, written in plpgsql and granted to
// the storage's owner alone.  One C function serves all of them: named and default arguments are resolved by Postgres
// before we are called, and results, sets included, pass through untouched.  Where a function has a quick way
// (quick.hpp) that is asked first.
//
// The roles of the callers are kept on a stack, so that a twin can ask who called (sluice._caller()) where
// current_user is already the owner.  The stack is a list through C frames, unwound on every way out.

#include "pg/boundary.hpp"
#include "pg/identity.hpp"
#include "pg/version.hpp"
#include "planner.hpp"
#include "quick.hpp"

namespace {

using namespace sluice::pg;

struct Frame {
    Oid          role;
    const char  *search_path;
    const Frame *outer;
};

const Frame *innermost = nullptr;

/// What a call site needs to know again and again; lives as long as its FmgrInfo.
struct Target {
    FmgrInfo         twin;
    sluice::QuickWay quick; ///< nullptr: always the twin
    Oid              schema;
};

/// Throws the current error on.  An error of our own class speaks to the caller, to whom the names and lines of private
/// functions say nothing: it is reported anew from here, so that its context is the caller's own.  Postgres has restored
/// the user id, or will, when it aborts.
[[noreturn]] void throw_on(MemoryContext context)
{
    const char *const class_of_ours = "SL";
    MemoryContextSwitchTo(context);
    ErrorData  *error = CopyErrorData();
    const char *state = unpack_sql_state(error->sqlerrcode);
    FlushErrorState();
    if (strncmp(state, class_of_ours, 2) != 0 || state[2] == '9')
        ReThrowError(error);
    error->context = nullptr;
    ThrowErrorData(error);
    pg_unreachable();
}

Target *find_twin(FunctionCallInfo fcinfo)
{
    const Oid self  = fcinfo->flinfo->fn_oid;
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(self));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for function %u", self);

    const auto *form   = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
    const Oid   schema = form->pronamespace;
    char        name[NAMEDATALEN];
    snprintf(name, sizeof(name), "_%s", NameStr(form->proname));
    const sluice::QuickWay quick = sluice::quick_way(NameStr(form->proname));
    bool                   is_null;
    const Datum            types = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proargtypes, &is_null);
    const Oid twin = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name), types,
                                     ObjectIdGetDatum(schema));
    ReleaseSysCache(tuple);
    if (!OidIsValid(twin))
        ereport(ERROR, errcode(errcode_internal), errmsg("function \"sluice.%s\" is missing", name),
                errhint("Run alter extension sluice update, or install the extension again."));

    auto *target = static_cast<Target *>(MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Target)));
    fmgr_info_cxt(twin, &target->twin, fcinfo->flinfo->fn_mcxt);
    fmgr_info_set_expr(fcinfo->flinfo->fn_expr, &target->twin);
    target->quick            = quick;
    target->schema           = schema;
    fcinfo->flinfo->fn_extra = target;
    return target;
}

/// Has the twin carry out a call as the storage's owner.
Datum hand_over(FunctionCallInfo fcinfo)
{
    if (!may_execute(fcinfo->flinfo->fn_oid, GetUserId()))
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(fcinfo->flinfo->fn_oid));

    auto *target = static_cast<Target *>(fcinfo->flinfo->fn_extra);
    if (target == nullptr)
        target = find_twin(fcinfo);

    const Oid owner = storage_owner(target->schema);

    LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
    InitFunctionCallInfoData(*inner, &target->twin, fcinfo->nargs, fcinfo->fncollation, fcinfo->context,
                             fcinfo->resultinfo);
    for (int i = 0; i < fcinfo->nargs; ++i)
        inner->args[i] = fcinfo->args[i];

    Frame frame{GetUserId(), nullptr, innermost};
    if (innermost != nullptr && frame.role == owner) {
        // A twin called a public function: who called, and how names are found, is what it was for the twin.
        frame.role        = innermost->role;
        frame.search_path = innermost->search_path;
    } else {
        frame.search_path = pstrdup(namespace_search_path);
    }

    const MemoryContext context = CurrentMemoryContext;
    Datum               result  = 0;
    innermost                   = &frame;
    PG_TRY();
    {
        const Identity before = switch_to_owner(owner);
        if (target->quick == nullptr || !target->quick(inner, target->schema, &result)) {
            const int level = sluice::plan_as_usual();
            result          = FunctionCallInvoke(inner);
            sluice::plan_as_before(level);
        }
        become(before);
        innermost = frame.outer;
    }
    PG_CATCH();
    {
        innermost = frame.outer;
        throw_on(context);
    }
    PG_END_TRY();

    fcinfo->isnull = inner->isnull;
    return result;
}

} // namespace

Oid sluice::pg::caller()
{
    return innermost == nullptr ? InvalidOid : innermost->role;
}

SLUICE_FUNCTION(sluice_call)
{
    check_version();
    return hand_over(fcinfo);
}

// The same for the few functions that are needed while the storage is still, or already, of another version.
SLUICE_FUNCTION(sluice_call_on_any_storage)
{
    check_library();
    return hand_over(fcinfo);
}

// sluice._caller() returns oid: the role that called the public function, InvalidOid outside of one.
SLUICE_FUNCTION(sluice_caller)
{
    (void)fcinfo;
    PG_RETURN_OID(sluice::pg::caller());
}

// sluice._caller_search_path() returns text: the search_path that was in force where the public function was called.
SLUICE_FUNCTION(sluice_caller_search_path)
{
    if (innermost == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_TEXT_P(cstring_to_text(innermost->search_path));
}
