// The command line.
#pragma once

#include "config.hpp"

#include <optional>
#include <string>

namespace sluice::sidecar {

struct Options {
    enum class Action { run, check_config, setup };

    Action      action = Action::run;
    std::string config_file; ///< empty: none
    std::string setup_url;   ///< empty: the database of the configuration
    RawValues   flags;
};

/// Options, or the exit code when there is nothing left to do (--help, --version, wrong usage).
std::variant<Options, int> parse_options(int argc, char **argv);

} // namespace sluice::sidecar
