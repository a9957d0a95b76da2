// run_id: 64-bit, time-ordered ids of runs, and the instant inside them.
//
// Layout, from the top: 1 zero bit (ids are positive), 41 bits of milliseconds since 2025-01-01 00:00 UTC (until
// 2094), 22 bits of a sequence.  Ids made in one millisecond are told apart by the sequence, which wraps at 4 194 304;
// partitions of `run` are ranges of ids, so the layout can never change.
#pragma once

#include <cstdint>

#include "core/pure.hpp" // keep last

namespace sluice::core {

inline constexpr int          run_id_sequence_bits = 22;
inline constexpr std::int64_t run_id_sequence_mask = (std::int64_t{1} << run_id_sequence_bits) - 1;
inline constexpr std::int64_t run_id_epoch_unix_ms = 1'735'689'600'000; ///< 2025-01-01 00:00 UTC
inline constexpr std::int64_t run_id_max_ms        = (std::int64_t{1} << 41) - 1;

/// The id for an instant and a sequence value.  An instant outside the layout is clamped to its edge, so that a
/// clock that is wrong by decades still yields ids which sort and are positive.
constexpr std::int64_t make_run_id(std::int64_t unix_ms, std::int64_t sequence) noexcept
{
    std::int64_t ms = unix_ms - run_id_epoch_unix_ms;
    if (ms < 0)
        ms = 0;
    if (ms > run_id_max_ms)
        ms = run_id_max_ms;
    return (ms << run_id_sequence_bits) | (sequence & run_id_sequence_mask);
}

/// The instant inside an id, in milliseconds since 1970.
constexpr std::int64_t run_id_unix_ms(std::int64_t run_id) noexcept
{
    return (run_id >> run_id_sequence_bits) + run_id_epoch_unix_ms;
}

} // namespace sluice::core
