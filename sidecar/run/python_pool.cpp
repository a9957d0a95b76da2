// Taking, giving back, and not keeping too many.
#include "run/python_pool.hpp"

#include <algorithm>
#include <utility>

namespace sluice::sidecar {

namespace {

constexpr std::size_t most_idle = 32;

} // namespace

PythonPool::Interpreter PythonPool::take(const std::string &key)
{
    idle_.remove_if([](const Interpreter &each) { return !each->is_alive(); });
    // The one that was used last has most in the caches.
    const auto found = std::find_if(idle_.rbegin(), idle_.rend(),
                                    [&](const Interpreter &each) { return each->key() == key; });
    if (found == idle_.rend())
        return nullptr;
    Interpreter interpreter = *found;
    idle_.remove(interpreter);
    interpreter->set_idle(false);
    return interpreter;
}

void PythonPool::give_back(Interpreter interpreter, Duration longest_idle)
{
    if (!interpreter->is_alive())
        return interpreter->leave();
    idle_.push_back(interpreter);
    if (idle_.size() > most_idle)
        evict();
    loop_.deadlines.arm_in("python idle " + std::to_string(++armed_), longest_idle,
                           [this, weak = std::weak_ptr<WarmPython>{interpreter}, runs = interpreter->runs()] {
                               const Interpreter waiting = weak.lock();
                               if (!waiting || waiting->runs() != runs ||
                                   std::find(idle_.begin(), idle_.end(), waiting) == idle_.end())
                                   return;
                               idle_.remove(waiting);
                               waiting->leave();
                           });
    interpreter->set_idle(true); // last: if somebody waits for the memory, it leaves at once
}

void PythonPool::evict()
{
    idle_.remove_if([](const Interpreter &each) { return !each->is_alive(); });
    if (idle_.empty())
        return;
    const Interpreter oldest = idle_.front();
    idle_.pop_front();
    oldest->leave();
}

void PythonPool::note(const Interpreter &interpreter)
{
    all_.remove_if([](const auto &each) { return each.expired(); });
    all_.push_back(interpreter);
}

Task<> PythonPool::close()
{
    idle_.clear();
    const auto all = std::exchange(all_, {});
    for (const auto &weak : all)
        if (const Interpreter interpreter = weak.lock()) {
            interpreter->kill();
            co_await interpreter->ended();
        }
}

} // namespace sluice::sidecar
