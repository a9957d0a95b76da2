// Plans of sql tasks; see task_plan.hpp.
//
// Postgres makes a kept plan anew when what it is made of changes, search_path included.  It does not when another role runs
// it, though rights to functions that were inlined, and constants that functions gave, are those of the role that planned
// it.  So no two roles share one.

#include "task_plan.hpp"

namespace {

struct Kept {
    Oid        role;
    char      *search_path;
    char      *statement;
    SPIPlanPtr plan; ///< nullptr: nothing is kept here
};

constexpr int most = 64;
Kept          kept[most];
int           next = 0;

bool is_one_statement(const char *text)
{
    return list_length(raw_parser(text, RAW_PARSE_DEFAULT)) == 1;
}

void forget(Kept &old)
{
    if (old.plan != nullptr)
        SPI_freeplan(old.plan);
    old.plan = nullptr;
    if (old.statement != nullptr)
        pfree(old.statement);
    old.statement = nullptr;
    if (old.search_path != nullptr)
        pfree(old.search_path);
    old.search_path = nullptr;
}

} // namespace

SPIPlanPtr sluice::task_plan(Oid role, const char *search_path, const char *statement)
{
    for (const Kept &one : kept)
        if (one.plan != nullptr && one.role == role && strcmp(one.statement, statement) == 0 &&
            strcmp(one.search_path, search_path) == 0)
            return one.plan;
    if (!is_one_statement(statement))
        return nullptr;

    Oid  types[] = {JSONBOID};
    auto plan    = SPI_prepare(statement, 1, types);
    if (plan == nullptr)
        elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));

    Kept &place = kept[next++ % most];
    forget(place);
    place.search_path = MemoryContextStrdup(TopMemoryContext, search_path);
    place.statement   = MemoryContextStrdup(TopMemoryContext, statement);
    place.role        = role;
    if (SPI_keepplan(plan) != 0)
        elog(ERROR, "could not keep a plan: %s", SPI_result_code_string(SPI_result));
    place.plan = plan;
    return plan;
}
