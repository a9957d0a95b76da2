// segment: where the ready index of this database lies in shared memory, and how a backend comes by it.
//
// A root of less than 1 kB in the slop that every server has names, for each database, a segment of dynamic shared
// memory and the mode of claiming.  So no preload and no restart is needed.  Where either cannot be had, claims use the
// tables.
//
// The mode is changed only under the mode lock, a heavyweight lock that claims hold shared to the end of their
// transaction.  Enqueues and ends of attempts never take it.
#pragma once

#include "core/ready_index.hpp"

#include "pg/postgres.hpp"

namespace sluice::index {

enum class ClaimMode : uint32 {
    unbuilt,  ///< nobody has claimed since the server started
    building, ///< the tables are being read
    index,    ///< claims go by the index
    table,    ///< claims go by the tables; `reason` says why
};

enum class Reason : uint32 { none, setting, memory };

/// What the root says of one database.
struct Database {
    Oid              oid; ///< InvalidOid: free
    dsm_handle       handle;
    pg_atomic_uint32 mode;
    pg_atomic_uint32 reason;
    pg_atomic_uint32 dirty; ///< counts what was committed without entering the index
};

/// The head of a segment.  Locks and the core's block follow.
struct Segment {
    Oid         storage;      ///< the table sluice.run that it was built from
    uint32      built_dirty;  ///< `dirty` when the last build began
    TimestampTz built_at;     ///< end of the last build
    int64       build_us;     ///< how long it took
    TimestampTz switched_at;  ///< when it went to table mode
    TimestampTz due_since;    ///< when a build that is not urgent was first found to be due; 0: none is
    TimestampTz gate_until;   ///< new claims wait so long, so that it gets its turn
    TimestampTz prepared_at;  ///< when prepared transactions were looked at last
    int64       prepared_sum; ///< of the numbers of those that were there then

    pg_atomic_uint32 prepared; ///< an enqueue was prepared, and may be committed by anybody
    pg_atomic_uint32 feeding;
    pg_atomic_uint64 builds, refills, fed, stale, parked;
    pg_atomic_uint64 counted_since; ///< when the counters of queues began

    // Under the timer lock:
    TimestampTz feeding_from; ///< while due runs are being read: fed_until before
    TimestampTz fed_until;    ///< committed runs with a due_at up to here have been pushed
    TimestampTz next_due;     ///< no run falls due before; PG_INT64_MAX: none

    uint32 locks;
    uint32 block; ///< offset of the core's block

    LWLockPadded lease_lock, timer_lock;
    LWLockPadded queue_lock[FLEXIBLE_ARRAY_MEMBER];
};

/// This backend's way to both.
struct Attached {
    Database        *database;
    Segment         *segment;
    core::ReadyIndex ready;

    LWLock   *lock_of(core::QueueRef queue) const { return &segment->queue_lock[queue].lock; }
    LWLock   *lease_lock() const { return &segment->lease_lock.lock; }
    LWLock   *timer_lock() const { return &segment->timer_lock.lock; }
    ClaimMode mode() const { return static_cast<ClaimMode>(pg_atomic_read_u32(&database->mode)); }
    bool      is_dirty() const { return pg_atomic_read_u32(&database->dirty) != segment->built_dirty; }
};

/// What the root says of this database; nullptr if there is no root, or no place in it.
Database *place();

/// What place() found before; for callbacks.
Database *place_known() noexcept;

/// The index of this database, made if need be; nullptr if there can be none.  Never in a callback: it may fail, and
/// it reports an error when a newer library has taken the root over.
const Attached *attach();

/// What attach() found before, if that still holds; for callbacks.
const Attached *attached() noexcept;

/// A fresh segment in place of this one, with what `fill` (which may refuse) puts there before others see it; the leases
/// stand still meanwhile.  Under the mode lock alone.  False if this one stays: there is no memory for two.
bool renew(bool (*fill)(const Attached &old, core::ReadyIndex fresh));

/// Says that something was committed that the index does not know of.  For backends that cannot attach.
void mark_dirty() noexcept;

/// Is the index serving claims?  Then leases are in it.
bool is_serving();

/// The mode lock.  Shared it is held to the end of the transaction.
void lock_mode(LOCKMODE mode);
bool try_lock_mode(LOCKMODE mode);
void unlock_mode(LOCKMODE mode);

/// Leases know their worker by the hash of its name.
uint64 hash_of_worker(const text *name);

/// Why there is no index here: for index_stats().
const char *why_none();

} // namespace sluice::index
