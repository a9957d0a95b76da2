// exchange: one cycle of a worker, in one call; sql/api/65_exchange.sql says what it does.
//
// Written in C++ since it is called once for each batch, and plpgsql cost more than the statements.  What is rare (outcomes
// other than plain completions, dead tokens, wrong arguments) is left to SQL functions.

#include <algorithm>
#include <string_view>

#include "core/ready_index.hpp"
#include "core/token.hpp"

#include "pg/boundary.hpp"
#include "pg/identity.hpp"
#include "pg/updater.hpp"

#include "index/build.hpp"
#include "index/claim.hpp"
#include "index/complete.hpp"
#include "index/lease.hpp"
#include "index/segment.hpp"
#include "index/spi.hpp"
#include "index/uuid.hpp"
#include "settings.hpp"

namespace {

using namespace sluice;
using index::Statement;

/// The arguments, in order.
struct Call {
    text      *worker;
    Jsonb     *outcomes;
    ArrayType *heartbeats;
    int32      capacity;
    ArrayType *queues;
    ArrayType *executors;
    int64      seen_reply;
    bool       has_seen_reply;
};

/// The rows that go back.
class Reply {
public:
    explicit Reply(ReturnSetInfo *result) : result_(result) {}

    void  set_number(int64 number) { number_ = number; }
    int64 number() const { return number_; } ///< -1 without a session

    void reply() { put({.kind = "reply"}); }
    void ended(Datum token, Datum answer) { put({.kind = "ended", .token = token, .answer = answer}); }
    void lost(Datum token, Datum answer) { put({.kind = "lost", .token = token, .answer = answer}); }
    void claimed(const index::Claimed &run)
    {
        put({.kind = "claimed", .token = run.values[index::c_token], .run = &run});
    }

private:
    enum Column : int {
        r_kind,
        r_token,
        r_answer,
        r_run_id,
        r_attempt,
        r_task,
        r_executor,
        r_target,
        r_options,
        r_payload,
        r_lease_seconds,
        r_max_duration,
        r_reply,
        r_machine,
        r_heartbeat,
        r_traceparent,
        columns
    };

    struct Row {
        const char           *kind;
        Datum                 token  = 0;
        Datum                 answer = 0;
        const index::Claimed *run    = nullptr;
    };

    void put(const Row &row)
    {
        Datum values[columns]{};
        bool  nulls[columns];
        std::fill_n(nulls, +columns, true);
        const auto set = [&](Column place, Datum value, bool is_null = false) {
            values[place] = value;
            nulls[place]  = is_null;
        };
        set(r_kind, CStringGetTextDatum(row.kind));
        set(r_token, row.token, row.token == 0);
        set(r_answer, row.answer, row.answer == 0);
        set(r_reply, Int64GetDatum(number_), number_ < 0);
        if (row.run != nullptr) {
            using namespace index;
            static constexpr struct {
                Column        to;
                index::Column from;
            } of_run[]{{r_run_id, c_run_id},
                       {r_attempt, c_attempt},
                       {r_task, c_task},
                       {r_executor, c_executor},
                       {r_target, c_target},
                       {r_options, c_options},
                       {r_payload, c_payload},
                       {r_lease_seconds, c_lease_seconds},
                       {r_max_duration, c_max_duration},
                       {r_machine, c_machine},
                       {r_heartbeat, c_heartbeat},
                       {r_traceparent, c_traceparent}};
            for (const auto &[to, from] : of_run)
                set(to, row.run->values[from], row.run->nulls[from]);
        }
        tuplestore_putvalues(result_->setResult, result_->setDesc, values, nulls);
        pfree(DatumGetPointer(values[r_kind]));
    }

