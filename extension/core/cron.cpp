// Parser and calendar of cron.hpp. Its words are in cron_describe.cpp.

#include "core/cron.hpp"

#include <bit>
#include <vector>

#include "core/error.hpp"
#include "core/quote.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

namespace chrono = std::chrono;

namespace {

constexpr std::size_t longest_text = 512;

// The fifth Monday of February comes once in 28 years, or in 40 where a century is no leap year.
constexpr chrono::years longest_gap{41};
constexpr chrono::year  last_year{9999};

// A later day must not be asked for its year, of which the calendar has 32767.
constexpr chrono::local_days end_of_time{(last_year + chrono::years{1}) / 1 / 1};

struct Name {
    std::string_view text;
    int              number;
};

constexpr std::array<Name, 12> month_names{{{"jan", 1},
                                            {"feb", 2},
                                            {"mar", 3},
                                            {"apr", 4},
                                            {"may", 5},
                                            {"jun", 6},
                                            {"jul", 7},
                                            {"aug", 8},
                                            {"sep", 9},
                                            {"oct", 10},
                                            {"nov", 11},
                                            {"dec", 12}}};

constexpr std::array<Name, 7> weekday_names{
    {{"sun", 0}, {"mon", 1}, {"tue", 2}, {"wed", 3}, {"thu", 4}, {"fri", 5}, {"sat", 6}}};

struct Field {
    const char *name;
    int         lowest;
    int         highest; ///< of weekdays 7, which is Sunday once more
    int         values;
    const Name *names;
    std::size_t name_count;
};

constexpr Field minute_field{"minute", 0, 59, 60, nullptr, 0};
constexpr Field hour_field{"hour", 0, 23, 24, nullptr, 0};
constexpr Field day_field{"day of month", 1, 31, 31, nullptr, 0};
constexpr Field month_field{"month", 1, 12, 12, month_names.data(), month_names.size()};
constexpr Field weekday_field{"weekday", 0, 7, 7, weekday_names.data(), weekday_names.size()};

struct Short {
    std::string_view name;
    std::string_view meaning;
};

constexpr std::array<Short, 7> shorts{{{"@hourly", "0 * * * *"},
                                       {"@daily", "0 0 * * *"},
                                       {"@midnight", "0 0 * * *"},
                                       {"@weekly", "0 0 * * 0"},
                                       {"@monthly", "0 0 1 * *"},
                                       {"@yearly", "0 0 1 1 *"},
                                       {"@annually", "0 0 1 1 *"}}};

constexpr const char *fields_hint =
    "The five fields are minute, hour, day of month, month and weekday, as in 30 9 * * mon-fri.";

constexpr std::uint64_t bits(int lowest, int highest)
{
    std::uint64_t set = 0;
    for (int n = lowest; n <= highest; ++n)
        set |= std::uint64_t{1} << n;
    return set;
}

constexpr std::uint32_t every_hour    = static_cast<std::uint32_t>(bits(0, 23));
constexpr std::uint32_t every_day     = static_cast<std::uint32_t>(bits(1, 31));
constexpr std::uint32_t every_weekday = static_cast<std::uint32_t>(bits(0, 6));

bool has(std::uint64_t set, unsigned n)
{
    return (set >> n & 1U) != 0;
}

bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_word(std::string_view text, std::string_view lower_case)
{
    if (text.size() != lower_case.size())
        return false;
    for (std::size_t i = 0; i < text.size(); ++i)
        if (lower(text[i]) != lower_case[i])
            return false;
    return true;
}

/// The parts between blanks, or between commas; an empty part between two commas counts.
std::vector<std::string_view> words(std::string_view text)
{
    std::vector<std::string_view> found;
    std::size_t                   at = 0;
    while (at < text.size()) {
        const std::size_t begin = at;
        while (at < text.size() && !is_blank(text[at]))
            ++at;
        if (at > begin)
            found.push_back(text.substr(begin, at - begin));
        else
            ++at;
    }
    return found;
}

} // namespace

/// Reads one text; knows it for its errors.
class CronParser {
public:
    explicit CronParser(std::string_view text) : text_{text} {}

