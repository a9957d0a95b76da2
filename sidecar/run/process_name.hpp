// A name for a process that no other process ever has: pids are used again.  It is what children and control groups
// carry, so that those of a sidecar that is gone can be told from those of a living one.
#pragma once

#include <string>
#include <string_view>

namespace sluice::sidecar {

/// Our own: pid namespace, pid and start, e.g. "4026531836-4711-98765".
std::string process_name();

/// Whether the process of a name has ended.  False for what is no name, and for one of another pid namespace, of which
/// nothing can be known.
bool is_gone(std::string_view name);

/// The variable by which children carry the name of their sidecar.
inline constexpr std::string_view sidecar_variable = "SLUICE_SIDECAR";

/// Kills the processes whose environment names a sidecar that is gone, and returns how many there were; of those that we
/// may not look at nothing is known.
int kill_orphans();

} // namespace sluice::sidecar
