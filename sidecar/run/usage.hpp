// What an attempt used of its machine.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::sidecar {

struct Usage {
    std::string   machine;
    std::string   enforced_by;       ///< "cgroup", "rlimit"
    double        wall          = 0; ///< seconds, like the next two
    double        cpu_user      = 0;
    double        cpu_system    = 0;
    std::uint64_t memory_limit  = 0; ///< bytes, like the rest
    std::uint64_t peak_memory   = 0;
    std::uint64_t read_bytes    = 0; ///< from disks, not from caches
    std::uint64_t written_bytes = 0;
};

/// As the database takes it.
std::string usage_json(const Usage &usage);

} // namespace sluice::sidecar
