// Completions; see complete.hpp.  The rule is that of sluice._settle: the token must own the attempt.
//
// Rows are changed in id order, leaf after leaf, without a statement (pg/updater.hpp) as long as nobody else is at one of
// them.  From the first such row on a statement does it, which waits: it checks and locks in one pass, by an index scan over
// the sorted ids, so two calls with the same tokens cannot wait for each other crosswise.  A bitmap scan would go by place in
// the table (planner.hpp).

#include <algorithm>

#include "core/ready_index.hpp"
#include "core/token.hpp"

#include "pg/boundary.hpp"
#include "pg/identity.hpp"
#include "pg/inserter.hpp"
#include "pg/updater.hpp"

#include "index/build.hpp"
#include "index/complete.hpp"
#include "index/effects.hpp"
#include "index/lease.hpp"
#include "index/partition.hpp"
#include "index/spi.hpp"
#include "index/uuid.hpp"
#include "planner.hpp"

namespace {

using namespace sluice;
using namespace sluice::index;

Datum uuid_array(const core::Token *tokens, int count)
{
    auto *uuids = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<std::size_t>(count + 1)));
    for (int i = 0; i < count; ++i)
        uuids[i] = uuid_of(tokens[i]);
    return PointerGetDatum(construct_array(uuids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/// Marks the rows of tokens in order, of one leaf, up to the first that somebody is at; returns how many tokens it went
/// over, and puts those that it marked into `ended`.
int update_directly(const Leaves &leaves, const core::Token *tokens, int count, TimestampTz as_of,
                    core::Token *ended, int *found)
{
    enum Column : int { r_run_id, r_token, r_status, r_finished_at };
    static const char *const columns[]{"run_id", "token", "status", "finished_at"};
    pg::Updater              run;
    if (!run.open(leaves.run, columns, lengthof(columns)))
        return 0;
    const Datum completed = CStringGetTextDatum("completed");
    int         next      = 0;
    for (; next < count; ++next) {
        bool no_token = true;
        if (!run.find(Int64GetDatum(core::token_run_id(tokens[next]))) ||
            !is_text(run.get(r_status), "executing"))
            continue;
        const Datum token = run.get(r_token, &no_token);
        if (no_token || token_of(token) != tokens[next])
            continue;
        run.set(r_status, completed);
        run.set(r_finished_at, TimestampTzGetDatum(as_of));
        if (!run.update())
            break;
        ended[(*found)++] = tokens[next];
    }
    run.close();
    return next;
}

/// Marks the rows of tokens in order; puts those that were found into `ended`, returns how many.
int update_rows(const core::Token *tokens, int count, core::Token *ended)
{
    static const Oid     types[] = {INT8ARRAYOID, UUIDARRAYOID, TIMESTAMPTZOID};
    static LeafStatement statement(
        "update %1$s as r set status = 'completed', finished_at = $3"
        " where r.run_id = any ($1) and sluice._is_among(r.token, $2) and r.status = 'executing'"
        " returning r.token",
        3, types);

    const TimestampTz as_of = GetCurrentTimestamp();
    auto             *ids   = static_cast<int64 *>(palloc(sizeof(int64) * static_cast<std::size_t>(count)));
    int               found = 0;
    for (int i = 0; i < count; ++i)
        ids[i] = core::token_run_id(tokens[i]);

    const Partitions partitions;
    for (int first = 0, next = 0; first < count; first = next) {
        next                = partitions.end_of_leaf(ids, first, count);
        const Leaves leaves = partitions.leaves_of(ids[first]);
        first += update_directly(leaves, tokens + first, next - first, as_of, ended, &found);
        if (first == next)
            continue;
        const Datum  values[] = {int8_array(ids + first, next - first),
                                 uuid_array(tokens + first, next - first), TimestampTzGetDatum(as_of)};
        const int    level    = plan_by_index();
        const uint64 rows     = statement.run(leaves, values);
        plan_as_before(level);
        for (uint64 row = 0; row < rows; ++row)
            ended[found++] = token_of(column(row, 1));
        SPI_freetuptable(SPI_tuptable);
    }
    partitions.close();
    std::sort(ended, ended + found);
    return found;
}

/// An output of a run of this call.
struct Output {
    int64 run_id;
    Datum output;
};

/// By a statement, which also finds partitions of several weeks.
void insert_by_statement(const Output *given, int count)
{
    static const Oid types[] = {INT8ARRAYOID, JSONBARRAYOID};
    static Statement statement(
        "insert into sluice.output (run_id, output)"
        " select u.run_id, u.output from pg_catalog.unnest($1, $2) as u (run_id, output)",
        2, types);

    const auto size    = static_cast<std::size_t>(count);
    auto      *ids     = static_cast<int64 *>(palloc(sizeof(int64) * size));
    auto      *outputs = static_cast<Datum *>(palloc(sizeof(Datum) * size));
    for (int i = 0; i < count; ++i) {
        ids[i]     = given[i].run_id;
        outputs[i] = given[i].output;
    }
    const Datum values[] = {int8_array(ids, count), PointerGetDatum(construct_array(
                                                        outputs, count, JSONBOID, -1, false, TYPALIGN_INT))};
    (void)statement.run(values);
}

void write_outputs(const Completions &completions, const bool *done)
{
    enum Column : int { o_run_id, o_output, o_error, columns };
    static const char *const names[]{"run_id", "output", "error"};

    auto *given = static_cast<Output *>(palloc(sizeof(Output) * static_cast<std::size_t>(completions.count)));
    int   count = 0;
    for (int i = 0; i < std::min(completions.count, completions.outputs_count); ++i)
        if (done[i] && !completions.no_output[i])
            given[count++] = {core::token_run_id(token_of(completions.tokens[i])), completions.outputs[i]};
    if (count == 0)
        return;

    const auto [lowest, highest] = std::minmax_element(
        given, given + count, [](const Output &a, const Output &b) { return a.run_id < b.run_id; });
    pg::Inserter output;
    PushActiveSnapshot(GetTransactionSnapshot());
    const bool directly = output.open(get_relname_relid("output", pg::extension_schema()), lowest->run_id,
                                      highest->run_id, names, lengthof(names));
    for (int i = 0; i < count && directly; ++i) {
        const Datum    values[columns]{Int64GetDatum(given[i].run_id), given[i].output, 0};
        constexpr bool nulls[columns]{false, false, true};
        output.insert(values, nulls);
    }
    if (directly)
        output.close();
    PopActiveSnapshot();
    if (directly)
        CommandCounterIncrement();
    else
        insert_by_statement(given, count);
}

} // namespace

int sluice::index::complete_many(const Completions &completions, bool *done)
{
    static const Oid types[] = {UUIDARRAYOID};
    static Statement delete_slots("select sluice._delete_slots($1)", 1, types);

    enter_if_unbuilt();
    const auto size   = static_cast<std::size_t>(completions.count + 1);
    auto      *tokens = static_cast<core::Token *>(palloc(sizeof(core::Token) * size));
    auto      *ended  = static_cast<core::Token *>(palloc(sizeof(core::Token) * size));
    int        count  = 0;
    for (int i = 0; i < completions.count; ++i) {
        tokens[count] = token_of(completions.tokens[i]);
        count += core::token_run_id(tokens[count]) >= 0 ? 1 : 0; // else it is none of ours
        done[i] = false;
    }
    std::sort(tokens, tokens + count);
    count           = static_cast<int>(std::unique(tokens, tokens + count) - tokens);
    const int found = update_rows(tokens, count, ended);
    if (found == 0)
        return 0;

    auto *uuids = static_cast<Datum *>(palloc(sizeof(Datum) * size));
    for (int i = 0; i < found; ++i)
        uuids[i] = uuid_of(ended[i]);
    if (end_leases(uuids, found, Ended::completed)) {
        const Datum values[] = {uuid_array(ended, found)};
        (void)delete_slots.run(values);
    }
    wake();
    for (int i = 0; i < completions.count; ++i)
        done[i] = std::binary_search(ended, ended + found, token_of(completions.tokens[i]));
    write_outputs(completions, done);
    return found;
}

// sluice._complete_many(tokens uuid[], outputs jsonb[]) returns uuid[]: those that were completed, each once, in the order of
// runs.  Null tokens are passed over.
SLUICE_FUNCTION(sluice_complete_many)
{
    Datum *tokens = nullptr, *outputs = nullptr;
    bool  *no_token = nullptr, *no_output = nullptr;
    int    count = 0, outputs_count = 0, kept = 0;
    if (!PG_ARGISNULL(0))
        deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &tokens,
                          &no_token, &count);
    if (!PG_ARGISNULL(1))
        deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), JSONBOID, -1, false, TYPALIGN_INT, &outputs, &no_output,
                          &outputs_count);
    // Outputs move along with their tokens.
    for (int i = 0; i < count; ++i) {
        if (no_token[i])
            continue;
        tokens[kept] = tokens[i];
        if (i < outputs_count) {
            outputs[kept]   = outputs[i];
            no_output[kept] = no_output[i];
        } else if (kept < outputs_count) {
            no_output[kept] = true;
        }
        ++kept;
    }

    auto *done = static_cast<bool *>(palloc(sizeof(bool) * static_cast<std::size_t>(kept + 1)));
    connect();
    (void)complete_many({tokens, kept, outputs, no_output, std::min(kept, outputs_count)}, done);
    SPI_finish();

    auto *ended =
        static_cast<core::Token *>(palloc(sizeof(core::Token) * static_cast<std::size_t>(kept + 1)));
    int found = 0;
    for (int i = 0; i < kept; ++i)
        if (done[i])
            ended[found++] = token_of(tokens[i]);
    std::sort(ended, ended + found);
    found = static_cast<int>(std::unique(ended, ended + found) - ended);
    PG_RETURN_DATUM(uuid_array(ended, found));
}
