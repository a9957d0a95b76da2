// Real programs on a real event loop, without a database: nothing that a program does keeps us waiting, and nothing
// of it stays behind.
#include "run/process_executor.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <fcntl.h>
#include <unistd.h>

namespace sluice::sidecar {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = Outcome::Kind;

struct Ran {
    Outcome     outcome;
    std::string lines;
    Duration    took{};
};

std::string unsent(Control &control)
{
    return control.log().unsent(BootClock::now(), {.lines = 100'000, .bytes = 4 << 20}).json;
}

/// Runs one shell command as an attempt; `after` may stop it once it has said "go".
Ran run_shell(const std::string &command, std::optional<std::string> payload = std::nullopt,
              boost::json::object more = {}, std::function<void(Control &)> after_go = {},
              std::function<void(Control &)> before = {})
{
    Loop            loop;
    ProcessSettings settings;
    settings.allow_shell      = true;
    settings.max_output_bytes = 100'000;
    Machines        machines{loop, {}};
    ProcessExecutor executor{machines, settings, [](const std::string &name) {
                                 return name == "STRIPE_KEY" ? std::optional<std::string>{"of the sidecar"}
                                                             : std::nullopt;
                             }};

    Job job;
    job.token            = "00000000-0000-8000-8000-000000000001";
    job.run_id           = "7";
    job.attempt          = 2;
    job.task             = "unit";
    job.options          = std::move(more);
    job.options["shell"] = command;
    job.payload          = std::move(payload);
    Control control{AttemptLog::Limits{}};
    if (before)
        before(control);

    Ran           ran;
    bool          ended = false;
    const Instant begin = BootClock::now();
    asio::co_spawn(
        loop.io,
        [](Executor &on, const Job &what, Control &with, Ran &result) -> Task<> {
            result.outcome = co_await on.run(what, with);
        }(executor, job, control, ran),
        [&ended](const std::exception_ptr &failure) {
            ended = true;
            if (failure)
                std::rethrow_exception(failure);
        });
    bool          went  = !after_go;
    const Instant limit = begin + seconds{20};
    while (!ended && BootClock::now() < limit) {
        loop.io.run_one_for(milliseconds{20});
        if (!went && unsent(control).find("\"go\"") != std::string::npos) {
            went = true;
            after_go(control);
        }
    }
    EXPECT_TRUE(ended) << "the attempt did not end: " << command;
    ran.took  = BootClock::now() - begin;
    ran.lines = unsent(control);
    return ran;
}

std::string code_of(const Ran &ran)
{
    const auto *code = ran.outcome.error.if_contains("code");
    return code == nullptr ? "" : std::string{code->as_string()};
}

/// A killed process remains until it is reaped, which the next sweep of any loop does.
bool is_gone(const std::string &pid)
{
    Loop          loop;
    const Instant limit = BootClock::now() + seconds{5};
    while (::kill(static_cast<pid_t>(std::stol(pid)), 0) == 0 && BootClock::now() < limit) {
        ::raise(SIGCHLD);
        loop.io.run_one_for(milliseconds{20});
    }
    return ::kill(static_cast<pid_t>(std::stol(pid)), 0) != 0;
}

TEST(SidecarChild, gets_its_payload_and_gives_its_output)
{
    const Ran ran = run_shell("cat", R"({"a": 1})");
    EXPECT_EQ(ran.outcome.kind, Kind::completed);
    EXPECT_EQ(ran.outcome.output, R"({"a": 1})");
}

TEST(SidecarChild, no_payload_is_an_empty_input)
{
    EXPECT_EQ(run_shell("wc -c").outcome.output, "0");
}

TEST(SidecarChild, a_large_payload_passes_through)
{
    const std::string text = "\"" + std::string(90'000, 'x') + "\"";
    EXPECT_EQ(run_shell("cat", text).outcome.output, text);
}

TEST(SidecarChild, need_not_read_its_payload)
{
    const Ran ran = run_shell("exec <&-; echo 1", "\"" + std::string(3'000'000, 'x') + "\"");
    EXPECT_EQ(ran.outcome.kind, Kind::completed);
}

TEST(SidecarChild, may_answer_on_descriptor_3)
{
    const Ran ran = run_shell("echo noise; printf '{\"b\":\\n2}' >&3", std::nullopt, {{"output", "fd:3"}});
    EXPECT_EQ(ran.outcome.output, "{\"b\":\n2}");
    EXPECT_EQ(code_of(run_shell("echo junk >&3", std::nullopt, {{"output", "fd:3"}})), "TASK_OUTPUT_ERROR");
}

TEST(SidecarChild, an_output_over_the_limit_fails)
{
    EXPECT_EQ(code_of(run_shell("printf '\"%0200000d\"\\n' 1")), "TASK_OUTPUT_ERROR");
}

TEST(SidecarChild, has_only_its_own_descriptors)
{
    const int leaked = ::open("/dev/null", O_RDONLY); // deliberately without close-on-exec
    EXPECT_EQ(run_shell("ls /proc/self/fd | tr '\\n' ' '; echo").lines.find(" 4"), std::string::npos);
    // The shell's list: 0 1 2 and the directory that ls reads.
    EXPECT_NE(run_shell("ls /proc/self/fd | tr '\\n' ' '; echo").lines.find("0 1 2 3 "), std::string::npos);
    ::close(leaked);
}

TEST(SidecarChild, knows_what_it_works_on)
{
    const Ran ran = run_shell("echo $SLUICE_RUN_ID $SLUICE_ATTEMPT $SLUICE_TASK $MINE $PWD", std::nullopt,
                              {{"env", {{"MINE", "x"}, {"SLUICE_TASK", "forged"}}}, {"cwd", "/tmp"}});
    EXPECT_NE(ran.lines.find("7 2 unit x /tmp"), std::string::npos) << ran.lines;
}

TEST(SidecarChild, has_the_secrets_that_its_task_names)
{
    const boost::json::object named{{"secrets", {"STRIPE_KEY"}}, {"env", {{"STRIPE_KEY", "of the task"}}}};
    EXPECT_NE(run_shell("echo \"it is $STRIPE_KEY\"", std::nullopt, named).lines.find("it is of the sidecar"),
              std::string::npos);
    EXPECT_NE(run_shell("echo \"it is ${STRIPE_KEY-unset}\"").lines.find("it is unset"), std::string::npos);

    const Ran ran = run_shell("echo started", std::nullopt, {{"secrets", {"STRIPE_KEY", "OTHER_KEY"}}});
    EXPECT_EQ(code_of(ran), "CONFIGURED_INCORRECTLY");
    EXPECT_EQ(ran.outcome.error.at("message"), "this sidecar has no secret \"OTHER_KEY\"");
    EXPECT_EQ(ran.lines.find("started"), std::string::npos);
}

TEST(SidecarChild, inherits_only_what_is_allowed)
{
    ::setenv("SLUICE_DATABASE_URL", "secret", 1);
    EXPECT_EQ(run_shell("env").lines.find("secret"), std::string::npos);
    ::unsetenv("SLUICE_DATABASE_URL");
}

TEST(SidecarChild, has_the_default_signals)
{
    ::signal(SIGPIPE, SIG_IGN);
    const Ran  ran  = run_shell("sed -n 's/^SigIgn:[^0-9a-f]*/ignored=/p' /proc/self/status");
    const auto mask = ran.lines.find("ignored=");
    ASSERT_NE(mask, std::string::npos) << ran.lines;
    // 32 and 33 belong to the C library, which lets nobody set them; whoever started us may have left them ignored.
    const auto ignored =
        std::stoull(ran.lines.substr(mask + std::string_view{"ignored="}.size(), 16), nullptr, 16);
    EXPECT_EQ(ignored & 0x7fff'ffffULL, 0U) << ran.lines;
}

TEST(SidecarChild, a_directory_that_is_missing_is_said)
{
    EXPECT_EQ(run_shell("true", std::nullopt, {{"cwd", "/nowhere"}}).outcome.kind, Kind::failed);
}

TEST(SidecarChild, a_signal_is_named)
{
    const Ran ran = run_shell("kill -SEGV $$");
    EXPECT_EQ(ran.outcome.kind, Kind::crashed);
    EXPECT_EQ(code_of(ran), "TASK_PROCESS_SIGSEGV");
}

TEST(SidecarChild, closing_its_output_does_not_end_it)
{
    const Ran ran = run_shell("exec >&- 2>&-; sleep 0.2; exit 4");
    EXPECT_EQ(ran.outcome.error.at("exit_code"), 4);
}

TEST(SidecarChild, a_grandchild_that_holds_the_pipe_neither_delays_nor_survives)
{
    const Ran ran = run_shell("sleep 60 & echo $!");
    EXPECT_EQ(ran.outcome.kind, Kind::completed);
    EXPECT_LT(ran.took, seconds{10});
    EXPECT_TRUE(is_gone(ran.outcome.output));
}

TEST(SidecarChild, what_was_stopped_before_it_began_is_never_started)
{
    for (const Force force : {Force::polite, Force::firm}) {
        const Ran ran = run_shell("echo started; sleep 60", std::nullopt, {{"grace_seconds", 3600}}, {},
                                  [force](Control &control) { control.stop(StopReason::drained, force); });
        EXPECT_EQ(ran.outcome.kind, Kind::released);
        EXPECT_EQ(ran.lines, "[]");
    }
}

TEST(SidecarChild, a_daemon_does_not_survive)
{
    // A new session, so that killing the group does not reach it; it writes its pid and lets its parents end.
    const Ran ran = run_shell("setsid sh -c '(sleep 60 >/dev/null 2>&1 & echo $! >&2) '; sleep 0.1; exit 0");
    EXPECT_EQ(ran.outcome.kind, Kind::completed);
    const auto at = ran.lines.find("\"line\":\"");
    ASSERT_NE(at, std::string::npos);
    const std::string pid = ran.lines.substr(at + 8, ran.lines.find('"', at + 8) - at - 8);
    EXPECT_TRUE(is_gone(pid));
}

TEST(SidecarChild, stops_when_asked_politely)
{
    const Ran ran =
        run_shell("trap 'echo bye; exit 0' TERM; echo go; while :; do sleep 0.05; done", std::nullopt, {},
                  [](Control &control) { control.stop(StopReason::timed_out); });
    EXPECT_EQ(ran.outcome.kind, Kind::timed_out);
    EXPECT_NE(ran.lines.find("bye"), std::string::npos);
}

TEST(SidecarChild, is_killed_when_it_does_not_listen)
{
    const Ran ran =
        run_shell("trap '' TERM; echo go; while :; do sleep 0.05; done", std::nullopt,
                  {{"grace_seconds", 0.2}}, [](Control &control) { control.stop(StopReason::canceled); });
    EXPECT_EQ(ran.outcome.kind, Kind::canceled);
    EXPECT_LT(ran.took, seconds{10});
}

TEST(SidecarChild, bytes_that_are_no_text_are_replaced)
{
    const Ran ran = run_shell("printf 'a\\000b\\377c\\n'; printf '\"x\\377\"\\n'");
    EXPECT_EQ(ran.outcome.output, "\"x\xEF\xBF\xBD\"");
    EXPECT_NE(ran.lines.find("a\xEF\xBF\xBD"), std::string::npos);
}

TEST(SidecarChild, talking_a_lot_is_bounded)
{
    const Ran ran = run_shell("yes 0123456789012345678901234567890123456789 | head -c 5000000");
    EXPECT_LT(ran.lines.size(), 4'000'000U);
    EXPECT_NE(ran.lines.find("further lines were dropped"), std::string::npos);
}

} // namespace
} // namespace sluice::sidecar
