/* wake: no wake-up is lost.
 *
 * Two runs become ready, a third was canceled and left its entry, an attempt gives its slot back, and two workers wait,
 * claim, abort or execute for ever.
 * Limit 2, one slot held at the start.  Timeouts are left out: whoever sleeps is only woken.
 *
 * Promise: when nothing moves any more, nobody sleeps while a run is ready and has room, and every queued run is in
 * memory.
 */
#define RUNS 3             /* the last one was canceled: its entry is stale */
#define WORKERS 2
#define LIMIT 2

bool visible[RUNS];    /* its transaction is committed for others' snapshots */
bool started[RUNS];
bool entry[RUNS];      /* in memory */
byte held = 1;
bool eligible;         /* the shelf is in its ring */
bool locked;           /* the queue's lock, where holding it takes more than a step */
byte listed;           /* how many are in the list of waiters */
bool registered[WORKERS];
bool woken[WORKERS];
bool asleep[WORKERS];
bool aborted;          /* one claim may abort */

#define is_eligible() ((entry[0] || entry[1] || entry[2]) && held < LIMIT)

/* waiters::wake: the list is read without its lock first */
inline wake()
{
    if
    :: listed == 0
    :: listed > 0 ->
        d_step {
            woken[0] = woken[0] || registered[0];
            woken[1] = woken[1] || registered[1]
        }
    fi
}

/* extension/index/effects.cpp commit: a transaction that enqueues */
proctype enqueue(byte r)
{
#ifdef PUSH_BEFORE_VISIBLE
    atomic { !locked -> entry[r] = true; eligible = is_eligible() };
    wake();
    visible[r] = true
#else
    visible[r] = true;
#ifdef WAKE_BEFORE_PUSH
    wake();
    atomic { !locked -> entry[r] = true; eligible = is_eligible() }
#else
    atomic { !locked -> entry[r] = true; eligible = is_eligible() };
    wake()
#endif
#endif
}

/* ready_index.cpp give_slot: wakes only if a shelf became eligible by it */
inline give_slot()
{
    atomic {
        !locked ->
        was = eligible;
        held--;
        eligible = is_eligible();
        was = !was && eligible
    };
    if
    :: was ->
#ifndef SLOT_WITHOUT_WAKE
        wake()
#else
        skip
#endif
    :: else
    fi
}

/* 60_finish.sql, effects.cpp commit: the end of an attempt that had started before */
proctype end_of_attempt()
{
    bool was;
    give_slot()
}

/* extension/wait.cpp and extension/index/claim.cpp: wait_for_work, then claim */
proctype worker(byte me)
{
    byte r;
    bool found;
    bool was;

wait:
#ifdef LOOK_BEFORE_REGISTER
    atomic { !locked -> found = eligible };
    if
    :: found -> goto claim
    :: else
    fi;
    atomic { registered[me] = true; woken[me] = false; listed++ };
#else
    atomic { registered[me] = true; woken[me] = false; listed++ };  /* waiters::enter */
look:
#ifdef LOOK_WITHOUT_LOCK
    woken[me] = false;
    found = eligible;
#else
#ifdef FORGET_AFTER_LOOK
    atomic { !locked -> found = eligible };
    woken[me] = false;
#else
    woken[me] = false;                                              /* waiters::forget_wakes */
    atomic { !locked -> found = eligible };                             /* has_work */
#endif
#endif
    if
    :: found -> goto leave
    :: else
    fi;
#endif
    asleep[me] = true;
end_asleep:
    atomic { woken[me] -> asleep[me] = false };
#ifndef LOOK_BEFORE_REGISTER
    goto look;
#endif
leave:
    atomic { registered[me] = false; listed-- };

claim:
    atomic {
        !locked ->
        found = eligible;
        if
        :: found ->
            locked = true;
            eligible = false;                                       /* the pop has it out of the ring for a while */
            if
            :: entry[0] -> r = 0
            :: !entry[0] && entry[1] -> r = 1
            :: !entry[0] && !entry[1] -> r = 2
            fi;
            entry[r] = false;
            held++
        :: else -> goto wait
        fi
    };
    atomic { eligible = is_eligible(); locked = false };
    if
    :: !visible[r] ->                                               /* no such queued row: drop the entry */
#ifdef DROP_WITHOUT_WAKE
        atomic { !locked -> held--; eligible = is_eligible() };
#else
        give_slot();
#endif
        goto wait
    :: visible[r] ->
        if
        :: !aborted ->                                              /* effects.cpp abort: put_back */
            aborted = true;
            atomic { !locked -> entry[r] = true; held--; eligible = is_eligible() };
#ifndef PUT_BACK_WITHOUT_WAKE
            wake();
#endif
            goto wait
        :: started[r] = true
        fi
    fi;
    if
    :: goto executing
    :: give_slot(); goto wait
    fi;
executing:
end_executing:
    false
}

init
{
    entry[2] = true;
    eligible = true;
    atomic { run enqueue(0); run enqueue(1); run end_of_attempt(); run worker(0); run worker(1) };
    timeout ->
    assert(!((asleep[0] || asleep[1]) && is_eligible()));
    assert((started[0] || entry[0]) && (started[1] || entry[1]))
}
