// clean_session: what a session remembers is forgotten, but for its plans.
//
// `discard all` forgets these too, and a session that has to plan everything anew spends most of its time on that.

#include "pg/boundary.hpp"

#include "clean_session.hpp"

void sluice::forget_in_session()
{
    PortalHashTableDeleteAll(); // all but the one that runs this
    DropAllPreparedStatements();
    Async_UnlistenAll();
    LockReleaseSession(USER_LOCKMETHOD);
    ResetTempTableNamespace();
    ResetSequenceCaches();
}

// sluice.clean_session() returns void
SLUICE_FUNCTION(sluice_clean_session)
{
    (void)fcinfo;
    SetPGVariable("session_authorization", NIL, false);
    ResetAllOptions();
    sluice::forget_in_session();
    PG_RETURN_VOID();
}
