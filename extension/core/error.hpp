// The one exception that core/ throws: what was wrong with a caller's value, worded for that caller.
// The faces (extension/pg/boundary.hpp, sidecar/) turn it into an SQL error or a log line.
#pragma once

#include <stdexcept>
#include <string>

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// A value from outside that cannot be used.  `what()` is the message, in lower case and without a full stop.
class InvalidValue : public std::invalid_argument {
public:
    InvalidValue(const std::string &message, std::string hint)
        : std::invalid_argument(message), hint_(std::move(hint))
    {
    }

    const std::string &hint() const noexcept { return hint_; }

private:
    std::string hint_;
};

} // namespace sluice::core
