// The ways to work off a backlog that the benchmark compares.  A new one is a class in worker.cpp and its name there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sluice::bench {

/// One client with a connection of its own.
class Worker {
public:
    Worker()                          = default;
    Worker(const Worker &)            = delete;
    Worker &operator=(const Worker &) = delete;
    virtual ~Worker()                 = default;

    /// Takes up to a batch of work and returns its ids.  This is the call whose time is measured.
    virtual std::vector<std::int64_t> take() = 0;

    /// Ends what was taken and has not ended by itself.  Called after each take() and once at the end.
    virtual void after_take() {}
    virtual void at_the_end() {}
};

/// The names that make_worker() knows.
std::vector<std::string> ways();

std::unique_ptr<Worker> make_worker(const std::string &way, int number, int batch);

} // namespace sluice::bench
