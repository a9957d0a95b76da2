/* mode: building the index, and switching from table to index and back, while runs are enqueued, end and are canceled.
 *
 * Limit 1.  Run 0 is executing with token 1 when it begins, run 1 is enqueued meanwhile.  Claims hold the mode lock
 * shared to the end of their transaction, builds and switches hold it alone; enqueues, ends and cancels do not take it
 * and may commit at any moment.
 *
 * Promise: never more than one run holds a slot, in either mode and across switches; when nothing moves any more every
 * run is final and no slot is left, in memory or in the table.
 */
#define RUNS 2
#define TOKENS 5           /* 1 … 4 */
#define LIMIT 1

mtype:mode = { unbuilt, building, index, table };
mtype:status = { unseen, queued, executing, final };
mtype:kept = { none, standing, revoked };

mtype:mode mode;
byte shared;               /* the mode lock */
bool alone;
bool queue_lock;           /* of table claims */

mtype:status status[RUNS];
byte token[RUNS];
bool row_lock[RUNS];
mtype:kept slot[TOKENS];   /* durable */

byte entry[RUNS];          /* in memory */
mtype:kept lease[TOKENS];
byte held;
byte next_token = 2;
bool aborted;              /* one transaction may abort */
bool released;             /* one attempt may be given back */
bool ends_run_0;           /* by the transaction that builds, which has not committed: its snapshots see it */

#define is_revoked(t) (slot[t] == revoked)
#define running  ((status[0] == executing) + (status[1] == executing) + \
                  is_revoked(1) + is_revoked(2) + is_revoked(3) + is_revoked(4))
#define is_taken(t)   (slot[t] != none)
#define slots    (is_taken(1) + is_taken(2) + is_taken(3) + is_taken(4))
#define has_lease(t)  (lease[t] != none)
#define leases   (has_lease(1) + has_lease(2) + has_lease(3) + has_lease(4))

/* effects.cpp commit: a run that became ready; its row is visible */
inline push(r)
{
    if
    :: mode == building || mode == index -> entry[r]++
    :: mode == unbuilt || mode == table     /* it is found in the table */
    fi
}

/* effects.cpp commit: the end of a lease, in every mode */
inline end_lease(t)
{
    atomic {
        if
        :: lease[t] != none -> lease[t] = none; assert(held > 0); held--
        :: else
        fi
    }
}

/* 60_finish.sql _settle, 55_lease.sql _free_slots */
inline settle(r, t)
{
#ifdef SLOT_SEEN_BEFORE_ROW_LOCK
    had = slot[t] != none;
    atomic { !row_lock[r] -> row_lock[r] = true };
#else
    atomic { !row_lock[r] -> row_lock[r] = true };
    /* A statement of its own: it sees what the lock has waited for. */
#ifdef END_TRUSTS_MODE
    had = slot[t] == revoked || mode == table;
#else
    had = slot[t] != none;
#endif
#endif
    if
    :: status[r] == executing && token[r] == t ->
        if
        :: !aborted -> aborted = true; row_lock[r] = false; goto again
        :: d_step {
                status[r] = final;
                slot[t] = (had -> none : slot[t]);
                row_lock[r] = false
           };
           end_lease(t)
        :: !released ->
           d_step {
                released = true;
                status[r] = queued;
                slot[t] = (had -> none : slot[t]);
                row_lock[r] = false
           };
           end_lease(t);
           push(r)
        fi
    :: else ->
        d_step { slot[t] = (had -> none : slot[t]); row_lock[r] = false };
        end_lease(t)
    fi
}

proctype attempt()
{
    bool had;
again:
    settle(0, 1)
}

/* 70_control.sql _cancel; nobody may call it */
proctype cancel()
{
    byte t;

    if
    :: goto over
    :: atomic { !row_lock[0] -> row_lock[0] = true }
    fi;
    if
    :: status[0] == executing ->
        t = token[0];
        d_step { status[0] = final; slot[t] = revoked; row_lock[0] = false };
        d_step {                            /* effects.cpp commit */
            if
            :: lease[t] != none -> lease[t] = revoked
            :: else
            fi
        }
    :: else -> d_step { status[0] = final; row_lock[0] = false }
    fi;
over:
    skip
}

