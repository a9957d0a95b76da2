// Durations such as 1h30m: the parser agrees with a regular expression and arithmetic, and refuses everything else with
// InvalidValue and nothing but it.

#include <cstdint>
#include <optional>
#include <regex>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "core/duration.hpp"
#include "core/error.hpp"

#include "core_random.hpp"

namespace {

using namespace sluice::core;
using namespace std::string_view_literals;
using sluice::test::Random;

constexpr std::int64_t a_century = 3'153'600'000;

std::optional<std::int64_t> parsed(std::string_view text)
{
    try {
        return parse_duration(text);
    } catch (const InvalidValue &) {
        return std::nullopt;
    }
}

/// The grammar as it is written down, with numbers short enough for long double to be exact.
std::optional<std::int64_t> naive(const std::string &text)
{
    static const std::regex grammar("^(?:(\\d+)w)?(?:(\\d+)d)?(?:(\\d+)h)?(?:(\\d+)m)?(?:(\\d+)s)?$");
    std::smatch             parts;
    if (text.empty() || !std::regex_match(text, parts, grammar))
        return std::nullopt;
    constexpr long double seconds[] = {604'800, 86'400, 3'600, 60, 1};
    long double           total     = 0;
    for (std::size_t unit = 0; unit < 5; ++unit) {
        if (!parts[unit + 1].matched)
            continue;
        // More than a century in any unit is too much in each of them.
        const long double number = std::stold(parts[unit + 1].str());
        if (number > static_cast<long double>(a_century))
            return std::nullopt;
        total += number * seconds[unit];
    }
    if (total > static_cast<long double>(a_century))
        return std::nullopt;
    return static_cast<std::int64_t>(total);
}

TEST(Duration, UnitsAddUp)
{
    struct Row {
        std::string_view text;
        std::int64_t     seconds;
    };
    constexpr Row rows[] = {
        {"0s", 0},
        {"1s", 1},
        {"59s", 59},
        {"60s", 60},
        {"1m", 60},
        {"1h", 3'600},
        {"1d", 86'400},
        {"1w", 604'800},
        {"1h30m", 5'400},
        {"1w2d3h4m5s", 788'645},
        {"2w5s", 1'209'605},
        {"007s", 7},
        {"90m", 5'400},
        {"0w0d0h0m0s", 0},
        {"1d12h", 129'600},
        {"0000000000000000000000000001s", 1},
        {"36500d", a_century},
        {"3153600000s", a_century},
    };
    for (const Row &row : rows)
        EXPECT_EQ(parse_duration(row.text), row.seconds) << row.text;
    EXPECT_EQ(max_duration_seconds, a_century);
}

TEST(Duration, WhatIsOutsideTheGrammarIsRefusedWithAHint)
{
    const std::string_view refused[] = {
        "",     " ",     "s",     "1",    "1 s",  " 1s",  "1s ",    "-1s",   "+1s",    "1.5h",       "1x",
        "1S",   "1H30M", "1m1h",  "1s1s", "1h1h", "1s5m", "1w2w",   "1hour", "h1",     "1h30",       "30m1d",
        "1,5h", "1e3s",  "0x10s", "١s",   "1s\n", "\n1s", "1s\0"sv, "\0"sv,  "1\0s"sv, "1h\0 30m"sv, "PT1H",
    };
    for (const std::string_view text : refused)
        try {
            parse_duration(text);
            ADD_FAILURE() << "\"" << text << "\" was understood";
        } catch (const InvalidValue &e) {
            EXPECT_FALSE(std::string_view{e.what()}.empty());
            EXPECT_EQ(
                e.hint(),
                "Write weeks, days, hours, minutes and seconds in this order, for example 1h30m or 45s.");
        }
}

TEST(Duration, MessageSaysWhatWasWrong)
{
    const auto message = [](std::string_view text) -> std::string {
        try {
            parse_duration(text);
        } catch (const InvalidValue &e) {
            return e.what();
        }
        return "understood";
    };
    EXPECT_EQ(message(""), "duration \"\" is empty");
    EXPECT_EQ(message("1x"), "duration \"1x\" is not understood");
    EXPECT_EQ(message("36501d"), "duration \"36501d\" is longer than a century");
    EXPECT_EQ(message(std::string(64, 'x')), "duration \"" + std::string(64, 'x') + "\" is not understood");
    EXPECT_EQ(message(std::string(65, 'x')),
              "duration \"" + std::string(64, 'x') + "...\" is not understood");
    // A message that ends in half a character is not valid UTF-8, which clients refuse to read.
    EXPECT_EQ(message(std::string(63, 'x') + "\u00fc" + "y"),
              "duration \"" + std::string(63, 'x') + "...\" is not understood");
}

TEST(Duration, MoreThanACenturyIsRefusedHoweverItIsWritten)
{
    const std::string too_long[] = {
        "3153600001s",
        "52560001m",
        "876001h",
        "36501d",
        "5215w",
        "36500d1s",
        "9223372036854775807s",
        "9223372036854775808s",
        "18446744073709551616s",
        "99999999999999999999999999999999999999999999w",
        std::string(100'000, '9') + "s",
    };
    for (const std::string &text : too_long)
        EXPECT_FALSE(parsed(text)) << text.substr(0, 64);
}

TEST(Duration, AgreesWithTheGrammarOnTextsThatAreAlmostDurations)
{
    Random random;
    SCOPED_TRACE(random.seed());
    int understood = 0;
    for (int i = 0; i < 50'000; ++i) {
        const std::string text = random.text("0123456789wdhms", 12);
        const auto        got  = parsed(text);
        ASSERT_EQ(got, naive(text)) << text;
        understood += got ? 1 : 0;
    }
    EXPECT_GT(understood, 0);
}

TEST(Duration, AgreesWithTheGrammarOnDurations)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        std::string text;
        for (const char unit : {'w', 'd', 'h', 'm', 's'})
            if (random.between(0, 1) == 1)
                text += std::to_string(random.between(0, random.between(0, 4'000'000))) + unit;
        ASSERT_EQ(parsed(text), naive(text)) << text;
    }
}

TEST(Duration, AnyBytesAreUnderstoodOrRefusedButNeverAnythingElse)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 50'000; ++i) {
        std::string bytes;
        for (std::int64_t left = random.between(0, 20); left > 0; --left)
            bytes += static_cast<char>(random.bits());
        try {
            const std::int64_t seconds = parse_duration(bytes);
            ASSERT_GE(seconds, 0);
            ASSERT_LE(seconds, a_century);
        } catch (const InvalidValue &) {
            SUCCEED();
        } // anything else ends the test
    }
}

} // namespace
