// The guard: a second, tiny process that waits for the end of sluiced, however that comes, and then ends what it has left
// running and removes its files.  Its programs have asked to be killed with it, but what these have started has not.
#pragma once

#include <string>

namespace sluice::sidecar {

/// Starts it.  Before the event loop, which must not take it for a stranger, and before anything is opened.
void start_guard(const std::string &cgroup);

} // namespace sluice::sidecar
