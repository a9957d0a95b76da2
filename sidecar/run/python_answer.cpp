// Words and JSON to outcomes.
#include "core/death.hpp"

#include "run/python_answer.hpp"

#include "json_text.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <sys/wait.h>

namespace sluice::sidecar {

namespace {

namespace json = boost::json;

// What a runner says beside the output: its errors are bounded well below.
constexpr std::size_t longest_error = 64 * 1024;

Outcome outcome_of_error(Outcome::Kind kind, std::string_view text)
{
    boost::system::error_code error;
    json::value               value;
    if (const auto clean = json_for_database(text); clean && text.size() <= longest_error)
        value = json::parse(*clean, error);
    json::object *given = error ? nullptr : value.if_object();
    if (given == nullptr)
        return Outcome::with_error(Outcome::Kind::failed, "TASK_EXECUTION_FAILED",
                                   "the interpreter reported an error that cannot be read");

    Outcome outcome = Outcome::only(kind);
    if (const json::value *after = given->if_contains("retry_in")) {
        if (after->is_number())
            outcome.retry_in = after->to_number<double>(error);
        given->erase("retry_in");
    }
    outcome.error = std::move(*given);
    return outcome;
}

std::string text_in(const json::object &error, const char *name)
{
    const json::value *value = error.if_contains(name);
    return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

/// The answer, with what is known besides: an error may be about memory or a full disk although its name is not, as when
/// a program that the task had started was killed for it.  How the interpreter ended says nothing about an error that it
/// had told before: what was left of it then, we may have killed.
Outcome judged(Outcome answer, const ProcessEnd &end)
{
    answer.usage = end.usage;
    if (answer.kind == Outcome::Kind::completed)
        return answer;
    const bool          is_oom  = answer.kind == Outcome::Kind::oom; // whatever the name of its class
    const std::string   name    = is_oom ? "MemoryError" : text_in(answer.error, "name");
    const std::string   message = text_in(answer.error, "message");
    const core::Finding found   = core::cause_of(core::Death{.oom_kills     = end.oom_kills,
                                                             .peak_share    = peak_share(end),
                                                             .words         = end.last_words,
                                                             .error_name    = name,
                                                             .error_message = message});
    if (!core::is_memory(found.cause) && found.cause != core::Cause::disk_full)
        return answer;
    answer.error["code"]     = core::code_of(found.cause);
    answer.error["evidence"] = clean_text(found.evidence);
    add_last_words(answer, end);
    if (core::is_memory(found.cause)) {
        answer.kind = Outcome::Kind::oom;
        add_memory(answer, end);
    }
    return answer;
}

} // namespace

PythonAnswer::PythonAnswer(std::size_t longest_output, Control &control,
                           std::function<void(std::string_view word)> heard)
    : longest_output_{longest_output}, control_{control}, heard_{std::move(heard)},
      lines_{std::max({longest_output, longest_error, AttemptNotes::longest}) + 64,
             [this](std::string_view line, LineSplitter::Extent extent) { take(line, extent); }}
{
}

void PythonAnswer::take(std::string_view line, LineSplitter::Extent extent)
{
    const auto             space = line.find(' ');
    const std::string_view word  = line.substr(0, space);
    const std::string_view text  = space == std::string_view::npos ? "" : line.substr(space + 1);
    if (word == "metadata" || word == "tags")
        return note(word, text, extent);
    if (!outcome_) {
        if (word == "output" && (extent == LineSplitter::Extent::cut || text.size() > longest_output_))
            outcome_ = Outcome::with_error(Outcome::Kind::failed, "TASK_OUTPUT_ERROR",
                                           "the output is longer than " + std::to_string(longest_output_) +
                                               " bytes");
        else if (word == "output") {
            auto output = json_for_database(text);
            outcome_    = output ? Outcome::completed(std::move(*output))
                                 : Outcome::with_error(Outcome::Kind::failed, "TASK_OUTPUT_ERROR",
                                                       "the output is not JSON that a database keeps");
        } else if (word == "error") {
            outcome_ = outcome_of_error(Outcome::Kind::failed, text);
        } else if (word == "oom") {
            outcome_ = outcome_of_error(Outcome::Kind::oom, text);
        }
    }
    if (heard_)
        heard_(word);
}

void PythonAnswer::note(std::string_view word, std::string_view text, LineSplitter::Extent extent)
{
    AttemptNotes     &notes   = control_.notes();
    const std::string problem = extent == LineSplitter::Extent::cut ? "the message is too long"
                                : word == "tags"                    ? notes.add_tags(text)
                                                                    : notes.set_metadata(text);
    if (!problem.empty())
        control_.log().add("stderr", "[sluice] " + std::string{word} + " not kept: " + problem,
                           BootClock::now());
}

std::optional<StopReason> stop_that_counts(const Control &control, bool answered_before)
{
    const auto stopped = control.stopped();
    return answered_before && stopped != StopReason::canceled ? std::nullopt : stopped;
}

Outcome python_stalled(const std::optional<Outcome> &answer, double seconds, const ProcessEnd &end)
{
    if (answer && answer->kind == Outcome::Kind::completed)
        return python_verdict(answer, end);
    Outcome outcome = Outcome::with_error(Outcome::Kind::crashed, "TASK_RUN_STALLED_EXECUTING",
                                          "the task gave no heartbeat for " +
                                              std::to_string(static_cast<long>(seconds)) + " seconds");
    outcome.usage   = end.usage;
    return outcome;
}

Outcome python_verdict(const std::optional<Outcome> &answer, const ProcessEnd &end)
{
    // Work that is done stays done, even if we were about to stop it; only a dead token has no use for it.  An error of
    // one that was stopped is what became of that.
    if (answer &&
        (answer->kind == Outcome::Kind::completed ? end.stopped != StopReason::canceled : !end.stopped))
        return judged(*answer, end);
    if (end.stopped || end.exec_error || !WIFEXITED(end.wait_status) || WEXITSTATUS(end.wait_status) != 0)
        return verdict(end);

    Outcome outcome            = Outcome::with_error(Outcome::Kind::failed, "TASK_EXECUTION_FAILED",
                                                     "the interpreter ended before the task had returned");
    outcome.error["exit_code"] = 0;
    outcome.usage              = end.usage;
    if (!end.last_words.empty())
        outcome.error["stderr"] = clean_text(end.last_words);
    return outcome;
}

} // namespace sluice::sidecar
