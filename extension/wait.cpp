// wait_for_work: a worker sleeps here until there is something to claim.
//
// A procedure, not a function: it ends its transaction before each sleep, so that a waiting worker holds no snapshot
// and no lock (backend_xmin is null) and vacuum is never held back by idle workers.  It needs a direct connection and
// no statement_timeout shorter than the wait.
//
// Each round asks the ready index, or where claims go by the tables sluice._look_for_work(), for a reason to return and
// for how long to sleep at most: until the next run falls due, and no longer than the poll interval.  Commits that make
// work wake it earlier (waiters.hpp).

#include <algorithm>

#include "core/ready_index.hpp"

#include "pg/boundary.hpp"
#include "pg/identity.hpp"
#include "pg/version.hpp"

#include "clock.hpp"
#include "index/build.hpp"
#include "index/executor.hpp"
#include "index/lease.hpp"
#include "index/pop.hpp"
#include "index/segment.hpp"
#include "index/spi.hpp"
#include "right.hpp"
#include "settings.hpp"
#include "waiters.hpp"

namespace {

using namespace sluice;
using namespace sluice::pg;

/// How often the tables are looked at by a worker that nobody will wake, and by one that commits wake: then looking is
/// only for what wakes nobody, such as a prepared transaction that was committed.
constexpr long poll_ms       = 250;
constexpr long poll_ms_woken = 1000;

struct Look {
    bool done;
    long sleep_ms;
};

/// Where claims go by the index: shared memory knows, and the tables are asked for little.
Look look_at_index(const index::Attached &ready, const Datum *values, const char *nulls, char *reason,
                   bool again)
{
    static const Oid        types[] = {TEXTARRAYOID};
    static index::Statement at_home("select sluice._assert_home()", 0, nullptr);
    static index::Statement numbers("select array_agg(queue_id) from sluice.queue where queue = any ($1)", 1,
                                    types);
    constexpr int64         us_per_ms = 1000;
    constexpr int           queues = 0, executors = 1, worker = 2;

    at_home.run(nullptr);
    index::look_at_prepared(ready);
    // A change that is not urgent, if no claim has made it: here it holds nobody up for longer than it takes.
    const bool settled = !again || index::due() != index::Due::later || index::settle();
    if (ready.mode() == index::ClaimMode::table)
        return {.done = false, .sleep_ms = 1}; // the tables are to be asked
    if (nulls[worker] == ' ' &&
        index::has_dead_token(ready, index::hash_of_worker(DatumGetTextPP(values[worker])))) {
        strlcpy(reason, "revoked", NAMEDATALEN);
        return {.done = true, .sleep_ms = 0};
    }

    const bool               by_name = nulls[queues] == ' ';
    bool                     unknown = false;
    ArrayType               *ids     = nullptr;
    const core::ExecutorMask mask =
        index::executors_named(nulls[executors] == ' ' ? DatumGetArrayTypeP(values[executors]) : nullptr);
    index::feed(ready);
    if (by_name) {
        numbers.run(values);
        const Datum found = index::column(0, 1, &unknown);
        ids               = unknown ? nullptr : DatumGetArrayTypePCopy(found);
    }
    if (by_name && unknown)
        return {.done = false, .sleep_ms = poll_ms_woken};

    const index::Sight seen = index::look(ready, ids, mask);
    const index::Due   due  = index::due();
    // What is not urgent is the next claim's if it cannot be done here, but no reason to hurry.
    if (seen.work || due == index::Due::now || !settled) {
        strlcpy(reason, "work", NAMEDATALEN);
        return {.done = true, .sleep_ms = 0};
    }
    if (seen.next == PG_INT64_MAX)
        return {.done = false, .sleep_ms = poll_ms_woken};
    const int64 ms = (seen.next - GetCurrentTimestamp() + us_per_ms - 1) / us_per_ms;
    return {.done = false, .sleep_ms = static_cast<long>(std::clamp<int64>(ms, 1, poll_ms_woken))};
}

/// What a look reads is kept for all: a queue's limits, runs that have fallen due.  An old snapshot must not say it.
void assert_isolation()
{
    if (XactIsoLevel == XACT_READ_COMMITTED)
        return;
    ereport(ERROR, errcode(errcode_wrong_context),
            errmsg("wait_for_work cannot run at isolation level %s",
                   XactIsoLevel == XACT_SERIALIZABLE ? "serializable" : "repeatable read"),
            errdetail("It looks for work that was committed after its snapshot."),
            errhint("Set default_transaction_isolation to read committed in this session."));
}

/// Fills `reason` (NAMEDATALEN bytes) when there is one.
Look look(const Datum *values, const char *nulls, char *reason, bool again)
{
    static SPIPlanPtr plan = nullptr;

    assert_isolation();
    const Identity before = switch_to_owner(storage_owner(extension_schema()));
    if (const index::Attached *ready = index::attach(); ready != nullptr && index_memory_bytes() > 0) {
        if (ready->mode() != index::ClaimMode::table) {
            // As twins have it: the caller's search_path is not for the owner's statements.  What they leave goes with SPI's context.
            const int nest = NewGUCNestLevel();
            (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
                                    GUC_ACTION_SAVE, true, 0, false);
            index::connect();
            const Look seen = look_at_index(*ready, values, nulls, reason, again);
            SPI_finish();
            AtEOXact_GUC(true, nest);
            become(before);
            return seen;
        }
    }
    if (plan == nullptr) {
        Oid types[] = {TEXTARRAYOID, TEXTARRAYOID, TEXTOID};
        plan        = SPI_prepare("select reason, sleep_ms from sluice._look_for_work($1, $2, $3)", 3, types);
        if (plan == nullptr || SPI_keepplan(plan) != 0)
            elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
    }

    Datum      arguments[] = {values[0], values[1], values[2]};
    const char absent[]    = {nulls[0], nulls[1], nulls[2], '\0'};
    const int  code        = SPI_execute_plan(plan, arguments, absent, false, 1);
    if (code != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "_look_for_work failed: %s", SPI_result_code_string(code));
    become(before);

    const TupleDesc shape = SPI_tuptable->tupdesc;
    const HeapTuple row   = SPI_tuptable->vals[0];
    bool            is_null;
    const Datum     sleep = SPI_getbinval(row, shape, 2, &is_null);
    Look            seen{.done = false, .sleep_ms = is_null ? poll_ms_woken : DatumGetInt32(sleep)};

    const Datum why = SPI_getbinval(row, shape, 1, &is_null);
    if (!is_null) {
        text_to_cstring_buffer(DatumGetTextPP(why), reason, NAMEDATALEN);
        seen.done = true;
    }
    SPI_freetuptable(SPI_tuptable);
    return seen;
}

/// The queues that a caller waits for who may not claim from all of them, in the memory that is current.
Datum claimable(Datum queues, char no_queues, Datum executors, char no_executors)
{
    const Oid      caller   = GetUserId();
    const Identity before   = switch_to_owner(storage_owner(extension_schema()));
    Oid            types[]  = {TEXTARRAYOID, TEXTARRAYOID, OIDOID};
    Datum          values[] = {queues, executors, ObjectIdGetDatum(caller)};
    const char     nulls[]  = {no_queues, no_executors, ' ', '\0'};
    const int      code =
        SPI_execute_with_args("select sluice._claimable($1, $2, $3)", 3, types, values, nulls, true, 1);
    if (code != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "_claimable failed: %s", SPI_result_code_string(code));
    become(before);

    bool        is_null;
    const Datum found = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
    const Datum kept  = datumCopy(found, false, -1);
    SPI_freetuptable(SPI_tuptable);
    return kept;
}

/// Sleeps until the latch is set, the time is over or the client has gone; then ends the session, as the server would
/// on its next read.
void sleep_at_most(long milliseconds)
{
    int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
    if (MyProcPort != nullptr && WaitEventSetCanReportClosed())
        events |= WL_SOCKET_CLOSED;

    const int happened =
        WaitLatchOrSocket(MyLatch, events, MyProcPort == nullptr ? PGINVALID_SOCKET : MyProcPort->sock,
                          milliseconds, wait_event("SluiceWaitForWork"));
    if (happened & WL_LATCH_SET)
        ResetLatch(MyLatch);
    if (happened & WL_SOCKET_CLOSED)
        ereport(FATAL, errcode(ERRCODE_CONNECTION_FAILURE), errmsg("connection to client lost"));
    CHECK_FOR_INTERRUPTS();
}

Datum answer(FunctionCallInfo fcinfo, const char *reason)
{
    TupleDesc shape;
    if (get_call_result_type(fcinfo, nullptr, &shape) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "wait_for_work must have an inout argument");
    Datum value   = CStringGetTextDatum(reason);
    bool  is_null = false;
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape), &value, &is_null));
}

} // namespace