    ReturnSetInfo *result_;
    int64          number_ = -1;
};

/// Raises an error for arguments that are wrong.
void check(const Call &call)
{
    static const Oid types[] = {TEXTOID, JSONBOID, INT4OID, INT8OID};
    static Statement complain("select sluice._assert_exchange($1, $2, $3, $4)", 4, types);
    constexpr int    most_bytes = 200, most_capacity = 10'000;
    constexpr int64  most_reply = 1'000'000'000'000'000;

    if (call.worker != nullptr && VARSIZE_ANY_EXHDR(call.worker) > 0 &&
        VARSIZE_ANY_EXHDR(call.worker) <= most_bytes &&
        (call.outcomes == nullptr || JB_ROOT_IS_ARRAY(call.outcomes)) && call.capacity >= 0 &&
        call.capacity <= most_capacity && call.seen_reply >= 0 && call.seen_reply <= most_reply)
        return;
    const Datum values[] = {PointerGetDatum(call.worker), PointerGetDatum(call.outcomes),
                            Int32GetDatum(call.capacity), Int64GetDatum(call.seen_reply)};
    const char  nulls[]  = {call.worker == nullptr ? 'n' : ' ', call.outcomes == nullptr ? 'n' : ' ', ' ',
                          call.has_seen_reply ? ' ' : 'n', '\0'};
    (void)complain.run(values, nulls);
}

/// The number of this reply; 0 if a statement has to say.
int64 count_directly(const Call &call)
{
    enum Column : int { w_worker, w_pid, w_session_start, w_seen_at, w_reply };
    static const char *const columns[]{"worker", "pid", "session_start", "seen_at", "reply"};
    pg::Updater              worker;
    if (!worker.open(get_relname_relid("worker", pg::extension_schema()), columns, lengthof(columns)))
        return 0;
    int64 number = 0;
    if (worker.find(PointerGetDatum(call.worker)) && DatumGetInt32(worker.get(w_pid)) == MyProcPid &&
        DatumGetTimestampTz(worker.get(w_session_start)) == MyStartTimestamp) {
        number = DatumGetInt64(worker.get(w_reply)) + 1;
        worker.set(w_seen_at, TimestampTzGetDatum(GetCurrentTimestamp()));
        worker.set(w_reply, Int64GetDatum(number));
        number = worker.update() ? number : 0;
    }
    worker.close();
    return number;
}

/// Notes that the worker is alive and numbers the reply, if this session has registered it.
bool number_reply(const Call &call, Reply &reply)
{
    static const Oid types[] = {TEXTOID};
    static Statement count(
        "update sluice.worker as w set seen_at = clock_timestamp(), reply = w.reply + 1"
        " where w.worker = $1 and w.pid = pg_backend_pid() and w.session_start = sluice._session_start()"
        " returning w.reply",
        1, types);
    static Statement complain("select sluice._assert_unregistered($1)", 1, types);

    if (const int64 number = count_directly(call); number > 0) {
        reply.set_number(number);
        return true;
    }
    const Datum values[] = {PointerGetDatum(call.worker)};
    if (count.run(values) == 0) {
        (void)complain.run(values);
        return false;
    }
    reply.set_number(DatumGetInt64(index::column(0, 1)));
    return true;
}

// --- Outcomes ------------------------------------------------------------------------------------------------------

/// What a string of JSON says, or nullptr for anything else.
const JsonbValue *string_at(JsonbContainer *object, std::string_view key, JsonbValue *value)
{
    const JsonbValue *found =
        getKeyJsonValueFromContainer(object, key.data(), static_cast<int>(key.size()), value);
    return found != nullptr && found->type == jbvString ? found : nullptr;
}

bool says(const JsonbValue *value, std::string_view word)
{
    return value != nullptr &&
           std::string_view(value->val.string.val, static_cast<std::size_t>(value->val.string.len)) == word;
}

/// Outcomes that are nothing but completions, in the arrays that complete_many() takes.
struct Completed {
    Datum *tokens, *outputs;
    bool  *no_output;
    int    count;
    bool   any_usage; ///< what a program used is told with its end
};

/// Reads one.  False: it is something else.
bool read_completion(const JsonbValue &element, Completed &completed)
{
    JsonbValue value;
    if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
        return false;
    JsonbContainer *object = element.val.binary.data;
    if (!says(string_at(object, "outcome", &value), "completed"))
        return false;
    const JsonbValue *token = string_at(object, "token", &value);
    if (token == nullptr)
        return false;
    completed.tokens[completed.count] = DirectFunctionCall1(
        uuid_in, CStringGetDatum(pnstrdup(token->val.string.val, static_cast<Size>(token->val.string.len))));

    constexpr std::string_view usage = "usage";
    completed.any_usage |=
        getKeyJsonValueFromContainer(object, usage.data(), static_cast<int>(usage.size()), &value) != nullptr;

    constexpr std::string_view key = "output";
    JsonbValue                *output =
        getKeyJsonValueFromContainer(object, key.data(), static_cast<int>(key.size()), &value);
    const bool none                      = output == nullptr || output->type == jbvNull;
    completed.no_output[completed.count] = none;
    if (!none) {
        Jsonb *document                    = JsonbValueToJsonb(output);
        completed.outputs[completed.count] = PointerGetDatum(document);
        if (VARSIZE(document) > max_output_bytes())
            return false;
    }
    ++completed.count;
    return true;
}

/// False: not all of them are completions, each of another token.
bool read_completions(Jsonb *outcomes, Completed &completed)
{
    const auto size = static_cast<std::size_t>(JsonContainerSize(&outcomes->root) + 1);
    completed       = {static_cast<Datum *>(palloc(sizeof(Datum) * size)),
                       static_cast<Datum *>(palloc(sizeof(Datum) * size)),
                       static_cast<bool *>(palloc(sizeof(bool) * size)), 0, false};

    JsonbIterator     *place = JsonbIteratorInit(&outcomes->root);
    JsonbValue         element;
    JsonbIteratorToken kind;
    while ((kind = JsonbIteratorNext(&place, &element, true)) != WJB_DONE)
        if (kind == WJB_ELEM && !read_completion(element, completed))
            return false;

    auto *tokens = static_cast<core::Token *>(palloc(sizeof(core::Token) * size));
    for (int i = 0; i < completed.count; ++i)
        tokens[i] = index::token_of(completed.tokens[i]);
    std::sort(tokens, tokens + completed.count);
    return std::adjacent_find(tokens, tokens + completed.count) == tokens + completed.count;
}

/// Those that complete_many() did not find: dead, or repeated.  In id order, as everything that locks rows goes.
void settle_rest(const Completed &completed, const bool *done, Reply &reply)
{
    static const Oid types[] = {UUIDOID, JSONBOID};
    static Statement settle("select sluice._settle($1, 'completed', $2, null, null)", 2, types);

    auto *rest  = static_cast<int *>(palloc(sizeof(int) * static_cast<std::size_t>(completed.count)));
    int   count = 0;
    for (int i = 0; i < completed.count; ++i)
        if (!done[i])
            rest[count++] = i;
    std::sort(rest, rest + count, [&](int a, int b) {
        return index::token_of(completed.tokens[a]) < index::token_of(completed.tokens[b]);
    });
    for (int i = 0; i < count; ++i) {
        const int   one      = rest[i];
        const Datum values[] = {completed.tokens[one], completed.outputs[one]};
        const char  nulls[]  = {' ', completed.no_output[one] ? 'n' : ' ', '\0'};
        (void)settle.run(values, nulls);
        reply.ended(completed.tokens[one], index::column(0, 1));
    }
}

void report(const Call &call, Reply &reply)
{
    static const Oid types[] = {JSONBOID};
    static Statement report_all("select token, answer from sluice._report($1)", 1, types);
    static Statement write_resources("select sluice._write_resources($1)", 1, types);

    if (call.outcomes == nullptr || JsonContainerSize(&call.outcomes->root) == 0)
        return;
    Completed completed;
    if (!read_completions(call.outcomes, completed)) {
        const Datum  values[] = {PointerGetDatum(call.outcomes)};
        const uint64 rows     = report_all.run(values);
        for (uint64 row = 0; row < rows; ++row)
            reply.ended(index::column(row, 1), index::column(row, 2));
        SPI_freetuptable(SPI_tuptable);
        return;
    }

    if (completed.any_usage) {
        const Datum values[] = {PointerGetDatum(call.outcomes)};
        (void)write_resources.run(values);
    }
    auto     *done  = static_cast<bool *>(palloc(sizeof(bool) * static_cast<std::size_t>(completed.count)));
    const int found = index::complete_many(
        {completed.tokens, completed.count, completed.outputs, completed.no_output, completed.count}, done);
    const Datum answer = CStringGetTextDatum("done");
    for (int i = 0; i < completed.count; ++i)
        if (done[i])
            reply.ended(completed.tokens[i], answer);
    if (found < completed.count)
        settle_rest(completed, done, reply);
}

// --- Leases --------------------------------------------------------------------------------------------------------

/// The tokens that a worker says it holds, without nulls.
struct Held {
    Datum *tokens;
    int    count;
};

Held held_of(const Call &call)
{
    Held  held{};
    bool *nulls;
    int   count = 0;
    if (call.heartbeats != nullptr)
        deconstruct_array(call.heartbeats, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &held.tokens, &nulls,
                          &count);
    for (int i = 0; i < count; ++i)
        if (!nulls[i])
            held.tokens[held.count++] = held.tokens[i];
    return held;
}

/// Moves the deadlines; stands[i]: the token has its attempt.
void beat(const Call &call, const Held &held, bool *stands)
{
    static const Oid types[] = {TEXTOID, UUIDARRAYOID};
    static Statement by_tables(
        "select u.n, b.token is not null from unnest($2) with ordinality as u (token, n)"
        " left join sluice._beat($1, $2) as b on b.token = u.token where u.token is not null"
        " order by u.n",
        2, types);

    if (index::keep_leases() == index::Leases::in_index) {
        const uint64 worker = index::hash_of_worker(call.worker);
        auto        *until =
            static_cast<TimestampTz *>(palloc(sizeof(TimestampTz) * static_cast<std::size_t>(held.count)));
        index::beat(*index::attach(), &worker, held.tokens, held.count, until);
        index::unlock_mode(ShareLock);
        for (int i = 0; i < held.count; ++i)
            stands[i] = until[i] != 0;
        return;
    }
    const Datum values[] = {PointerGetDatum(call.worker), PointerGetDatum(call.heartbeats)};
    (void)by_tables.run(values);
    for (int i = 0; i < held.count; ++i)
        stands[i] = DatumGetBool(index::column(static_cast<uint64>(i), 2));
    SPI_freetuptable(SPI_tuptable);
}

void move_leases(const Call &call, const Held &held, Reply &reply)
{
    static const Oid types[] = {UUIDOID};
    static Statement tell("select sluice._tell($1)", 1, types);
    if (held.count == 0)
        return;
    auto *stands = static_cast<bool *>(palloc(sizeof(bool) * static_cast<std::size_t>(held.count)));
    beat(call, held, stands);
    for (int i = 0; i < held.count; ++i) {
        if (stands[i])
            continue;
        const Datum values[] = {held.tokens[i]};
        (void)tell.run(values);
        reply.lost(held.tokens[i], index::column(0, 1));
    }
}

/// Releases what was handed out up to the reply that the worker has seen, and that it does not hold: it did not arrive.
void release_unseen(const Call &call, const Held &held)
{
    static const Oid by_table_types[] = {TEXTOID, INT8OID, UUIDARRAYOID};
    static Statement by_tables("select sluice._release_unseen($1, $2, $3)", 3, by_table_types);
    static const Oid types[] = {UUIDOID};
    static Statement release("select sluice._settle($1, 'released', null, null, null)", 1, types);

    const index::Attached *ready = index::is_serving() ? index::attach() : nullptr;
    if (ready == nullptr) {
        const Datum values[] = {PointerGetDatum(call.worker), Int64GetDatum(call.seen_reply),
                                PointerGetDatum(call.heartbeats)};
        const char  nulls[]  = {' ', ' ', call.heartbeats == nullptr ? 'n' : ' ', '\0'};
        (void)by_tables.run(values, nulls);
        return;
    }

    const auto room =
        static_cast<std::size_t>(index::leases_of(*ready, index::hash_of_worker(call.worker)) + 64);
    auto *unseen = static_cast<core::Token *>(palloc(sizeof(core::Token) * room));
    auto *listed =
        static_cast<core::Token *>(palloc(sizeof(core::Token) * static_cast<std::size_t>(held.count + 1)));
    const int count = index::unseen_leases(*ready, index::hash_of_worker(call.worker), call.seen_reply,
                                           unseen, static_cast<int>(room));
    for (int i = 0; i < held.count; ++i)
        listed[i] = index::token_of(held.tokens[i]);
    std::sort(unseen, unseen + count);
    std::sort(listed, listed + held.count);
    for (int i = 0; i < count; ++i) {
        if (std::binary_search(listed, listed + held.count, unseen[i]))
            continue;
        const Datum values[] = {index::uuid_of(unseen[i])};
        (void)release.run(values);
    }
}

void put_claimed(void *context, const index::Claimed &run)
{
    static_cast<Reply *>(context)->claimed(run);
}

} // namespace

