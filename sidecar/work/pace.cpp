// The rule for the start of an exchange.
#include "work/pace.hpp"

#include <algorithm>

namespace sluice::sidecar {

void Pace::started()
{
    in_flight_ = true;
    asked_     = false;
    ended_     = false;
}

/// A claim that got all it wanted may have left more; one that wanted nothing has learned nothing.
void Pace::claimed(std::size_t wanted, std::size_t got)
{
    if (wanted > 0)
        more_may_be_ready_ = got >= wanted;
}

std::optional<Instant> Pace::next(Instant now, std::size_t executing) const
{
    if (in_flight_ || !is_wanted())
        return std::nullopt;
    // When nothing executes, no other end can come to share the exchange.
    if (asked_ || executing == 0 || !answered_)
        return now;
    return std::max(now, *answered_ + window_);
}

} // namespace sluice::sidecar
