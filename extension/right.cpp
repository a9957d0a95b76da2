// Answers most questions for the right to a task from the caches of roles; sql/api/35_right.sql has the whole rule.

#include "pg/boundary.hpp"
#include "pg/identity.hpp"

#include "right.hpp"

namespace {

/// The oid, if the role still has that name; else InvalidOid.
Oid role_named(Oid id, const char *name)
{
    HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(id));
    if (!HeapTupleIsValid(tuple))
        return InvalidOid;
    const bool same = strcmp(NameStr(reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple))->rolname), name) == 0;
    ReleaseSysCache(tuple);
    return same ? id : InvalidOid;
}

bool has_rights_of(Oid caller, const char *role)
{
    const Oid id = get_role_oid(role, true);
    return OidIsValid(id) && has_privs_of_role(caller, id);
}

bool was_granted(Oid caller, Oid schema, int32 task_id)
{
    const Oid id = get_relname_relid("task_grant", schema);
    if (!OidIsValid(id))
        return false;

    Relation         table  = table_open(id, AccessShareLock);
    const AttrNumber column = get_attnum(id, "task_id");
    const AttrNumber role   = get_attnum(id, "role_id");
    const AttrNumber name   = get_attnum(id, "role");
    ScanKeyData      key;
    ScanKeyInit(&key, column, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(task_id));
    SysScanDesc scan = systable_beginscan(table, get_relname_relid("task_grant_pkey", schema), true,
                                          GetActiveSnapshot(), 1, &key);

    bool granted = false;
    for (HeapTuple row = systable_getnext(scan); HeapTupleIsValid(row) && !granted;
         row           = systable_getnext(scan)) {
        bool      is_null;
        const Oid grantee =
            role_named(DatumGetObjectId(heap_getattr(row, role, RelationGetDescr(table), &is_null)),
                       TextDatumGetCString(heap_getattr(row, name, RelationGetDescr(table), &is_null)));
        granted = OidIsValid(grantee) && has_privs_of_role(caller, grantee);
    }
    systable_endscan(scan);
    table_close(table, AccessShareLock);
    return granted;
}

} // namespace

bool sluice::may_claim_all(Oid role)
{
    return has_rights_of(role, "sluice_worker");
}

bool sluice::may_use(Oid schema, const TaskRights &task)
{
    const Oid caller = pg::caller();
    if (!task.is_sql && has_rights_of(caller, "sluice_producer"))
        return true;
    if (task.owner != nullptr && OidIsValid(task.owner_id)) {
        const Oid owner = role_named(task.owner_id, task.owner);
        if (OidIsValid(owner) && is_member_of_role(caller, owner))
            return true;
    }
    return has_rights_of(caller, "sluice_admin") || was_granted(caller, schema, task.task_id);
}
