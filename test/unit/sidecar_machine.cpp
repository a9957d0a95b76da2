// Machines on real programs: limits by control groups where this user may make them (root may), by rlimits always; and
// that nothing of an attempt, or of a sidecar that is gone, stays behind.
#include "run/machine.hpp"
#include "run/process_executor.hpp"
#include "run/process_name.hpp"
#include "run/python_executor.hpp"
#include "run/python_helper.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice::sidecar {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind    = Outcome::Kind;
using Version = CgroupPlace::Version;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;

/// Whether control groups can be had; the tests that need them say that they were skipped where not.  Without one that
/// counts processes no bomb is let off.
bool groups_are_there()
{
    try {
        const Cgroups groups{"auto"};
        return std::any_of(groups.places().begin(), groups.places().end(),
                           [](const CgroupPlace &place) { return place.has("pids"); });
    } catch (const std::exception &) {
        return false;
    }
}

#define NEEDS_GROUPS()                                                                                       \
    if (!groups_are_there())                                                                                 \
    GTEST_SKIP() << "no control groups may be made here"

Outcome run_on(const std::string &machine, const std::string &cgroup, const std::string &command,
               std::function<void(Control &)> after_start = {})
{
    Loop            loop;
    MachineSettings settings;
    settings.cgroup        = cgroup;
    settings.max_processes = 64;
    Machines        machines{loop, settings};
    ProcessSettings process;
    process.allow_shell = true;
    ProcessExecutor executor{machines, process, [](const std::string &) { return std::nullopt; }};
    Job             job;
    job.token            = "00000000-0000-8000-8000-000000000002";
    job.run_id           = "8";
    job.machine          = machine;
    job.options["shell"] = command;
    Control control{AttemptLog::Limits{}};
    Outcome outcome;
    bool    ended = false;
    asio::co_spawn(
        loop.io,
        [](Executor &on, const Job &what, Control &with, Outcome &result) -> Task<> {
            const Admission admission = co_await on.admit(what, with);
            result                    = co_await on.run(what, with);
        }(executor, job, control, outcome),
        [&ended](const std::exception_ptr &) { ended = true; });
    const Instant limit = BootClock::now() + seconds{180};
    while (!ended && BootClock::now() < limit) {
        loop.io.run_one_for(milliseconds{20});
        if (after_start &&
            control.log().unsent(BootClock::now(), {.lines = 100, .bytes = 10000}).json.find("\"go\"") !=
                std::string::npos)
            std::exchange(after_start, {})(control);
    }
    EXPECT_TRUE(ended) << command;
    return outcome;
}

std::string code_of(const Outcome &outcome)
{
    const auto *code = outcome.error.if_contains("code");
    return code == nullptr ? "" : std::string{code->as_string()};
}

