// Rows by their key, and their new versions; see updater.hpp.

#include "pg/updater.hpp"

#include "pg/checks.hpp"
#include "pg/identity.hpp"

namespace {

bool is_plain(Relation table)
{
    const TupleConstr *constraints = RelationGetDescr(table)->constr;
    return table->rd_rel->relkind == RELKIND_RELATION && table->trigdesc == nullptr &&
           table->rd_rules == nullptr && !table->rd_rel->relrowsecurity &&
           (constraints == nullptr || !constraints->has_generated_stored);
}

/// What compares keys of a type; InvalidOid for types that we have no use for.
RegProcedure equality_of(Oid type)
{
    switch (type) {
    case BOOLOID:
        return F_BOOLEQ;
    case INT4OID:
        return F_INT4EQ;
    case INT8OID:
        return F_INT8EQ;
    case TEXTOID:
        return F_TEXTEQ;
    default:
        return InvalidOid;
    }
}

AttrNumber number_of(TupleDesc attributes, const char *column)
{
    for (int i = 0; i < attributes->natts; ++i) {
        const Form_pg_attribute attribute = TupleDescAttr(attributes, i);
        if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), column) == 0)
            return attribute->attnum;
    }
    return InvalidAttrNumber;
}

} // namespace

namespace sluice::pg {

// --- Reading

bool Rows::open(Oid table, const char *const *columns, int count, LOCKMODE mode)
{
    table_ = table_open(table, mode);
    key_   = nullptr;
    Assert(count <= most_columns);
    bool fits = table_->rd_rel->relkind == RELKIND_RELATION;
    for (int i = 0; i < count && fits; ++i) {
        number_[i] = number_of(RelationGetDescr(table_), columns[i]);
        fits       = number_[i] != InvalidAttrNumber;
    }
    const Oid key = fits ? primary_key_of(table_) : InvalidOid;
    if (OidIsValid(key)) {
        key_    = index_open(key, mode);
        equals_ = equality_of(TupleDescAttr(RelationGetDescr(table_), number_[0] - 1)->atttypid);
        fits    = RegProcedureIsValid(equals_) && key_->rd_index->indisvalid &&
               key_->rd_rel->relam == BTREE_AM_OID && IndexRelationGetNumberOfKeyAttributes(key_) == 1 &&
               key_->rd_index->indkey.values[0] == number_[0];
    }
    if (!fits || key_ == nullptr) {
        if (key_ != nullptr)
            index_close(key_, NoLock);
        table_close(table_, NoLock);
        return false;
    }
    snapshot_ = RegisterSnapshot(GetTransactionSnapshot());
    scan_     = begin_index_scan(table_, key_, snapshot_, 1);
    found_    = table_slot_create(table_, nullptr);
    return true;
}

void Rows::open_ours(Oid table, const char *const *columns, int count)
{
    if (!open(table, columns, count))
        elog(ERROR, "table \"%s\" is not as it was made", get_rel_name(table));
}

void Rows::open_ours(const char *table, const char *const *columns, int count)
{
    open_ours(get_relname_relid(table, extension_schema()), columns, count);
}

bool Rows::find(Datum key)
{
    CHECK_FOR_INTERRUPTS();
    ScanKeyData search;
    ScanKeyInit(&search, 1, BTEqualStrategyNumber, equals_, key);
    search.sk_collation = key_->rd_indcollation[0];
    index_rescan(scan_, &search, 1, nullptr, 0);
    return index_getnext_slot(scan_, ForwardScanDirection, found_);
}

Datum Rows::get(int column, bool *is_null)
{
    bool        null_here;
    const Datum value = slot_getattr(found_, number_[column], &null_here);
    if (is_null != nullptr)
        *is_null = null_here;
    return null_here ? Datum{0} : value;
}

void Rows::close(LOCKMODE unlock)
{
    ExecDropSingleTupleTableSlot(found_);
    index_endscan(scan_);
    UnregisterSnapshot(snapshot_);
    index_close(key_, unlock);
    table_close(table_, unlock);
}

// --- Changing

bool Updater::open(Oid table, const char *const *columns, int count)
{
    PreventCommandIfReadOnly("UPDATE");
    if (!Rows::open(table, columns, count, RowExclusiveLock))
        return false;
    if (!is_plain(table_)) {
        Rows::close();
        return false;
    }
    CheckCmdReplicaIdentity(table_, CMD_UPDATE);
    state_  = CreateExecutorState();
    result_ = makeNode(ResultRelInfo);
    InitResultRelInfo(result_, table_, 0, nullptr, 0);
    check_states(result_) = prepared_checks(table_);
    new_                  = ExecInitExtraTupleSlot(state_, RelationGetDescr(table_), &TTSOpsVirtual);
    begun_                = false;
    indexes_              = false;
    return true;
}

void Updater::begin()
{
    const auto size = static_cast<std::size_t>(RelationGetDescr(table_)->natts);
    slot_getallattrs(found_);
    ExecClearTuple(new_);
    memcpy(new_->tts_values, found_->tts_values, size * sizeof(Datum));
    memcpy(new_->tts_isnull, found_->tts_isnull, size * sizeof(bool));
    begun_ = true;
}

void Updater::set(int column, Datum value)
{
    if (!begun_)
        begin();
    new_->tts_values[number_[column] - 1] = value;
    new_->tts_isnull[number_[column] - 1] = false;
}

bool Updater::update()
{
    ExecStoreVirtualTuple(new_);
    new_->tts_tableOid = RelationGetRelid(table_);
    if (RelationGetDescr(table_)->constr != nullptr)
        ExecConstraints(result_, new_, state_);

    IndexesToUpdate indexes;
    const bool      written =
        update_tuple(table_, &found_->tts_tid, new_, GetCurrentCommandId(true), snapshot_, &indexes);
    if (written && needs_any(indexes)) {
        if (!indexes_)
            ExecOpenIndices(result_, false);
        indexes_ = true;
        update_index_entries(result_, new_, state_, indexes);
    }
    ResetPerTupleExprContext(state_);
    return written;
}

void Updater::close()
{
    if (indexes_)
        ExecCloseIndices(result_);
    ExecResetTupleTable(state_->es_tupleTable, false);
    FreeExecutorState(state_);
    Rows::close();
    CommandCounterIncrement();
}

} // namespace sluice::pg
