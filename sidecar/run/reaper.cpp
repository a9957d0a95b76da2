// Reaping children, watched or inherited.
#include "run/reaper.hpp"

#include "log.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace sluice::sidecar {

namespace {

std::vector<pid_t> children_of_this_process()
{
    const std::string self = std::to_string(::getpid());
    std::ifstream     list{"/proc/" + self + "/task/" + self + "/children"};
    return {std::istream_iterator<pid_t>{list}, std::istream_iterator<pid_t>{}};
}

std::string proc_text(pid_t pid, const char *name)
{
    std::ifstream file{"/proc/" + std::to_string(pid) + "/" + name, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// Of its environment as it was when it last became another program.
bool carries(const std::string &environment, const std::string &token)
{
    const std::string wanted = "SLUICE_TOKEN=" + token;
    const auto        at     = environment.find(wanted);
    return at != std::string::npos && (at == 0 || environment[at - 1] == '\0');
}

/// Where there are control groups, one that an attempt's token names.
bool is_in_group(const std::string &groups, const std::string &token)
{
    const std::string wanted = "/" + token;
    for (auto at = groups.find(wanted); at != std::string::npos; at = groups.find(wanted, at + 1)) {
        const auto end = at + wanted.size();
        if (end == groups.size() || groups[end] == '\n' || groups[end] == '/')
            return true;
    }
    return false;
}

/// What says whose a process is.
class Origin {
public:
    explicit Origin(pid_t pid) : environment_{proc_text(pid, "environ")}, groups_{proc_text(pid, "cgroup")} {}

    bool is_of(const std::string &token) const
    {
        return !token.empty() && (carries(environment_, token) || is_in_group(groups_, token));
    }

private:
    std::string environment_;
    std::string groups_;
};

} // namespace

Reaper::Reaper(asio::io_context &io) : child_signals_{io, SIGCHLD}
{
    const auto inherited = children_of_this_process();
    inherited_.insert(inherited.begin(), inherited.end());
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    wait_for_signal();
}

void Reaper::watch(pid_t pid, std::string token, Ended ended)
{
    watched_.insert_or_assign(pid, Watched{std::move(token), std::move(ended)});
}

void Reaper::wait_for_signal()
{
    child_signals_.async_wait([this](const boost::system::error_code &error, int) {
        if (error)
            return;
        // Waiting again comes first: a child that ends while we reap must raise another round.
        wait_for_signal();
        reap();
        sweep();
    });
}

void Reaper::reap()
{
    for (;;) {
        siginfo_t info{};
        if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return;
        const pid_t pid   = info.si_pid;
        const auto  found = watched_.find(pid);

        // The group goes while its dead leader still holds the number, so that no stranger can have taken it.
        if (found != watched_.end() && !found->second.token.empty())
            ::kill(-pid, SIGKILL);

        int    status = 0;
        rusage used{};
        ::wait4(pid, &status, 0, &used);
        inherited_.erase(pid);
        if (found == watched_.end())
            continue;
        const Ended ended = std::move(found->second.ended);
        watched_.erase(found);
        ended(status, used);
    }
}

void Reaper::sweep()
{
    for (const pid_t pid : children_of_this_process()) {
        if (watched_.contains(pid) || inherited_.contains(pid) || belongs_to_live_attempt(pid))
            continue;
        if (::kill(pid, SIGKILL) == 0)
            log::debug("killed a process that outlived its attempt", {{"pid", pid}});
    }
}

bool Reaper::belongs_to_live_attempt(pid_t pid) const
{
    if (watched_.contains(::getpgid(pid)))
        return true;
    const Origin origin{pid};
    return std::any_of(guests_.begin(), guests_.end(),
                       [&](const std::string &token) { return origin.is_of(token); }) ||
           std::any_of(watched_.begin(), watched_.end(),
                       [&](const auto &entry) { return origin.is_of(entry.second.token); });
}

/// What was forked in the host has the host's token, or is still in its process group or its control group.
bool Reaper::belongs_to_host(pid_t pid, const std::string &host) const
{
    const auto leader = watched_.find(::getpgid(pid));
    return (leader != watched_.end() && leader->second.token == host) || Origin{pid}.is_of(host);
}

void Reaper::end_guest(const std::string &token, const std::string &host)
{
    guests_.erase(token);
    for (const pid_t pid : children_of_this_process())
        if (!watched_.contains(pid) && !inherited_.contains(pid) && belongs_to_host(pid, host) &&
            ::kill(pid, SIGKILL) == 0)
            log::debug("killed a process that outlived its attempt", {{"pid", pid}});
    sweep();
}

} // namespace sluice::sidecar
