// Stopping, as all executors share it.
#include "run/executor.hpp"

#include <utility>

namespace sluice::sidecar {

void Control::stop(StopReason reason, Force force)
{
    if (!reason_ || reason == StopReason::canceled)
        reason_ = reason;
    if (force == Force::firm)
        force_ = Force::firm;
    if (hook_)
        hook_(force_);
}

void Control::on_stop(Hook hook)
{
    hook_ = std::move(hook);
    if (hook_ && reason_)
        hook_(force_);
}

Outcome outcome_of_stop(StopReason reason)
{
    switch (reason) {
    case StopReason::canceled:
        return Outcome::only(Outcome::Kind::canceled);
    case StopReason::timed_out:
        return Outcome::with_error(Outcome::Kind::timed_out, "MAX_DURATION_EXCEEDED",
                                   "the run took longer than its max_duration");
    case StopReason::drained:
        return Outcome::only(Outcome::Kind::released);
    case StopReason::lease_over:
        return Outcome::only(Outcome::Kind::unrenewed);
    }
    return Outcome::only(Outcome::Kind::released);
}

} // namespace sluice::sidecar
