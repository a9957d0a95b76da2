// JSON as text on its way to the database.  Text passes through unchanged wherever it can, because parsing it into
// C++ numbers would lose digits that jsonb keeps.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

/// Valid UTF-8 without NUL; what is neither becomes U+FFFD.
std::string clean_text(std::string_view bytes);

/// A JSON string literal.
std::string json_quote(std::string_view text);

/// The text, made so that jsonb accepts it; nothing when it is not JSON.
std::optional<std::string> json_for_database(std::string_view text);

/// A literal of type text[] or uuid[].
std::string array_literal(const std::vector<std::string> &items);

} // namespace sluice::sidecar
