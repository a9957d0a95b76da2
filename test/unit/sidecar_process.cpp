// The pure parts of running programs: lines, logs, outputs, verdicts, and which program may run.
#include "run/attempt_log.hpp"
#include "run/line_splitter.hpp"
#include "run/output_line.hpp"
#include "run/program.hpp"
#include "run/verdict.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <random>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice::sidecar {
namespace {

using Lines = std::vector<std::string>;

TEST(SidecarLines, do_not_depend_on_how_the_bytes_arrive)
{
    std::minstd_rand random{11};
    for (int round = 0; round < 500; ++round) {
        std::string text;
        for (int i = 0; i < 200; ++i)
            text += random() % 9 == 0 ? '\n' : static_cast<char>('a' + random() % 26);

        Lines expected;
        for (std::size_t begin = 0; begin < text.size();) {
            const auto end = std::min(text.find('\n', begin), text.size());
            expected.push_back(text.substr(begin, std::min<std::size_t>(end - begin, 12)));
            begin = end + 1;
        }

        Lines        seen;
        LineSplitter splitter{12,
                              [&](std::string_view line, LineSplitter::Extent) { seen.emplace_back(line); }};
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t count = 1 + random() % 17;
            splitter.feed(std::string_view{text}.substr(at, count));
            at += count;
        }
        splitter.finish();
        ASSERT_EQ(seen, expected);
    }
}

TEST(SidecarLines, a_long_line_is_cut_and_says_so)
{
    std::vector<std::pair<std::string, bool>> seen;
    LineSplitter splitter{4, [&](std::string_view line, LineSplitter::Extent extent) {
                              seen.emplace_back(line, extent == LineSplitter::Extent::cut);
                          }};
    splitter.feed("abcd\nabcdefgh\nab\r\n");
    splitter.feed("last");
    splitter.finish();
    const std::vector<std::pair<std::string, bool>> expected{
        {"abcd", false}, {"abcd", true}, {"ab", false}, {"last", false}};
    EXPECT_EQ(seen, expected);
}

TEST(SidecarAttemptLog, keeps_what_fits_and_counts_the_rest)
{
    AttemptLog    log{{.bytes = 40, .line_bytes = 8}};
    const Instant now{};
    log.add("stdout", "12345678", now);
    log.add("stderr", "1234567890", now); // is cut, and with its mark fills the log
    for (int i = 0; i < 5; ++i)
        log.add("stdout", "more", now);
    log.close(now);
    const auto portion = log.unsent(now + std::chrono::seconds{1}, {.lines = 10, .bytes = 1000});
    const auto lines   = boost::json::parse(portion.json).as_array();
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_EQ(portion.mark, 3U);
    EXPECT_TRUE(portion.is_all);
    EXPECT_EQ(lines[1].at("stream").as_string(), "stderr");
    EXPECT_EQ(lines[1].at("age_ms").as_int64(), 1000);
    EXPECT_NE(lines[1].at("line").as_string().find("2 more bytes"), std::string::npos);
    EXPECT_EQ(lines[2].at("seq").as_int64(), 2);
    EXPECT_NE(lines[2].at("line").as_string().find("5 further lines were dropped"), std::string::npos);
    log.forget_up_to(portion.mark);
    EXPECT_FALSE(log.has_unsent());
}

