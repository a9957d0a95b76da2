// What the sidecar's file says about machines.
#pragma once

#include "async.hpp"

#include <cstdint>
#include <string>

namespace sluice::sidecar {

struct MachineSettings {
    std::string   cgroup        = "auto"; ///< or "off", or a directory
    std::uint64_t memory        = 0; ///< for all attempts at once; 0: what the machine, or our own group, has
    Duration      memory_wait   = std::chrono::seconds{30};
    std::uint64_t max_processes = 1024; ///< and threads, of one attempt
};

} // namespace sluice::sidecar
