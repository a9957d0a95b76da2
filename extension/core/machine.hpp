// machine: the presets that limit what an attempt may use.
//
// Names and sizes are those of Trigger.dev (a GB is 1024³ bytes here, as a control group counts).
#pragma once

#include <cstdint>
#include <string_view>

#include "core/pure.hpp" // keep last

namespace sluice::core {

struct Machine {
    std::string_view name;
    double           cpus;
    std::uint64_t    memory; ///< bytes
};

inline constexpr std::uint64_t mib = std::uint64_t{1} << 20;

/// From the smallest to the largest.
inline constexpr Machine machines[] = {
    {"micro", 0.25, 256 * mib},   {"small-1x", 0.5, 512 * mib}, {"small-2x", 1, 1024 * mib},
    {"medium-1x", 1, 2048 * mib}, {"medium-2x", 2, 4096 * mib}, {"large-1x", 4, 8192 * mib},
    {"large-2x", 8, 16384 * mib},
};

/// What an attempt runs on of which nobody has said anything.
inline constexpr const Machine &default_machine = machines[1];

inline constexpr const Machine &smallest_machine = machines[0];

/// Null: there is none of that name.
constexpr const Machine *find_machine(std::string_view name) noexcept
{
    for (const Machine &machine : machines)
        if (machine.name == name)
            return &machine;
    return nullptr;
}

} // namespace sluice::core