// call sluice.wait_for_work(queues text[], timeout interval, executors text[], worker text, inout reason text)
SLUICE_FUNCTION(sluice_wait_for_work)
{
    check_version();
    if (!IsA(fcinfo->context, CallContext) || castNode(CallContext, fcinfo->context)->atomic)
        ereport(ERROR, errcode(errcode_wrong_context),
                errmsg("wait_for_work cannot run inside a transaction block"),
                errdetail("It would hold the transaction's snapshot for as long as it waits."),
                errhint("Call it on its own, outside of begin and commit and not from a function."));

    double timeout_ms = 30'000;
    if (!PG_ARGISNULL(1)) {
        const Interval *timeout = PG_GETARG_INTERVAL_P(1);
        timeout_ms              = static_cast<double>(timeout->time) / 1000.0 +
                     (timeout->day + timeout->month * 30.0) * SECS_PER_DAY * 1000.0;
    }
    const TimestampTz until = TimestampTzPlusMilliseconds(
        clock::steady(), static_cast<int64>(std::max(0.0, std::min(timeout_ms, 86'400'000.0))));

    SPI_connect_ext(SPI_OPT_NONATOMIC);

    // SPI's own context outlives the commits between the rounds; the arguments' does not have to.
    Datum values[] = {Datum{0}, Datum{0}, Datum{0}};
    char  nulls[]  = "nnn";
    for (int argument = 0, i = 0; argument < 4; ++argument) {
        if (argument == 1)
            continue;
        if (!PG_ARGISNULL(argument)) {
            values[i] = datumCopy(PG_GETARG_DATUM(argument), false, -1);
            nulls[i]  = ' ';
        }
        ++i;
    }

    if (!sluice::may_claim_all(GetUserId())) {
        values[0] = claimable(values[0], nulls[0], values[1], nulls[1]);
        nulls[0]  = ' ';
    }

    char       reason[NAMEDATALEN] = "timeout";
    const long poll                = sluice::waiters::enter() ? poll_ms_woken : poll_ms;
    bool       again               = false;
    PG_TRY();
    {
        for (;;) {
            sluice::waiters::forget_wakes();
            const Look seen = look(values, nulls, reason, again);
            again           = true;
            SPI_commit();
            const long left = TimestampDifferenceMilliseconds(clock::steady(), until);
            if (seen.done || left <= 0)
                break;
            // The latch alone is not enough: waiting for a lock while looking may have reset it.
            if (!sluice::waiters::woken())
                sleep_at_most(std::max(1L, std::min({left, seen.sleep_ms, poll})));
        }
    }
    PG_FINALLY();
    {
        sluice::waiters::leave();
    }
    PG_END_TRY();

    SPI_finish();
    return answer(fcinfo, reason);
}
