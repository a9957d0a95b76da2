// Cleaning, quoting and checking of JSON text.
#include "json_text.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sluice::sidecar {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

// jsonb keeps numbers as numeric, which ends at 131072 digits before and 16383 after the point.
constexpr std::size_t longest_number   = 10'000;
constexpr int         largest_exponent = 10'000;

// Deeper nesting than anyone writes by hand, far below what the server's stack allows.
constexpr std::size_t deepest_nesting = 512;

/// Length of the valid UTF-8 sequence at the front of the bytes, 0 when there is none.
std::size_t sequence_length(std::string_view bytes)
{
    const auto         at   = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
    const std::uint8_t lead = at(0);
    if (lead < 0x80)
        return 1;
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || bytes.size() < length)
        return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((at(i) & 0xC0) != 0x80)
            return 0;
    const bool overlong  = (lead == 0xE0 && at(1) < 0xA0) || (lead == 0xF0 && at(1) < 0x90);
    const bool surrogate = lead == 0xED && at(1) > 0x9F;
    const bool too_large = lead == 0xF4 && at(1) > 0x8F;
    return overlong || surrogate || too_large ? 0 : length;
}

bool number_fits(std::string_view number)
{
    if (number.size() > longest_number)
        return false;
    const auto mark = number.find_first_of("eE");
    if (mark == std::string_view::npos)
        return true;
    int exponent = 0;
    for (const char c : number.substr(mark + 1)) {
        if (c < '0' || c > '9')
            continue;
        exponent = exponent * 10 + (c - '0');
        if (exponent > largest_exponent)
            return false;
    }
    return true;
}

bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

} // namespace

std::string clean_text(std::string_view bytes)
{
    std::string clean;
    clean.reserve(bytes.size());
    while (!bytes.empty()) {
        const std::size_t length = bytes[0] == '\0' ? 0 : sequence_length(bytes);
        if (length == 0)
            clean += replacement;
        else
            clean += bytes.substr(0, length);
        bytes.remove_prefix(length == 0 ? 1 : length);
    }
    return clean;
}

std::string json_quote(std::string_view text)
{
    constexpr char    hex[]  = "0123456789abcdef";
    const std::string clean  = clean_text(text);
    std::string       quoted = "\"";
    quoted.reserve(clean.size() + 2);
    for (const char c : clean) {
        switch (c) {
        case '"':
            quoted += "\\\"";
            break;
        case '\\':
            quoted += "\\\\";
            break;
        case '\n':
            quoted += "\\n";
            break;
        case '\r':
            quoted += "\\r";
            break;
        case '\t':
            quoted += "\\t";
            break;
        default:
            if (static_cast<unsigned char>(c) < 0x20) {
                quoted += "\\u00";
                quoted += hex[static_cast<unsigned char>(c) >> 4];
                quoted += hex[static_cast<unsigned char>(c) & 0xF];
            } else {
                quoted += c;
            }
        }
    }
    quoted += '"';
    return quoted;
}

std::optional<std::string> json_for_database(std::string_view text)
{
    std::string clean = clean_text(text);

    boost::json::parse_options options;
    options.max_depth = deepest_nesting;
    boost::system::error_code       error;
    boost::json::monotonic_resource memory;
    boost::json::parse(clean, error, &memory, options);
    if (error)
        return std::nullopt;

    // From here on the text is known to be JSON, so a backslash inside a string always has a partner.
    bool in_string = false;
    for (std::size_t i = 0; i < clean.size(); ++i) {
        const char c = clean[i];
        if (in_string) {
            if (c == '\\') {
                if (clean.compare(i, 6, "\\u0000") == 0)
                    std::copy_n("fffd", 4, clean.begin() + static_cast<std::ptrdiff_t>(i) + 2);
                ++i;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            std::size_t end = i;
            while (end < clean.size() && in_number(clean[end]))
                ++end;
            if (!number_fits(std::string_view{clean}.substr(i, end - i)))
                return std::nullopt;
            i = end - 1;
        }
    }
    return clean;
}

std::string array_literal(const std::vector<std::string> &items)
{
    std::string literal = "{";
    for (const std::string &item : items) {
        if (literal.size() > 1)
            literal += ',';
        literal += '"';
        for (const char c : item) {
            if (c == '"' || c == '\\')
                literal += '\\';
            literal += c;
        }
        literal += '"';
    }
    literal += '}';
    return literal;
}

} // namespace sluice::sidecar
