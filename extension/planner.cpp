#include "planner.hpp"

#include "pg/postgres.hpp"

namespace {

struct Switch {
    const char *name;
    const bool *value;
};

constexpr Switch switches[] = {
    {"enable_seqscan", &enable_seqscan},
    {"enable_indexscan", &enable_indexscan},
    {"enable_indexonlyscan", &enable_indexonlyscan},
    {"enable_bitmapscan", &enable_bitmapscan},
    {"enable_nestloop", &enable_nestloop},
    {"enable_hashjoin", &enable_hashjoin},
    {"enable_mergejoin", &enable_mergejoin},
    {"enable_sort", &enable_sort},
    {"enable_hashagg", &enable_hashagg},
    {"enable_material", &enable_material},
    {"enable_partition_pruning", &enable_partition_pruning},
};

void set_for_now(const char *name, const char *value)
{
    (void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

} // namespace

int sluice::plan_as_usual()
{
    int        level = 0;
    const auto open  = [&level] { level = level == 0 ? NewGUCNestLevel() : level; };
    for (const Switch &method : switches)
        if (!*method.value) {
            open();
            set_for_now(method.name, "on");
        }
    if (plan_cache_mode != PLAN_CACHE_MODE_AUTO) {
        open();
        set_for_now("plan_cache_mode", "auto");
    }
    return level;
}

int sluice::plan_by_index()
{
    const int level = NewGUCNestLevel();
    set_for_now("plan_cache_mode", "force_generic_plan");
    set_for_now("enable_seqscan", "off");
    set_for_now("enable_bitmapscan", "off");
    set_for_now("jit", "off");
    return level;
}

void sluice::plan_as_before(int level)
{
    if (level != 0)
        AtEOXact_GUC(true, level);
}
