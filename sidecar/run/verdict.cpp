// Judging how a process ended.
#include "run/verdict.hpp"

#include "json_text.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <sys/wait.h>

namespace sluice::sidecar {

namespace {

constexpr std::size_t last_words_bytes = 2048;

std::string_view code_of_signal(int signal)
{
    switch (signal) {
    case SIGTERM:
        return "TASK_PROCESS_SIGTERM";
    case SIGSEGV:
        return "TASK_PROCESS_SIGSEGV";
    case SIGKILL:
        // Not by us, so most often by the kernel, for memory.
        return "TASK_PROCESS_MAYBE_OOM_KILLED";
    default:
        return "TASK_RUN_CRASHED";
    }
}

void add_last_words(Outcome &outcome, const ProcessEnd &end)
{
    if (!end.last_words.empty())
        outcome.error["stderr"] = clean_text(end.last_words);
}

Outcome not_started(const ProcessEnd &end)
{
    const int         error = *end.exec_error;
    const std::string why   = "could not start " + end.program + ": " + std::strerror(error);
    if (error == ENOENT || error == ENOTDIR)
        return Outcome::failed_for_good("COULD_NOT_FIND_EXECUTOR", why);
    if (error == EAGAIN || error == ENOMEM || error == ETXTBSY || error == EMFILE || error == ENFILE)
        return Outcome::with_error(Outcome::Kind::failed, "TASK_EXECUTION_ABORTED", why);
    return Outcome::failed_for_good("CONFIGURED_INCORRECTLY", why);
}

} // namespace

std::string signal_name(int signal)
{
    const char *name = ::sigabbrev_np(signal);
    return name != nullptr ? "SIG" + std::string{name} : "signal " + std::to_string(signal);
}

void LastWords::add(std::string_view line)
{
    if (line.size() >= last_words_bytes)
        line.remove_prefix(line.size() - last_words_bytes + 1);
    text_ += line;
    text_ += '\n';
    while (text_.size() > last_words_bytes) {
        const auto newline = text_.find('\n');
        text_.erase(0, newline + 1);
    }
}

Outcome verdict(const ProcessEnd &end)
{
    if (end.stopped)
        return outcome_of_stop(*end.stopped);
    if (end.exec_error)
        return not_started(end);

    if (WIFSIGNALED(end.wait_status)) {
        const int         signal  = WTERMSIG(end.wait_status);
        const std::string name    = signal_name(signal);
        Outcome           outcome = Outcome::with_error(Outcome::Kind::crashed, code_of_signal(signal),
                                                        "process was ended by " + name);
        outcome.error["signal"]   = name;
        add_last_words(outcome, end);
        return outcome;
    }

    const int code = WEXITSTATUS(end.wait_status);
    if (code != 0) {
        Outcome outcome = Outcome::with_error(Outcome::Kind::failed, "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE",
                                              "process exited with code " + std::to_string(code));
        outcome.error["exit_code"] = code;
        add_last_words(outcome, end);
        return outcome;
    }
    if (!end.output_problem.empty())
        return Outcome::with_error(Outcome::Kind::failed, "TASK_OUTPUT_ERROR", end.output_problem);
    return Outcome::completed(end.output);
}

} // namespace sluice::sidecar
