// clock: the time that nobody sets, for deadlines.
//
// The wall clock can jump: somebody sets it, a machine wakes up with another time.  A lease that is measured by it would
// end at once or live for an hour.  So deadlines of leases, and whatever else lasts so long rather than until then, are
// measured by the steady clock, which only goes forward.  It reads like the wall clock, of which it was taken when the
// server started, and differs from it by as much as that was set since.  What people see is wall().
#pragma once

#include "pg/postgres.hpp"

namespace sluice::clock {

/// Without shared memory for it, it is the wall clock after all.
TimestampTz steady();

/// By how much the wall clock was set since the server started, in microseconds.
int64 offset();

/// An instant of the steady clock by the wall clock of now.
TimestampTz wall(TimestampTz instant);

} // namespace sluice::clock
