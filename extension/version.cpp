// Compares this library with the SQL that the database has; see pg/version.hpp.

#include "pg/version.hpp"

#include <cstring>

#include "pg/error.hpp"

using namespace sluice::pg;

namespace {

bool version_checked = false;

void forget_version(Datum, int, uint32) // a replaced function may mean that the extension was updated
{
    version_checked = false;
}

} // namespace

void sluice::pg::check_version()
{
    static bool listening = false;
    if (version_checked)
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
    version_checked = true;
}
