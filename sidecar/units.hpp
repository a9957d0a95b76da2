// Durations and sizes as people write them: "1m30s", "500ms", "10 MiB".
#pragma once

#include "async.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace sluice::sidecar {

std::optional<Duration> parse_duration(std::string_view text); ///< a bare number is seconds
std::string             show_duration(Duration duration);

std::optional<std::size_t> parse_size(std::string_view text); ///< a bare number is bytes
std::string                show_size(std::size_t bytes);

} // namespace sluice::sidecar
