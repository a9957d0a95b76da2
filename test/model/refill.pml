/* refill: memory is complete below the horizon, though it is small.
 *
 * Four runs of one shelf, by place 0 … 3; 1 and 3 are in the table when it begins, 0 and 2 are enqueued meanwhile.
 * Memory has room for two entries.  Two workers claim (one claim may abort), one refill may fail, and a transaction
 * cancels run 1, refills, and rolls back.
 *
 * Promise: when nothing moves any more, all four runs have been taken.
 */
#define N 4                /* no_place: memory has everything */
#define ROOM 2

bool visible[N];
bool taken[N];             /* committed; until then others see it as queued */
bool locked;               /* run 1 by the transaction that cancels it */
byte entry[N];             /* a refill may bring a run a second time */
byte used;                 /* of the room */
byte horizon;              /* 0: memory knows nothing */
bool refilling;
byte lowest;               /* that was pushed beyond the horizon while a refill ran */
bool aborted;              /* one claim may abort */
bool failed;               /* one refill may fail */

/* what does not fit, or lies beyond the horizon, is remembered while a refill runs */
inline remember(p)
{
#ifndef NOT_REMEMBERED
    if
    :: refilling && p < lowest -> lowest = p
    :: else
    fi
#else
    skip
#endif
}

/* ready_index.cpp push: in one hold of the queue's lock; also put_back */
inline push(p)
{
    d_step {
        if
        :: p >= horizon -> remember(p)
        :: p < horizon && used < ROOM -> entry[p]++; used++
        :: p < horizon && used == ROOM ->
            horizon = p;
#ifndef FALL_NOT_REMEMBERED
            remember(p)
#else
            skip
#endif
        fi
    }
}

/* ready_index.cpp: what lies beyond the horizon only takes room, and would come a second time */
inline forget_beyond()
{
    q = 0;
    do
    :: q == N -> break
    :: q < N ->
        if
        :: q >= horizon -> used = used - entry[q]; entry[q] = 0
        :: else
        fi;
        q++
    od;
    q = 0
}

/* extension/index/pop.cpp refill: reads one place beyond what memory knows; `mine` is a row that this transaction
   has changed itself, so that its scan does not see it as queued */
inline refill(mine)
{
#ifndef SNAPSHOT_BEFORE_MARK
    snapshot(mine);
#endif
    if
    :: !failed ->                                          /* effects.cpp abort: cancel_refill */
        failed = true;
        d_step {
#ifdef FAILURE_ENDS_IT
            horizon = next;
#endif
            refilling = false;
            forget_beyond();
            next = 0;
            found = 0
        }
    :: true ->
        atomic {
            if
            :: found == N
            :: found < N && used < ROOM -> entry[found]++; used++
            :: found < N && used == ROOM -> next = found   /* no room: stop */
            fi
        };
        d_step {                                           /* end_refill */
#ifdef HORIZON_IS_NEXT
            horizon = next;
#else
            horizon = (next < lowest -> next : lowest);
#endif
            refilling = false;
            forget_beyond();
            next = 0;
            found = 0
        }
    fi
}

/* queued rows from the horizon on, in order: the first one, and the one after it */
inline snapshot(mine)
{
    d_step {
        found = N;
        next = N;
        q = N;
        do
        :: q == from -> break
        :: q > from ->
            q--;
            if
            :: visible[q] && !taken[q] && q != mine -> next = found; found = q
            :: else
            fi
        od;
        q = 0
    }
}

#define may_refill() (horizon < N && !refilling)
#define none_below() (!(entry[0] && 0 < horizon) && !(entry[1] && 1 < horizon) && \
                      !(entry[2] && 2 < horizon) && !(entry[3] && 3 < horizon))

/* effects.cpp commit */
proctype enqueue(byte p)
{
    visible[p] = true;
    push(p)
}

/* extension/index/pop.cpp */
proctype claim()
{
    byte p, from, found, next, q;

end:
    do
    :: atomic {
            none_below() && may_refill() ->
#ifdef SNAPSHOT_BEFORE_MARK
            from = horizon };
       snapshot(N);
       atomic {
            if
            :: !may_refill() || horizon != from -> goto end
            :: else
            fi;
#endif
            refilling = true;
            lowest = N;
            from = horizon
       };
       refill(N);
       from = 0
    :: atomic {
            !none_below() ->
            p = 0;
            do
            :: entry[p] -> break
            :: else -> p++
            od;
            entry[p]--;
            used--
       };
       if
       :: atomic { p == 1 && locked -> push(p); p = 0 }              /* busy: park */
       :: atomic { !(p == 1 && locked) && taken[p] -> p = 0 }        /* a duplicate: drop it */
       :: atomic { !aborted -> aborted = true }; atomic { push(p); p = 0 }
       :: d_step { !(p == 1 && locked) && !taken[p] -> taken[p] = true; p = 0 }
       fi
    od
}

/* 70_control.sql _cancel of run 1, then a claim in the same transaction, which refills; all of it is rolled back */
proctype cancel_and_claim()
{
    byte from, found, next, q;

    if
    :: goto over
    :: d_step { !taken[1] -> locked = true }
    :: atomic { taken[1] -> goto over }
    fi;
    if
    :: atomic {
            none_below() && may_refill() ->
            refilling = true;
            lowest = N;
            from = horizon
       };
       refill(1)
    :: true
    fi;
    locked = false;
#ifndef ABORT_FORGETS_PLACE
    push(1);                                               /* effects.cpp abort: the place that it had left */
#endif
over:
    skip
}

init
{
    d_step { visible[1] = true; visible[3] = true; lowest = N };
    atomic { run enqueue(0); run enqueue(2); run claim(); run claim(); run cancel_and_claim() };
    timeout ->
    assert(taken[0] && taken[1] && taken[2] && taken[3]);
    assert(!refilling && used == 0)
}
