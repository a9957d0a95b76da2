/* beat: heartbeats and the end of leases, while the index is built anew and claims change from it to the tables and back.
 *
 * One lease.  Its deadline is in memory, and in a row of the table of leases once claims have gone by the tables.  Its
 * worker beats; the leader ends it when the deadline is over; somebody builds and switches.  Beats and the leader hold
 * the mode lock shared, who switches holds it alone to the commit.
 *
 * Promise: the lease does not end before a deadline that a beat was told.
 */
#define ROUNDS 3           /* of changes */
#define BEATS 2
#define END 3              /* of time; a lease lasts 1 */
#define NO_ROW 0

mtype:mode = { index, table };

mtype:mode mode = index;
byte shared;               /* the mode lock */
bool alone;

byte now = 1;
byte memory = 2;           /* the deadline in either place */
byte row = NO_ROW;
bool row_lock;
bool stands = true;
bool expiring;             /* in memory: the leader is about to end it */
byte told;                 /* the latest deadline that a beat was told */
bool aborted;              /* one transaction of the leader's may */

#define is_over(deadline)  (deadline < now)

inline tell(deadline)
{
    told = (deadline > told -> deadline : told)
}

active proctype clock()
{
    do
    :: now < END -> now++
    :: else -> break
    od
}

/* 55_lease.sql _beat, exchange.cpp beat */
active proctype worker()
{
    byte until, beats;

    do
    :: beats == BEATS || !stands -> break
    :: beats < BEATS && stands ->
        beats++;
#ifdef BEAT_GOES_WHERE_IT_LIKES
        skip;
#else
        atomic { !alone -> shared++ };
#endif
        if
        :: atomic {                             /* lease.cpp beat: in one hold of the lock of leases */
                mode == index ->
                if
                :: stands && !expiring -> memory = now + 1; tell(memory)
                :: else
                fi
           }
        :: atomic { mode == table && !row_lock -> row_lock = true };
           until = now + 1;
#ifdef ROW_SEEN_BEFORE_COMMIT
           shared--;
#endif
           d_step {                             /* commit */
                if
                :: stands -> row = until; tell(until)
                :: else
                fi;
                row_lock = false;
                until = 0
           }
#ifdef ROW_SEEN_BEFORE_COMMIT
           goto next
#endif
        fi;
#ifndef BEAT_GOES_WHERE_IT_LIKES
        shared--;
#endif
next:
        skip
    od
}

/* 80_leader.sql _expire_leases, 55_lease.sql _take_if_late */
active proctype leader()
{
    do
    :: !stands -> break
    :: now == END && !is_over(memory) && (row == NO_ROW || !is_over(row)) -> break      /* nothing will be over */
    :: stands && (is_over(memory) || (row != NO_ROW && is_over(row))) ->
#ifndef LEADER_DOES_NOT_KEEP_THE_MODE
        atomic { !alone -> shared++ };
#endif
        if
        :: mode == index ->
            if
            :: atomic { is_over(memory) -> expiring = true };
               if
               :: atomic { !aborted -> aborted = true; expiring = false }
               :: d_step { assert(is_over(told)); stands = false; row = NO_ROW };     /* commit */
                  expiring = false
               fi
            :: atomic { !is_over(memory) }
            fi
        :: mode == table ->
            if
            :: atomic { !row_lock && row != NO_ROW && is_over(row) -> row_lock = true };
               d_step { assert(is_over(told)); stands = false; row = NO_ROW; row_lock = false }
            :: atomic { row_lock || row == NO_ROW || !is_over(row) }       /* skip locked */
            fi
        fi;
#ifndef LEADER_DOES_NOT_KEEP_THE_MODE
        shared--
#endif
    od
}

/* build.cpp go_to_table, 55_lease.sql _write_slots: reads memory, and writes rows that others see from the commit on */
inline go_to_table()
{
    seen = memory;
    d_step {
#ifdef ROW_KEEPS_ITS_DEADLINE
        row = (stands && row == NO_ROW -> seen : row);
#else
        row = (stands && row < seen -> seen : row);
#endif
        seen = 0
    };
    mode = table
}

/* build.cpp read_slots */
inline build()
{
    seen = row;
    atomic {
#ifdef ROW_COUNTS_ALWAYS
        memory = (seen != NO_ROW -> seen : memory);
#else
        memory = (seen != NO_ROW && (mode == table || memory < seen) -> seen : memory);
#endif
        seen = 0
    };
    mode = index
}

active proctype changes()
{
    byte seen, rounds;

    do
    :: rounds == ROUNDS -> break
    :: rounds < ROUNDS ->
        rounds++;
        atomic { shared == 0 -> alone = true };
        if
        :: mode == index -> go_to_table()
        :: build()                              /* also where claims go by the index already */
        fi;
        alone = false
    od
}

init
{
    timeout ->
    assert(shared == 0 && !alone && !row_lock);
    assert(!stands || !is_over(told) || now == END)
}
