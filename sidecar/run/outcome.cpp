// Outcomes as JSON.
#include "run/outcome.hpp"

#include "json_text.hpp"

#include <boost/json/serialize.hpp>

namespace sluice::sidecar {

Outcome Outcome::with_error(Kind kind, std::string_view code, std::string_view message)
{
    Outcome outcome          = Outcome::only(kind);
    outcome.error["code"]    = code;
    outcome.error["message"] = clean_text(message);
    return outcome;
}

Outcome Outcome::failed_for_good(std::string_view code, std::string_view message)
{
    Outcome outcome            = with_error(Kind::failed, code, message);
    outcome.error["retryable"] = false;
    return outcome;
}

std::string_view name_of(Outcome::Kind kind)
{
    switch (kind) {
    case Outcome::Kind::completed:
        return "completed";
    case Outcome::Kind::failed:
        return "failed";
    case Outcome::Kind::crashed:
        return "crashed";
    case Outcome::Kind::oom:
        return "oom";
    case Outcome::Kind::timed_out:
        return "timed_out";
    case Outcome::Kind::released:
        return "released";
    case Outcome::Kind::canceled:
        return "canceled";
    case Outcome::Kind::settled:
        return "settled";
    case Outcome::Kind::unrenewed:
        return "unrenewed";
    }
    return "failed";
}

std::string outcome_json(std::string_view token, const Outcome &outcome)
{
    std::string text =
        "{\"token\":" + json_quote(token) + ",\"outcome\":" + json_quote(name_of(outcome.kind));
    if (outcome.kind == Outcome::Kind::completed && !outcome.output.empty())
        text += ",\"output\":" + outcome.output;
    if (!outcome.error.empty())
        text += ",\"error\":" + boost::json::serialize(outcome.error);
    if (outcome.usage)
        text += ",\"usage\":" + usage_json(*outcome.usage);
    if (outcome.retry_in)
        text += ",\"retry_in\":" + boost::json::serialize(boost::json::value(*outcome.retry_in));
    return text + "}";
}

} // namespace sluice::sidecar
