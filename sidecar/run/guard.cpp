// Waiting on a pipe that the kernel closes.
#include "run/guard.hpp"

#include "run/cgroup.hpp"
#include "run/process_name.hpp"
#include "run/python_helper.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <exception>
#include <fcntl.h>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

[[noreturn]] void wait_and_sweep(int pipe, const std::string &guarded, const std::string &cgroup)
{
    // A minute: a machine that is busy, or takes a large process apart, is not in a hurry.
    constexpr int  tries = 15'000;
    constexpr auto pause = std::chrono::milliseconds{4};

    ::setsid();
    ::prctl(PR_SET_NAME, "sluiced-guard");
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT})
        ::signal(signal, SIG_IGN); // it ends when sluiced has
    try {
        const auto bases = find_cgroup_bases(cgroup); // now: sluiced may move to a group of its own

        char nothing = 0;
        while (::read(pipe, &nothing, 1) < 0 && errno == EINTR) {
        }
        // Its descriptors are closed before it is gone.
        for (int i = 0; i < tries && !is_gone(guarded); ++i)
            std::this_thread::sleep_for(pause);
        sweep_cgroups(bases);
        kill_orphans();
        sweep_python_directories(); // nobody reads them any more
    } catch (const std::exception &) {
        ::_exit(1); // the next sluiced does it
    }
    ::_exit(0);
}

} // namespace

void start_guard(const std::string &cgroup)
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        return;
    const std::string guarded = process_name();
    const pid_t       pid     = ::fork();
    if (pid == 0) {
        ::close(ends[1]);
        wait_and_sweep(ends[0], guarded, cgroup);
    }
    ::close(ends[0]);
    if (pid < 0)
        ::close(ends[1]); // else it stays open for as long as we live
}

} // namespace sluice::sidecar
