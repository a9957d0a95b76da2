/* claim: claims against cancel, requeue and each other, with two entries for one run.
 *
 * A transaction's row changes become visible, and its row lock is gone, in one step; its effects on memory follow, one
 * by one, while others already act on the rows.
 *
 * Promise: a run starts only from queued and at its own place; when all is quiet the run is final, and no slot, lease
 * or row of slot is left; a slot is never given back twice.
 */
#define CLAIMERS 2
#define LIMIT 2
#define TOKENS 5           /* 1 … 4 */

mtype:status = { queued, executing, final };
mtype:lease = { none, uncommitted, standing, revoked };

mtype:status status = queued;
byte place;                /* 0, or 1 after a requeue */
byte token;
byte row_lock;             /* who has it; 0: nobody */
bool slot[TOKENS];         /* durable, of revoked leases only */

byte entry[2];             /* in memory, by place */
byte parked[2];
byte held;
mtype:lease lease[TOKENS];
byte next_token = 1;
bool aborted;              /* one transaction may abort */
bool released;             /* one attempt may be given back */

#define lock_row(me) atomic { row_lock == 0 -> row_lock = me }
#define leases       ((lease[1] != none) + (lease[2] != none) + (lease[3] != none) + (lease[4] != none))
#define give_slot()  assert(held > 0); held--; assert(held >= leases)

/* effects.cpp commit: the end of a lease, by token */
inline end_lease(t)
{
    atomic {
#ifndef END_UNCHECKED
        if
        :: lease[t] != none -> lease[t] = none; give_slot()
        :: else
        fi
#else
        lease[t] = none; give_slot()
#endif
    }
}

/* effects.cpp commit: a lease whose run was canceled or requeued */
inline revoke_lease(t)
{
    atomic {
        if
#ifndef REVOKE_UNCHECKED
        :: lease[t] != none -> lease[t] = revoked
        :: else
#else
        :: lease[t] = revoked
#endif
        fi
    }
}

/* 60_finish.sql _settle, 70_control.sql _acknowledge: ends an attempt, or lets go of one whose token is dead */
inline settle(t, me)
{
    lock_row(me);
    if
    :: status == executing && token == t ->
#ifdef SLOT_FREED_BEFORE_COMMIT
        end_lease(t);
#endif
        if
        :: !aborted -> aborted = true; row_lock = 0
        :: d_step { status = final; row_lock = 0 }; end_lease(t)
        :: !released ->                                         /* queued again, at its place */
            d_step { released = true; status = queued; row_lock = 0 };
            end_lease(t);
            entry[place]++
        fi
    :: else ->
        d_step { slot[t] = false; row_lock = 0 };
        end_lease(t)
    fi
}

/* extension/index/pop.cpp, sql/api/50_claim.sql; then the worker, who ends it or dies */
proctype claim(byte me)
{
    byte p, t;

end:
    do
    :: atomic { parked[0] > 0 -> parked[0]--; entry[0]++ }      /* unpark: after a while */
    :: atomic { parked[1] > 0 -> parked[1]--; entry[1]++ }
    :: atomic {
            entry[0] + entry[1] > 0 && held < LIMIT ->
            if
            :: entry[0] > 0 -> p = 0
            :: else -> p = 1
            fi;
            entry[p]--;
            held++
       };
       if
       :: atomic { row_lock != 0 ->                             /* skip locked */
#ifdef BUSY_IS_DROPPED
            skip;
#else
            parked[p]++;
#endif
            give_slot() }
       :: atomic { row_lock == 0 -> row_lock = me };
          if
#ifdef NO_RECHECK
          :: true ->
#else
#ifdef PLACE_NOT_CHECKED
          :: status != queued ->
#else
          :: status != queued || place != p ->
#endif
              row_lock = 0;
              atomic { give_slot() }
          :: else ->
#endif
              assert(status == queued && place == p);
              atomic { t = next_token; next_token++; lease[t] = uncommitted; assert(leases <= held) };
              if
              :: !aborted ->
                  aborted = true;
                  row_lock = 0;
#ifndef ABORT_KEEPS_LEASE
                  lease[t] = none;
#endif
                  atomic { entry[p]++; give_slot() }
              :: d_step { status = executing; token = t; row_lock = 0 };
#ifdef COMMIT_UNCHECKED
                  lease[t] = standing;
#else
                  atomic {
                      if
                      :: lease[t] == uncommitted -> lease[t] = standing
                      :: else
                      fi
                  };
#endif
                  if
                  :: settle(t, me)
                  :: true                                       /* it dies */
                  fi
              fi
          fi
       fi
    od
}

/* 80_leader.sql _expire_leases: ends every lease sooner or later, passing over locked rows */
proctype leader()
{
    byte t;

end:
    do
    :: atomic {
            lease[1] == standing || lease[1] == revoked || lease[2] == standing || lease[2] == revoked ||
            lease[3] == standing || lease[3] == revoked || lease[4] == standing || lease[4] == revoked ->
            if
            :: lease[1] == standing || lease[1] == revoked -> t = 1
            :: lease[2] == standing || lease[2] == revoked -> t = 2
            :: lease[3] == standing || lease[3] == revoked -> t = 3
            :: lease[4] == standing || lease[4] == revoked -> t = 4
            fi
       };
       settle(t, 3)
    od
}

/* 70_control.sql _cancel; nobody may call it */
proctype cancel()
{
    byte t;

    if
    :: goto over
    :: lock_row(4)
    fi;
    if
    :: status == executing ->
        t = token;
        d_step { status = final; slot[t] = true; row_lock = 0 };
        revoke_lease(t)
    :: status == queued -> d_step { status = final; row_lock = 0 }
    :: status == final -> row_lock = 0
    fi;
over:
    skip
}

/* 70_control.sql _requeue: to another place */
proctype requeue()
{
    byte t;

    lock_row(5);
    if
    :: status != final && !aborted -> aborted = true; row_lock = 0
    :: status == executing ->
        t = token;
        d_step { status = queued; place = 1; slot[t] = true; row_lock = 0 };
        revoke_lease(t);
        entry[1]++
    :: status == queued -> d_step { place = 1; row_lock = 0 }; entry[1]++
    :: status == final -> row_lock = 0
    fi
}

init
{
    d_step {
        entry[0] = 2;                                           /* one more than there are runs */
        lease[0] = none; lease[1] = none; lease[2] = none; lease[3] = none; lease[4] = none
    };
    atomic { run claim(1); run claim(2); run leader(); run cancel(); run requeue() };
    timeout ->
    assert(status == final);
    assert(held == 0);
    assert(leases == 0);
    assert(!slot[1] && !slot[2] && !slot[3] && !slot[4])
}