std::string file_text(const std::string &path)
{
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

bool is_running(pid_t pid)
{
    const std::string stat = file_text("/proc/" + std::to_string(pid) + "/stat");
    const auto        end  = stat.rfind(')');
    return end != std::string::npos && stat[end + 2] != 'Z' && stat[end + 2] != 'X';
}

/// Neither our child nor in our session: as what a killed sidecar leaves to init.
pid_t start_stranger(const std::string &variable, const std::vector<std::string> &groups = {})
{
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t middle = ::fork();
    if (middle == 0) {
        ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
        if (::fork() == 0) {
            for (const std::string &group : groups)
                std::ofstream{group + "/cgroup.procs"} << "0";
            const pid_t                 self    = ::getpid();
            [[maybe_unused]] const auto written = ::write(ends[1], &self, sizeof self);
            ::close(ends[0]);
            ::close(ends[1]);
            const char *const arguments[] = {"/bin/sleep", "79", nullptr};
            const char *const names[]     = {variable.c_str(), nullptr};
            ::execve("/bin/sleep", const_cast<char **>(arguments), const_cast<char **>(names));
            ::_exit(1);
        }
        ::_exit(0);
    }
    ::waitpid(middle, nullptr, 0);
    pid_t stranger = 0;
    EXPECT_EQ(::read(ends[0], &stranger, sizeof stranger), static_cast<ssize_t>(sizeof stranger));
    ::close(ends[0]);
    ::close(ends[1]);
    const Instant limit = BootClock::now() + seconds{5};
    while (file_text("/proc/" + std::to_string(stranger) + "/environ").find(variable) != 0 &&
           BootClock::now() < limit)
        ::usleep(1000);
    return stranger;
}

void expect_gone(pid_t pid)
{
    const Instant limit = BootClock::now() + seconds{5};
    while (is_running(pid) && BootClock::now() < limit)
        ::usleep(1000);
    EXPECT_FALSE(is_running(pid));
}

/// The name that a process would have had which is gone.
std::string dead_name()
{
    std::string name = process_name();
    return name.substr(0, name.rfind('-')) + "-1"; // our pid, but started before anything else was
}

TEST(SidecarCgroup, is_found_in_both_versions)
{
    const std::string hybrid =
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "42 31 0:39 / /sys rw - sysfs sysfs rw\n";
    const std::string own    = "4:memory:/a/b\n3:cpu,cpuacct:/\n0::/a/b\n";
    auto              places = find_cgroup_places("auto", hybrid, own);
    ASSERT_EQ(places.size(), 2U);
    EXPECT_EQ(places[0].directory, "/sys/fs/cgroup/cpu,cpuacct");
    EXPECT_TRUE(places[0].has("cpuacct"));
    EXPECT_EQ(places[1].directory, "/sys/fs/cgroup/memory/a/b");

    places = find_cgroup_places("/sys/fs/cgroup/memory/mine", hybrid, own);
    ASSERT_EQ(places.size(), 2U);
    EXPECT_EQ(places[0].directory, "/sys/fs/cgroup/cpu,cpuacct/mine");
    EXPECT_EQ(places[1].directory, "/sys/fs/cgroup/memory/mine");
    EXPECT_TRUE(find_cgroup_places("/elsewhere", hybrid, own).empty());

    const std::string twice =
        hybrid + "52 1 0:29 / /srv/chroot/sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                 "55 1 0:32 / /srv/chroot/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    EXPECT_EQ(find_cgroup_places("auto", twice, own).size(), 2U);
    EXPECT_EQ(find_cgroup_places("auto", twice, own)[1].directory, "/sys/fs/cgroup/memory/a/b");
    places = find_cgroup_places("/srv/chroot/sys/fs/cgroup/memory/mine", twice, own);
    ASSERT_EQ(places.size(), 2U);
    EXPECT_EQ(places[0].directory, "/sys/fs/cgroup/cpu,cpuacct/mine");
    EXPECT_EQ(places[1].directory, "/srv/chroot/sys/fs/cgroup/memory/mine");

    const std::string two = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
    places                = find_cgroup_places("auto", two, "0::/system.slice/sluiced.service\n");
    ASSERT_EQ(places.size(), 1U);
    EXPECT_EQ(places[0].version, Version::two);
    EXPECT_EQ(places[0].directory, "/sys/fs/cgroup/system.slice/sluiced.service");

    const std::string container = "30 23 0:26 /docker/77 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    EXPECT_EQ(find_cgroup_places("auto", container, "0::/docker/77\n")[0].directory, "/sys/fs/cgroup");
    EXPECT_EQ(find_cgroup_places("auto", container, "0::/docker/77/x\n")[0].directory, "/sys/fs/cgroup/x");
    EXPECT_TRUE(find_cgroup_places("auto", "", "").empty());
}

TEST(SidecarCgroup, counters_are_read_by_their_whole_word)
{
    const char *events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
    EXPECT_EQ(number_behind(events, "oom"), 3U);
    EXPECT_EQ(number_behind(events, "oom_kill"), 2U);
    EXPECT_EQ(number_behind(events, "oom_k"), std::nullopt);
    EXPECT_EQ(number_behind("oom_kill_disable 0\nunder_oom 0\noom_kill 1", "oom_kill"), 1U);
    EXPECT_EQ(number_behind("max max\n", "max"), std::nullopt);
}

TEST(SidecarMachine, more_memory_than_its_machine_has_is_told_by_the_group)
{
    NEEDS_GROUPS();
    const Outcome outcome = run_on("micro", "auto", "head -c 300m /dev/zero | tail");
    EXPECT_EQ(outcome.kind, Kind::oom);
    EXPECT_EQ(code_of(outcome), "TASK_PROCESS_OOM_KILLED");
    EXPECT_EQ(outcome.error.at("enforced_by").as_string(), "cgroup");
    EXPECT_EQ(outcome.error.at("memory_limit").to_number<std::uint64_t>(), 256 * mib);
    EXPECT_GT(outcome.error.at("peak_memory").to_number<std::uint64_t>(), 250 * mib);
    EXPECT_NE(std::string_view{outcome.error.at("evidence").as_string()}.find("oom_kill counter"),
              std::string_view::npos);
    EXPECT_EQ(run_on("medium-1x", "auto", "head -c 300m /dev/zero | tail | wc -c").output, "314572800");
}

TEST(SidecarMachine, a_kill_by_somebody_else_is_no_want_of_memory)
{
    NEEDS_GROUPS();
    const Outcome outcome = run_on("micro", "auto", "kill -KILL $$");
    EXPECT_EQ(outcome.kind, Kind::crashed);
    EXPECT_EQ(code_of(outcome), "TASK_RUN_CRASHED");
}

TEST(SidecarMachine, what_we_kill_was_not_out_of_memory)
{
    NEEDS_GROUPS();
    const Outcome outcome =
        run_on("micro", "auto", "head -c 300m /dev/zero | tail >/dev/null; echo go; sleep 78",
               [](Control &control) { control.stop(StopReason::timed_out, Force::firm); });
    EXPECT_EQ(outcome.kind, Kind::timed_out);
}

TEST(SidecarMachine, without_groups_a_process_is_refused_memory)
{
    const Outcome outcome = run_on("micro", "off", "exec python3 -c 'bytearray(300 << 20)'");
    EXPECT_EQ(outcome.kind, Kind::oom);
    EXPECT_EQ(code_of(outcome), "TASK_PROCESS_OOM_KILLED");
    EXPECT_EQ(outcome.error.at("enforced_by").as_string(), "rlimit");
    EXPECT_NE(std::string_view{outcome.error.at("evidence").as_string()}.find("MemoryError"),
              std::string_view::npos);
    EXPECT_EQ(run_on("small-1x", "off", "exec python3 -c 'bytearray(300 << 20); print(7)'").output, "7");
}

TEST(SidecarMachine, a_fork_bomb_ends_with_its_attempt)
{
    NEEDS_GROUPS();
    const std::string mark = "sluice-bomb-" + std::to_string(::getpid());
    // Each generation is two; the group has room for 64.
    const Outcome outcome = run_on(
        "micro", "auto", "exec bash -c 'echo go; b() { b " + mark + " | b " + mark + " & }; b; sleep 79'",
        [](Control &control) { control.stop(StopReason::timed_out); });
    EXPECT_EQ(outcome.kind, Kind::timed_out);
    for (const auto &entry : std::filesystem::directory_iterator{"/proc"})
        EXPECT_EQ(file_text(entry.path().string() + "/cmdline").find(mark), std::string::npos)
            << entry.path();
}

TEST(SidecarMachine, a_daemon_that_hides_where_it_is_from_ends_with_its_attempt)
{
    NEEDS_GROUPS();
    const Outcome outcome =
        run_on("micro", "auto", "setsid -f env -i sh -c 'echo $$; exec sleep 79' | { read pid; echo $pid; }");
    EXPECT_EQ(outcome.kind, Kind::completed);
    expect_gone(static_cast<pid_t>(std::stol(outcome.output)));
}

TEST(SidecarMachine, use_is_measured)
{
    for (const char *cgroup : {"auto", "off"}) {
        const Outcome outcome = run_on(
            "small-2x", cgroup, "exec python3 -c 'x = bytearray(100 << 20)\nfor i in range(3000000): pass'");
        ASSERT_TRUE(outcome.usage) << cgroup;
        EXPECT_EQ(outcome.usage->machine, "small-2x");
        EXPECT_GT(outcome.usage->cpu_user, 0.01);
        EXPECT_LE(outcome.usage->cpu_user, 5 * outcome.usage->wall);
        EXPECT_GT(outcome.usage->peak_memory, 100 * mib);
        EXPECT_LT(outcome.usage->peak_memory, 400 * mib);
    }
}

TEST(SidecarMachine, the_share_of_the_cpu_is_held)
{
    NEEDS_GROUPS();
    const Outcome outcome = run_on(
        "micro", "auto",
        "exec python3 -c 'import time\nuntil = time.monotonic() + 3\nwhile time.monotonic() < until: pass'");
    ASSERT_TRUE(outcome.usage);
    EXPECT_GE(outcome.usage->wall, 3);
    // A quarter, and what may be left of a period at either end.
    EXPECT_LT(outcome.usage->cpu_user + outcome.usage->cpu_system, 0.25 * outcome.usage->wall + 0.1);
}

TEST(SidecarMachine, what_is_written_is_counted)
{
    const std::string file = std::filesystem::current_path() / ("written-" + std::to_string(::getpid()));
    struct statfs     system {};
    ASSERT_EQ(::statfs(".", &system), 0);
    if (system.f_type == TMPFS_MAGIC || system.f_type == OVERLAYFS_SUPER_MAGIC)
        GTEST_SKIP() << "what is written here may go to no disk";
    const Outcome outcome =
        run_on("small-2x", "off", "dd if=/dev/zero of=" + file + " bs=1M count=4 2>/dev/null");
    std::filesystem::remove(file);
    ASSERT_TRUE(outcome.usage);
    EXPECT_GE(outcome.usage->written_bytes, 4 * mib);
    EXPECT_LT(outcome.usage->written_bytes, 5 * mib);
}

TEST(SidecarMachine, what_a_sidecar_that_is_gone_left_in_its_groups_is_killed_by_the_next)
{
    NEEDS_GROUPS();
    std::vector<std::string> left;
    {
        const Cgroups groups{"auto"};
        for (const CgroupPlace &place : groups.places()) {
            const auto dead =
                std::filesystem::path{place.directory}.parent_path() / ("sluiced-" + dead_name());
            std::filesystem::create_directories(dead / "attempt");
            left.push_back((dead / "attempt").string());
        }
    }
    const pid_t   stranger = start_stranger("NOBODY=1", left);
    const Cgroups groups{"auto"};
    EXPECT_EQ(groups.sweep() > 0, true);
    expect_gone(stranger);
    for (const std::string &directory : left)
        EXPECT_FALSE(std::filesystem::exists(std::filesystem::path{directory}.parent_path())) << directory;
    for (const CgroupPlace &place : groups.places())
        EXPECT_TRUE(std::filesystem::exists(place.directory)); // ours, since we live
}

TEST(SidecarMachine, what_names_a_sidecar_that_is_gone_is_killed_and_what_names_a_living_one_is_not)
{
    EXPECT_FALSE(is_gone(process_name()));
    EXPECT_FALSE(is_gone("nonsense"));
    EXPECT_FALSE(is_gone("1-1-1")); // of another namespace, so nobody knows
    EXPECT_TRUE(is_gone(dead_name()));
    const pid_t orphan = start_stranger("SLUICE_SIDECAR=" + dead_name());
    const pid_t other  = start_stranger("SLUICE_SIDECAR=" + process_name());
    kill_orphans();
    expect_gone(orphan);
    EXPECT_TRUE(is_running(other));
    ::kill(other, SIGKILL);
}

TEST(SidecarMachine, python_files_of_a_sidecar_that_is_gone_are_removed_and_those_of_a_living_one_stay)
{
    namespace fs        = std::filesystem;
    const fs::path root = fs::temp_directory_path();
    const auto     made = [&](const std::string &name) { return root / ("sluice-python-" + name + ".unit"); };
    const fs::path left = made(dead_name()), ours = made(process_name()), foreign = made("1-1-1");
    const fs::path link   = root / ("sluice-python-" + dead_name() + ".link"),
                   target = root / "sluice-unit-target";
    for (const fs::path &directory : {left, ours, foreign, target}) {
        fs::create_directories(directory);
        std::ofstream{directory / "sluice.py"} << "1";
    }
    fs::remove(link);
    fs::create_directory_symlink(target, link);

    const PythonHelper helper; // as sluiced does when it starts
    EXPECT_FALSE(fs::exists(left));
    for (const fs::path &kept : {ours, foreign, link, target}) {
        EXPECT_TRUE(fs::exists(kept)) << kept;
        fs::remove_all(kept);
    }
}

TEST(SidecarPython, files_that_somebody_else_may_have_put_in_the_place_of_ours_are_not_used)
{
    namespace fs = std::filesystem;
    PythonHelper      helper;
    const std::string first = helper.directory();
    EXPECT_EQ(helper.directory(), first);
    fs::permissions(first,
                    fs::perms::all); // as that of another user: everything is there, and not ours alone
    const std::string second = helper.directory();
    EXPECT_NE(second, first);
    fs::remove_all(first);
    fs::remove_all(second);
    fs::create_directory_symlink(fs::temp_directory_path(), second);
    EXPECT_NE(helper.directory(), second);
    fs::remove(second);
}

TEST(SidecarMemoryBudget, is_given_first_come_first_served_and_only_while_it_lasts)
{
    Loop             loop;
    MemoryBudget     budget{loop.io, 1024 * mib};
    Control          control{AttemptLog::Limits{}}, waiting{AttemptLog::Limits{}}, late{AttemptLog::Limits{}};
    std::vector<int> order;
    std::optional<MemoryBudget::Share> first, second, third;
    const auto ask = [&](std::uint64_t bytes, Control &with, std::optional<MemoryBudget::Share> &share,
                         int number) {
        asio::co_spawn(
            loop.io,
            [](MemoryBudget &of, std::uint64_t wanted, Control &by, std::optional<MemoryBudget::Share> &into,
               std::vector<int> &served, int who) -> Task<> {
                into = co_await of.acquire(wanted, by, seconds{30});
                if (into)
                    served.push_back(who);
            }(budget, bytes, with, share, order, number),
            asio::detached);
        loop.io.poll();
        loop.io.restart();
    };
    EXPECT_EQ(budget.room(), 2U); // of the default machine
    ask(768 * mib, control, first, 1);
    EXPECT_EQ(budget.room(), 1U); // the smallest would fit
    ask(512 * mib, waiting, second, 2);
    ask(256 * mib, late, third, 3); // would fit, but is not served before its turn
    EXPECT_EQ(order, std::vector<int>{1});
    EXPECT_EQ(budget.room(), 0U);
    EXPECT_EQ(budget.waiting(), 2U);
    first.reset();
    loop.io.poll();
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(budget.used(), 768 * mib);
    second.reset();
    third.reset();
    EXPECT_EQ(budget.used(), 0U);
}

TEST(SidecarMemoryBudget, who_waited_in_vain_is_not_followed_by_smaller_ones)
{
    Loop                               loop;
    MemoryBudget                       budget{loop.io, 1024 * mib};
    Control                            control{AttemptLog::Limits{}}, large{AttemptLog::Limits{}};
    std::optional<MemoryBudget::Share> held, none;
    bool                               answered = false;
    asio::co_spawn(
        loop.io,
        [](MemoryBudget &of, Control &one, Control &two, std::optional<MemoryBudget::Share> &holds,
           std::optional<MemoryBudget::Share> &gets, bool &done) -> Task<> {
            holds = co_await of.acquire(256 * mib, one, seconds{1});
            gets  = co_await of.acquire(1024 * mib, two, milliseconds{10});
            done  = true;
        }(budget, control, large, held, none, answered),
        asio::detached);
    const Instant limit = BootClock::now() + seconds{5};
    while (!answered && BootClock::now() < limit)
        loop.io.run_one_for(milliseconds{20});
    EXPECT_TRUE(answered);
    EXPECT_FALSE(none);
    EXPECT_EQ(budget.room(), 0U); // though there are 768 MiB: the large one comes again
    held.reset();
    EXPECT_EQ(budget.room(), 2U);
}

struct Waiting {
    Waiting(Loop &loop, MemoryBudget &budget, std::uint64_t bytes, Duration longest)
    {
        asio::co_spawn(
            loop.io,
            [](MemoryBudget &of, std::uint64_t wanted, Waiting &by, Duration most) -> Task<> {
                by.share    = co_await of.acquire(wanted, by.control, most);
                by.has_said = true;
            }(budget, bytes, *this, longest),
            asio::detached);
        poll(loop);
    }

    static void poll(Loop &loop)
    {
        loop.io.poll();
        loop.io.restart();
    }

    Control                            control{AttemptLog::Limits{}};
    std::optional<MemoryBudget::Share> share;
    bool                               has_said = false;
};

TEST(SidecarMemoryBudget, what_is_idle_is_taken_back_for_who_waits_and_no_more_of_it_than_that_takes)
{
    using Use = MemoryBudget::Use;
    Loop                                            loop;
    MemoryBudget                                    budget{loop.io, 1024 * mib};
    std::deque<std::optional<MemoryBudget::Share>>  idle;
    std::vector<std::optional<MemoryBudget::Share>> leaving;
    budget.on_want([&] {
        leaving.push_back(std::move(idle.front()));
        idle.pop_front();
        leaving.back()->set_use(Use::leaving);
    });
    for (int i = 0; i < 3; ++i) {
        Waiting holder{loop, budget, 256 * mib, seconds{30}};
        ASSERT_TRUE(holder.share);
        idle.push_back(std::move(holder.share));
        idle.back()->set_use(Use::idle);
    }
    EXPECT_EQ(budget.used(), 768 * mib);
    EXPECT_EQ(budget.room(), 2U); // as if it were not there

    Waiting fits{loop, budget, 256 * mib, seconds{30}};
    EXPECT_TRUE(fits.share);
    EXPECT_EQ(idle.size(), 3U);

    Waiting waits{loop, budget, 512 * mib, seconds{30}};
    EXPECT_FALSE(waits.share); // what was told to leave has not left yet
    EXPECT_EQ(idle.size(), 1U);
    leaving.pop_back();
    Waiting::poll(loop);
    EXPECT_FALSE(waits.share);
    leaving.pop_back();
    Waiting::poll(loop);
    EXPECT_TRUE(waits.share);
    EXPECT_EQ(idle.size(), 1U);

    // What turns idle while somebody waits goes at once.
    Waiting large{loop, budget, 768 * mib, seconds{30}};
    EXPECT_EQ(idle.size(), 0U);
    idle.push_back(std::move(waits.share));
    idle.back()->set_use(Use::idle);
    EXPECT_EQ(leaving.size(), 2U);
    EXPECT_FALSE(large.share);
    leaving.clear();
    Waiting::poll(loop);
    EXPECT_TRUE(large.share);
    EXPECT_EQ(budget.used(), 1024 * mib);

    // With less memory in all, what is idle goes first.
    idle.push_back(std::move(fits.share));
    idle.back()->set_use(Use::idle);
    EXPECT_EQ(idle.size(), 1U);
    budget.set_total(768 * mib);
    EXPECT_EQ(idle.size(), 0U);
}

TEST(SidecarMemoryBudget, who_was_canceled_while_it_waited_holds_up_nobody)
{
    Loop         loop;
    MemoryBudget budget{loop.io, 1024 * mib};
    Waiting      holds{loop, budget, 256 * mib, seconds{30}};
    Waiting      large{loop, budget, 1024 * mib, seconds{30}};
    Waiting      small{loop, budget, 256 * mib, seconds{30}};
    EXPECT_FALSE(small.has_said);
    large.control.stop(StopReason::canceled);
    Waiting::poll(loop);
    EXPECT_TRUE(large.has_said);
    EXPECT_FALSE(large.share);
    EXPECT_TRUE(small.share);
    EXPECT_EQ(budget.room(), 1U); // it does not come again
}

TEST(SidecarMemoryBudget, who_is_stopped_as_room_comes_does_not_begin)
{
    Loop         loop;
    MemoryBudget budget{loop.io, 1024 * mib};
    Waiting      holds{loop, budget, 1024 * mib, seconds{30}};
    Waiting      waits{loop, budget, 1024 * mib, seconds{30}};
    waits.control.stop(StopReason::drained);
    holds.share.reset();
    Waiting::poll(loop);
    EXPECT_TRUE(waits.has_said);
    EXPECT_FALSE(waits.share);
    EXPECT_EQ(budget.used(), 0U);
}

TEST(SidecarMemoryBudget, who_never_fits_into_what_is_left_is_told_and_is_not_waited_for)
{
    Loop         loop;
    MemoryBudget budget{loop.io, 1024 * mib};
    Waiting      holds{loop, budget, 256 * mib, seconds{30}};
    Waiting      large{loop, budget, 1024 * mib, seconds{30}};
    Waiting      small{loop, budget, 256 * mib, seconds{30}};
    budget.set_total(512 * mib);
    Waiting::poll(loop);
    EXPECT_TRUE(large.has_said);
    EXPECT_FALSE(large.share);
    EXPECT_TRUE(small.share);
    holds.share.reset();
    small.share.reset();
    EXPECT_EQ(budget.room(), 1U);
}

TEST(SidecarMemoryBudget, what_was_wanted_in_vain_is_forgotten_where_there_is_less_memory_now)
{
    Loop         loop;
    MemoryBudget budget{loop.io, 1024 * mib};
    Waiting      holds{loop, budget, 256 * mib, seconds{30}};
    Waiting      large{loop, budget, 1024 * mib, Duration::zero()};
    EXPECT_TRUE(large.has_said);
    EXPECT_EQ(budget.room(), 0U);
    holds.share.reset();
    Waiting again{loop, budget, 256 * mib, seconds{30}};
    Waiting large_again{loop, budget, 1024 * mib, Duration::zero()};
    budget.set_total(512 * mib);
    EXPECT_EQ(budget.room(), 1U);
}

TEST(SidecarPython, all_interpreters_can_be_ended_while_one_is_at_work)
{
    Loop            loop;
    Machines        machines{loop, {}};
    ProcessSettings process;
    PythonSettings  python;
    python.allow_code = true;
    PythonExecutor executor{loop, machines, process, python,
                            [](const std::string &) { return std::nullopt; }};
    Job            job;
    job.token           = "00000000-0000-8000-8000-000000000003";
    job.run_id          = "9";
    job.target          = "import time\nprint('go\\ngo', flush=True)\ntime.sleep(60)";
    job.options["kind"] = "code";
    job.options["warm"] = true;
    Control control{AttemptLog::Limits{}};
    bool    is_closing = false, is_closed = false, has_ended = false;
    Outcome outcome;
    asio::co_spawn(
        loop.io,
        [](Executor &on, const Job &what, Control &with, Outcome &result, bool &done) -> Task<> {
            result = co_await on.run(what, with);
            done   = true;
        }(executor, job, control, outcome, has_ended),
        asio::detached);
    const Instant limit = BootClock::now() + seconds{30};
    while (!(has_ended && is_closed) && BootClock::now() < limit) {
        loop.io.run_one_for(milliseconds{20});
        if (!is_closing && control.log().has_unsent()) {
            is_closing = true;
            asio::co_spawn(
                loop.io,
                [](PythonExecutor &on, bool &done) -> Task<> {
                    co_await on.close();
                    done = true;
                }(executor, is_closed),
                asio::detached);
        }
    }
    EXPECT_TRUE(is_closing);
    EXPECT_TRUE(has_ended);
    EXPECT_TRUE(is_closed);
}

} // namespace
} // namespace sluice::sidecar
