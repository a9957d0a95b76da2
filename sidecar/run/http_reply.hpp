// From the reply to a request to the outcome of its attempt.  Pure: no server is needed to test it.
#pragma once

#include "http/client.hpp"
#include "run/executor.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::sidecar {

/// Nothing: the receiver has accepted the work (202) and will end the attempt by its token.
std::optional<Outcome> http_verdict(const HttpReply &reply, std::int64_t now);

/// Seconds from a Retry-After header, which has either seconds or a date; at most a day.
std::optional<double> retry_after_seconds(std::string_view header, std::int64_t now);

/// Whether another attempt could end otherwise.
bool is_retryable_status(long status);

} // namespace sluice::sidecar
