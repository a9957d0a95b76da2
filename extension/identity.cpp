// Finds the storage's owner and switches to it; see pg/identity.hpp for why.

#include "pg/identity.hpp"

#include "pg/error.hpp"

namespace sluice::pg {

Identity switch_to(Oid role)
{
    Identity before;
    GetUserIdAndSecContext(&before.role, &before.security_context);
    SetUserIdAndSecContext(role, before.security_context | SECURITY_LOCAL_USERID_CHANGE);
    return before;
}

Identity switch_to_owner(Oid owner)
{
    Identity before;
    GetUserIdAndSecContext(&before.role, &before.security_context);
    SetUserIdAndSecContext(owner, before.security_context | SECURITY_LOCAL_USERID_CHANGE |
                                      SECURITY_RESTRICTED_OPERATION);
    return before;
}

void become(const Identity &before)
{
    SetUserIdAndSecContext(before.role, before.security_context);
}

Oid extension_schema()
{
    const Oid schema = get_namespace_oid("sluice", true);
    if (!OidIsValid(schema))
        ereport(ERROR, errcode(errcode_not_set_up), errmsg("schema \"sluice\" does not exist"),
                errhint("Run create extension sluice."));
    return schema;
}

Oid storage_owner(Oid schema)
{
    const Oid table = get_relname_relid("run", schema);
    HeapTuple tuple = OidIsValid(table) ? SearchSysCache1(RELOID, ObjectIdGetDatum(table)) : nullptr;
    Oid       owner;

    if (!HeapTupleIsValid(tuple))
        ereport(ERROR, errcode(errcode_not_set_up), errmsg("sluice is not set up in this database"),
                errdetail("The extension holds no tables; setup() makes them."),
                errhint("Run select sluice.setup() as the role that created the extension."));

    owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);

    if (superuser_arg(owner))
        ereport(
            ERROR, errcode(errcode_unsafe_owner), errmsg("the storage of sluice is owned by a superuser"),
            errdetail("Public functions run as the storage's owner \"%s\".", GetUserNameFromId(owner, false)),
            errhint("Give the tables of sluice to an ordinary role, or take superuser from that role."));
    return owner;
}

} // namespace sluice::pg
