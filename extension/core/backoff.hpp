// backoff: how long a run waits before its next attempt.
//
// delay = min(max_delay, spread × min_delay × factor^(attempt − 1)), spread in [1, 2) when randomized, else 1.
// The formula and the defaults (3 attempts, factor 2, 1 s, 60 s, randomized) are those of Trigger.dev's task retry.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/pure.hpp" // keep last

namespace sluice::core {

struct Backoff {
    double factor    = 2.0;
    double min_delay = 1.0;  ///< seconds
    double max_delay = 60.0; ///< seconds
};

/// Seconds until the next attempt.  `attempt` is the number of the one that failed, from 1; `spread` in [1, 2).
/// Never less than zero, never more than max_delay, also where the power overflows.
inline double backoff_delay(const Backoff &backoff, int attempt, double spread) noexcept
{
    if (backoff.min_delay <= 0) // nothing grows to nothing, also where the power overflows
        return 0;
    const double grown = spread * backoff.min_delay * std::pow(backoff.factor, std::max(attempt, 1) - 1);
    if (!(grown < backoff.max_delay)) // also catches infinity and NaN
        return backoff.max_delay;
    return grown;
}

} // namespace sluice::core