    Cron parse()
    {
        if (text_.size() > longest_text)
            throw InvalidValue("cron " + quoted(text_) + " is longer than 512 characters", fields_hint);
        std::vector<std::string_view> fields = words(text_);
        if (fields.size() == 1 && fields[0][0] == '@')
            fields = words(meaning_of(fields[0]));
        if (fields.size() != 5)
            throw InvalidValue("cron " + quoted(text_) + " has " + std::to_string(fields.size()) +
                                   (fields.size() == 1 ? " field, not 5" : " fields, not 5"),
                               fields_hint);

        cron_.minutes_ = read(minute_field, fields[0]);
        cron_.hours_   = static_cast<std::uint32_t>(read(hour_field, fields[1]));
        cron_.days_    = static_cast<std::uint32_t>(read(day_field, fields[2]));
        cron_.months_  = static_cast<std::uint32_t>(read(month_field, fields[3]));
        cron_.weekdays_ =
            static_cast<std::uint32_t>(read(weekday_field, fields[4])) & every_weekday; // 7 was noted as 0

        constexpr chrono::local_days any_day{chrono::year{2000} / 1 / 1};
        if (!cron_.next(any_day))
            refuse(day_field, fields[2],
                   "never comes in month " + quoted(fields[3]) + " with weekday " + quoted(fields[4]),
                   "Name a day that the months have, or L for the last one.");
        return cron_;
    }

private:
    [[noreturn]] void refuse(const Field &field, std::string_view part, const std::string &why,
                             const std::string &hint) const
    {
        throw InvalidValue("cron " + quoted(text_) + ": " + field.name + " " + quoted(part) + " " + why,
                           hint);
    }

    [[noreturn]] void refuse_number(const Field &field, std::string_view part) const
    {
        refuse(field, part,
               "is not from " + std::to_string(field.lowest) + " to " + std::to_string(field.highest),
               fields_hint);
    }

    [[noreturn]] void refuse_text(const Field &field, std::string_view part) const
    {
        refuse(field, part, "is not understood", fields_hint);
    }

    std::string_view meaning_of(std::string_view name) const
    {
        for (const Short &known : shorts)
            if (same_word(name, known.name))
                return known.meaning;
        throw InvalidValue("cron " + quoted(text_) + " is not understood",
                           "The short forms are @hourly, @daily, @weekly, @monthly and @yearly.");
    }

    /// Digits alone; 100 stands for all that are larger.
    static std::optional<int> digits(std::string_view text)
    {
        if (text.empty())
            return std::nullopt;
        int number = 0;
        for (const char c : text) {
            if (c < '0' || c > '9')
                return std::nullopt;
            number = std::min(number * 10 + (c - '0'), 100);
        }
        return number;
    }

    int value(const Field &field, std::string_view text, std::string_view part) const
    {
        for (std::size_t i = 0; i < field.name_count; ++i)
            if (same_word(text, field.names[i].text))
                return field.names[i].number;
        const std::optional<int> number = digits(text);
        if (!number)
            refuse_text(field, part);
        if (*number < field.lowest || *number > field.highest)
            refuse_number(field, part);
        return *number;
    }

    /// A list: the numbers in it. What is no number (L, 5L, 1#2) is noted on the way.
    std::uint64_t read(const Field &field, std::string_view text)
    {
        std::uint64_t set = 0;
        for (std::size_t at = 0;;) {
            const std::size_t comma = std::min(text.find(',', at), text.size());
            set |= read_part(field, text.substr(at, comma - at));
            if (comma == text.size())
                return set;
            at = comma + 1;
        }
    }

    std::uint64_t read_part(const Field &field, std::string_view part)
    {
        if (part.empty())
            refuse_text(field, part);
        if (note_special(field, part))
            return 0;

        const std::size_t      slash = part.find('/');
        const std::string_view range = part.substr(0, slash);
        const bool             is_day =
            &field == &day_field || &field == &weekday_field; // addresses, of objects that are there once
        int first = field.lowest;
        int last  = &field == &weekday_field ? 6 : field.highest;
        if (range != "*" && !(is_day && range == "?")) {
            const std::size_t dash = range.find('-');
            first                  = value(field, range.substr(0, dash), part);
            if (dash != std::string_view::npos)
                last = value(field, range.substr(dash + 1), part);
            else if (slash == std::string_view::npos)
                last = first;
        }
        if (&field == &weekday_field && first > last) {
            if (first == 7)
                first = 0; // sun-tue, as 7-2
            else if (last == 0)
                last = 7; // fri-sun
        }
        if (first > last)
            refuse(field, part, "runs backwards",
                   "Write it as two: 22-23,0-6 is from 22 in the evening to 6 in the morning.");

        const int step = slash == std::string_view::npos ? 1 : step_of(field, part.substr(slash + 1), part);
        std::uint64_t set = 0;
        for (int n = first; n <= last; n += step)
            set |= std::uint64_t{1} << (&field == &weekday_field ? n % 7 : n);
        return set;
    }

    int step_of(const Field &field, std::string_view text, std::string_view part) const
    {
        const std::optional<int> step = digits(text);
        if (!step)
            refuse_text(field, part);
        if (*step == 0 || *step > field.values)
            refuse(
                field, part, "has a step that is not from 1 to " + std::to_string(field.values),
                "A step counts inside of one field: every 90 minutes cannot be said with one line of cron.");
        return *step;
    }

