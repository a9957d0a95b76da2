// Cron: the parser takes its grammar and nothing else, next() agrees with looking at every minute, and the words say what
// the fields say.

#include <chrono>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "core/cron.hpp"
#include "core/error.hpp"

#include "core_random.hpp"

namespace {

using namespace sluice::core;
using namespace std::chrono;
using namespace std::string_view_literals;
using sluice::test::Random;

WallMinute at(int year_, unsigned month_, unsigned day_, int hour_ = 0, int minute_ = 0)
{
    return local_days{year{year_} / month{month_} / day{day_}} + hours{hour_} + minutes{minute_};
}

std::string shown(WallMinute time)
{
    const auto           days_ = floor<days>(time);
    const year_month_day date{days_};
    char                 text[32];
    std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  static_cast<int>((time - days_) / hours{1}),
                  static_cast<int>((time - days_) % hours{1} / minutes{1}));
    return text;
}

std::string next_of(std::string_view cron, WallMinute after)
{
    const auto found = Cron::parse(cron).next(after);
    return found ? shown(*found) : "never";
}

std::string refusal_of(std::string_view text)
{
    try {
        Cron::parse(text);
    } catch (const InvalidValue &e) {
        EXPECT_FALSE(e.hint().empty());
        return e.what();
    }
    return "understood";
}

TEST(Cron, NextIsTheFirstMinuteThatTheFieldsName)
{
    struct Row {
        std::string_view cron;
        const char      *next; ///< after Sunday 2026-11-29 01:07
    };
    constexpr Row rows[] = {
        {"* * * * *", "2026-11-29 01:08"},
        {" *\t*  * * * ", "2026-11-29 01:08"},
        {"7 * * * *", "2026-11-29 02:07"},
        {"*/15 * * * *", "2026-11-29 01:15"},
        {"10/20 * * * *", "2026-11-29 01:10"},
        {"0-30/10,45 * * * *", "2026-11-29 01:10"},
        {"30 9 * * mon-fri", "2026-11-30 09:30"},
        {"30 9 * * MON-Fri", "2026-11-30 09:30"},
        {"0 0 * * 0", "2026-12-06 00:00"},
        {"0 0 * * 7", "2026-12-06 00:00"},
        {"0 12 * * 5-7", "2026-11-29 12:00"},
        {"0 12 * * fri-sun", "2026-11-29 12:00"},
        {"0 12 * * 7-2", "2026-11-29 12:00"},
        {"0 0 1 * *", "2026-12-01 00:00"},
        {"0 0 1 1,jul *", "2027-01-01 00:00"},
        {"0 0 29 2 *", "2028-02-29 00:00"},
        {"0 0 29 feb *", "2028-02-29 00:00"},
        {"0 0 L * *", "2026-11-30 00:00"},
        {"0 0 l 2 *", "2027-02-28 00:00"},
        {"0 0 * * 5L", "2026-12-25 00:00"},
        {"0 0 * * friL", "2026-12-25 00:00"},
        {"0 0 * * mon#1", "2026-12-07 00:00"},
        {"0 0 * 2 1#5", "2044-02-29 00:00"},
        {"0 0 ? * ?", "2026-11-30 00:00"},
        // Either, where both leave days out
        {"0 0 13 * 5", "2026-12-04 00:00"},
        {"0 0 30 2 1", "2027-02-01 00:00"},
        // A field that leaves nothing out is none
        {"0 0 1-31 * 5", "2026-12-04 00:00"},
        {"0 0 13 * 0-6", "2026-12-13 00:00"},
        {"@hourly", "2026-11-29 02:00"},
        {"@daily", "2026-11-30 00:00"},
        {"@midnight", "2026-11-30 00:00"},
        {"@weekly", "2026-12-06 00:00"},
        {"@monthly", "2026-12-01 00:00"},
        {"@yearly", "2027-01-01 00:00"},
        {"@Annually", "2027-01-01 00:00"},
    };
    for (const Row &row : rows)
        EXPECT_EQ(next_of(row.cron, at(2026, 11, 29, 1, 7)), row.next) << row.cron;
}

TEST(Cron, TimeEndsWithTheYear9999)
{
    EXPECT_EQ(next_of("0 0 1 1 *", at(9998, 12, 31)), "9999-01-01 00:00");
    EXPECT_EQ(next_of("0 0 1 1 *", at(9999, 6, 1)), "never");
    EXPECT_EQ(next_of("* * * * *", at(9999, 12, 31, 23, 58)), "9999-12-31 23:59");
    for (const int later : {0, 1, 366, 8'000'000, 12'000'000,
                            98'000'000}) // the calendar of C++ turns over between the last three
        EXPECT_FALSE(Cron::parse("* * * * *").next(at(9999, 12, 31, 23, 59) + days{later})) << later;
    EXPECT_EQ(next_of("0 0 29 2 *", at(2096, 3, 1)), "2104-02-29 00:00") << "1900 and 2100 are no leap years";
}

