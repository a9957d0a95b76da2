// id: ids of runs, lanes and durations, for C++; id.cpp has their SQL faces.
#pragma once

#include <cstdint>
#include <optional>

#include "core/token.hpp"

#include "pg/postgres.hpp"

namespace sluice {

/// An id for this instant, with a number of the sequence.
std::int64_t new_run_id(Oid sequence);

/// A new, unguessable lease token of a run.
core::Token new_token(std::int64_t run_id);

/// The lane of a concurrency key; of nullptr that of runs without one.
std::int64_t lane_of(const text *concurrency_key);

/// A duration such as 1h30m in seconds; none if it is not one.
std::optional<std::int64_t> seconds_of(const text *duration);

} // namespace sluice
