// A python task on this machine: its options, held against the sidecar's settings.
#pragma once

#include "run/executor.hpp"
#include "run/program.hpp"

#include <string>
#include <variant>
#include <vector>

namespace sluice::sidecar {

/// What the sidecar's file says about python tasks; what it says about programs in general counts as well.
struct PythonSettings {
    std::vector<std::string> interpreters{"/usr/bin/python3"};
    std::vector<std::string> directories; ///< of scripts, modules and venvs
    bool                     allow_code = false;
    std::size_t              warm_runs  = 100;       ///< attempts of one interpreter
    std::size_t warm_bytes = std::size_t{256} << 20; ///< an interpreter that holds more is not used again
    Duration    warm_idle  = std::chrono::minutes{1};
};

struct PythonTask {
    Program               program;
    std::string           interpreter; ///< as it is started: a venv is known by the path of its interpreter
    boost::json::object   job;         ///< what the runner is told, without the payload
    std::optional<double> heartbeat_seconds;
    bool                  warm       = false;
    std::size_t           warm_bytes = 0;

    /// What attempts must have in common to share an interpreter.
    std::string key(const Job &of) const;
};

/// `helper` is the directory of the runner and of the module sluice.
std::variant<PythonTask, Outcome> find_python_task(const Job &job, const ProcessSettings &processes,
                                                   const PythonSettings &settings, const std::string &helper);

/// The bytes that the runner reads: the job, then the payload.
std::string python_input(const PythonTask &task, const Job &job);

} // namespace sluice::sidecar
