// The attempts that this worker holds: from the claim until the database has answered for their outcome.
#pragma once

#include "run/executor.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::sidecar {

/// One held token.
struct Attempt {
    Attempt(Job job_, Instant confirmed_, AttemptLog::Limits limits)
        : job{std::move(job_)}, control{limits}, confirmed{confirmed_}
    {
    }

    bool is_reporting() const { return outcome.has_value(); }

    Job                    job;
    Control                control;
    Instant                confirmed; ///< when the last exchange that kept the lease was sent
    std::optional<Outcome> outcome;   ///< set once nothing runs any more
};

class Running {
public:
    using Map = std::map<std::string, std::unique_ptr<Attempt>, std::less<>>;

    Attempt &add(Job job, Instant confirmed, AttemptLog::Limits limits);
    Attempt *find(std::string_view token);
    void     remove(std::string_view token);

    bool                     empty() const { return attempts_.empty(); }
    std::size_t              size() const { return attempts_.size(); }
    std::vector<std::string> tokens() const;
    std::optional<Duration>  shortest_heartbeat() const;
    std::size_t              places() const;    ///< taken: without those that somebody else works on
    std::size_t              executing() const; ///< without those that only wait for the database's answer

    Map       &attempts() { return attempts_; }
    const Map &attempts() const { return attempts_; }

private:
    Map attempts_;
};

} // namespace sluice::sidecar
