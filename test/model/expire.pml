/* expire: the end of a lease against completion, its repetition, and heartbeats.
 *
 * One attempt.  Its worker completes it, and again because no answer came; it beats; the leader finds it late.  One
 * transaction may abort.
 *
 * Promise: one end, the slot is given back once, and an attempt that was told "stands until …" is not expired before.
 */
bool executing = true;     /* the run's row still has the token */
byte row_lock;
bool lease = true;         /* in memory */
bool ending;               /* the leader is about to end it */
bool late;                 /* the deadline has passed */
bool told;                 /* a beat was answered, and its deadline has not passed */
byte held = 1;
byte ends;
bool aborted;

/* effects.cpp commit: by token, so it may come twice */
inline end_lease()
{
    atomic {
#ifdef END_UNCHECKED
        lease = false; held--; assert(held == 0)
#else
        if
        :: lease -> lease = false; held--; assert(held == 0)
        :: else
        fi
#endif
    }
}

inline end_attempt()
{
    if
    :: atomic { !aborted -> aborted = true; row_lock = 0 }
    :: d_step { executing = false; ends++; assert(ends == 1); row_lock = 0 };
       end_lease()
    fi
}

active proctype clock()
{
    d_step { late = true; told = false };
    d_step { late = true; told = false }
}

/* 60_finish.sql _complete_many, _settle */
active [2] proctype complete()
{
    atomic { row_lock == 0 -> row_lock = 1 };
    if
#ifdef TOKEN_NOT_CHECKED
    :: true -> end_attempt()
#else
    :: executing -> end_attempt()
#endif
    :: !executing -> row_lock = 0; end_lease()      /* already done, or stale: it lets go */
    fi
}

/* 55_lease.sql _beat: memory only, no row */
active proctype beat()
{
    do
    :: atomic {
#ifdef BEAT_DURING_END
            lease -> late = false; told = true
#else
            lease && !ending -> late = false; told = true
#endif
       }
    :: atomic { !lease || ending -> break }         /* the answer: it is dead */
    od
}

/* 80_leader.sql _expire_leases: one at a time, as the leader's lock outlives the callbacks of an abort */
active proctype leader()
{
look:
    atomic { !lease || late };
    if
    :: !lease -> goto over
    :: else
    fi;
    if
    :: atomic { row_lock != 0 -> goto look }        /* skip locked */
    :: atomic { row_lock == 0 -> row_lock = 1 }
    fi;
    if
    :: !executing -> row_lock = 0; end_lease(); goto over
    :: executing
    fi;
#ifdef DEADLINE_NOT_RECHECKED
    ending = true;
#else
    atomic {
        if
        :: lease && late -> ending = true
        :: else -> row_lock = 0; goto look
        fi
    };
#endif
    if
    :: atomic { !aborted -> aborted = true };
       row_lock = 0;
       ending = false;
       goto look
    :: d_step { assert(!told); executing = false; ends++; assert(ends == 1); row_lock = 0 };
       end_lease()
    fi;
over:
    skip
}

init
{
    timeout ->
    assert(!executing && ends == 1);
    assert(!lease && held == 0)
}
