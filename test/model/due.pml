/* due: a delayed run becomes ready, without a move and without a lost one.
 *
 * Two transactions commit runs that fall due at 1 and 2, while time goes on and two workers look, feed (one feed may
 * fail) and sleep until they are woken or what they saw as next_due has come.
 *
 * Promise: when the time has come and nothing moves any more, nobody sleeps while a run waits, and each run was taken,
 * is in memory, or will be fed.
 */
#define NEVER 9
#define later(a, b)   (a > b -> a : b)
#define earlier(a, b) (a < b -> a : b)

byte now;
byte fed_until;        /* all committed runs due until then have been pushed */
byte next_due = NEVER;
bool visible[3];       /* by due time: 1 and 2 */
bool entry[3];
bool taken[3];
bool registered[2];
bool woken[2];
bool asleep[2];
bool failed;           /* one feed may fail */

inline wake() { d_step { woken[0] = registered[0]; woken[1] = registered[1] } }

active proctype clock()
{
    now = 1;
    now = 2
}

/* extension/index/effects.cpp commit: a run with due_at */
proctype enqueue(byte due)
{
    bool lowered;

    visible[due] = true;
    d_step {                                       /* under the queue's lock */
        if
#ifndef NO_SELF_PUSH
        :: due <= fed_until -> entry[due] = true; lowered = true
#endif
        :: else ->
            lowered = due < next_due;
            next_due = earlier(due, next_due)
        fi
    };
    if
    :: lowered ->
#ifndef LOWER_WITHOUT_WAKE
        wake()
#else
        skip
#endif
    :: else
    fi
}

/* extension/wait.cpp with extension/index/pop.cpp feed */
proctype worker(byte me)
{
    byte as_of, old, timer, found;
    bool seen[3];

    registered[me] = true;
look:
    woken[me] = false;
    as_of = now;
    atomic {
        if
        :: as_of >= next_due ->
            old = fed_until;
#ifndef FED_AFTER_SCAN
            fed_until = later(as_of, fed_until);
            next_due = NEVER
#endif
        :: else -> goto take
        fi
    };
    d_step {                                       /* a snapshot: due in (old, as_of], and the first one after it */
        seen[1] = visible[1] && !taken[1] && old < 1 && 1 <= as_of;
        seen[2] = visible[2] && !taken[2] && old < 2 && 2 <= as_of;
        found = NEVER;
        if
        :: visible[1] && !taken[1] && as_of < 1 -> found = 1
        :: else ->
            if
            :: visible[2] && !taken[2] && as_of < 2 -> found = 2
            :: else
            fi
        fi
    };
    if
    :: !failed ->                                  /* an error: effects.cpp abort */
        failed = true;
#ifndef FAILED_FEED_KEEPS
        d_step { fed_until = earlier(fed_until, old); next_due = 0 };
#endif
#ifndef FAIL_WITHOUT_WAKE
        wake();
#endif
        goto gone
    :: true
    fi;
    d_step { entry[1] = entry[1] || seen[1]; seen[1] = false };
    d_step { entry[2] = entry[2] || seen[2]; seen[2] = false };
    d_step {
#ifdef FED_AFTER_SCAN
        fed_until = later(as_of, fed_until);
        next_due = NEVER;
#endif
#ifdef NEXT_DUE_OVERWRITTEN
        next_due = found
#else
        next_due = earlier(next_due, found)
#endif
    };
#ifndef FEED_WITHOUT_WAKE
    wake();
#endif

take:
    atomic {                                       /* has_work and next_due in one hold of the lock; then a claim */
        timer = next_due;
        if
        :: entry[1] -> entry[1] = false; taken[1] = true
        :: !entry[1] && entry[2] -> entry[2] = false; taken[2] = true
        :: !entry[1] && !entry[2] -> asleep[me] = true; goto end_asleep
        fi
    };
    if
    :: goto look
    :: goto gone                                   /* it executes for ever */
    fi;
end_asleep:
    atomic { woken[me] || now >= timer -> asleep[me] = false; goto look };
gone:
    registered[me] = false
}

init
{
    atomic { run enqueue(1); run enqueue(2); run worker(0); run worker(1) };
    timeout ->
    assert(!((asleep[0] || asleep[1]) && !(taken[1] && taken[2])));
    assert(taken[1] || entry[1] || fed_until < 1);
    assert(taken[2] || entry[2] || fed_until < 2)
}