TEST(Cron, RefusalNamesTheFieldAndTheText)
{
    struct Row {
        std::string_view cron;
        const char      *refusal; ///< behind `cron "…"`
    };
    constexpr Row rows[] = {
        {"", " has 0 fields, not 5"},
        {"*", " has 1 field, not 5"},
        {"* * * *", " has 4 fields, not 5"},
        {"0 * * * * *", " has 6 fields, not 5"},
        {"@reboot", " is not understood"},
        {"@daily * * * *", ": minute \"@daily\" is not understood"},
        {"60 * * * *", ": minute \"60\" is not from 0 to 59"},
        {"99999999999999999999 * * * *", ": minute \"99999999999999999999\" is not from 0 to 59"},
        {"* 24 * * *", ": hour \"24\" is not from 0 to 23"},
        {"* * 0 * *", ": day of month \"0\" is not from 1 to 31"},
        {"* * 32 * *", ": day of month \"32\" is not from 1 to 31"},
        {"* * * 13 *", ": month \"13\" is not from 1 to 12"},
        {"* * * * 8", ": weekday \"8\" is not from 0 to 7"},
        {"* * * * monday", ": weekday \"monday\" is not understood"},
        {"* * * mon *", ": month \"mon\" is not understood"},
        {"x * * * *", ": minute \"x\" is not understood"},
        {"-1 * * * *", ": minute \"-1\" is not understood"},
        {"1,,2 * * * *", ": minute \"\" is not understood"},
        {"1,2, * * * *", ": minute \"\" is not understood"},
        {"1- * * * *", ": minute \"1-\" is not understood"},
        {"1-2-3 * * * *", ": minute \"1-2-3\" is not understood"},
        {"*/ * * * *", ": minute \"*/\" is not understood"},
        {"*/5/5 * * * *", ": minute \"*/5/5\" is not understood"},
        {"** * * * *", ": minute \"**\" is not understood"},
        {"? * * * *", ": minute \"?\" is not understood"},
        {"L * * * *", ": minute \"L\" is not understood"},
        {"* * 5L * *", ": day of month \"5L\" is not understood"},
        {"* * * * L", ": weekday \"L\" is not understood"},
        {"* * * * 1#6", ": weekday \"1#6\" counts weekdays of a month otherwise than from 1 to 5"},
        {"* * * * 1#", ": weekday \"1#\" counts weekdays of a month otherwise than from 1 to 5"},
        {"* 22-6 * * *", ": hour \"22-6\" runs backwards"},
        {"*/0 * * * *", ": minute \"*/0\" has a step that is not from 1 to 60"},
        {"*/90 * * * *", ": minute \"*/90\" has a step that is not from 1 to 60"},
        {"0 0 30 2 *", ": day of month \"30\" never comes in month \"2\" with weekday \"*\""},
        {"0 0 31 4,jun *", ": day of month \"31\" never comes in month \"4,jun\" with weekday \"*\""},
    };
    for (const Row &row : rows)
        EXPECT_EQ(refusal_of(row.cron), "cron \"" + std::string{row.cron} + "\"" + row.refusal);
    EXPECT_EQ(refusal_of(std::string(600, '*')),
              "cron \"" + std::string(64, '*') + "...\" is longer than 512 characters");
    EXPECT_EQ(refusal_of("* * * *\0 *"sv).substr(0, 4), "cron");
}

