// When the next exchange starts.  The decision alone, without a clock or a timer: time is an argument.
//
// Two kinds of reason ask for an exchange.  What cannot wait (news from the waiter, a heartbeat, a reload) gets one as
// soon as none is in flight.  The end of an attempt does too while the system is calm; while it is busy the ends of a
// few milliseconds share one exchange.  See docs/design/006-batching.md.
#pragma once

#include "async.hpp"

#include <cstddef>
#include <optional>

namespace sluice::sidecar {

class Pace {
public:
    /// For how long after an answer the ends of attempts are gathered.  Zero: never.
    explicit Pace(Duration window) : window_{window} {}
    void set_window(Duration window) { window_ = window; }

    void ask() { asked_ = true; } ///< at once
    void ended() { ended_ = true; }

    /// An attempt ended and the database knows: all that is left to do is to claim for its place.  While the waiter
    /// watches for work and the last claim left nothing behind, there is nothing to claim.
    void place_freed(bool is_watched) { ended_ = ended_ || !is_watched || more_may_be_ready_; }

    void started();
    void answered(Instant now) { in_flight_ = false, answered_ = now; }
    void lost()
    {
        in_flight_ = false, more_may_be_ready_ = true;
    } ///< the connection went away with the exchange
    void claimed(std::size_t wanted, std::size_t got);

    /// Nothing is in flight and nothing is asked for.
    bool is_quiet() const { return !in_flight_ && !is_wanted(); }
    bool is_wanted() const { return asked_ || ended_; }

    /// When to start the next exchange; nothing: there is no reason yet, or one is in flight.
    std::optional<Instant> next(Instant now, std::size_t executing) const;

private:
    Duration               window_;
    std::optional<Instant> answered_;
    bool                   asked_             = false;
    bool                   ended_             = false;
    bool                   in_flight_         = false;
    bool                   more_may_be_ready_ = true;
};

} // namespace sluice::sidecar