TEST(SidecarAttemptLog, bounds_the_number_of_blank_lines_too)
{
    AttemptLog log{{.bytes = 16'000, .line_bytes = 8}};
    for (int i = 0; i < 16'000; ++i)
        log.add("stdout", "", Instant{});
    EXPECT_EQ(log.unsent(Instant{}, {.lines = 20'000, .bytes = 1'000'000}).size.lines, 1000U);
}

TEST(SidecarAttemptLog, hands_out_portions_and_one_line_at_least)
{
    AttemptLog log{{}};
    for (const char *line : {"1", "2", "a line that is longer than a portion", "4"})
        log.add("stdout", line, Instant{});
    std::vector<std::uint64_t> marks;
    while (log.has_unsent()) {
        const auto portion = log.unsent(Instant{}, {.lines = 2, .bytes = 32});
        EXPECT_EQ(portion.is_all, portion.mark == 4U);
        marks.push_back(portion.mark);
        log.forget_up_to(portion.mark);
    }
    EXPECT_EQ(marks, (std::vector<std::uint64_t>{2, 3, 4}));
}

TEST(SidecarOutput, is_the_last_line_that_is_json)
{
    using Extent = LineSplitter::Extent;
    OutputLine output;
    output.add("starting", Extent::whole);
    EXPECT_EQ(output.json(), "");
    output.add(R"({"a": 1})", Extent::whole);
    output.add("nearly done", Extent::whole);
    EXPECT_EQ(output.json(), R"({"a": 1})");
    output.add("[2]", Extent::whole);
    EXPECT_EQ(output.json(), "[2]");
    output.add("[333", Extent::cut);
    EXPECT_NE(output.problem(), "");
    output.add("null", Extent::whole);
    EXPECT_EQ(output.problem(), "");
    EXPECT_EQ(output.json(), "null");
}

struct Exit {
    static int code(int value) { return W_EXITCODE(value, 0); }
    static int signal(int value) { return W_EXITCODE(0, value); }
};

TEST(SidecarVerdict, an_end_has_one_outcome)
{
    using Kind = Outcome::Kind;
    struct Case {
        const char *what;
        ProcessEnd  end;
        Kind        kind;
        const char *code;
    };
    const auto end = [](int status) {
        ProcessEnd made;
        made.wait_status = status;
        made.program     = "/bin/x";
        return made;
    };
    const auto stopped = [&](StopReason reason) {
        ProcessEnd made = end(Exit::signal(SIGKILL));
        made.stopped    = reason;
        return made;
    };
    const auto unstarted = [&](int error) {
        ProcessEnd made = end(Exit::code(127));
        made.exec_error = error;
        return made;
    };
    const auto counted = [&](std::int64_t kills) {
        ProcessEnd made = end(Exit::signal(SIGKILL));
        made.oom_kills  = kills;
        return made;
    };
    const auto said = [&](const char *words) {
        ProcessEnd made = end(Exit::code(1));
        made.last_words = words;
        return made;
    };
    ProcessEnd too_long     = end(Exit::code(0));
    too_long.output_problem = "the output is longer than 5 bytes";

    const Case cases[] = {
        {"a clean exit completes", end(Exit::code(0)), Kind::completed, ""},
        {"an exit code fails", end(Exit::code(3)), Kind::failed, "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE"},
        {"127 by the program itself is an exit code", end(Exit::code(127)), Kind::failed,
         "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE"},
        {"SIGTERM from elsewhere", end(Exit::signal(SIGTERM)), Kind::crashed, "TASK_PROCESS_SIGTERM"},
        {"SIGSEGV", end(Exit::signal(SIGSEGV)), Kind::crashed, "TASK_PROCESS_SIGSEGV"},
        {"SIGKILL not by us", end(Exit::signal(SIGKILL)), Kind::oom, "TASK_PROCESS_MAYBE_OOM_KILLED"},
        {"SIGKILL that the kernel did not send", counted(0), Kind::crashed, "TASK_RUN_CRASHED"},
        {"SIGKILL by the kernel, for memory", counted(1), Kind::oom, "TASK_PROCESS_OOM_KILLED"},
        {"words of memory", said("MemoryError\n"), Kind::oom, "TASK_PROCESS_OOM_KILLED"},
        {"words of a full disk", said("x: No space left on device\n"), Kind::failed, "DISK_SPACE_EXCEEDED"},
        {"SIGABRT", end(Exit::signal(SIGABRT)), Kind::crashed, "TASK_RUN_CRASHED"},
        {"SIGKILL by us for time", stopped(StopReason::timed_out), Kind::timed_out, "MAX_DURATION_EXCEEDED"},
        {"SIGKILL by us for a dead token", stopped(StopReason::canceled), Kind::canceled, ""},
        {"SIGKILL by us because we leave", stopped(StopReason::drained), Kind::released, ""},
        {"no such program", unstarted(ENOENT), Kind::failed, "COULD_NOT_FIND_EXECUTOR"},
        {"not executable", unstarted(EACCES), Kind::failed, "CONFIGURED_INCORRECTLY"},
        {"no processes left may pass", unstarted(EAGAIN), Kind::failed, "TASK_EXECUTION_ABORTED"},
        {"an output that is too long", too_long, Kind::failed, "TASK_OUTPUT_ERROR"},
    };
    for (const Case &c : cases) {
        const Outcome outcome = verdict(c.end);
        EXPECT_EQ(outcome.kind, c.kind) << c.what;
        const auto *code = outcome.error.if_contains("code");
        EXPECT_EQ(code == nullptr ? std::string{} : std::string{code->as_string()}, c.code) << c.what;
    }
}

TEST(SidecarVerdict, details_are_in_the_error)
{
    ProcessEnd end;
    end.wait_status = Exit::code(3);
    end.last_words  = "oops\n";
    EXPECT_EQ(boost::json::serialize(verdict(end).error),
              R"({"code":"TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE","message":"process exited with code 3",)"
              R"("exit_code":3,"stderr":"oops\n"})");
    end.wait_status = Exit::signal(SIGSEGV);
    EXPECT_EQ(verdict(end).error.at("signal").as_string(), "SIGSEGV");
}

TEST(SidecarVerdict, an_end_for_want_of_memory_shows_limit_peak_and_evidence)
{
    ProcessEnd end;
    end.wait_status = Exit::signal(SIGKILL);
    end.oom_kills   = 1;
    end.usage       = Usage{
              .machine = "micro", .enforced_by = "cgroup", .memory_limit = 268435456, .peak_memory = 268435400};
    const Outcome outcome = verdict(end);
    EXPECT_EQ(
        boost::json::serialize(outcome.error),
        R"({"code":"TASK_PROCESS_OOM_KILLED","message":"process was ended by SIGKILL","signal":"SIGKILL",)"
        R"("evidence":"the oom_kill counter of its control group is 1","machine":"micro","enforced_by":"cgroup",)"
        R"("memory_limit":268435456,"peak_memory":268435400})");
    EXPECT_NE(outcome_json("t", outcome).find(R"("usage":{"machine":"micro","enforced_by":"cgroup")"),
              std::string::npos);
}

TEST(SidecarVerdict, words_are_found_far_from_the_end_and_the_end_is_shown)
{
    LastWords words;
    words.add("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory");
    for (int i = 0; i < 100; ++i)
        words.add(" 1: 0xb090e0 node::Abort() [node], a line of a long native stack " + std::to_string(i));
    ProcessEnd end;
    end.wait_status       = Exit::signal(SIGABRT);
    end.last_words        = words.text();
    const Outcome outcome = verdict(end);
    EXPECT_EQ(outcome.kind, Outcome::Kind::oom);
    EXPECT_LE(outcome.error.at("stderr").as_string().size(), 2048U);
    EXPECT_TRUE(std::string_view{outcome.error.at("stderr").as_string()}.starts_with(" 1: 0x"));
}

TEST(SidecarVerdict, last_words_are_whole_lines)
{
    LastWords words{2048};
    for (int i = 0; i < 1000; ++i)
        words.add("line " + std::to_string(i));
    EXPECT_LE(words.text().size(), 2048U);
    EXPECT_TRUE(words.text().starts_with("line "));
    EXPECT_TRUE(words.text().ends_with("line 999\n"));
    words.add(std::string(5000, 'x'));
    EXPECT_EQ(words.text().size(), 2048U);
}

TEST(SidecarOutcome, json)
{
    EXPECT_EQ(outcome_json("t", Outcome::completed("[1]")),
              R"({"token":"t","outcome":"completed","output":[1]})");
    EXPECT_EQ(outcome_json("t", Outcome::completed("")), R"({"token":"t","outcome":"completed"})");
    EXPECT_EQ(outcome_json("t", Outcome::failed_for_good("C", "m")),
              R"({"token":"t","outcome":"failed","error":{"code":"C","message":"m","retryable":false}})");
}

/// A directory with a program, a link that leads out of it, and nothing else.
class Directory {
public:
    Directory()
    {
        std::string name = "/tmp/sluice-unit-XXXXXX";
        path_            = ::mkdtemp(name.data());
        std::filesystem::copy_file("/bin/true", path_ + "/program");
        std::filesystem::create_symlink("/bin/true", path_ + "/link");
    }
    ~Directory() { std::filesystem::remove_all(path_); }
    Directory(const Directory &)            = delete;
    Directory &operator=(const Directory &) = delete;

    const std::string &path() const { return path_; }

private:
    std::string path_;
};

TEST(SidecarProgram, may_run_only_from_the_allowed_directories)
{
    const Directory    directory;
    const std::string &d = directory.path();
    ProcessSettings    open;
    open.directories = {d};
    ProcessSettings shell;
    shell.allow_shell = true;
    const ProcessSettings closed;

    struct Case {
        const char            *what;
        std::string            options;
        const ProcessSettings &settings;
        const char            *code; ///< empty: it may run
    };
    const Case cases[] = {
        {"a program in the directory", R"({"argv":["@/program","x"]})", open, ""},
        {"with all options",
         R"({"argv":["@/program"],"env":{"A":"b"},"cwd":"/tmp","output":"fd:3","grace_seconds":0.5})", open,
         ""},
        {"nulls are as good as nothing", R"({"argv":["@/program"],"shell":null,"env":null,"cwd":null})", open,
         ""},
        {"no directories, no programs", R"({"argv":["@/program"]})", closed, "CONFIGURED_INCORRECTLY"},
        {"a program elsewhere", R"({"argv":["/bin/true"]})", open, "CONFIGURED_INCORRECTLY"},
        {"a link that leads out", R"({"argv":["@/link"]})", open, "CONFIGURED_INCORRECTLY"},
        {"dots that lead out", R"({"argv":["@/../../bin/true"]})", open, "CONFIGURED_INCORRECTLY"},
        {"dots that lead out to nothing", R"({"argv":["@/../nothing"]})", open, "CONFIGURED_INCORRECTLY"},
        {"a neighbour with the same beginning", R"({"argv":["@x/program"]})", open, "CONFIGURED_INCORRECTLY"},
        {"missing", R"({"argv":["@/nothing"]})", open, "COULD_NOT_FIND_EXECUTOR"},
        {"a bare name", R"({"argv":["program"]})", open, "CONFIGURED_INCORRECTLY"},
        {"no argv", R"({})", open, "CONFIGURED_INCORRECTLY"},
        {"an empty argv", R"({"argv":[]})", open, "CONFIGURED_INCORRECTLY"},
        {"a number in argv", R"({"argv":["@/program",1]})", open, "CONFIGURED_INCORRECTLY"},
        {"NUL in argv", R"({"argv":["@/program","a\u0000b"]})", open, "CONFIGURED_INCORRECTLY"},
        {"a variable with =", R"({"argv":["@/program"],"env":{"A=B":"c"}})", open, "CONFIGURED_INCORRECTLY"},
        {"a relative cwd", R"({"argv":["@/program"],"cwd":"tmp"})", open, "CONFIGURED_INCORRECTLY"},
        {"the longest grace", R"({"argv":["@/program"],"grace_seconds":3600})", open, ""},
        {"a longer grace", R"({"argv":["@/program"],"grace_seconds":3601})", open, "CONFIGURED_INCORRECTLY"},
        {"an unknown output", R"({"argv":["@/program"],"output":"fd:9"})", open, "CONFIGURED_INCORRECTLY"},
        {"a shell that is not allowed", R"({"shell":"true"})", open, "CONFIGURED_INCORRECTLY"},
        {"a shell that is", R"({"shell":"true"})", shell, ""},
    };
    for (const Case &c : cases) {
        std::string options = c.options;
        for (auto at = options.find('@'); at != std::string::npos; at = options.find('@'))
            options.replace(at, 1, d);
        const auto  found = find_program(boost::json::parse(options).as_object(), c.settings);
        std::string code;
        if (const auto *refusal = std::get_if<Outcome>(&found)) {
            code = std::string{refusal->error.at("code").as_string()};
            EXPECT_EQ(refusal->error.at("retryable"), false) << c.what;
        }
        EXPECT_EQ(code, c.code) << c.what;
    }
}

} // namespace
} // namespace sluice::sidecar
