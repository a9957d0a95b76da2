// cron: the five fields by which a schedule says when it ticks, over local time.
//
// Grammar: minute, hour, day of month, month and weekday, separated by blanks. A field is a list of `*`, numbers, names
// and ranges, each with a step if wanted: `*/15`, `mon-fri`, `1,15`, `9-17/2`; `10/5` begins at 10. Sunday is 0 and 7.
// `L` is the last day of a month, `5L` the last Friday of it, `1#2` the second Monday. Day of month and weekday: a day that
// either of them names, where each of them leaves days out; else both.
//
// Time zones are not known here: what is said is about the clock on the wall (extension/cron.cpp makes instants of it).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// A minute as a clock and a calendar on the wall show it.
using WallMinute = std::chrono::local_time<std::chrono::minutes>;

/// Plain data: Postgres errors may pass through.
class Cron {
public:
    /// Throws InvalidValue, which names the field and the text in it, for what is outside the grammar or never comes.
    static Cron parse(std::string_view text);

    bool matches(WallMinute minute) const;

    /// The first minute after this one that matches; none after the year 9999.
    std::optional<WallMinute> next(WallMinute after) const;

    /// How many minutes of whole days match, of the first one up to that before the last.
    std::int64_t count(std::chrono::local_days first, std::chrono::local_days last) const;

    /// Whether each hour of a day has its minutes: such a schedule is about the time that goes by, not about the clock.
    bool names_no_hour() const;

    /// In words: "at 09:30, Monday to Friday".
    std::string describe() const;

private:
    friend class CronParser;

    bool matches_day(std::chrono::local_days day, std::chrono::year_month_day date) const;

    std::string describe_time() const;
    std::string describe_days() const;

    // Bit n stands for the number n.
    std::uint64_t minutes_       = 0;
    std::uint32_t hours_         = 0;
    std::uint32_t days_          = 0;
    std::uint32_t months_        = 0;
    std::uint32_t weekdays_      = 0; ///< Sunday is 0
    std::uint32_t last_weekdays_ = 0;
    bool          last_day_      = false;

    std::array<std::uint32_t, 5> nth_weekdays_{}; ///< the first of each weekday, the second, …
};

} // namespace sluice::core
