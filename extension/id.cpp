// SQL faces of the pure values in core/: run ids, tokens, lanes, durations, backoff; and the size of a value.

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "core/backoff.hpp"
#include "core/duration.hpp"
#include "core/lane.hpp"
#include "core/run_id.hpp"
#include "core/token.hpp"

#include "pg/boundary.hpp"
#include "id.hpp"

namespace core = sluice::core;

namespace {

// Postgres counts microseconds since 2000-01-01 00:00 UTC.
constexpr std::int64_t postgres_epoch_unix_ms = 946'684'800'000;

std::int64_t unix_ms(TimestampTz time)
{
    return time / 1000 + postgres_epoch_unix_ms;
}

std::string_view view_of(const text *value)
{
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

std::int64_t run_of(const pg_uuid_t *value)
{
    core::Token token;
    memcpy(token.data(), value->data, UUID_LEN);
    return core::token_run_id(token);
}

double seconds_of(const Interval *interval)
{
    constexpr double days_per_month = 30;
    return static_cast<double>(interval->time) / USECS_PER_SEC +
           (interval->day + interval->month * days_per_month) * SECS_PER_DAY;
}

Interval *interval_of_seconds(double seconds)
{
    auto *interval = static_cast<Interval *>(palloc0(sizeof(Interval)));
    interval->time = static_cast<TimeOffset>(seconds * USECS_PER_SEC);
    return interval;
}

} // namespace

std::int64_t sluice::new_run_id(Oid sequence)
{
    const std::int64_t number = nextval_internal(sequence, false);
    return core::make_run_id(unix_ms(GetCurrentTimestamp()), number);
}

// sluice._new_run_id(sequence regclass) returns bigint: an id for this instant.
SLUICE_FUNCTION(sluice_new_run_id)
{
    PG_RETURN_INT64(sluice::new_run_id(PG_GETARG_OID(0)));
}

// sluice._run_time(run_id bigint) returns timestamptz: the instant inside an id.
SLUICE_FUNCTION(sluice_run_time)
{
    const std::int64_t ms = core::run_id_unix_ms(PG_GETARG_INT64(0));
    PG_RETURN_TIMESTAMPTZ((ms - postgres_epoch_unix_ms) * 1000);
}

// sluice._run_id_at(at timestamptz) returns bigint: the smallest id of that instant, a partition's bound.
SLUICE_FUNCTION(sluice_run_id_at)
{
    PG_RETURN_INT64(core::make_run_id(unix_ms(PG_GETARG_TIMESTAMPTZ(0)), 0));
}

core::Token sluice::new_token(std::int64_t run_id)
{
    // Drawn for many at a time, since each draw costs more than the rest of a token; none is used twice.
    constexpr int        at_once = 64;
    static std::uint64_t drawn[at_once];
    static int           left = 0;
    if (left == 0) {
        if (!pg_strong_random(drawn, sizeof(drawn)))
            ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values"));
        left = at_once;
    }

    return core::make_token(run_id, drawn[--left]);
}

// sluice._new_token(run_id bigint) returns uuid: a new, unguessable lease token of the run.
SLUICE_FUNCTION(sluice_new_token)
{
    const core::Token token  = sluice::new_token(PG_GETARG_INT64(0));
    auto             *result = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
    memcpy(result->data, token.data(), UUID_LEN);
    PG_RETURN_UUID_P(result);
}

// sluice._token_run(token uuid) returns bigint: the run of a token, -1 if it is none of ours.
SLUICE_FUNCTION(sluice_token_run)
{
    PG_RETURN_INT64(run_of(PG_GETARG_UUID_P(0)));
}

std::int64_t sluice::lane_of(const text *concurrency_key)
{
    return concurrency_key == nullptr ? core::keyless_lane : core::lane_of_key(view_of(concurrency_key));
}

std::optional<std::int64_t> sluice::seconds_of(const text *duration)
{
    try {
        return core::parse_duration(view_of(duration));
    } catch (const core::InvalidValue &) {
        return {};
    }
}

// sluice._is_among(token uuid, tokens uuid[]) returns bool: is it one of these, which are in order, without nulls?
SLUICE_FUNCTION(sluice_is_among)
{
    const pg_uuid_t *token  = PG_GETARG_UUID_P(0);
    const ArrayType *tokens = PG_GETARG_ARRAYTYPE_P(1);
    const auto      *first  = reinterpret_cast<const pg_uuid_t *>(ARR_DATA_PTR(tokens));
    const auto      *end    = first + ArrayGetNItems(ARR_NDIM(tokens), ARR_DIMS(tokens));
    PG_RETURN_BOOL(std::binary_search(first, end, *token, [](const pg_uuid_t &a, const pg_uuid_t &b) {
        return memcmp(a.data, b.data, UUID_LEN) < 0;
    }));
}

// sluice._lane(concurrency_key text) returns bigint: 0 for null.  Called on null input.
SLUICE_FUNCTION(sluice_lane)
{
    PG_RETURN_INT64(sluice::lane_of(PG_ARGISNULL(0) ? nullptr : PG_GETARG_TEXT_PP(0)));
}

// sluice._duration(duration text) returns interval.
SLUICE_FUNCTION(sluice_duration)
{
    const text        *value   = PG_GETARG_TEXT_PP(0);
    const std::int64_t seconds = core::parse_duration(view_of(value));
    PG_RETURN_INTERVAL_P(interval_of_seconds(static_cast<double>(seconds)));
}

// sluice._backoff(attempt int, factor float8, min_delay interval, max_delay interval, spread float8) returns interval.
SLUICE_FUNCTION(sluice_backoff)
{
    const core::Backoff backoff{.factor    = PG_GETARG_FLOAT8(1),
                                .min_delay = seconds_of(PG_GETARG_INTERVAL_P(2)),
                                .max_delay = seconds_of(PG_GETARG_INTERVAL_P(3))};
    PG_RETURN_INTERVAL_P(
        interval_of_seconds(core::backoff_delay(backoff, PG_GETARG_INT32(0), PG_GETARG_FLOAT8(4))));
}

// sluice._size(value jsonb) returns bigint: bytes before compression, without reading a toasted value; null is 0.
SLUICE_FUNCTION(sluice_size)
{
    if (PG_ARGISNULL(0))
        PG_RETURN_INT64(0);
    PG_RETURN_INT64(static_cast<std::int64_t>(toast_raw_datum_size(PG_GETARG_DATUM(0))));
}
