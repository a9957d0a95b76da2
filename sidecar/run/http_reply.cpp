// The table of statuses.
#include "run/http_reply.hpp"

#include "json_text.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>

namespace sluice::sidecar {

namespace {

constexpr std::size_t shown_bytes     = 2048;
constexpr double      longest_delay   = 86'400;
constexpr const char *code_of_failure = "TASK_EXECUTION_FAILED";

bool is_json(std::string_view type)
{
    const std::string_view plain = type.substr(0, type.find_first_of("; "));
    return plain == "application/json" || plain.ends_with("+json");
}

bool is_text(std::string_view type)
{
    return type.empty() || type.starts_with("text/");
}

Outcome failed(std::string_view name, std::string_view message)
{
    Outcome outcome       = Outcome::with_error(Outcome::Kind::failed, code_of_failure, message);
    outcome.error["name"] = name;
    return outcome;
}

/// What was done is done: a body that cannot be kept must not make it happen again.
Outcome done(const HttpReply &reply)
{
    if (reply.failure == HttpReply::Failure::too_long)
        return Outcome::failed_for_good("TASK_OUTPUT_ERROR", "the reply is too long (http.max_reply_bytes)");
    if (reply.body.find_first_not_of(" \t\r\n") == std::string::npos)
        return Outcome::completed("");
    if (is_json(reply.content_type)) {
        if (auto output = json_for_database(reply.body))
            return Outcome::completed(std::move(*output));
        return Outcome::failed_for_good("TASK_OUTPUT_ERROR", "the reply says that it is JSON, and is not");
    }
    return Outcome::completed(is_text(reply.content_type) ? json_quote(clean_text(reply.body)) : "");
}

Outcome of_failure(const HttpReply &reply)
{
    using Failure = HttpReply::Failure;
    switch (reply.failure) {
    case Failure::private_address:
        return Outcome::failed_for_good(
            "CONFIGURED_INCORRECTLY",
            "the host has a private address, and sluice.allow_private_targets is off");
    case Failure::timed_out:
        return failed("HttpTimeout", reply.problem);
    case Failure::certificate: {
        Outcome outcome            = failed("HttpCertificate", reply.problem);
        outcome.error["retryable"] = false;
        return outcome;
    }
    default:
        return failed("HttpConnection", reply.problem);
    }
}

} // namespace

std::optional<double> retry_after_seconds(std::string_view header, std::int64_t now)
{
    if (header.empty())
        return std::nullopt;
    long seconds            = 0;
    const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), seconds);
    if (error == std::errc::result_out_of_range)
        return longest_delay;
    if (error != std::errc{} || end != header.data() + header.size()) {
        const auto date = static_cast<std::int64_t>(curl_getdate(std::string{header}.c_str(), nullptr));
        if (date < 0)
            return std::nullopt;
        seconds = static_cast<long>(date - now);
    }
    return std::clamp(static_cast<double>(seconds), 0.0, longest_delay);
}

bool is_retryable_status(long status)
{
    switch (status) {
    case 408: // request timeout
    case 425: // too early
    case 429: // too many requests
        return true;
    case 501: // not implemented
    case 505: // HTTP version not supported
        return false;
    default:
        return status >= 500;
    }
}

std::optional<Outcome> http_verdict(const HttpReply &reply, std::int64_t now)
{
    // Of one that is too long the status is known, and what came of it is judged by that.
    if (reply.failure != HttpReply::Failure::none && reply.failure != HttpReply::Failure::too_long)
        return of_failure(reply);
    if (reply.status == 202)
        return std::nullopt;
    if (reply.status >= 200 && reply.status < 300)
        return done(reply);

    Outcome outcome = failed(
        "HttpStatus", "the receiver answered " + std::to_string(reply.status) +
                          (reply.status >= 300 && reply.status < 400 ? "; redirects are not followed" : ""));
    outcome.error["http_status"] = reply.status;
    if (!reply.body.empty())
        outcome.error["body"] = clean_text(std::string_view{reply.body}.substr(0, shown_bytes));
    if (is_retryable_status(reply.status))
        outcome.retry_in = retry_after_seconds(reply.retry_after, now);
    else
        outcome.error["retryable"] = false;
    return outcome;
}

} // namespace sluice::sidecar
