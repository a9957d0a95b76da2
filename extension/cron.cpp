// SQL faces of cron (core/cron.hpp): from the clock on the wall to instants, by Postgres' own time zones.
//
// A zone is a row of stretches of time in which its clocks keep one distance from UTC; Postgres says where they end
// (pg_next_dst_boundary, as it does when it reads a timestamp). Two rules hold where one ends:
//   - the clock is put forward: what is skipped comes at the instant at which it would have come had the clock not been
//     put forward (what AT TIME ZONE makes of it);
//   - the clock is put back: what comes twice is taken the first time, except for a cron that names no hour, which is
//     about the time that goes by: every 15 minutes stays every 15 minutes.
// One instant is one tick, however many minutes on the wall it stands for.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "core/cron.hpp"
#include "core/error.hpp"
#include "core/quote.hpp"

#include "pg/boundary.hpp"

namespace core = sluice::core;

namespace {

using Seconds = std::int64_t; ///< since 1970; of the wall or of UTC

constexpr Seconds no_end = std::numeric_limits<Seconds>::max();

// The clock of a zone has never been put forward or back by more than a day.
constexpr Seconds longest_shift = 86'400;

// The year 9999 is over in every zone: there are no ticks any more, and the calendar of C++ ends not long after.
constexpr Seconds after_all_ticks = 253'402'300'800 + longest_shift;

constexpr Seconds postgres_epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * Seconds{SECS_PER_DAY};

/// A stretch of time with one distance of the clocks from UTC.
struct Stretch {
    Seconds begin; ///< and nothing before counts
    Seconds end;
    long    offset;
    long    offset_before;
};

std::optional<Seconds> next_on_wall(const core::Cron &cron, Seconds after)
{
    using namespace std::chrono;
    const auto found = cron.next(core::WallMinute{floor<minutes>(seconds{after})});
    if (!found)
        return std::nullopt;
    return duration_cast<seconds>(found->time_since_epoch()).count();
}

/// The first tick after an instant among those of one stretch: those of its own clock, and those that the clock skipped
/// where it began.
std::optional<Seconds> next_in(const core::Cron &cron, const Stretch &stretch, Seconds after)
{
    std::optional<Seconds> first;
    const auto             take = [&](Seconds tick) { first = first ? std::min(*first, tick) : tick; };
    const Seconds          from = std::max(after, stretch.begin - 1);

    Seconds wall = from + stretch.offset;
    if (stretch.offset < stretch.offset_before && !cron.names_no_hour())
        wall = std::max(wall,
                        stretch.begin + stretch.offset_before - 1); // the rest has been, on the clock before
    if (const auto tick = next_on_wall(cron, wall); tick && *tick - stretch.offset < stretch.end)
        take(*tick - stretch.offset);

    if (stretch.offset > stretch.offset_before)
        if (const auto tick = next_on_wall(cron, from + stretch.offset_before);
            tick && *tick < stretch.begin + stretch.offset)
            take(*tick - stretch.offset_before);
    return first;
}

/// None after the year 9999.
std::optional<Seconds> next_tick(const core::Cron &cron, const pg_tz *zone, Seconds after)
{
    Stretch   stretch{std::numeric_limits<Seconds>::min() + 1, no_end, 0, 0};
    pg_time_t at    = after - longest_shift - 1;
    bool      first = true;
    for (;;) {
        long      offset, offset_after;
        int       is_dst, is_dst_after;
        pg_time_t boundary;
        const int found =
            pg_next_dst_boundary(&at, &offset, &is_dst, &boundary, &offset_after, &is_dst_after, zone);
        stretch.end           = found == 1 ? boundary : no_end;
        stretch.offset_before = first ? offset : stretch.offset;
        stretch.offset        = offset;
        first                 = false;
        if (stretch.end > after)
            if (const auto tick = next_in(cron, stretch, after))
                return tick;
        if (found != 1 || !next_on_wall(cron, stretch.end + offset))
            return std::nullopt;
        stretch.begin = stretch.end;
        at            = stretch.end;
    }
}

std::chrono::local_days day_of(Seconds wall)
{
    using namespace std::chrono;
    return floor<days>(local_seconds{seconds{wall}});
}

/// Ticks after one instant and not after another. A schedule may have been asleep for years: days that are far from any
/// change of the clocks are counted whole, and only the others tick by tick.
std::int64_t count_ticks(const core::Cron &cron, const pg_tz *zone, Seconds at, Seconds until)
{
    constexpr Seconds far      = 2 * longest_shift;
    std::int64_t      count    = 0;
    constexpr auto    unknown  = std::chrono::local_days::max();
    auto              last_day = unknown;
    for (;;) {
        CHECK_FOR_INTERRUPTS();
        const auto tick = next_tick(cron, zone, at);
        if (!tick || *tick > until)
            return count;
        at = *tick;
        ++count;

        long            offset, offset_after;
        int             is_dst, is_dst_after;
        pg_time_t       boundary;
        const pg_time_t from = at - far;
        const int       found =
            pg_next_dst_boundary(&from, &offset, &is_dst, &boundary, &offset_after, &is_dst_after, zone);
        const Seconds end = found == 1 ? boundary : no_end;
        if (end <= at) {
            last_day = unknown;
            continue;
        }
        const auto today           = day_of(at + offset);
        const bool is_first_of_day = today > last_day;
        last_day                   = today;
        if (!is_first_of_day)
            continue;
        const auto day = day_of(std::min(until, end - far) + offset);
        if (day <= today)
            continue;
        count += cron.count(today, day) - 1;
        at       = std::chrono::seconds{day.time_since_epoch()}.count() - offset - 1;
        last_day = unknown;
    }
}

std::string_view view_of(const text *value)
{
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

/// A file of the zone directory, which no zone of the IANA data base is called by.
bool is_foreign(const char *name)
{
    static const char *const names[]   = {"localtime", "posixrules", "Factory"};
    static const char *const folders[] = {"posix/", "right/"};
    return std::any_of(std::begin(names), std::end(names),
                       [&](const char *other) { return pg_strcasecmp(name, other) == 0; }) ||
           std::any_of(std::begin(folders), std::end(folders),
                       [&](const char *folder) { return pg_strncasecmp(name, folder, strlen(folder)) == 0; });
}

/// Whether there is a file of that name. Postgres reads what is none as a rule of POSIX, under which Foo/Bar5 is a zone.
bool is_listed(const char *name)
{
    bool       found = false;
    pg_tzenum *all   = pg_tzenumerate_start();
    while (pg_tz *zone = pg_tzenumerate_next(all))
        found = found || strcmp(pg_get_timezone_name(zone), name) == 0;
    pg_tzenumerate_end(all);
    return found;
}

/// The zone of the IANA data base; nullptr if there is none of that name.
pg_tz *zone_named(const char *name)
{
    static pg_tz *known = nullptr; // zones stay in memory
    pg_tz        *zone  = strlen(name) <= TZ_STRLEN_MAX ? pg_tzset(name) : nullptr;
    if (zone == nullptr || !pg_tz_acceptable(zone) || is_foreign(name))
        return nullptr;
    // A file is called as it is spelled, a rule of POSIX in capitals: only what is spelled in capitals has to be looked up.
    const char *spelled = pg_get_timezone_name(zone);
    char        capitals[TZ_STRLEN_MAX + 1];
    strlcpy(capitals, spelled, sizeof(capitals));
    for (char *c = capitals; *c != '\0'; ++c)
        *c = static_cast<char>(pg_toupper(static_cast<unsigned char>(*c)));
    if (zone == known || strcmp(spelled, capitals) != 0 || strcmp(spelled, "UTC") == 0)
        return zone;
    if (!is_listed(spelled))
        return nullptr;
    known = zone;
    return zone;
}

pg_tz *zone_argument(FunctionCallInfo fcinfo, int number)
{
    const text *value = DatumGetTextPP(fcinfo->args[number].value);
    pg_tz      *zone  = zone_named(text_to_cstring(value));
    if (zone == nullptr)
        throw core::InvalidValue("timezone " + core::quoted(view_of(value)) + " is not known",
                                 "Give a name of pg_timezone_names, such as Europe/Berlin.");
    return zone;
}

Seconds unix_seconds(TimestampTz time)
{
    const TimestampTz seconds = time / USECS_PER_SEC - (time % USECS_PER_SEC < 0 ? 1 : 0);
    return seconds + postgres_epoch;
}

TimestampTz timestamp_of(Seconds seconds)
{
    return (seconds - postgres_epoch) * USECS_PER_SEC;
}

Seconds instant_argument(FunctionCallInfo fcinfo, int number)
{
    const TimestampTz time = DatumGetTimestampTz(fcinfo->args[number].value);
    if (TIMESTAMP_NOT_FINITE(time))
        throw core::InvalidValue("an instant of a schedule must not be infinite", "Give a time that comes.");
    return unix_seconds(time);
}

core::Cron cron_argument(FunctionCallInfo fcinfo)
{
    return core::Cron::parse(view_of(DatumGetTextPP(fcinfo->args[0].value)));
}

ArrayType *array_of(Datum *ticks, std::size_t count)
{
    return construct_array(ticks, static_cast<int>(count), TIMESTAMPTZOID, sizeof(TimestampTz),
                           FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

} // namespace

// sluice._cron_tick(cron text, timezone text, after timestamptz) returns timestamptz: the first tick after an instant.
SLUICE_FUNCTION(sluice_cron_tick)
{
    const Seconds after = instant_argument(fcinfo, 2);
    const pg_tz  *zone  = zone_argument(fcinfo, 1);
    const auto    tick  = next_tick(cron_argument(fcinfo), zone, after);
    if (!tick)
        PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ(timestamp_of(*tick));
}

// sluice._cron_words(cron text) returns text: what it means.
SLUICE_FUNCTION(sluice_cron_words)
{
    char words[1024];
    strlcpy(words, cron_argument(fcinfo).describe().c_str(), sizeof(words));
    PG_RETURN_TEXT_P(cstring_to_text(words));
}

// sluice._cron_ticks(cron text, timezone text, after timestamptz, count int) returns timestamptz[]: the next ticks.
SLUICE_FUNCTION(sluice_cron_ticks)
{
    Seconds          at    = instant_argument(fcinfo, 2);
    const pg_tz     *zone  = zone_argument(fcinfo, 1);
    const core::Cron cron  = cron_argument(fcinfo);
    const int        count = PG_GETARG_INT32(3);
    auto *ticks = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<std::size_t>(std::max(count, 1))));
    int   found = 0;
    for (; found < count; ++found) {
        const auto tick = next_tick(cron, zone, at);
        if (!tick)
            break;
        at           = *tick;
        ticks[found] = TimestampTzGetDatum(timestamp_of(at));
    }
    PG_RETURN_ARRAYTYPE_P(array_of(ticks, static_cast<std::size_t>(found)));
}

// sluice._cron_last(cron text, timezone text, after timestamptz, until timestamptz, most int) returns timestamptz[]: the last
// ticks after the one and not after the other instant.
SLUICE_FUNCTION(sluice_cron_last)
{
    Seconds          at    = instant_argument(fcinfo, 2);
    const Seconds    until = std::min(instant_argument(fcinfo, 3), after_all_ticks);
    const pg_tz     *zone  = zone_argument(fcinfo, 1);
    const core::Cron cron  = cron_argument(fcinfo);
    const auto       most  = static_cast<std::size_t>(std::max(PG_GETARG_INT32(4), 1));
    auto            *ticks = static_cast<Datum *>(palloc(sizeof(Datum) * most));
    for (Seconds span = SECS_PER_DAY; span < until - at; span *= 2)
        if (count_ticks(cron, zone, until - span, until) >= static_cast<std::int64_t>(most))
            at = until - span;
    std::size_t found = 0; // the n-th is at n modulo most
    for (;; ++found) {
        CHECK_FOR_INTERRUPTS();
        const auto tick = next_tick(cron, zone, at);
        if (!tick || *tick > until)
            break;
        at                  = *tick;
        ticks[found % most] = TimestampTzGetDatum(timestamp_of(at));
    }
    if (found > most)
        std::rotate(ticks, ticks + found % most, ticks + most);
    PG_RETURN_ARRAYTYPE_P(array_of(ticks, std::min(found, most)));
}

// sluice._cron_count(cron text, timezone text, after timestamptz, until timestamptz) returns bigint: ticks after the one
// and not after the other instant.
SLUICE_FUNCTION(sluice_cron_count)
{
    const Seconds    after = instant_argument(fcinfo, 2);
    const Seconds    until = std::min(instant_argument(fcinfo, 3), after_all_ticks);
    const pg_tz     *zone  = zone_argument(fcinfo, 1);
    const core::Cron cron  = cron_argument(fcinfo);
    PG_RETURN_INT64(count_ticks(cron, zone, after, until));
}

// sluice._cron_zone(timezone text) returns text: the name of a zone as it is spelled; null if there is none.
SLUICE_FUNCTION(sluice_cron_zone)
{
    pg_tz *zone = zone_named(text_to_cstring(PG_GETARG_TEXT_PP(0)));
    if (zone == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_TEXT_P(cstring_to_text(pg_get_timezone_name(zone)));
}