proctype enqueue()
{
    status[1] = queued;
    push(1)
}

#define can_pop      (mode == index && entry[0] + entry[1] > 0 && held < LIMIT)
#define can_pick(r)  (status[r] == queued && !row_lock[r])
#define can_claim    (mode == table && slots < LIMIT && (can_pick(0) || can_pick(1)))

/* extension/index/claim.cpp; 50_claim.sql in table mode */
proctype claim()
{
    byte r, t;
    bool had;

end:
    do
    :: atomic { !alone && (can_pop || can_claim) -> shared++ };
        if
        :: atomic {
                can_pop ->
                r = (entry[0] > 0 -> 0 : 1);
                entry[r]--;
                held++
           };
           if
           :: atomic { row_lock[r] -> entry[r]++; held-- }              /* busy */
           :: atomic { !row_lock[r] && status[r] != queued -> held-- }  /* stale */
           :: atomic {
                    !row_lock[r] && status[r] == queued ->
                    row_lock[r] = true;
                    t = next_token;
                    next_token++;
                    lease[t] = standing
              };
              if
              :: !aborted ->
                    aborted = true;
                    row_lock[r] = false;
                    lease[t] = none;
                    atomic { entry[r]++; held-- };
                    t = 0
              :: d_step {
                    status[r] = executing;
                    token[r] = t;
                    row_lock[r] = false;
                    assert(running <= LIMIT)
                 }
              fi
           fi
        :: atomic { mode == table && !queue_lock -> queue_lock = true };
           if
           :: atomic {
                    can_claim ->
                    r = (can_pick(0) -> 0 : 1);
                    row_lock[r] = true;
                    t = next_token;
                    next_token++
              };
              if
              :: !aborted ->
                    aborted = true;
                    row_lock[r] = false;
                    t = 0
              :: d_step {
                    status[r] = executing;
                    token[r] = t;
                    slot[t] = standing;
                    row_lock[r] = false;
                    assert(running <= LIMIT)
                 }
              fi
           :: else
           fi;
           queue_lock = false
        :: atomic { mode == index && !can_pop }
        fi;
        shared--;
again:
        if
        :: t > 0 -> settle(r, t); t = 0
        :: else
        fi;
        r = 0
    od
}

inline skip_to(what)
{
    do
    :: i == TOKENS -> break
    :: i < TOKENS && what -> break
    :: i < TOKENS && !(what) -> i++
    od
}

/* extension/index/build.cpp build: what snapshot 2 does not explain, neither by an executing row nor by a row of slot,
   is no lease any more */
inline build()
{
    bool sees_queued[RUNS];
    bool sees_held[TOKENS];
    bool sees_revoked[TOKENS];

    atomic { shared == 0 -> alone = true };
#ifndef SNAPSHOT_BEFORE_PUBLISHED
    mode = building;
#endif
    d_step { entry[0] = 0; entry[1] = 0 };
    snapshot();
#ifdef SNAPSHOT_BEFORE_PUBLISHED
    mode = building;
#endif
    i = 0;
    do
    :: i < RUNS -> atomic { entry[i] = entry[i] + sees_queued[i]; i++ }
    :: else -> break
    od;
    i = 1;
    do
    :: atomic {
            i < TOKENS ->
            skip_to((sees_held[i] || sees_revoked[i]));
            if
            :: i < TOKENS && lease[i] == none ->
                lease[i] = (sees_revoked[i] -> revoked : standing);
                held++
            :: else
            fi;
            i++
       }
    :: i >= TOKENS -> break
    od;
    i = 1;
#ifndef NO_SECOND_SNAPSHOT
    snapshot();
#endif
    i = 1;
    do
    :: atomic {
            i < TOKENS ->
            skip_to((lease[i] != none));
            if
#ifdef REVOKED_TAKEN_FOR_ENDED
            :: i < TOKENS && !sees_held[i] ->
#else
            :: i < TOKENS && !sees_held[i] && !sees_revoked[i] ->
#endif
                lease[i] = none;
                assert(held > 0);
                held--
            :: i < TOKENS && sees_revoked[i] -> lease[i] = revoked
            :: else
            fi;
            i++
       }
    :: i >= TOKENS -> break
    od;
    mode = index;
    d_step {
        i = 0;
        do
        :: i < TOKENS -> sees_held[i] = false; sees_revoked[i] = false; i++
        :: else -> break
        od;
        sees_queued[0] = false;
        sees_queued[1] = false;
        i = 0
    };
    alone = false
}