// sluice._exchange(worker text, outcomes jsonb, heartbeats uuid[], capacity int, queues text[], executors text[], seen_reply
// bigint): twin of exchange().
SLUICE_FUNCTION(sluice_exchange)
{
    InitMaterializedSRF(fcinfo, 0);
    const Call call{PG_ARGISNULL(0) ? nullptr : PG_GETARG_TEXT_PP(0),
                    PG_ARGISNULL(1) ? nullptr : PG_GETARG_JSONB_P(1),
                    PG_ARGISNULL(2) ? nullptr : PG_GETARG_ARRAYTYPE_P(2),
                    PG_ARGISNULL(3) ? 0 : PG_GETARG_INT32(3),
                    PG_ARGISNULL(4) ? nullptr : PG_GETARG_ARRAYTYPE_P(4),
                    PG_ARGISNULL(5) ? nullptr : PG_GETARG_ARRAYTYPE_P(5),
                    PG_ARGISNULL(6) ? 0 : PG_GETARG_INT64(6),
                    !PG_ARGISNULL(6)};
    Reply reply(reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo));

    index::connect();
    check(call);
    if (call.capacity == 0)
        index::assert_home(); // which a claim does itself
    const bool registered = number_reply(call, reply);
    reply.reply();

    index::enter_if_unbuilt();
    report(call, reply);
    const Held held = held_of(call);
    move_leases(call, held, reply);
    if (registered && call.has_seen_reply)
        release_unseen(call, held);
    if (call.capacity > 0)
        index::claim_runs({call.worker, call.queues, call.capacity, call.executors, reply.number()},
                          put_claimed, &reply);
    SPI_finish();
    return Datum{0};
}
