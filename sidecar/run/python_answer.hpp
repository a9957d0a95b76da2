// What the runner of a Python task says, and which outcome follows from it and from the end of the interpreter.  Pure: no
// interpreter is needed to test it.
#pragma once

#include "run/executor.hpp"
#include "run/line_splitter.hpp"
#include "run/verdict.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::sidecar {

/// Reads what comes on the channel.  The task could write there too, and then speaks for itself alone.
class PythonAnswer {
public:
    /// What the task notes about its run goes to `control`; `heard` is called for each other message, with its word.
    PythonAnswer(std::size_t longest_output, Control &control,
                 std::function<void(std::string_view word)> heard);

    PythonAnswer(const PythonAnswer &)            = delete;
    PythonAnswer &operator=(const PythonAnswer &) = delete;

    void feed(std::string_view bytes) { lines_.feed(bytes); }

    /// The first answer; nothing while the task runs.
    const std::optional<Outcome> &outcome() const { return outcome_; }

private:
    void take(std::string_view line, LineSplitter::Extent extent);
    void note(std::string_view word, std::string_view text, LineSplitter::Extent extent);

    std::size_t                                longest_output_;
    Control                                   &control_;
    std::function<void(std::string_view word)> heard_;
    std::optional<Outcome>                     outcome_;
    LineSplitter                               lines_;
};

/// Of an attempt that was ended because it had been silent for too long, and may have finished all the same.
Outcome python_stalled(const std::optional<Outcome> &answer, double seconds, const ProcessEnd &end);

/// What stopped an attempt before it had answered; after that only a dead token matters.
std::optional<StopReason> stop_that_counts(const Control &control, bool answered_before);

/// The outcome of an attempt whose interpreter has ended, or is only to be used again.
Outcome python_verdict(const std::optional<Outcome> &answer, const ProcessEnd &end);

} // namespace sluice::sidecar
