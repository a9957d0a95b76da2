// id: the ids of runs, for C++; id.cpp has their SQL faces.
#pragma once

#include <cstdint>

#include "pg/postgres.hpp"

namespace sluice {

/// An id for this instant, with a number of the sequence.
std::int64_t new_run_id(Oid sequence);

} // namespace sluice
