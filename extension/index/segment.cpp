// Finds or makes the root and this database's segment; see segment.hpp.
//
// Before changing the layout of Root: a server may run sessions of two builds of the library after an upgrade, and the
// root is what they have in common.  Its fields keep their places for ever; everything else is covered by `abi`.

#include <algorithm>
#include <new>

#include "core/lane.hpp"
#include "core/ready_index.hpp"

#include "pg/boundary.hpp"
#include "pg/identity.hpp"
#include "settings.hpp"

#include "clock.hpp"
#include "index/segment.hpp"

namespace {

using namespace sluice;
using sluice::index::Attached;
using sluice::index::ClaimMode;
using sluice::index::Database;
using sluice::index::Reason;
using sluice::index::Segment;

/// Of Segment, Database's meaning and the core's block together.
constexpr uint32 abi_of_this_library = 1000 + core::ReadyIndex::layout;

constexpr int databases = 32;

struct Root {
    uint32   abi;
    int      tranche;
    LWLock   lock; ///< of what follows
    Database database[databases];
};
static_assert(sizeof(Root) < 1024);

/// Half as much again and again is tried where a container's /dev/shm is small.
constexpr std::size_t least_segment = std::size_t{1} << 20;

Root        *root       = nullptr;
bool         root_tried = false;
Database    *mine       = nullptr; ///< this database's place, once it is known
dsm_segment *mapping    = nullptr;
dsm_handle   mapped     = DSM_HANDLE_INVALID;
TimestampTz  failed_at  = 0; ///< when there was no memory last
const char  *none_why   = "not used yet";

constexpr int64 try_again_us = 60'000'000;

alignas(Attached) unsigned char attached_place[sizeof(Attached)];
Attached *here = nullptr;

void attach_root()
{
    if (root_tried)
        return;
    root_tried = true;

    const MemoryContext context = CurrentMemoryContext;
    bool                found   = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    PG_TRY();
    {
        root = static_cast<Root *>(ShmemInitStruct("sluice index", sizeof(Root), &found));
        if (!found) {
            root->abi     = abi_of_this_library;
            root->tranche = LWLockNewTrancheId();
            LWLockInitialize(&root->lock, root->tranche);
            for (Database &database : root->database) {
                database.oid    = InvalidOid;
                database.handle = DSM_HANDLE_INVALID;
                pg_atomic_init_u32(&database.mode, 0);
                pg_atomic_init_u32(&database.reason, 0);
                pg_atomic_init_u32(&database.dirty, 0);
            }
        }
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        FlushErrorState();
        HOLD_INTERRUPTS(); // the error forgot that we hold a lock, and the release below resumes them
        root = nullptr;
    }
    PG_END_TRY();
    LWLockRelease(AddinShmemInitLock);
    if (root != nullptr)
        LWLockRegisterTranche(root->tranche, "sluice");
}

void release(Database &database)
{
    if (database.handle != DSM_HANDLE_INVALID)
        dsm_unpin_segment(database.handle);
    database.handle = DSM_HANDLE_INVALID;
    database.oid    = InvalidOid;
}

/// Gives back the places and the memory of databases that were dropped.  Nothing tells of a drop, so whoever is about to
/// take more looks.  The catalog is not read under the lock.
void release_dropped()
{
    Oid seen[databases];
    LWLockAcquire(&root->lock, LW_SHARED);
    for (int i = 0; i < databases; ++i)
        seen[i] = root->database[i].oid;
    LWLockRelease(&root->lock);

    InvalidateCatalogSnapshot(); // whatever is in the root by now was committed
    for (Oid &database : seen)
        if (database == InvalidOid || SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
            database = InvalidOid;

    LWLockAcquire(&root->lock, LW_EXCLUSIVE);
    for (int i = 0; i < databases; ++i)
        if (seen[i] != InvalidOid && root->database[i].oid == seen[i])
            release(root->database[i]);
    LWLockRelease(&root->lock);
}

/// Under the root's lock.
Database *find_place(Oid oid)
{
    for (Database &database : root->database)
        if (database.oid == oid)
            return &database;
    return nullptr;
}

/// Under the root's lock.
Database *place_of_this_database()
{
    if (Database *found = find_place(MyDatabaseId))
        return found;
    Database *free = find_place(InvalidOid);
    if (free != nullptr) {
        free->oid = MyDatabaseId;
        pg_atomic_write_u32(&free->mode, static_cast<uint32>(ClaimMode::unbuilt));
        pg_atomic_write_u32(&free->reason, static_cast<uint32>(Reason::none));
        pg_atomic_write_u32(&free->dirty, 0);
    }
    return free;
}

/// dsm_create that answers nullptr where the system has no room.  The mapping lives as long as the backend.
dsm_segment *create_segment(std::size_t bytes)
{
    const MemoryContext context = CurrentMemoryContext;
    const ResourceOwner owner   = CurrentResourceOwner;
    dsm_segment        *made    = nullptr;

    CurrentResourceOwner = nullptr; // nobody's: an owner would warn of a leak if it fails half way
    PG_TRY();
    {
        made = dsm_create(bytes, DSM_CREATE_NULL_IF_MAXSEGMENTS);
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        FlushErrorState();
        HOLD_INTERRUPTS(); // as above: the root's lock is held
        made = nullptr;
    }
    PG_END_TRY();
    CurrentResourceOwner = owner;
    return made;
}

void format(Segment *segment, std::size_t bytes, uint32 locks)
{
    const std::size_t block = TYPEALIGN(64, offsetof(Segment, queue_lock) + locks * sizeof(LWLockPadded));

    memset(static_cast<void *>(segment), 0, offsetof(Segment, queue_lock));
    segment->next_due  = PG_INT64_MAX;
    segment->fed_until = PG_INT64_MIN;
    segment->locks     = locks;
    segment->block     = static_cast<uint32>(block);
    for (pg_atomic_uint64 *counter :
         {&segment->builds, &segment->refills, &segment->fed, &segment->stale, &segment->parked})
        pg_atomic_init_u64(counter, 0);
    pg_atomic_init_u64(&segment->counted_since, static_cast<uint64>(GetCurrentTimestamp()));
    pg_atomic_init_u32(&segment->prepared, 0);
    pg_atomic_init_u32(&segment->feeding, 0);
    LWLockInitialize(&segment->lease_lock.lock, root->tranche);
    LWLockInitialize(&segment->timer_lock.lock, root->tranche);
    for (uint32 i = 0; i < locks; ++i)
        LWLockInitialize(&segment->queue_lock[i].lock, root->tranche);

    uint64 seed = 0;
    (void)pg_strong_random(&seed, sizeof(seed)); // any seed will do
    core::ReadyIndex::create(reinterpret_cast<char *>(segment) + block, bytes - block, seed);
}

/// Under the root's lock.  It is `mapping` then.
bool make_segment()
{
    const std::size_t wanted = index_memory_bytes();
    const std::size_t least =
        core::ReadyIndex::least_bytes() + offsetof(Segment, queue_lock) + 65 * sizeof(LWLockPadded);
    for (std::size_t bytes = std::max(wanted, least);; bytes /= 2) {
        mapping = create_segment(bytes);
        if (mapping != nullptr) {
            const auto locks = static_cast<uint32>(std::clamp<std::size_t>(bytes / 16'384, 64, 4096));
            format(static_cast<Segment *>(dsm_segment_address(mapping)), bytes, locks);
            dsm_pin_segment(mapping);
            return true;
        }
        if (bytes / 2 < std::max(least, std::min(wanted, least_segment)))
            return false;
    }
}

dsm_segment *attach_segment(dsm_handle handle)
{
    const ResourceOwner owner = CurrentResourceOwner;
    CurrentResourceOwner      = nullptr;
    dsm_segment *found        = dsm_attach(handle);
    CurrentResourceOwner      = owner;
    return found;
}

Attached view_of(dsm_segment *segment, Database *database)
{
    auto *head = static_cast<Segment *>(dsm_segment_address(segment));
    return {database, head, core::ReadyIndex::open(reinterpret_cast<char *>(head) + head->block)};
}

void forget_mapping()
{
    if (mapping != nullptr)
        dsm_detach(mapping);
    mapping = nullptr;
    mapped  = DSM_HANDLE_INVALID;
    here    = nullptr;
}

/// A library with another layout: what it has laid down is of no use to us, nor is ours to it.
void take_over()
{
    for (Database &database : root->database) {
        if (database.handle != DSM_HANDLE_INVALID)
            dsm_unpin_segment(database.handle);
        database.handle =
            DSM_HANDLE_INVALID; // the places stay: older sessions still say there what they have committed
        pg_atomic_write_u32(&database.mode, static_cast<uint32>(ClaimMode::unbuilt));
        pg_atomic_fetch_add_u32(&database.dirty, 1);
    }
    root->abi = abi_of_this_library;
}

LOCKTAG mode_tag()
{
    // Of the kind that SQL cannot take: the lock of an object, which extensions do not have, of the schema.
    constexpr uint16 mode_object = 1;
    LOCKTAG          tag;
    SET_LOCKTAG_OBJECT(tag, MyDatabaseId, NamespaceRelationId, pg::extension_schema(), mode_object);
    return tag;
}

} // namespace

const Attached *sluice::index::attached() noexcept
{
    if (here == nullptr || root->abi != abi_of_this_library || here->database->oid != MyDatabaseId ||
        here->database->handle != mapped)
        return nullptr;
    return here;
}

Database *sluice::index::place_known() noexcept
{
    return mine != nullptr && root->abi == abi_of_this_library && mine->oid == MyDatabaseId ? mine : nullptr;
}

Database *sluice::index::place()
{
    if (Database *known = place_known())
        return known;
    if (RecoveryInProgress()) {
        none_why = "in recovery";
        return nullptr;
    }
    attach_root();
    if (root == nullptr) {
        none_why = "the server has no spare shared memory";
        return nullptr;
    }

    LWLockAcquire(&root->lock, LW_EXCLUSIVE);
    if (root->abi < abi_of_this_library)
        take_over();
    const bool stale = root->abi != abi_of_this_library;
    mine             = stale ? nullptr : find_place(MyDatabaseId);
    LWLockRelease(&root->lock);
    if (mine == nullptr && !stale) {
        release_dropped();
        LWLockAcquire(&root->lock, LW_EXCLUSIVE);
        mine = place_of_this_database();
        LWLockRelease(&root->lock);
    }

    if (stale)
        ereport(
            ERROR, errcode(pg::errcode_version_mismatch),
            errmsg("this session uses an older library of sluice than others"),
            errhint(
                "Reconnect; a new session loads the installed library. If that is the older one, restart the "
                "server."));
    if (mine == nullptr)
        none_why = "more databases than there are places for";
    return mine;
}

const Attached *sluice::index::attach()
{
    if (const Attached *known = attached())
        return known;
    Database *database = place();
    if (database == nullptr)
        return nullptr;
    forget_mapping();

    if (database->handle == DSM_HANDLE_INVALID) {
        if (index_memory_bytes() == 0) {
            none_why = "sluice.index_memory is 0";
            return nullptr;
        }
        if (failed_at != 0 && clock::steady() < failed_at + try_again_us)
            return nullptr;
        release_dropped();
        LWLockAcquire(&root->lock, LW_EXCLUSIVE);
        bool made = database->handle != DSM_HANDLE_INVALID;
        if (!made && make_segment()) {
            database->handle = dsm_segment_handle(mapping);
            made             = true;
        }
        LWLockRelease(&root->lock);
        failed_at = made ? 0 : clock::steady();
        if (!made) {
            none_why = "the system has no shared memory left";
            return nullptr;
        }
    }
    const dsm_handle handle = database->handle;
    if (mapping == nullptr)
        mapping = attach_segment(handle);
    if (mapping == nullptr) {
        none_why = "the segment cannot be attached";
        return nullptr;
    }
    mapped = handle;
    here   = new (attached_place) Attached{view_of(mapping, database)};
    return here;
}

bool sluice::index::renew(bool (*fill)(const Attached &old, core::ReadyIndex fresh))
{
    const Attached     old         = *here;
    dsm_segment *const old_mapping = mapping;
    const dsm_handle   old_handle  = mapped;

    LWLockAcquire(&root->lock, LW_EXCLUSIVE);
    const bool made = make_segment();
    bool       done = false;
    if (made) {
        const Attached fresh = view_of(mapping, old.database);
        LWLockAcquire(old.lease_lock(), LW_EXCLUSIVE);
        done = fill(old, fresh.ready);
        if (done) {
            mapped               = dsm_segment_handle(mapping);
            old.database->handle = mapped;
            here                 = new (attached_place) Attached{fresh};
        }
        LWLockRelease(old.lease_lock());
    }
    LWLockRelease(&root->lock);

    if (done) {
        dsm_unpin_segment(old_handle);
        dsm_detach(old_mapping);
        return true;
    }
    if (made) {
        dsm_unpin_segment(dsm_segment_handle(mapping));
        dsm_detach(mapping);
    }
    mapping = old_mapping;
    return false;
}

void sluice::index::mark_dirty() noexcept
{
    if (mine != nullptr && mine->oid == MyDatabaseId)
        pg_atomic_fetch_add_u32(&mine->dirty, 1);
}

bool sluice::index::is_serving()
{
    const Attached *index = attach();
    return index != nullptr && (index->mode() == ClaimMode::index || index->mode() == ClaimMode::building);
}

void sluice::index::lock_mode(LOCKMODE mode)
{
    const LOCKTAG tag = mode_tag();
    (void)LockAcquire(&tag, mode, false, false);
}

bool sluice::index::try_lock_mode(LOCKMODE mode)
{
    const LOCKTAG tag = mode_tag();
    return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void sluice::index::unlock_mode(LOCKMODE mode)
{
    const LOCKTAG tag = mode_tag();
    (void)LockRelease(&tag, mode, false);
}

uint64 sluice::index::hash_of_worker(const text *name)
{
    return static_cast<uint64>(
        core::lane_of_key({VARDATA_ANY(name), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(name))}));
}

const char *sluice::index::why_none()
{
    return none_why;
}
