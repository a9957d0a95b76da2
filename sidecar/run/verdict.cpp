// Judging how a process ended.
#include "core/death.hpp"

#include "run/verdict.hpp"

#include "json_text.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sys/wait.h>

namespace sluice::sidecar {

namespace {

constexpr std::size_t shown_bytes = 2048;

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

std::string how_it_ended(const ProcessEnd &end)
{
    return WIFSIGNALED(end.wait_status)
               ? "process was ended by " + signal_name(WTERMSIG(end.wait_status))
               : "process exited with code " + std::to_string(WEXITSTATUS(end.wait_status));
}

Outcome::Kind kind_of(core::Cause cause)
{
    if (core::is_memory(cause))
        return Outcome::Kind::oom;
    const bool crashed =
        cause == core::Cause::sigterm || cause == core::Cause::sigsegv || cause == core::Cause::signal;
    return crashed ? Outcome::Kind::crashed : Outcome::Kind::failed;
}

Outcome judge(const ProcessEnd &end)
{
    if (end.stopped)
        return outcome_of_stop(*end.stopped);
    if (end.exec_error)
        return not_started(end);

    core::Death death{.oom_kills = end.oom_kills, .peak_share = peak_share(end), .words = end.last_words};
    if (WIFSIGNALED(end.wait_status))
        death.signal = WTERMSIG(end.wait_status);
    else
        death.exit_code = WEXITSTATUS(end.wait_status);
    const core::Finding found = core::cause_of(death);
    if (found.cause == core::Cause::none)
        return end.output_problem.empty()
                   ? Outcome::completed(end.output)
                   : Outcome::with_error(Outcome::Kind::failed, "TASK_OUTPUT_ERROR", end.output_problem);

    Outcome outcome =
        Outcome::with_error(kind_of(found.cause), core::code_of(found.cause), how_it_ended(end));
    if (death.signal)
        outcome.error["signal"] = signal_name(*death.signal);
    else
        outcome.error["exit_code"] = *death.exit_code;
    if (!found.evidence.empty())
        outcome.error["evidence"] = clean_text(found.evidence);
    if (core::is_memory(found.cause))
        add_memory(outcome, end);
    add_last_words(outcome, end);
    return outcome;
}

} // namespace

std::optional<double> peak_share(const ProcessEnd &end)
{
    if (end.oom_kills || !end.usage || end.usage->memory_limit == 0)
        return std::nullopt;
    return static_cast<double>(end.usage->peak_memory) / static_cast<double>(end.usage->memory_limit);
}

void add_memory(Outcome &outcome, const ProcessEnd &end)
{
    if (!end.usage)
        return;
    outcome.error["machine"]      = end.usage->machine;
    outcome.error["enforced_by"]  = end.usage->enforced_by;
    outcome.error["memory_limit"] = end.usage->memory_limit;
    outcome.error["peak_memory"]  = end.usage->peak_memory;
}

void add_last_words(Outcome &outcome, const ProcessEnd &end)
{
    std::string_view words = end.last_words;
    if (words.size() > shown_bytes) {
        words.remove_prefix(words.size() - shown_bytes);
        words.remove_prefix(std::min(words.find('\n') + 1, words.size()));
    }
    if (!words.empty())
        outcome.error["stderr"] = clean_text(words);
}

std::string signal_name(int signal)
{
    const char *name = ::sigabbrev_np(signal);
    return name != nullptr ? "SIG" + std::string{name} : "signal " + std::to_string(signal);
}

void LastWords::add(std::string_view line)
{
    if (line.size() >= bytes_)
        line.remove_prefix(line.size() - bytes_ + 1);
    text_ += line;
    text_ += '\n';
    while (text_.size() > bytes_) {
        const auto newline = text_.find('\n');
        text_.erase(0, newline + 1);
    }
}

Outcome verdict(const ProcessEnd &end)
{
    Outcome outcome = judge(end);
    outcome.usage   = end.usage;
    return outcome;
}

} // namespace sluice::sidecar
