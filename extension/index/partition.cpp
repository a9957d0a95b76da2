// Finds leaf partitions by their bounds, and plans statements for them; see partition.hpp.

#include "pg/identity.hpp"
#include "pg/leaf.hpp"

#include "index/partition.hpp"

namespace sluice::index {

namespace {

Relation open_parent(const char *name)
{
    return table_open(get_relname_relid(name, pg::extension_schema()), AccessShareLock);
}

Oid leaf_of(Relation parent, int64 run_id)
{
    const pg::Leaf leaf = pg::leaf_of(parent, run_id);
    if (!OidIsValid(leaf.table))
        elog(ERROR, "table \"%s\" has no partition for run %lld", RelationGetRelationName(parent),
             static_cast<long long>(run_id));
    return leaf.table;
}

const char *name_of_table(Oid table)
{
    return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), get_rel_name(table));
}

} // namespace

Partitions::Partitions() : run_(open_parent("run")), payload_(open_parent("payload")) {}

Leaves Partitions::leaves_of(int64 run_id) const
{
    return {leaf_of(run_, run_id), leaf_of(payload_, run_id)};
}

int Partitions::end_of_leaf(const int64 *ids, int first, int count) const
{
    const Leaves leaves = leaves_of(ids[first]);
    int          end    = first + 1;
    while (end < count && leaves_of(ids[end]) == leaves)
        ++end;
    return end;
}

void Partitions::close(LOCKMODE unlock) const
{
    table_close(run_, unlock);
    table_close(payload_, unlock);
}

uint64 LeafStatement::run(const Leaves &leaves, const Datum *values)
{
    Planned *found = nullptr;
    for (Planned &one : planned_)
        if (one.plan != nullptr && one.leaves == leaves)
            found = &one;
    if (found == nullptr) {
        const char *sql = psprintf(text_, name_of_table(leaves.run), name_of_table(leaves.payload));
        SPIPlanPtr plan = SPI_prepare(sql, arguments_, const_cast<Oid *>(types_)); // SPI only reads the types
        if (plan == nullptr || SPI_keepplan(plan) != 0)
            elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
        found = &planned_[next_];
        next_ = (next_ + 1) % room;
        if (found->plan != nullptr)
            SPI_freeplan(found->plan);
        *found = {leaves, plan};
    }
    const int code = SPI_execute_plan(found->plan, const_cast<Datum *>(values), nullptr, false, 0);
    if (code < 0)
        elog(ERROR, "could not run a statement on %s: %s", get_rel_name(leaves.run),
             SPI_result_code_string(code));
    return SPI_processed;
}

} // namespace sluice::index
