// Prepared checks; see checks.hpp.
//
// What was prepared is used only where it was made from the very text that the table has now.  That text names types,
// columns and functions by their numbers, and Postgres rewrites it when they change.

#include "pg/checks.hpp"

namespace {

/// One table's; all of it lies in `context`.
struct Prepared {
    Oid           table;
    MemoryContext context; ///< nullptr: free
    int           count;
    bool          can_stay; ///< may be used again
    char        **texts;
    ExprState   **states;
};

Prepared kept[8]; ///< run and payload of a few weeks
int      next = 0;

bool is_current(const Prepared &prepared, const TupleConstr &constraints)
{
    if (prepared.count != constraints.num_check)
        return false;
    for (int i = 0; i < prepared.count; ++i)
        if (strcmp(prepared.texts[i], constraints.check[i].ccbin) != 0)
            return false;
    return true;
}

bool is_replaceable(Oid function, void *)
{
    return function >= FirstUnpinnedObjectId;
}

/// Does it call a function that may become another under the same number?
bool calls_replaceable(Node *node, void *context)
{
    return node != nullptr && (check_functions_in_node(node, is_replaceable, context) ||
                               sluice::pg::walk_expression(node, calls_replaceable, context));
}

Prepared prepare(Oid table, const TupleConstr &constraints)
{
    // Under the caller's context until nothing can fail any more.
    const MemoryContext context =
        AllocSetContextCreate(CurrentMemoryContext, "sluice checks", ALLOCSET_SMALL_SIZES);
    const MemoryContext before   = MemoryContextSwitchTo(context);
    const auto          count    = static_cast<std::size_t>(constraints.num_check);
    Prepared            prepared = {table, context, constraints.num_check, true, nullptr, nullptr};
    prepared.texts               = static_cast<char **>(palloc(count * sizeof(char *)));
    prepared.states              = static_cast<ExprState **>(palloc(count * sizeof(ExprState *)));
    for (int i = 0; i < prepared.count; ++i) {
        List *relations   = NIL;
        List *changeable  = NIL;
        prepared.texts[i] = pstrdup(constraints.check[i].ccbin);
        auto *check       = static_cast<Expr *>(stringToNode(prepared.texts[i]));
        prepared.can_stay &= !calls_replaceable(reinterpret_cast<Node *>(check), nullptr);
        check = expression_planner_with_deps(check, &relations, &changeable);
        prepared.can_stay &= relations == NIL && changeable == NIL;
        prepared.states[i] = ExecInitExpr(check, nullptr);
    }
    MemoryContextSwitchTo(before);
    MemoryContextSetParent(context, TopMemoryContext);
    return prepared;
}

} // namespace

ExprState **sluice::pg::prepared_checks(Relation table)
{
    const TupleConstr *constraints = RelationGetDescr(table)->constr;
    if (constraints == nullptr || constraints->num_check == 0)
        return nullptr;

    Prepared *place = nullptr;
    for (Prepared &prepared : kept)
        if (prepared.context != nullptr && prepared.table == RelationGetRelid(table))
            place = &prepared;
    if (place == nullptr || !is_current(*place, *constraints)) {
        const Prepared fresh = prepare(RelationGetRelid(table), *constraints);
        if (place == nullptr)
            place = &kept[next++ % static_cast<int>(lengthof(kept))];
        if (place->context != nullptr)
            MemoryContextDelete(place->context);
        *place = fresh;
    }
    return place->can_stay ? place->states : nullptr;
}
