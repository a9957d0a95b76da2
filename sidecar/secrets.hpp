// Secrets that tasks name and never contain: they stand in files or in sluiced's own environment, and are read anew for
// each use, so that a changed one counts from then on.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace sluice::sidecar {

using Secrets = std::function<std::optional<std::string>(const std::string &name)>;

/// The file of that name in the directory, without the line's end; else the variable SLUICE_SECRET_<NAME>, in capitals
/// and with underscores for what is neither letter nor digit.  Nothing for a name that could lead elsewhere.
std::optional<std::string> find_secret(const std::string &directory, const std::string &name);

} // namespace sluice::sidecar
