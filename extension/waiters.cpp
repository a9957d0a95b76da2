// The list of waiters in shared memory; see waiters.hpp for the protocol.
//
// Before changing it: wake() runs in the commit callback, where an error would be a PANIC and nothing may be allocated.
// It holds the spinlock for one pass over the list, and sets latches after it.

#include "waiters.hpp"
#include "pg/boundary.hpp"
#include "pg/shared_piece.hpp"

namespace {

constexpr uint32 layout  = 1;  // part of the name, so that two libraries never share a list
constexpr int    places  = 64; // 12 bytes each; the whole stays below 1 kB, which the slop has room for
constexpr int    no_proc = -1;

struct Place {
    Oid  database;
    int  proc; ///< no_proc: free
    bool woken;
};

struct Waiters {
    slock_t          mutex;
    pg_atomic_uint32 used; ///< read without the lock: most commits find nobody waiting
    Place            place[places];
};
static_assert(sizeof(Waiters) < 1024);

Waiters *list       = nullptr;
bool     list_tried = false;
int      my_place   = no_proc;

void at_exit(int, Datum)
{
    sluice::waiters::leave();
}

} // namespace

void sluice::waiters::attach()
{
    if (list_tried)
        return;
    list_tried = true;
    static_assert(layout == 1, "the name carries the layout");
    list = static_cast<Waiters *>(pg::shared_piece("sluice waiters 1", sizeof(Waiters), [](void *piece) {
        auto *fresh = static_cast<Waiters *>(piece);
        SpinLockInit(&fresh->mutex);
        pg_atomic_init_u32(&fresh->used, 0);
        for (Place &place : fresh->place)
            place = {InvalidOid, no_proc, false};
    }));
}

bool sluice::waiters::enter()
{
    static bool exit_hooked = false;

    attach();
    if (list == nullptr)
        return false;
    if (!exit_hooked) {
        before_shmem_exit(at_exit, Datum{0});
        exit_hooked = true;
    }

    SpinLockAcquire(&list->mutex);
    for (int i = 0; i < places && my_place == no_proc; ++i) {
        if (list->place[i].proc != no_proc)
            continue;
        list->place[i] = {MyDatabaseId, pg::my_proc(), false};
        my_place       = i;
        pg_atomic_add_fetch_u32(&list->used, 1);
    }
    SpinLockRelease(&list->mutex);
    return my_place != no_proc;
}

void sluice::waiters::leave() noexcept
{
    if (list == nullptr || my_place == no_proc)
        return;
    SpinLockAcquire(&list->mutex);
    list->place[my_place] = {InvalidOid, no_proc, false};
    pg_atomic_sub_fetch_u32(&list->used, 1);
    SpinLockRelease(&list->mutex);
    my_place = no_proc;
}

void sluice::waiters::forget_wakes() noexcept
{
    if (my_place == no_proc)
        return;
    SpinLockAcquire(&list->mutex);
    list->place[my_place].woken = false;
    SpinLockRelease(&list->mutex);
}

bool sluice::waiters::woken() noexcept
{
    if (my_place == no_proc)
        return false;
    SpinLockAcquire(&list->mutex);
    const bool result = list->place[my_place].woken;
    SpinLockRelease(&list->mutex);
    return result;
}

void sluice::waiters::wake() noexcept
{
    int procs[places];
    int count = 0;

    if (list == nullptr || pg_atomic_read_u32(&list->used) == 0)
        return;
    SpinLockAcquire(&list->mutex);
    for (Place &place : list->place) {
        if (place.proc == no_proc || place.database != MyDatabaseId || place.woken)
            continue;
        place.woken    = true;
        procs[count++] = place.proc;
    }
    SpinLockRelease(&list->mutex);

    for (int i = 0; i < count; ++i)
        SetLatch(pg::latch_of(procs[i]));
}