TEST(Cron, WordsSayWhatTheFieldsSay)
{
    struct Row {
        std::string_view cron;
        const char      *words;
    };
    constexpr Row rows[] = {
        {"30 9 * * mon-fri", "at 09:30, Monday to Friday"},
        {"* * * * *", "every minute"},
        {"*/15 * * * *", "every 15 minutes"},
        {"5/15 * * * *", "every 15 minutes from minute 5"},
        {"0 * * * *", "every hour"},
        {"30 * * * *", "every hour at minute 30"},
        {"5,20,40 * * * *", "at minutes 5, 20 and 40"},
        {"0 */2 * * *", "every 2 hours"},
        {"15 1/3 * * *", "every 3 hours from 01:15"},
        {"0 0,12 * * *", "at 00:00 and 12:00"},
        {"0 9-17 * * 1-5", "every hour from 09:00 to 17:00, Monday to Friday"},
        {"*/15 9-17 * * *", "every 15 minutes from 09:00 to 17:45"},
        {"* 9 * * *", "every minute from 09:00 to 09:59"},
        {"*/5 8,12,18 * * *", "every 5 minutes in the hours 8, 12 and 18"},
        {"0 0 1 * *", "at 00:00, on day 1 of the month"},
        {"0 0 1,15 * *", "at 00:00, on days 1 and 15 of the month"},
        {"0 0 L * *", "at 00:00, on the last day of the month"},
        {"0 0 15,L 2 *", "at 00:00, on day 15 and the last day of February"},
        {"0 0 1 1 *", "at 00:00, on day 1 of January"},
        {"0 0 * 6-8 *", "at 00:00, in June to August"},
        {"0 0 * 6-8 0", "at 00:00, on Sunday, in June to August"},
        {"0 8 * * 1,3,5", "at 08:00, on Monday, Wednesday and Friday"},
        {"0 8 * * 0,6", "at 08:00, on Saturday and Sunday"},
        {"0 8 * * 5-7", "at 08:00, Friday to Sunday"},
        {"0 0 13 * 5", "at 00:00, on day 13 of the month or on Friday"},
        {"0 0 13 3 1-5", "at 00:00, on day 13 of March or on Monday to Friday in March"},
        {"0 9 * * mon#1", "at 09:00, on the first Monday of the month"},
        {"0 9 * 1 mon#2,friL", "at 09:00, on the second Monday and the last Friday of January"},
        {"@weekly", "at 00:00, on Sunday"},
        {"@yearly", "at 00:00, on day 1 of January"},
    };
    for (const Row &row : rows)
        EXPECT_EQ(Cron::parse(row.cron).describe(), row.words) << row.cron;
}

/// A field of numbers, and now and then of names, that means something.
std::string random_field(Random &random, int low, int high)
{
    std::string field;
    for (std::int64_t left = random.between(1, random.between(1, 3)); left > 0; --left) {
        const std::int64_t from = random.between(low, high);
        if (!field.empty())
            field += ',';
        switch (random.between(0, 4)) {
        case 0:
            field += '*';
            break;
        case 1:
            field += "*/" + std::to_string(random.between(1, high));
            break;
        case 2:
            field += std::to_string(from) + "-" + std::to_string(random.between(from, high));
            break;
        default:
            field += std::to_string(from);
        }
    }
    return field;
}

std::string random_cron(Random &random)
{
    return random_field(random, 0, 59) + " " + random_field(random, 0, 23) + " " +
           random_field(random, 1, 28) + " " + random_field(random, 1, 12) + " " + random_field(random, 0, 7);
}

TEST(Cron, NextAgreesWithLookingAtEveryMinute)
{
    Random random;
    SCOPED_TRACE(random.seed());
    int crossed = 0;
    for (int i = 0; i < 300; ++i) {
        const std::string text = random_cron(random);
        const Cron        cron = Cron::parse(text);
        const WallMinute  from = at(2024, 1, 1) + minutes{random.between(0, 3 * 366 * 1440)};
        WallMinute        seen = from + minutes{1};
        while (!cron.matches(seen) && seen < from + days{20})
            seen += minutes{1};
        const auto next = cron.next(from);
        ASSERT_TRUE(next) << text;
        if (seen < from + days{20})
            ASSERT_EQ(shown(*next), shown(seen)) << text << " after " << shown(from);
        else
            ASSERT_GE(*next, seen) << text << " after " << shown(from);
        crossed += floor<days>(*next) != floor<days>(from) ? 1 : 0;
    }
    EXPECT_GT(crossed, 10);
}

TEST(Cron, AnyBytesAreUnderstoodOrRefusedButNeverAnythingElse)
{
    Random random;
    SCOPED_TRACE(random.seed());
    int understood = 0;
    for (int i = 0; i < 50'000; ++i) {
        std::string text = i % 2 == 0 ? random.text("0123456789*/-,#L? \tmonJAN@", 24) : random_cron(random);
        if (random.between(0, 1) == 0 && !text.empty())
            text[static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(text.size()) - 1))] =
                static_cast<char>(random.bits());
        try {
            const Cron cron = Cron::parse(text);
            const auto next = cron.next(at(2026, 1, 1));
            ASSERT_TRUE(next);
            ASSERT_TRUE(cron.matches(*next)) << text;
            ASSERT_FALSE(cron.describe().empty()) << text;
            ++understood;
        } catch (const InvalidValue &) {
            SUCCEED();
        } // anything else ends the test
    }
    EXPECT_GT(understood, 1000);
}

} // namespace
