// What every part of the sidecar needs from the one event loop: the loop, its deadlines and its children.
#pragma once

#include "async.hpp"
#include "run/reaper.hpp"
#include "timer/deadlines.hpp"

namespace sluice::sidecar {

struct Loop {
    asio::io_context io{1};
    Deadlines        deadlines{io};
    Reaper           reaper{io};
};

} // namespace sluice::sidecar
