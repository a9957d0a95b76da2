// news: what the leader need not look for in a table each second, because whoever makes it says so.
//
// A counter for each topic, in shared memory that every server can spare.  It is raised when something is about to happen (a
// session ends, a run with a time to live is enqueued), so whoever saw it change looks for a few seconds; and now and then in
// any case, for what takes longer to be committed.  Of delayed runs it is raised when they are committed, and one look is
// enough; what was prepared and committed by another session is found now and then.  What the leader has seen is its session's
// own, and forgotten when the transaction that looked fails.

#include "pg/boundary.hpp"
#include "pg/shared_piece.hpp"

#include "clock.hpp"
#include "news.hpp"

namespace {

enum Topic : int { sessions, times_to_live, leases, due, topics };

struct News {
    pg_atomic_uint64 count[topics];
};

/// What this session knows of a topic; times are of the steady clock, but for when runs are due.
struct Known {
    uint64      count;
    TimestampTz look_until;
    TimestampTz looked_at;
    TimestampTz next; ///< something is to come then; 0: nothing is known to
    bool        has_looked;
};
Known known[topics];

// Of this transaction
bool has_delayed = false;
bool has_looked  = false;

constexpr int64 a_while       = 3 * USECS_PER_SEC;
constexpr int64 at_least_each = 10 * USECS_PER_SEC;

/// nullptr where there is no room for it.
News *shared_news()
{
    static News *shared = nullptr;
    static bool  tried  = false;
    if (!tried) {
        tried  = true;
        shared = static_cast<News *>(sluice::pg::shared_piece("sluice news 2", sizeof(News), [](void *piece) {
            for (pg_atomic_uint64 &count : static_cast<News *>(piece)->count)
                pg_atomic_init_u64(&count, 0);
        }));
    }
    return shared;
}

void raise(Topic topic)
{
    if (News *shared = shared_news())
        pg_atomic_fetch_add_u64(&shared->count[topic], 1);
}

void at_exit(int, Datum)
{
    raise(sessions);
}

void forget_looks()
{
    for (Known &mine : known)
        mine.has_looked = false;
}

/// What a transaction does that must not fail: it finds the piece already, and only counts.
void at_end_of_transaction(XactEvent event, void *)
{
    switch (event) {
    case XACT_EVENT_COMMIT:
        if (has_delayed)
            raise(due);
        break;
    case XACT_EVENT_ABORT:
        if (has_looked)
            forget_looks();
        break;
    case XACT_EVENT_PREPARE:
        break;
    default:
        return;
    }
    has_delayed = false;
    has_looked  = false;
}

void at_end_of_subtransaction(SubXactEvent event, SubTransactionId, SubTransactionId, void *)
{
    if (event == SUBXACT_EVENT_ABORT_SUB && has_looked)
        forget_looks();
}

void hook()
{
    static bool hooked = false;
    if (hooked)
        return;
    RegisterXactCallback(at_end_of_transaction, nullptr);
    RegisterSubXactCallback(at_end_of_subtransaction, nullptr);
    hooked = true;
}

/// The clock by which the topic's next time is.
TimestampTz now_for(Topic topic)
{
    return topic == due ? GetCurrentTimestamp() : sluice::clock::steady();
}

/// Whether the leader has to look, which it then does.
bool has_news(Topic topic)
{
    Known      &mine   = known[topic];
    const News *shared = shared_news();
    if (shared == nullptr)
        return true;
    const TimestampTz now   = sluice::clock::steady();
    const uint64      count = pg_atomic_read_u64(const_cast<pg_atomic_uint64 *>(&shared->count[topic]));
    if (!mine.has_looked || count != mine.count)
        mine.look_until = topic == due ? now : now + a_while;
    const bool look = now <= mine.look_until || now >= mine.looked_at + at_least_each ||
                      (mine.next != 0 && now_for(topic) >= mine.next);
    if (look) {
        hook();
        has_looked      = true;
        mine.count      = count;
        mine.looked_at  = now;
        mine.next       = 0;
        mine.has_looked = true;
    }
    return look;
}

/// The leader looks again when that time is over.
void expect(Topic topic, const Interval *span)
{
    const int64 days  = span->day + span->month * DAYS_PER_MONTH;
    known[topic].next = sluice::clock::steady() + span->time + days * USECS_PER_DAY;
}

} // namespace

void sluice::news::delayed()
{
    hook();
    has_delayed = shared_news() != nullptr;
}

// sluice._say_farewell() returns void: the leader is to notice when this session ends.
SLUICE_FUNCTION(sluice_say_farewell)
{
    static bool hooked = false;
    (void)fcinfo;
    if (!hooked && shared_news() != nullptr) {
        before_shmem_exit(at_exit, Datum{0});
        hooked = true;
    }
    PG_RETURN_VOID();
}

// sluice._may_have_ended() returns bool: may a session have ended since the leader looked?
SLUICE_FUNCTION(sluice_may_have_ended)
{
    (void)fcinfo;
    PG_RETURN_BOOL(has_news(sessions));
}

// sluice._keep_looking() returns void: the leader has not done with a session that ended.
SLUICE_FUNCTION(sluice_keep_looking)
{
    (void)fcinfo;
    known[sessions].look_until = sluice::clock::steady() + a_while;
    PG_RETURN_VOID();
}

// sluice._has_time_to_live() returns void: a run was given one in this transaction.
SLUICE_FUNCTION(sluice_has_time_to_live)
{
    (void)fcinfo;
    raise(times_to_live);
    PG_RETURN_VOID();
}

// sluice._may_expire() returns bool: may a time to live be over since the leader looked?
SLUICE_FUNCTION(sluice_may_expire)
{
    (void)fcinfo;
    PG_RETURN_BOOL(has_news(times_to_live));
}

// sluice._lease_news() returns void: leases may end sooner than the leader thinks.
SLUICE_FUNCTION(sluice_lease_news)
{
    (void)fcinfo;
    raise(leases);
    PG_RETURN_VOID();
}

// sluice._may_be_late() returns bool: may a lease be over since the leader looked?  Where leases are in tables.
SLUICE_FUNCTION(sluice_may_be_late)
{
    (void)fcinfo;
    PG_RETURN_BOOL(has_news(leases));
}

// sluice._late_next(next_in interval) returns void: no lease is over before.
SLUICE_FUNCTION(sluice_late_next)
{
    expect(leases, PG_GETARG_INTERVAL_P(0));
    PG_RETURN_VOID();
}

// sluice._expires_next(next_in interval) returns void: the next one that the leader has seen, which it looks for then.
SLUICE_FUNCTION(sluice_expires_next)
{
    expect(times_to_live, PG_GETARG_INTERVAL_P(0));
    PG_RETURN_VOID();
}

// sluice._may_be_due() returns bool: may a run have fallen due since the leader looked?
SLUICE_FUNCTION(sluice_may_be_due)
{
    (void)fcinfo;
    PG_RETURN_BOOL(has_news(due));
}

// sluice._due_next(due_at timestamptz) returns void: no run that the leader has seen is due before.
SLUICE_FUNCTION(sluice_due_next)
{
    known[due].next = PG_GETARG_TIMESTAMPTZ(0);
    PG_RETURN_VOID();
}

// sluice._next_due() returns timestamptz: what _due_next() was told; null if nothing.
SLUICE_FUNCTION(sluice_next_due)
{
    if (known[due].next == 0)
        PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ(known[due].next);
}
