// The anchor of the steady clock: one pair of readings, of both clocks at once, in shared memory that every server can
// spare, so that all sessions agree.

#include <cstdlib>
#include <ctime>

#include "pg/boundary.hpp"
#include "pg/shared_piece.hpp"

#include "clock.hpp"

namespace {

struct Anchor {
    TimestampTz wall;
    int64       boot_us;
};

int64 boot_us() noexcept
{
    constexpr int64 us_per_s = 1'000'000, ns_per_us = 1000;
    timespec        now{};
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * us_per_s + now.tv_nsec / ns_per_us;
}

/// nullptr where there is no room for it.
const Anchor *anchor()
{
    static const Anchor *shared = nullptr;
    static bool          tried  = false;
    if (!tried) {
        tried  = true;
        shared = static_cast<const Anchor *>(
            sluice::pg::shared_piece("sluice clock 1", sizeof(Anchor), [](void *piece) {
                *static_cast<Anchor *>(piece) = {GetCurrentTimestamp(), boot_us()};
            }));
    }
    return shared;
}

} // namespace

TimestampTz sluice::clock::steady()
{
    const Anchor *start = anchor();
    return start == nullptr ? GetCurrentTimestamp() : start->wall + (boot_us() - start->boot_us);
}

int64 sluice::clock::offset()
{
    return GetCurrentTimestamp() - steady();
}

TimestampTz sluice::clock::wall(TimestampTz instant)
{
    return instant + offset();
}

// sluice._steady_now() returns timestamptz
SLUICE_FUNCTION(sluice_steady_now)
{
    (void)fcinfo;
    PG_RETURN_TIMESTAMPTZ(sluice::clock::steady());
}

// sluice._clock_offset() returns interval: wall clock less steady clock.
SLUICE_FUNCTION(sluice_clock_offset)
{
    (void)fcinfo;
    auto *span = static_cast<Interval *>(palloc0(sizeof(Interval)));
    span->time = sluice::clock::offset();
    PG_RETURN_INTERVAL_P(span);
}

// sluice._clock_anchor() returns timestamptz: when both were the same; null where there is one clock only.
SLUICE_FUNCTION(sluice_clock_anchor)
{
    const Anchor *start = anchor();
    if (start == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ(start->wall);
}

namespace {

/// The offset in the leader's row, which this session as the leader has seen there and nobody else changes.
struct {
    bool        is_known;
    int64       offset;
    TimestampTz seen_at; ///< by the steady clock: when the offset was this one for the last time
} followed;

} // namespace

// sluice._clock_was_followed(offset interval): the leader's row has it; null: who knows.
SLUICE_FUNCTION(sluice_clock_was_followed)
{
    followed.is_known = !PG_ARGISNULL(0);
    if (followed.is_known) {
        followed.offset  = PG_GETARG_INTERVAL_P(0)->time;
        followed.seen_at = sluice::clock::steady();
    }
    PG_RETURN_VOID();
}

// sluice._clock_is_followed() returns boolean: the clock has not been set since.
SLUICE_FUNCTION(sluice_clock_is_followed)
{
    (void)fcinfo;
    const bool is_followed =
        followed.is_known && std::llabs(sluice::clock::offset() - followed.offset) < USECS_PER_SEC;
    if (is_followed)
        followed.seen_at = sluice::clock::steady();
    PG_RETURN_BOOL(is_followed);
}

// sluice._clock_unseen_for() returns interval: since when the clock may have been set; null: who knows.
SLUICE_FUNCTION(sluice_clock_unseen_for)
{
    (void)fcinfo;
    if (!followed.is_known)
        PG_RETURN_NULL();
    auto *span = static_cast<Interval *>(palloc0(sizeof(Interval)));
    span->time = sluice::clock::steady() - followed.seen_at;
    PG_RETURN_INTERVAL_P(span);
}
