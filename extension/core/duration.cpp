// The parser of duration.hpp: one pass, no backtracking, every digit checked against the limit.

#include "core/duration.hpp"

#include <array>
#include <string>

#include "core/error.hpp"
#include "core/quote.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

namespace {

struct Unit {
    char         letter;
    std::int64_t seconds;
};

constexpr std::array<Unit, 5> units{{{'w', 604'800}, {'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}}};

[[noreturn]] void refuse(std::string_view text, const char *why)
{
    throw InvalidValue(
        "duration " + quoted(text) + " " + why,
        "Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.");
}

} // namespace

std::int64_t parse_duration(std::string_view text)
{
    std::int64_t total = 0;
    std::size_t  at    = 0;
    std::size_t  next  = 0; // the first unit that may still come

    if (text.empty())
        refuse(text, "is empty");

    while (at < text.size()) {
        std::int64_t      number = 0;
        const std::size_t digits = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
            number = number * 10 + (text[at] - '0');
            if (number > max_duration_seconds)
                refuse(text, "is longer than a century");
            ++at;
        }
        if (at == digits || at == text.size())
            refuse(text, "is not understood");

        while (next < units.size() && units[next].letter != text[at])
            ++next;
        if (next == units.size())
            refuse(text, "is not understood");

        // number <= a century in seconds and the largest unit is a week, so this cannot overflow.
        total += number * units[next].seconds;
        if (total > max_duration_seconds)
            refuse(text, "is longer than a century");
        ++next;
        ++at;
    }
    return total;
}

} // namespace sluice::core
