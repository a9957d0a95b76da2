// Which program a process task may start: only what lies in a directory that this sidecar's own file names.
#pragma once

#include "run/outcome.hpp"
#include "secrets.hpp"

#include <boost/json/object.hpp>

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace sluice::sidecar {

constexpr double longest_grace_seconds = 3600; ///< of a task, as create_task has it, and of the file

/// What the sidecar's file says about process tasks.
struct ProcessSettings {
    std::vector<std::string> directories;
    bool                     allow_shell = false;
    std::vector<std::string> env_allow{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"};
    std::size_t              max_log_bytes    = 1 << 20;
    std::size_t              max_output_bytes = 10 << 20;
    double                   grace_seconds    = 5;
};

/// A task's options, checked.
struct Program {
    std::string path; ///< resolved: symbolic links cannot lead out of the directories between check and start
    std::vector<std::string>           argv;
    std::map<std::string, std::string> env;
    std::vector<std::string>           secrets; ///< names; add_secrets() makes them variables
    std::string                        cwd                    = "/";
    bool                               output_on_descriptor_3 = false;
    double                             grace_seconds          = 5;
};

/// Without links and dots; empty when there is no such file.
std::string resolved_path(const std::string &path);

/// Whether a path, resolved or plain, lies below one of the directories.
bool is_allowed(const std::string &path, const std::vector<std::string> &directories);

/// What all programs have: env, secrets, cwd, output, grace_seconds.  Says what is wrong, or nothing.
std::string read_common_options(const boost::json::object &options, Program &program);

/// Puts the secrets that a program names into its variables; or the outcome that says which one there is not.
std::optional<Outcome> add_secrets(Program &program, const Secrets &secrets);

/// The program, or the outcome that says why it may not run.
std::variant<Program, Outcome> find_program(const boost::json::object &options,
                                            const ProcessSettings     &settings);

} // namespace sluice::sidecar
