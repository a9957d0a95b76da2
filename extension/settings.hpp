// settings: the `sluice.*` configuration parameters.  docs/settings.md describes each; a test compares the two.
#pragma once

#include <cstddef>

namespace sluice {

/// Called once, when the library is loaded.
void define_settings();

/// sluice.max_payload.
std::size_t max_payload_bytes();

/// sluice.max_output.
std::size_t max_output_bytes();

/// sluice.index_memory; 0: no index.
std::size_t index_memory_bytes();

/// sluice.default_lease.
double default_lease_seconds();

} // namespace sluice
