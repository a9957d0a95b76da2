// What every part of the sidecar needs from the one event loop: the loop, its deadlines and its children.
#pragma once

#include "async.hpp"
#include "run/reaper.hpp"
#include "timer/deadlines.hpp"

#include <csignal>

namespace sluice::sidecar {

struct Loop {
    // A program may close its end of a pipe at any moment; that must not end us.
    Loop() { std::signal(SIGPIPE, SIG_IGN); }

    asio::io_context io{1};
    Deadlines        deadlines{io};
    Reaper           reaper{io};
};

} // namespace sluice::sidecar
