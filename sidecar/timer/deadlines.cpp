// The ordered set of deadlines and the one timer that stands at its front.
#include "timer/deadlines.hpp"

namespace sluice::sidecar {

void DeadlineSet::arm(std::string name, Instant when, Action action)
{
    disarm(name);
    const Key key{when, armed_++};
    by_name_.emplace(name, key);
    by_time_.emplace(key, Entry{std::move(name), std::move(action)});
}

bool DeadlineSet::disarm(std::string_view name)
{
    const auto found = by_name_.find(name);
    if (found == by_name_.end())
        return false;
    by_time_.erase(found->second);
    by_name_.erase(found);
    return true;
}

std::optional<Instant> DeadlineSet::next() const
{
    if (by_time_.empty())
        return std::nullopt;
    return by_time_.begin()->first.first;
}

std::optional<Instant> DeadlineSet::when(std::string_view name) const
{
    const auto found = by_name_.find(name);
    if (found == by_name_.end())
        return std::nullopt;
    return found->second.first;
}

std::vector<DeadlineSet::Action> DeadlineSet::take_due(Instant now)
{
    std::vector<Action> due;
    while (!by_time_.empty() && by_time_.begin()->first.first <= now) {
        auto node = by_time_.extract(by_time_.begin());
        by_name_.erase(node.mapped().name);
        due.push_back(std::move(node.mapped().action));
    }
    return due;
}

void Deadlines::arm(std::string name, Instant when, DeadlineSet::Action action)
{
    set_.arm(std::move(name), when, std::move(action));
    rewind();
}

void Deadlines::disarm(std::string_view name)
{
    // The timer may stay early: it then fires, finds nothing due and is set anew.
    set_.disarm(name);
}

void Deadlines::clear()
{
    set_ = {};
    timer_at_.reset();
    timer_.cancel();
}

void Deadlines::rewind()
{
    const auto next = set_.next();
    if (!next || (timer_at_ && *timer_at_ <= *next))
        return;
    timer_at_ = next;
    timer_.expires_at(*next);
    timer_.async_wait([this](const boost::system::error_code &error) {
        if (!error)
            fire();
    });
}

void Deadlines::fire()
{
    timer_at_.reset();
    for (const auto &action : set_.take_due(BootClock::now()))
        action();
    rewind();
}

} // namespace sluice::sidecar
