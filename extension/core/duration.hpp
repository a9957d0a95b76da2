// duration: the short form in which people write delays and times to live, such as `1h30m`.
//
// Grammar: one or more of weeks, days, hours, minutes, seconds, each at most once and in this order:
// ^(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$
#pragma once

#include <cstdint>
#include <string_view>

#include "core/pure.hpp" // keep last

namespace sluice::core {

inline constexpr std::int64_t max_duration_seconds = std::int64_t{100} * 365 * 86'400; ///< a century

/// Seconds.  Throws InvalidValue for anything outside the grammar or beyond a century.
std::int64_t parse_duration(std::string_view text);

} // namespace sluice::core
