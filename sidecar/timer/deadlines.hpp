// All times at which the sidecar has to do something, in one ordered set behind one timer.  A deadline has a name;
// arming the same name again moves it.
#pragma once

#include "async.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::sidecar {

/// The order alone, without a clock or a timer: time is an argument.
class DeadlineSet {
public:
    using Action = std::function<void()>;

    void                   arm(std::string name, Instant when, Action action);
    bool                   disarm(std::string_view name);
    std::optional<Instant> next() const;
    std::optional<Instant> when(std::string_view name) const;
    std::vector<Action>    take_due(Instant now); ///< in order of time, equal times in order of arming
    std::size_t            size() const { return by_name_.size(); }

private:
    using Key = std::pair<Instant, std::uint64_t>;
    struct Entry {
        std::string name;
        Action      action;
    };

    std::map<Key, Entry>                    by_time_;
    std::map<std::string, Key, std::less<>> by_name_;
    std::uint64_t                           armed_ = 0;
};

/// The set with its timer.  Actions run on the event loop and must not throw.
class Deadlines {
public:
    explicit Deadlines(asio::io_context &io) : timer_{io} {}

    void arm(std::string name, Instant when, DeadlineSet::Action action);
    void arm_in(std::string name, Duration delay, DeadlineSet::Action action)
    {
        arm(std::move(name), BootClock::now() + delay, std::move(action));
    }
    void disarm(std::string_view name);
    void clear();

private:
    void rewind();
    void fire();

    DeadlineSet            set_;
    Timer                  timer_;
    std::optional<Instant> timer_at_;
};

} // namespace sluice::sidecar
