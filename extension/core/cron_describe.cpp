// What a schedule's fields mean, in words for people: "every 15 minutes from 09:00 to 17:45, Monday to Friday".

#include <bit>
#include <vector>

#include "core/cron.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

namespace {

using Numbers = std::vector<int>;
using Words   = std::vector<std::string>;

constexpr std::array<const char *, 12> months{"January",   "February", "March",    "April",
                                              "May",       "June",     "July",     "August",
                                              "September", "October",  "November", "December"};
constexpr std::array<const char *, 7>  weekdays{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                               "Thursday", "Friday", "Saturday"};
constexpr std::array<const char *, 5>  ordinals{"first", "second", "third", "fourth", "fifth"};

constexpr std::size_t most_times = 6; ///< of a day that are listed one by one

Numbers numbers_in(std::uint64_t set)
{
    Numbers found;
    for (; set != 0; set &= set - 1)
        found.push_back(std::countr_zero(set));
    return found;
}

std::string joined(const Words &parts, const char *last_glue)
{
    std::string text;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (i > 0)
            text += i + 1 == parts.size() ? last_glue : ", ";
        text += parts[i];
    }
    return text;
}

/// "1, 3 and 5 to 9": three or more in a row are a range.
template <typename Name>
std::string listed(const Numbers &numbers, Name name)
{
    Words parts;
    for (std::size_t i = 0; i < numbers.size();) {
        std::size_t end = i;
        while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1)
            ++end;
        if (end - i >= 2) {
            parts.push_back(name(numbers[i]) + " to " + name(numbers[end]));
            i = end + 1;
        } else {
            parts.push_back(name(numbers[i++]));
        }
    }
    return joined(parts, " and ");
}

std::string plain(int number)
{
    return std::to_string(number);
}

std::string two_digits(int number)
{
    return (number < 10 ? "0" : "") + std::to_string(number);
}

std::string clock(int hour, int minute)
{
    return two_digits(hour) + ":" + two_digits(minute);
}

std::string month_name(int number)
{
    return months[static_cast<std::size_t>(number - 1)];
}

/// Monday is 1, Sunday 7.
std::string weekday_name(int number)
{
    return weekdays[static_cast<std::size_t>(number % 7)];
}

/// The step of numbers that are as far from each other as the last is from the first of the next round; 0 if they are not.
int even_step(const Numbers &numbers, int round)
{
    if (numbers.size() < 2)
        return 0;
    const int step = numbers[1] - numbers[0];
    for (std::size_t i = 1; i < numbers.size(); ++i)
        if (numbers[i] - numbers[i - 1] != step)
            return 0;
    return numbers.front() + round - numbers.back() == step ? step : 0;
}

bool is_row(const Numbers &numbers)
{
    return numbers.back() - numbers.front() + 1 == static_cast<int>(numbers.size());
}

std::string minute_words(const Numbers &minutes)
{
    if (minutes.size() == 60)
        return "every minute";
    if (const int step = even_step(minutes, 60); step > 0)
        return "every " + plain(step) + " minutes" +
               (minutes.front() == 0 ? "" : " from minute " + plain(minutes.front()));
    return (minutes.size() == 1 ? "at minute " : "at minutes ") + listed(minutes, plain);
}

} // namespace

std::string Cron::describe_time() const
{
    const Numbers minutes = numbers_in(minutes_);
    const Numbers hours   = numbers_in(hours_);

    if (hours.size() == 24) {
        if (minutes.size() > 1)
            return minute_words(minutes);
        return minutes.front() == 0 ? "every hour" : "every hour at minute " + plain(minutes.front());
    }
    if (minutes.size() == 1) {
        if (const int step = even_step(hours, 24); step > 0 && hours.size() > 2)
            return "every " + plain(step) + " hours" +
                   (minutes.front() == 0 && hours.front() == 0
                        ? ""
                        : " from " + clock(hours.front(), minutes.front()));
        if (is_row(hours) && hours.size() > 2)
            return "every hour from " + clock(hours.front(), minutes.front()) + " to " +
                   clock(hours.back(), minutes.front());
    }
    if (minutes.size() * hours.size() <= most_times) {
        Words times;
        for (const int hour : hours)
            for (const int minute : minutes)
                times.push_back(clock(hour, minute));
        return "at " + joined(times, " and ");
    }
    if (is_row(hours))
        return minute_words(minutes) + " from " + clock(hours.front(), minutes.front()) + " to " +
               clock(hours.back(), minutes.back());
    return minute_words(minutes) + " in the hours " + listed(hours, plain);
}

std::string Cron::describe_days() const
{
    Words of_month;
    if (const Numbers days = numbers_in(days_); !days.empty() && days.size() < 31)
        of_month.push_back((days.size() == 1 ? "day " : "days ") + listed(days, plain));
    if (last_day_ && numbers_in(days_).size() < 31)
        of_month.push_back("the last day");
    const Numbers     in          = numbers_in(months_);
    const bool        every_month = in.size() == 12;
    const std::string month       = every_month ? "the month" : listed(in, month_name);

    // A week begins on Monday here.
    const auto monday_first = [](std::uint32_t set) { return numbers_in((set & ~1U) | (set & 1U) << 7); };
    Words      of_week;
    Words      counted;
    if (const Numbers days = monday_first(weekdays_); !days.empty() && days.size() < 7)
        of_week.push_back(listed(days, weekday_name));
    for (std::size_t n = 0; n < nth_weekdays_.size(); ++n)
        if (const Numbers days = monday_first(nth_weekdays_[n]); !days.empty() && weekdays_ != 127)
            counted.push_back(std::string{"the "} + ordinals[n] + " " + listed(days, weekday_name));
    if (const Numbers days = monday_first(last_weekdays_); !days.empty() && weekdays_ != 127)
        counted.push_back("the last " + listed(days, weekday_name));

    std::string text;
    if (!of_month.empty())
        text = "on " + joined(of_month, " and ") + " of " + month;
    if (of_week.empty() && counted.empty())
        return text.empty() && !every_month ? "in " + month : text;

    const bool  alone = of_month.empty();
    const bool  row   = counted.empty() && of_week[0].find(" to ") != std::string::npos;
    std::string week  = joined(of_week, " and ");
    if (!week.empty() && !(alone && row))
        week = "on " + week;
    if (!counted.empty())
        week += (week.empty() ? "on " : " and on ") + joined(counted, " and ") +
                (every_month || !alone ? " of the month" : " of " + month);
    if (!alone)
        return text + " or " + week + (every_month ? "" : " in " + month);
    return week + (every_month || !counted.empty() ? "" : ", in " + month);
}

std::string Cron::describe() const
{
    const std::string days = describe_days();
    return describe_time() + (days.empty() ? "" : ", " + days);
}

} // namespace sluice::core
