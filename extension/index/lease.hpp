// lease: what waiting has to know of leases.
#pragma once

#include "index/segment.hpp"

namespace sluice::index {

/// Has a token of this worker died without its being told?
bool has_dead_token(const Attached &index, uint64 worker);

} // namespace sluice::index
