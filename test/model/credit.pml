/* credit: a slot that a transaction gave back may be used again by it before it commits, and by nobody else.
 *
 * Limit 1, run 0 executing with token 0.  A transaction ends it and claims, in and out of a savepoint, and rolls back
 * to it or on as a whole; another repeats the completion of token 0 (its answer was lost) and claims in the same
 * transaction; a third claims whenever there is room.
 *
 * Promise: at no commit is more than one run executing, and in the end every one is accounted for.
 */
#define RUNS 3             /* a run's number is its token's too: each is claimed once, unless the claim is undone */
#define LIMIT 1
#define NOBODY 9

bool executing[RUNS];      /* committed */
bool final[RUNS];
byte row_lock = NOBODY;    /* of run 0 */
bool entry[RUNS];
bool lease[RUNS];
byte held = 1;
byte shared_credit;        /* in the mutation only */

#define running (executing[0] + executing[1] + executing[2])

/* effects.cpp commit, ready_index.cpp give_slot */
inline end_lease(r)
{
    atomic {
        if
        :: lease[r] -> lease[r] = false; assert(held > 0); held--
        :: else
        fi
    }
}

/* extension/index/pop.cpp: room = limit - held + credit */
inline pop(r)
{
    atomic {
        r = 0;
        if
        :: LIMIT + credit + shared_credit > held ->
            if
            :: entry[1] -> r = 1
            :: !entry[1] && entry[2] -> r = 2
            :: else
            fi
        :: else
        fi;
        if
        :: r > 0 -> entry[r] = false; held++; lease[r] = true
        :: else
        fi
    }
}

/* effects.cpp abort and subabort */
inline put_back(r)
{
    atomic {
        if
        :: r > 0 -> entry[r] = true; lease[r] = false; assert(held > 0); held--; r = 0
        :: else
        fi
    }
}

/* the attempt of a claim, in a transaction of its own */
inline end_attempt(r)
{
    if
    :: r > 0 ->
        d_step {
            if
            :: executing[r] -> executing[r] = false; final[r] = true
            :: else
            fi
        };
        end_lease(r)
    :: else
    fi
}

/* 65_exchange.sql: outcomes, then claims, with a savepoint before, between or nowhere; twice if it rolls back to it */
proctype exchange()
{
    byte r, credit, level_of_end, level_of_claim;
    bool ended;

    atomic { row_lock == NOBODY -> row_lock = 0 };
    if
    :: !executing[0] -> row_lock = NOBODY; goto over
    :: executing[0]
    fi;
    if
    :: level_of_end = 1
    :: level_of_end = 2
    fi;
    ended = true;
#ifdef HELD_DOWN_AT_END
    atomic { held--; lease[0] = false };
#else
#ifdef CREDIT_FOR_ALL
    shared_credit = 1;
#else
    credit = 1;
#endif
#endif
    if
    :: level_of_claim = level_of_end
    :: level_of_claim = 2
    fi;
    pop(r);
    if
    :: level_of_claim == 2 ->                       /* rollback to savepoint: the end of the log first */
        put_back(r);
        if
        :: level_of_end == 2 ->
            ended = false;
            row_lock = NOBODY;
#ifdef HELD_DOWN_AT_END
            atomic { held++; lease[0] = true };
#endif
#ifndef CREDIT_SURVIVES_SUBABORT
            credit = 0;
#endif
            shared_credit = 0
        :: level_of_end == 1
        fi;
        pop(r)
    :: true
    fi;
    if
    :: put_back(r);                                 /* rollback */
#ifdef HELD_DOWN_AT_END
       if
       :: ended -> held++; lease[0] = true
       :: else
       fi;
#endif
       row_lock = (ended -> NOBODY : row_lock)
    :: d_step {                                     /* commit: visible, then the effects */
            if
            :: ended -> executing[0] = false; final[0] = true
            :: else
            fi;
            if
            :: r > 0 -> executing[r] = true
            :: else
            fi;
            row_lock = (ended -> NOBODY : row_lock);
            assert(running <= LIMIT)
       };
       if
       :: ended -> end_lease(0)
       :: else
       fi
    fi;
    shared_credit = 0;
    credit = 0;
    end_attempt(r);
over:
    skip
}

/* the completion of token 0 again, on another connection, and a claim in the same transaction */
proctype repeat()
{
    byte r, credit;

    atomic { row_lock == NOBODY -> row_lock = 1 };
    if
    :: executing[0] ->                              /* it is the first one */
#ifndef HELD_DOWN_AT_END
        credit = 1;
#endif
        pop(r);
        d_step {
            executing[0] = false;
            final[0] = true;
            if
            :: r > 0 -> executing[r] = true
            :: else
            fi;
            row_lock = NOBODY;
            assert(running <= LIMIT)
        }
    :: final[0] ->                                  /* already done: no credit, though the lease may be in memory yet */
        row_lock = NOBODY;
#ifdef CREDIT_FOR_REPEAT
        atomic { credit = lease[0] };
#endif
        pop(r);
        d_step {
            if
            :: r > 0 -> executing[r] = true
            :: else
            fi;
            assert(running <= LIMIT)
        }
    fi;
    credit = 0;
    end_lease(0);
    end_attempt(r)
}

/* any other claim */
proctype claim()
{
    byte r, credit;

end:
    do
    :: atomic { (entry[1] || entry[2]) && held < LIMIT + shared_credit };
       pop(r);
       d_step {
            if
            :: r > 0 -> executing[r] = true
            :: else
            fi;
            assert(running <= LIMIT)
       };
       end_attempt(r)
    od
}

init
{
    d_step { executing[0] = true; lease[0] = true; entry[1] = true; entry[2] = true };
    atomic { run exchange(); run repeat(); run claim() };
    timeout ->
    assert(final[0] && final[1] && final[2]);
    assert(held == 0 && !lease[0] && !lease[1] && !lease[2])
}
