// Small pieces of shared memory from the slop that every server has.

#include "pg/shared_piece.hpp"

#include "pg/boundary.hpp"

void *sluice::pg::shared_piece(const char *name, std::size_t size, void (*init)(void *piece))
{
    const MemoryContext context = CurrentMemoryContext;
    void *volatile piece        = nullptr;
    bool found                  = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    PG_TRY();
    {
        piece = ShmemInitStruct(name, size, &found);
        if (!found)
            init(piece);
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        FlushErrorState();
        HOLD_INTERRUPTS(); // the error forgot that we hold a lock, and the release below resumes them
        piece = nullptr;
    }
    PG_END_TRY();
    LWLockRelease(AddinShmemInitLock);
    return piece;
}
