// How long to wait before asking again something that just failed: doubling, with jitter, so that a thousand
// workers do not come back to a restarted server in the same millisecond.
#pragma once

#include "async.hpp"

#include <algorithm>
#include <random>

namespace sluice::sidecar {

class Backoff {
public:
    Backoff(Duration first, Duration last) : first_{first}, last_{last}, next_{first} {}

    Duration next()
    {
        // One for all: a seed of its own would cost more than a task that asks for a backoff and never waits.
        static std::minstd_rand random{std::random_device{}()};

        const Duration limit = next_;
        next_                = std::min(next_ * 2, last_);
        return limit / 2 +
               Duration{std::uniform_int_distribution<Duration::rep>{0, limit.count() / 2}(random)};
    }

    void reset() { next_ = first_; }

private:
    Duration first_;
    Duration last_;
    Duration next_;
};

inline Backoff reconnect_backoff()
{
    return {std::chrono::milliseconds{100}, std::chrono::seconds{10}};
}

} // namespace sluice::sidecar
