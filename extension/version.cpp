// Compares this library with the functions and the storage that the database has; see pg/version.hpp.

#include "pg/version.hpp"

#include <cstring>

#include "pg/error.hpp"
#include "pg/identity.hpp"

using namespace sluice::pg;

namespace {

bool library_checked = false;
bool storage_checked = false;

void forget_version(Datum, int, uint32) // a replaced function may mean that the extension was updated
{
    library_checked = false;
    storage_checked = false;
}

/// The version of the storage that the functions work with.
int needed_version(Oid schema)
{
    const Oid function =
        GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("_schema_version"),
                        PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(schema));
    if (!OidIsValid(function))
        ereport(ERROR, errcode(errcode_internal), errmsg("function \"sluice._schema_version\" is missing"),
                errhint("Run alter extension sluice update, or install the extension again."));
    return DatumGetInt32(OidFunctionCall0(function));
}

/// The version that stands in `table`, which is its owner's: it is read like a catalog, so that no code of his is run.
/// 0 if it cannot be read so, since he has made something else of it.
int stored_version(Oid table)
{
    int      version = 0;
    Relation meta    = table_open(table, AccessShareLock);
    if (const AttrNumber column = get_attnum(table, "schema_version");
        meta->rd_rel->relkind == RELKIND_RELATION && column != InvalidAttrNumber &&
        get_atttype(table, column) == INT4OID) {
        SysScanDesc scan = systable_beginscan(meta, InvalidOid, false, nullptr, 0, nullptr);
        if (HeapTuple row = systable_getnext(scan); HeapTupleIsValid(row)) {
            bool        is_null;
            const Datum value = heap_getattr(row, column, RelationGetDescr(meta), &is_null);
            version           = is_null ? 0 : DatumGetInt32(value);
        }
        systable_endscan(scan);
    }
    table_close(meta, AccessShareLock);
    return version;
}

} // namespace

void sluice::pg::check_library()
{
    static bool listening = false;
    if (library_checked)
        return;
    if (!listening) {
        CacheRegisterSyscacheCallback(PROCOID, forget_version, Datum{0});
        listening = true;
    }

    char        installed[64] = "";
    ScanKeyData key;
    Relation    catalog = table_open(ExtensionRelationId, AccessShareLock);
    ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("sluice"));
    SysScanDesc scan = systable_beginscan(catalog, ExtensionNameIndexId, true, nullptr, 1, &key);
    if (HeapTuple row = systable_getnext(scan); HeapTupleIsValid(row)) {
        bool        is_null;
        const Datum version =
            heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(catalog), &is_null);
        if (!is_null)
            strlcpy(installed, TextDatumGetCString(version), sizeof(installed));
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);

    if (strcmp(installed, SLUICE_VERSION) != 0)
        ereport(ERROR, errcode(errcode_version_mismatch),
                errmsg("this session has version %s of the sluice library, but the database has version %s",
                       SLUICE_VERSION, installed[0] == '\0' ? "none" : installed),
                errhint("Reconnect; if that does not help, run alter extension sluice update."));
    library_checked = true;
}

void sluice::pg::check_version()
{
    check_library();
    if (storage_checked)
        return;

    const Oid schema = extension_schema();
    const Oid meta   = get_relname_relid("meta", schema);
    if (!OidIsValid(meta))
        return; // nobody has run setup(), as storage_owner() says
    const int needed = needed_version(schema);
    const int stored = stored_version(meta);
    if (stored != needed)
        ereport(
            ERROR, errcode(errcode_version_mismatch),
            errmsg("the storage has version %d, but these functions need version %d", stored, needed),
            stored < needed
                ? errhint("Run select sluice.setup() as the role that owns the extension.")
                : errhint(
                      "Install the newer release of the extension and run alter extension sluice update."));
    storage_checked = true;
}
