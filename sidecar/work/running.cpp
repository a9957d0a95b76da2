// The set of held tokens.
#include "work/running.hpp"

#include <algorithm>

namespace sluice::sidecar {

Attempt &Running::add(Job job, Instant confirmed, AttemptLog::Limits limits)
{
    std::string token   = job.token;
    auto        attempt = std::make_unique<Attempt>(std::move(job), confirmed, limits);
    return *attempts_.insert_or_assign(std::move(token), std::move(attempt)).first->second;
}

Attempt *Running::find(std::string_view token)
{
    const auto found = attempts_.find(token);
    return found == attempts_.end() ? nullptr : found->second.get();
}

void Running::remove(std::string_view token)
{
    const auto found = attempts_.find(token);
    if (found != attempts_.end())
        attempts_.erase(found);
}

std::vector<std::string> Running::tokens() const
{
    std::vector<std::string> list;
    list.reserve(attempts_.size());
    for (const auto &[token, attempt] : attempts_)
        list.push_back(token);
    return list;
}

std::optional<Duration> Running::shortest_heartbeat() const
{
    std::optional<Duration> shortest;
    for (const auto &[token, attempt] : attempts_)
        shortest = std::min(shortest.value_or(attempt->job.heartbeat), attempt->job.heartbeat);
    return shortest;
}

std::size_t Running::places() const
{
    return static_cast<std::size_t>(std::count_if(attempts_.begin(), attempts_.end(), [](const auto &entry) {
        return entry.second->is_reporting() || !entry.second->control.is_elsewhere();
    }));
}

std::size_t Running::executing() const
{
    return static_cast<std::size_t>(std::count_if(
        attempts_.begin(), attempts_.end(), [](const auto &entry) { return !entry.second->is_reporting(); }));
}

} // namespace sluice::sidecar
