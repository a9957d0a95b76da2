// From the way a process ended to the outcome of its attempt.  Pure: no process is needed to test it.
#pragma once

#include "run/executor.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace sluice::sidecar {

/// What is known about a process that has ended.
struct ProcessEnd {
    int                       wait_status = 0;
    std::optional<int>        exec_error; ///< errno, when the program could not be started at all
    std::optional<StopReason> stopped;
    std::string               program;
    std::string               last_words; ///< the end of stderr
    std::string               output;     ///< JSON text, empty for null
    std::string               output_problem;
};

Outcome verdict(const ProcessEnd &end);

/// "SIGTERM" for 15; "signal 99" where there is no name.
std::string signal_name(int signal);

/// The end of stderr: whole lines, at most 2 KB.
class LastWords {
public:
    void               add(std::string_view line);
    const std::string &text() const { return text_; }

private:
    std::string text_;
};

} // namespace sluice::sidecar
