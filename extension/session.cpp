// session: facts about backends and the cluster that SQL cannot see as an ordinary role.
//
// A worker's session is a backend's process id and start time; pg_stat_activity hides the start time from the
// storage's owner, so it is read here.  Also: which cluster and database this is (a restored copy must not run
// production's work), and whether this session is the leader.

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
        const PgBackendStatus *backend = sluice::pg::backend_status(i);
        if (backend != nullptr && backend->st_procpid == pid && backend->st_proc_start_timestamp == started)
            PG_RETURN_BOOL(true);
    }
    PG_RETURN_BOOL(false);
}

// sluice._home() returns text: the cluster's system identifier and the database's oid.
SLUICE_FUNCTION(sluice_home)
{
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId)));
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
