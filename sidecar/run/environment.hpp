// The variables that the child of an attempt is started with: what the sidecar lets it inherit, what the task sets, and
// what tells the program which attempt it is.
#pragma once

#include "run/executor.hpp"

#include <map>
#include <string>
#include <vector>

namespace sluice::sidecar {

/// As `name=value`.  What says which attempt it is outranks the task's own, and those what is inherited.
std::vector<std::string> environment(const Job &job, const std::vector<std::string> &inherited,
                                     const std::map<std::string, std::string> &own);

} // namespace sluice::sidecar