    bool note_special(const Field &field, std::string_view part)
    {
        if (&field == &day_field && same_word(part, "l")) {
            cron_.last_day_ = true;
            return true;
        }
        if (&field != &weekday_field)
            return false;
        if (part.size() > 1 && lower(part.back()) == 'l') {
            cron_.last_weekdays_ |= 1U << value(field, part.substr(0, part.size() - 1), part) % 7;
            return true;
        }
        const std::size_t hash = part.find('#');
        if (hash == std::string_view::npos)
            return false;
        const int                weekday = value(field, part.substr(0, hash), part) % 7;
        const std::optional<int> nth     = digits(part.substr(hash + 1));
        if (!nth || *nth < 1 || *nth > 5)
            refuse(field, part, "counts weekdays of a month otherwise than from 1 to 5",
                   "For example mon#1 is the first Monday of a month; the last Friday is friL.");
        cron_.nth_weekdays_[static_cast<std::size_t>(*nth - 1)] |= 1U << weekday;
        return true;
    }

    std::string_view text_;
    Cron             cron_;
};

Cron Cron::parse(std::string_view text)
{
    return CronParser{text}.parse();
}

bool Cron::names_no_hour() const
{
    return hours_ == every_hour;
}

bool Cron::matches_day(chrono::local_days day, chrono::year_month_day date) const
{
    const unsigned in_month = static_cast<unsigned>(date.day());
    const unsigned weekday  = chrono::weekday{day}.c_encoding();
    const auto     last     = static_cast<unsigned>((date.year() / date.month() / chrono::last).day());

    const bool by_day     = has(days_, in_month) || (last_day_ && in_month == last);
    const bool by_weekday = has(weekdays_, weekday) || has(nth_weekdays_[(in_month - 1) / 7], weekday) ||
                            (in_month + 7 > last && has(last_weekdays_, weekday));
    const bool either = days_ != every_day && weekdays_ != every_weekday;
    return either ? by_day || by_weekday : by_day && by_weekday;
}

bool Cron::matches(WallMinute minute) const
{
    const auto                   day = chrono::floor<chrono::days>(minute);
    const chrono::year_month_day date{day};
    const chrono::hh_mm_ss       time{minute - day};
    return has(months_, static_cast<unsigned>(date.month())) && matches_day(day, date) &&
           has(hours_, static_cast<unsigned>(time.hours().count())) &&
           has(minutes_, static_cast<unsigned>(time.minutes().count()));
}

std::optional<WallMinute> Cron::next(WallMinute after) const
{
    const WallMinute         start = after + chrono::minutes{1};
    const chrono::local_days first = chrono::floor<chrono::days>(start);
    if (first >= end_of_time)
        return std::nullopt;
    const auto limit = std::min(chrono::year_month_day{first}.year() + longest_gap, last_year);

    for (chrono::local_days day = first;;) {
        const chrono::year_month_day date{day};
        if (date.year() > limit)
            return std::nullopt;
        if (!has(months_, static_cast<unsigned>(date.month()))) {
            day = chrono::local_days{(date.year() / date.month() + chrono::months{1}) / 1};
            continue;
        }
        if (matches_day(day, date)) {
            const auto from = day == first ? chrono::floor<chrono::minutes>(start - day) : chrono::minutes{0};
            const unsigned hour   = static_cast<unsigned>(from.count() / 60);
            const unsigned minute = static_cast<unsigned>(from.count() % 60);
            if (has(hours_, hour)) {
                if (const std::uint64_t later = minutes_ >> minute << minute; later != 0)
                    return day + chrono::hours{hour} + chrono::minutes{std::countr_zero(later)};
            }
            if (const std::uint64_t later = std::uint64_t{hours_} >> (hour + 1) << (hour + 1); later != 0)
                return day + chrono::hours{std::countr_zero(later)} +
                       chrono::minutes{std::countr_zero(minutes_)};
        }
        day += chrono::days{1};
    }
}

std::int64_t Cron::count(chrono::local_days first, chrono::local_days last) const
{
    const std::int64_t in_a_day = std::int64_t{std::popcount(hours_)} * std::popcount(minutes_);
    std::int64_t       days     = 0;
    last                        = std::min(last, end_of_time);
    for (chrono::local_days day = first; day < last; day += chrono::days{1}) {
        const chrono::year_month_day date{day};
        if (has(months_, static_cast<unsigned>(date.month())) && matches_day(day, date))
            ++days;
    }
    return days * in_a_day;
}

} // namespace sluice::core
