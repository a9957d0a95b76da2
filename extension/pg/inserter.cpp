// Rows without a statement; see inserter.hpp.

#include "pg/inserter.hpp"

#include "pg/checks.hpp"
#include "pg/leaf.hpp"

namespace {

constexpr int none = -1;

bool is_plain(Relation relation)
{
    return relation->trigdesc == nullptr && relation->rd_rules == nullptr &&
           !relation->rd_rel->relrowsecurity;
}

} // namespace

namespace sluice::pg {

/// Finds the value of each attribute; false if there is one that we know nothing of.
bool Inserter::fits(Relation relation, const char *const *columns, int count)
{
    const TupleDesc attributes = RelationGetDescr(relation);
    if (attributes->natts > most_columns)
        return false;
    for (int i = 0; i < attributes->natts; ++i) {
        const Form_pg_attribute attribute = TupleDescAttr(attributes, i);
        source_[i]                        = none;
        if (attribute->attisdropped)
            continue;
        for (int k = 0; k < count && source_[i] == none; ++k) // they are in the same order as a rule
            if (strcmp(NameStr(attribute->attname), columns[(i + k) % count]) == 0)
                source_[i] = (i + k) % count;
        if (source_[i] == none || attribute->attgenerated != '\0')
            return false;
    }
    return true;
}

bool Inserter::open(Oid table, int64 lowest, int64 highest, const char *const *columns, int count)
{
    leaf_   = nullptr;
    state_  = nullptr;
    parent_ = table_open(table, RowExclusiveLock);
    if (parent_->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && is_plain(parent_)) {
        const Leaf leaf = leaf_of(parent_, lowest, highest);
        is_default_     = leaf.is_default;
        if (OidIsValid(leaf.table))
            leaf_ = table_open(leaf.table, RowExclusiveLock);
    }
    if (leaf_ == nullptr || leaf_->rd_rel->relkind != RELKIND_RELATION || !is_plain(leaf_) ||
        !fits(leaf_, columns, count)) {
        close();
        return false;
    }

    state_  = CreateExecutorState();
    result_ = makeNode(ResultRelInfo);
    InitResultRelInfo(result_, leaf_, 0, nullptr, 0);
    ExecOpenIndices(result_, false);
    check_states(result_) = prepared_checks(leaf_);
    slots_                = 0;
    rows_                 = 0;
    return true;
}

TupleTableSlot *Inserter::next_slot()
{
    if (rows_ == slots_)
        slot_[slots_++] = ExecInitExtraTupleSlot(state_, RelationGetDescr(leaf_), &TTSOpsVirtual);
    return ExecClearTuple(slot_[rows_]);
}

void Inserter::insert(const Datum *values, const bool *nulls)
{
    TupleTableSlot *slot = next_slot();
    for (int i = 0; i < RelationGetDescr(leaf_)->natts; ++i) {
        slot->tts_isnull[i] = source_[i] == none || nulls[source_[i]];
        slot->tts_values[i] = slot->tts_isnull[i] ? Datum{0} : values[source_[i]];
    }
    ExecStoreVirtualTuple(slot);
    slot->tts_tableOid = RelationGetRelid(leaf_);

    if (RelationGetDescr(leaf_)->constr != nullptr)
        ExecConstraints(result_, slot, state_);
    if (is_default_) // what it takes may have changed since the partitions were looked up
        ExecPartitionCheck(result_, slot, state_, true);
    ResetPerTupleExprContext(state_);
    if (++rows_ == most_rows)
        write();
}

void Inserter::write()
{
    const CommandId     command = GetCurrentCommandId(true);
    const MemoryContext before  = MemoryContextSwitchTo(GetPerTupleMemoryContext(state_));
    if (rows_ == 1)
        table_tuple_insert(leaf_, slot_[0], command, 0, nullptr);
    else if (rows_ > 1)
        table_multi_insert(leaf_, slot_, rows_, command, 0, nullptr);
    MemoryContextSwitchTo(before);

    for (int i = 0; i < rows_; ++i) {
        insert_index_entries(result_, slot_[i], state_);
        ResetPerTupleExprContext(state_);
    }
    rows_ = 0;
}

void Inserter::close()
{
    if (state_ != nullptr) {
        write();
        ExecCloseIndices(result_);
        ExecResetTupleTable(state_->es_tupleTable, false);
        FreeExecutorState(state_);
    }
    if (leaf_ != nullptr)
        table_close(leaf_, NoLock);
    table_close(parent_, NoLock);
}

} // namespace sluice::pg
