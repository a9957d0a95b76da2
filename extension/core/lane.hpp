// lane: the number of a concurrency key inside its queue.
//
// A lane is a 64-bit hash that is stored in rows, so it may never change: FNV-1a with the finalizer of MurmurHash3,
// both public and frozen, rather than a server hash that may differ between major versions.  Two keys with one hash
// share a lane, which only ever makes limits stricter.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// Runs without a key share this lane; the per-key limit does not apply to it.
inline constexpr std::int64_t keyless_lane = 0;

/// Never `keyless_lane`.
constexpr std::int64_t lane_of_key(std::string_view key) noexcept
{
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : key) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x100000001b3ULL;
    }
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdULL;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53ULL;
    hash ^= hash >> 33;
    return hash == 0 ? 1 : static_cast<std::int64_t>(hash);
}

} // namespace sluice::core
