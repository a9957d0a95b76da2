// Keeps one repeated message from filling the log.
#pragma once

#include "async.hpp"

#include <map>
#include <string>
#include <string_view>

namespace sluice::sidecar {

class LogThrottle {
public:
    explicit LogThrottle(Duration every) : every_{every} {}

    /// True once per period for each key.
    bool pass(std::string_view key)
    {
        const Instant now   = BootClock::now();
        const auto    found = last_.find(key);
        if (found != last_.end() && now - found->second < every_)
            return false;
        last_.insert_or_assign(std::string{key}, now);
        return true;
    }

    void reset() { last_.clear(); }

private:
    Duration                                    every_;
    std::map<std::string, Instant, std::less<>> last_;
};

} // namespace sluice::sidecar
