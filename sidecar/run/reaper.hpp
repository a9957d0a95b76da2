// The only place that waits for processes.  sluiced is the reaper of everything its children leave behind: a
// program that forks into the background becomes our child when its parent ends, and is killed here unless the
// attempt that it belongs to still runs.
#pragma once

#include "async.hpp"

#include <boost/asio/signal_set.hpp>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <sys/resource.h>
#include <sys/types.h>

namespace sluice::sidecar {

class Reaper {
public:
    using Ended = std::function<void(int wait_status, const rusage &used)>;

    explicit Reaper(asio::io_context &io);

    /// Calls `ended` once the process is gone.  A token marks a process group: it is killed with its leader.
    void watch(pid_t pid, std::string token, Ended ended);

    /// Kills what left the process group of an attempt and outlived it.
    void sweep();

    /// An attempt in a process that outlives it and is watched by the token of another, its host.  At its end goes what it
    /// has left in the background, and the host stays.
    void begin_guest(const std::string &token) { guests_.insert(token); }
    void end_guest(const std::string &token, const std::string &host);

private:
    struct Watched {
        std::string token;
        Ended       ended;
    };

    void wait_for_signal();
    void reap();
    bool belongs_to_live_attempt(pid_t pid) const;
    bool belongs_to_host(pid_t pid, const std::string &host) const;

    asio::signal_set         child_signals_;
    std::map<pid_t, Watched> watched_;
    std::set<std::string>    guests_;    ///< tokens of attempts in processes of others
    std::set<pid_t>          inherited_; ///< children from before we started, e.g. of a script that became us
};

} // namespace sluice::sidecar