inline snapshot()
{
    d_step {
        i = 0;
        do
        :: i < TOKENS -> sees_held[i] = false; sees_revoked[i] = is_revoked(i); i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < RUNS ->
            sees_queued[i] = status[i] == queued;
            if
            :: status[i] == executing && !(i == 0 && ends_run_0) -> sees_held[token[i]] = true
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
}

/* build.cpp switch to table: locks the rows of executing runs; if one is locked, its end may be on its way, and would
   not see the row of slot that is written now: another time */
inline switch_to_table()
{
    atomic { shared == 0 -> alone = true };
#ifdef ROWS_NOT_LOCKED
    d_step {
        t0 = (status[0] == executing -> token[0] : 0);
        t1 = (status[1] == executing -> token[1] : 0)
    };
#else
    atomic {
        if
#ifdef LOCKED_ROW_SKIPPED
        :: status[0] == executing && row_lock[0]
#else
        :: status[0] == executing && row_lock[0] -> goto give_up
#endif
        :: status[0] == executing && !row_lock[0] -> row_lock[0] = true; t0 = token[0]
        :: status[0] != executing
        fi
    };
    atomic {
        if
        :: status[1] == executing && row_lock[1] ->
            row_lock[0] = (t0 > 0 -> false : row_lock[0]);
            goto give_up
        :: status[1] == executing && !row_lock[1] -> row_lock[1] = true; t1 = token[1]
        :: status[1] != executing
        fi
    };
#endif
    d_step {                                /* commit */
        if
        :: t0 > 0 && slot[t0] == none -> slot[t0] = standing
        :: else
        fi;
        if
        :: t1 > 0 && slot[t1] == none -> slot[t1] = standing
        :: else
        fi;
#ifndef ROWS_NOT_LOCKED
        row_lock[0] = (t0 > 0 -> false : row_lock[0]);
        row_lock[1] = (t1 > 0 -> false : row_lock[1])
#endif
    };
    mode = table;
give_up:
    atomic { alone = false; t0 = 0; t1 = 0 }
}

/* a claim that finds another mode than the setting's */
proctype change_modes()
{
    byte i, t0, t1;

    if
    :: mode == index -> switch_to_table()
    :: else
    fi;
    build();
}

/* the same from a start in which nothing is built, and to the table.  A transaction that has ended an attempt, or
   changed a run in another way, must not build */
proctype start()
{
    byte i, t0, t1;

#ifdef BUILD_AFTER_END
    atomic { !row_lock[0] -> row_lock[0] = true; ends_run_0 = true };
    build();
    atomic { row_lock[0] = false; ends_run_0 = false };     /* it rolls back */
#else
    build();
#endif
    switch_to_table()
}

init
{
    byte i;

    d_step {
        i = 0;
        do
        :: i < TOKENS -> slot[i] = none; lease[i] = none; i++
        :: else -> break
        od;
        i = 0;
        status[0] = executing;
        token[0] = 1;
        status[1] = unseen
    };
    if
    :: atomic { mode = unbuilt; run start() }
    :: atomic { mode = index; lease[1] = standing; held = 1; run change_modes() }
    :: atomic { mode = table; slot[1] = standing; run change_modes() }
    fi;
    atomic { run attempt(); run enqueue(); run cancel(); run claim() };
    timeout ->
    assert(status[0] == final && status[1] == final);
    assert(slots == 0 && leases == 0 && held == 0)
}
