// Connection strings: checking them and showing them without their secrets.
#pragma once

#include <string>

namespace sluice::sidecar {

/// Empty when libpq understands it, else what libpq says (without echoing the string).
std::string conninfo_problem(const std::string &conninfo);

/// The same target with every password left out.
std::string conninfo_without_secrets(const std::string &conninfo);

} // namespace sluice::sidecar
