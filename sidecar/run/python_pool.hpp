// The warm interpreters that wait for their next attempt.
#pragma once

#include "loop.hpp"
#include "run/python_warm.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <string>

namespace sluice::sidecar {

class PythonPool {
public:
    explicit PythonPool(Loop &loop) : loop_{loop} {}

    using Interpreter = std::shared_ptr<WarmPython>;

    /// One that waits for such an attempt, which is not in the pool any more; nothing if there is none.
    Interpreter take(const std::string &key);

    /// Back into the pool.
    void give_back(Interpreter interpreter, Duration longest_idle);

    /// Of those that wait the one that was used least recently leaves.
    void evict();

    /// Ends all, also those at work, and returns when they have ended.
    Task<> close();

    /// Somebody has made one.
    void note(const Interpreter &interpreter);

private:
    Loop                                &loop_;
    std::list<Interpreter>               idle_;
    std::list<std::weak_ptr<WarmPython>> all_;
    std::uint64_t                        armed_ = 0;
};

} // namespace sluice::sidecar
