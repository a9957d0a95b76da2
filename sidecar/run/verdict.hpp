// From the way a process ended to the outcome of its attempt.  Pure: no process is needed to test it.
#pragma once

#include "run/executor.hpp"

#include <cstdint>
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

    std::optional<std::int64_t> oom_kills{}; ///< of its control group, if it had one
    std::optional<Usage>        usage{};
};

Outcome verdict(const ProcessEnd &end);

/// How much of its limit a process came to use; nothing where a control group counts, or nobody looked.
std::optional<double> peak_share(const ProcessEnd &end);

/// What the reader of a run that ran out of memory needs in order to choose a machine.
void add_memory(Outcome &outcome, const ProcessEnd &end);

/// The end of stderr, as much of it as is shown.
void add_last_words(Outcome &outcome, const ProcessEnd &end);

/// "SIGTERM" for 15; "signal 99" where there is no name.
std::string signal_name(int signal);

/// The end of stderr, in whole lines.  It is searched for what it says of memory, which V8 follows with a long stack;
/// its last 2 KB are shown in the error.
class LastWords {
public:
    explicit LastWords(std::size_t bytes = 16 * 1024) : bytes_{bytes} {}

    void               add(std::string_view line);
    const std::string &text() const { return text_; }

private:
    std::size_t bytes_;
    std::string text_;
};

} // namespace sluice::sidecar
