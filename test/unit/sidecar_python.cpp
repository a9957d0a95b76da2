// What becomes of a Python task's answer: judged by what is known besides, and not by what we did to the interpreter.
#include "run/python_answer.hpp"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include <csignal>
#include <optional>
#include <string>

namespace sluice::sidecar {
namespace {

using Kind = Outcome::Kind;

constexpr const char *value_error =
    R"(error {"code":"TASK_EXECUTION_FAILED","name":"ValueError","message":"7"})";
constexpr const char *memory_error =
    R"(oom {"code":"TASK_PROCESS_OOM_KILLED","name":"Mine","message":"it could not"})";

std::optional<Outcome> answer_of(const std::string &line)
{
    Control      control{AttemptLog::Limits{}};
    PythonAnswer answer{1000, control, nullptr};
    answer.feed(line + "\n");
    return answer.outcome();
}

ProcessEnd used(double share, ProcessEnd end)
{
    Usage usage;
    usage.machine      = "micro";
    usage.enforced_by  = end.oom_kills ? "cgroup" : "rlimit";
    usage.memory_limit = 1000;
    usage.peak_memory  = static_cast<std::uint64_t>(share * 1000);
    end.usage          = usage;
    return end;
}

ProcessEnd killed()
{
    ProcessEnd end;
    end.wait_status = SIGKILL;
    return end;
}

ProcessEnd said(const std::string &words)
{
    ProcessEnd end;
    end.last_words = words;
    return end;
}

ProcessEnd counted(std::int64_t kills, ProcessEnd end = {})
{
    end.oom_kills = kills;
    return end;
}

ProcessEnd stopped(StopReason reason, ProcessEnd end)
{
    end.stopped = reason;
    return end;
}

TEST(SidecarPythonVerdict, is_the_answer_and_what_is_known_besides)
{
    struct Case {
        const char *what;
        const char *answer; ///< empty: none
        ProcessEnd  end;
        Kind        kind;
        const char *in_error;
    };
    const Case cases[] = {
        {"an output", "output 7", {}, Kind::completed, ""},
        {"an output, though a helper was killed", "output 7", counted(1), Kind::completed, ""},
        {"an output, though it was stopped then", "output 7", stopped(StopReason::timed_out, killed()),
         Kind::completed, ""},
        {"an output that nobody wants", "output 7", stopped(StopReason::canceled, killed()), Kind::canceled,
         ""},

        {"an error", value_error, {}, Kind::failed, R"("name":"ValueError")"},
        {"an error, and we killed what was left", value_error, killed(), Kind::failed,
         R"("code":"TASK_EXECUTION_FAILED")"},
        {"an error, because a helper was killed", value_error, used(0.9, counted(1)), Kind::oom,
         R"("peak_memory":900)"},
        {"an error, and what its program wrote", value_error, used(0.9, said("cc1: out of memory\n")),
         Kind::oom, R"("stderr":"cc1: out of memory\n")"},
        {"the same, but hardly anything was used", value_error, used(0.1, said("cc1: out of memory\n")),
         Kind::failed, R"("code":"TASK_EXECUTION_FAILED")"},
        {"an error about the disk", value_error, said("cp: No space left on device\n"), Kind::failed,
         R"("code":"DISK_SPACE_EXCEEDED")"},
        {"with its evidence", value_error, said("cp: No space left on device\n"), Kind::failed,
         R"("evidence":"it said \"No space left on device\"")"},
        {"and its own name", value_error, said("cp: No space left on device\n"), Kind::failed,
         R"("name":"ValueError")"},

        {"want of memory by limits of the process", memory_error, used(0.9, {}), Kind::oom,
         R"("evidence":"its error is a MemoryError")"},
        {"with its machine", memory_error, used(0.9, {}), Kind::oom,
         R"("machine":"micro","enforced_by":"rlimit","memory_limit":1000,"peak_memory":900)"},
        {"with its message", memory_error, used(0.9, {}), Kind::oom, R"("message":"it could not")"},

        {"an error of one that was out of time", value_error, stopped(StopReason::timed_out, {}),
         Kind::timed_out, ""},
        {"want of memory in one that was out of time", memory_error,
         stopped(StopReason::timed_out, counted(1)), Kind::timed_out, ""},
        {"want of memory in one that was given back", memory_error, stopped(StopReason::drained, counted(1)),
         Kind::released, ""},
        {"want of memory in one that was canceled", memory_error, stopped(StopReason::canceled, counted(1)),
         Kind::canceled, ""},
        {"no answer, by us, though the group counted", "",
         stopped(StopReason::timed_out, counted(1, killed())), Kind::timed_out, ""},
        {"no answer, by the kernel", "", counted(1, killed()), Kind::oom, "oom_kill counter"},
    };
    for (const Case &c : cases) {
        const Outcome found = python_verdict(answer_of(c.answer), c.end);
        EXPECT_EQ(found.kind, c.kind) << c.what;
        const std::string error = boost::json::serialize(found.error);
        EXPECT_NE(error.find(c.in_error), std::string::npos) << c.what << ": " << error;
    }
}

TEST(SidecarPythonVerdict, of_a_silent_one_is_that_it_was_unless_it_finished)
{
    EXPECT_EQ(python_stalled(answer_of(""), 1, {}).error.at("code"), "TASK_RUN_STALLED_EXECUTING");
    EXPECT_EQ(python_stalled(answer_of(memory_error), 1, counted(1)).kind, Kind::crashed);
    EXPECT_EQ(python_stalled(answer_of("output 7"), 1, {}).kind, Kind::completed);
}

TEST(SidecarPythonVerdict, of_one_that_had_answered_counts_no_stop_but_a_cancel)
{
    for (const StopReason reason :
         {StopReason::timed_out, StopReason::drained, StopReason::lease_over, StopReason::canceled}) {
        Control control{AttemptLog::Limits{}};
        EXPECT_EQ(stop_that_counts(control, true), std::nullopt);
        control.stop(reason);
        EXPECT_EQ(stop_that_counts(control, false), reason);
        EXPECT_EQ(stop_that_counts(control, true).has_value(), reason == StopReason::canceled);
    }
}

} // namespace
} // namespace sluice::sidecar
