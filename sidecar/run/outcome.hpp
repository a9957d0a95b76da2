// How an attempt ended, in the words that the database understands.
#pragma once

#include "run/usage.hpp"

#include <boost/json/object.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace sluice::sidecar {

struct Outcome {
    enum class Kind {
        completed,
        failed,
        crashed,
        oom,
        timed_out,
        released,  ///< given back: it did not run, or the worker leaves
        canceled,  ///< the token was dead; this says that nothing runs under it any more
        settled,   ///< already in the database: sql tasks complete in their own transaction
        unrenewed, ///< stopped because its lease ran out here; the database has yet to say whether it lives
    };

    Kind                  kind = Kind::completed;
    std::string           output; ///< JSON text, empty for null
    boost::json::object   error;
    std::optional<Usage>  usage{};    ///< of a child; the database keeps it for attempts that count
    std::optional<double> retry_in{}; ///< seconds, instead of what the task's policy says

    static Outcome completed(std::string output) { return {Kind::completed, std::move(output), {}, {}, {}}; }
    static Outcome with_error(Kind kind, std::string_view code, std::string_view message);
    static Outcome failed_for_good(std::string_view code,
                                   std::string_view message); ///< retrying would not help
    static Outcome only(Kind kind) { return {kind, {}, {}, {}, {}}; }
};

std::string_view name_of(Outcome::Kind kind);

/// One element of exchange's outcomes.
std::string outcome_json(std::string_view token, const Outcome &outcome);

} // namespace sluice::sidecar
