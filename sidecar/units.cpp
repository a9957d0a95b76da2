// Reading and writing units.
#include "units.hpp"

#include <charconv>

namespace sluice::sidecar {

namespace {

struct Unit {
    std::string_view name;
    double           factor;
};

constexpr Unit time_units[] = {{"ms", 0.001}, {"s", 1},      {"m", 60},
                               {"h", 3600},   {"d", 86'400}, {"w", 604'800}};
constexpr Unit size_units[] = {{"B", 1},         {"kB", 1'000},    {"MB", 1e6},     {"GB", 1e9},
                               {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

constexpr double longest_seconds = 1e8; // three years

std::string_view trimmed(std::string_view text)
{
    while (!text.empty() && text.front() == ' ')
        text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ')
        text.remove_suffix(1);
    return text;
}

/// Takes a number from the front of the text.
std::optional<double> take_number(std::string_view &text)
{
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc{} || number < 0)
        return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    text = trimmed(text);
    return number;
}

template <std::size_t N>
std::optional<double> take_unit(std::string_view &text, const Unit (&units)[N])
{
    const auto length = std::min(text.find_first_of("0123456789. "), text.size());
    for (const Unit &unit : units) {
        if (text.substr(0, length) == unit.name) {
            text = trimmed(text.substr(length));
            return unit.factor;
        }
    }
    return std::nullopt;
}

template <std::size_t N>
std::optional<double> parse_sum(std::string_view text, const Unit (&units)[N])
{
    text       = trimmed(text);
    double sum = 0;
    bool   any = false;
    while (!text.empty()) {
        const auto number = take_number(text);
        if (!number)
            return std::nullopt;
        if (text.empty() && !any)
            return *number;
        const auto factor = take_unit(text, units);
        if (!factor)
            return std::nullopt;
        sum += *number * *factor;
        any = true;
    }
    return any ? std::optional{sum} : std::nullopt;
}

} // namespace

std::optional<Duration> parse_duration(std::string_view text)
{
    const auto seconds = parse_sum(text, time_units);
    if (!seconds || *seconds > longest_seconds)
        return std::nullopt;
    return std::chrono::round<std::chrono::milliseconds>(std::chrono::duration<double>{*seconds});
}

std::string show_duration(Duration duration)
{
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
    return millis % 1000 == 0 ? std::to_string(millis / 1000) + "s" : std::to_string(millis) + "ms";
}

std::optional<std::size_t> parse_size(std::string_view text)
{
    const auto bytes = parse_sum(text, size_units);
    if (!bytes || *bytes > 1e15)
        return std::nullopt;
    return static_cast<std::size_t>(*bytes);
}

std::string show_size(std::size_t bytes)
{
    constexpr std::size_t mebi = 1 << 20;
    constexpr std::size_t kibi = 1 << 10;
    if (bytes > 0 && bytes % mebi == 0)
        return std::to_string(bytes / mebi) + "MiB";
    if (bytes > 0 && bytes % kibi == 0)
        return std::to_string(bytes / kibi) + "KiB";
    return std::to_string(bytes) + "B";
}

} // namespace sluice::sidecar
