// The queues that are spoken to in SQL, behind one interface, so that the same loops load all of them.  A new one is a
// pair of classes, or of statements, in systems.cpp and its name there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sluice::bench {

/// What a payload carries: which job it is, and when it was sent (microseconds of the steady clock).
struct Job {
    std::int64_t id;
    std::int64_t sent;
};

/// One client that enqueues, with a connection of its own.
class Producer {
public:
    Producer()                            = default;
    Producer(const Producer &)            = delete;
    Producer &operator=(const Producer &) = delete;
    virtual ~Producer()                   = default;

    virtual void one(Job job)                       = 0;
    virtual void many(const std::vector<Job> &jobs) = 0;
};

/// One client that works, with connections of its own.
class Consumer {
public:
    Consumer()                            = default;
    Consumer(const Consumer &)            = delete;
    Consumer &operator=(const Consumer &) = delete;
    virtual ~Consumer()                   = default;

    virtual std::vector<Job> take() = 0;

    /// Ends what take() gave; a system that says it with the next take() does nothing here.
    virtual void finish() {}

    /// After a take() that gave nothing: returns when another may give something, and at the latest in 200 ms.
    virtual void wait() = 0;

    /// Ends what is still open.
    virtual void close() {}
};

/// The names that the makers know.
std::vector<std::string> systems();

/// A batch log has one consumer; the others have as many as are asked for.
int most_consumers(const std::string &system);

std::unique_ptr<Producer> make_producer(const std::string &system);
std::unique_ptr<Consumer> make_consumer(const std::string &system, int number, int batch);

} // namespace sluice::bench
