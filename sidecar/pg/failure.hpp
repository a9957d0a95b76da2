// The one way in which talking to the database fails.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace sluice::sidecar {

/// An error of the server (it has an SQLSTATE) or a connection that is gone (it has none).
class Failure : public std::runtime_error {
public:
    struct Parts {
        std::string sqlstate;
        std::string message;
        std::string detail;
        std::string hint;
        std::string context;
    };

    explicit Failure(Parts parts) : std::runtime_error{parts.message}, parts_{std::move(parts)} {}

    static Failure lost_connection(std::string message)
    {
        return Failure{Parts{{}, std::move(message), {}, {}, {}}};
    }

    const std::string &sqlstate() const { return parts_.sqlstate; }
    const std::string &message() const { return parts_.message; }
    const std::string &detail() const { return parts_.detail; }
    const std::string &hint() const { return parts_.hint; }
    const std::string &context() const { return parts_.context; }

    bool is(std::string_view state) const { return parts_.sqlstate == state; }
    bool in_class(std::string_view prefix) const { return parts_.sqlstate.starts_with(prefix); }
    bool is_lost_connection() const { return parts_.sqlstate.empty(); }

private:
    Parts parts_;
};

} // namespace sluice::sidecar
