// session: facts about backends and the cluster that SQL cannot see as an ordinary role.
//
// A worker's session is a backend's process id and start time; pg_stat_activity hides the start time from the
// storage's owner, so it is read here.  So are the transactions that are open, for doctor(): of each only how long, and
// what it keeps from vacuum.  Also: which cluster and database this is (a restored copy must not run production's work),
// and whether this session is the leader.

#include "session.hpp"
#include "pg/boundary.hpp"

namespace {

/// The leader's advisory lock: two 32-bit keys, "slui" and "lead" in ASCII, scoped to the database by Postgres.
constexpr uint32 leader_key_1 = 0x736c7569;
constexpr uint32 leader_key_2 = 0x6c656164;

/// Postgres marks advisory locks with two 32-bit keys by a 2 in the fourth field.
constexpr uint16 two_key_class = 2;

} // namespace

// sluice._session_start() returns timestamptz: when this backend started.
SLUICE_FUNCTION(sluice_session_start)
{
    (void)fcinfo;
    PG_RETURN_TIMESTAMPTZ(MyStartTimestamp);
}

// sluice._session_alive(pid int, started timestamptz) returns bool: does that backend still exist?
SLUICE_FUNCTION(sluice_session_alive)
{
    const int         pid     = PG_GETARG_INT32(0);
    const TimestampTz started = PG_GETARG_TIMESTAMPTZ(1);
    const int         count   = pgstat_fetch_stat_numbackends();

    for (int i = 1; i <= count; ++i) {
        const LocalPgBackendStatus *entry = sluice::pg::backend_entry(i);
        if (entry == nullptr)
            continue;
        const PgBackendStatus &backend = entry->backendStatus;
        if (backend.st_procpid == pid && backend.st_proc_start_timestamp == started)
            PG_RETURN_BOOL(true);
    }
    PG_RETURN_BOOL(false);
}

// sluice._open_transactions() returns table (pid int, role oid, started_at timestamptz, oldest xid): transactions of other
// sessions in this database, with the oldest transaction whose rows they keep from vacuum; null for none.
SLUICE_FUNCTION(sluice_open_transactions)
{
    constexpr int columns = 4;
    InitMaterializedSRF(fcinfo, 0);
    auto     *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const int count  = pgstat_fetch_stat_numbackends();

    for (int i = 1; i <= count; ++i) {
        const LocalPgBackendStatus *entry = sluice::pg::backend_entry(i);
        if (entry == nullptr)
            continue;
        const PgBackendStatus &backend = entry->backendStatus;
        TransactionId          oldest  = entry->backend_xmin;
        if (!TransactionIdIsValid(oldest) ||
            (TransactionIdIsValid(entry->backend_xid) && TransactionIdPrecedes(entry->backend_xid, oldest)))
            oldest = entry->backend_xid;
        if (backend.st_backendType != B_BACKEND || backend.st_databaseid != MyDatabaseId ||
            backend.st_procpid == MyProcPid || backend.st_xact_start_timestamp == 0)
            continue;
        Datum values[columns] = {Int32GetDatum(backend.st_procpid), ObjectIdGetDatum(backend.st_userid),
                                 TimestampTzGetDatum(backend.st_xact_start_timestamp),
                                 TransactionIdGetDatum(oldest)};
        bool  nulls[columns]  = {false, false, false, !TransactionIdIsValid(oldest)};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return Datum{0};
}

// sluice._standbys() returns table (pid int, role oid, oldest xid): sessions that replicate to a standby and were told by it
// which transaction's rows its queries still see.  One with a slot shows that in the slot instead.
SLUICE_FUNCTION(sluice_standbys)
{
    constexpr int columns = 3;
    InitMaterializedSRF(fcinfo, 0);
    auto     *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    const int count  = pgstat_fetch_stat_numbackends();

    for (int i = 1; i <= count; ++i) {
        const LocalPgBackendStatus *entry = sluice::pg::backend_entry(i);
        if (entry == nullptr || entry->backendStatus.st_backendType != B_WAL_SENDER ||
            !TransactionIdIsValid(entry->backend_xmin))
            continue;
        Datum values[columns] = {Int32GetDatum(entry->backendStatus.st_procpid),
                                 ObjectIdGetDatum(entry->backendStatus.st_userid),
                                 TransactionIdGetDatum(entry->backend_xmin)};
        bool  nulls[columns]  = {false, false, false};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return Datum{0};
}

const char *sluice::home()
{
    static char home[32]; // 20 digits, a slash, 10 digits
    if (home[0] == '\0')
        pg_snprintf(home, sizeof home, UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
    return home;
}

// sluice._home() returns text: the cluster's system identifier and the database's oid.
SLUICE_FUNCTION(sluice_home)
{
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(sluice::home()));
}

// sluice._is_leader() returns bool: does this session hold the leader's lock?
SLUICE_FUNCTION(sluice_is_leader)
{
    (void)fcinfo;
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, leader_key_1, leader_key_2, two_key_class);
    PG_RETURN_BOOL(sluice::pg::holds_lock(&tag, ExclusiveLock));
}

// sluice._is_own_transaction(transaction xid) returns bool: is it ours, a subtransaction included?
SLUICE_FUNCTION(sluice_is_own_transaction)
{
    PG_RETURN_BOOL(TransactionIdIsCurrentTransactionId(DatumGetTransactionId(PG_GETARG_DATUM(0))));
}
