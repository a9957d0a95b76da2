// load: puts one kind of load on one queue and says, as one line of JSON, what came of it.  node/load.mjs has the same
// options and answers for the queues that are Node libraries.  A job counts as done when it has reached the handler,
// which does nothing; each carries a number, so that what is lost or handed out twice shows.

#include "systems.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace sluice::bench;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t most_jobs = 50'000'000; ///< further ones are not looked at for being handed out twice

struct Options {
    std::string  system;
    std::string  test;
    int          connections = 4;
    int          batch       = 100;
    std::int64_t jobs        = 0;
    double       seconds     = 4;
    double       window      = 10;
    int          producers   = 2;
    int          bulk        = 100;
    std::int64_t bound       = 10'000;
    int          rate        = 100;
    double       patience    = 10;
};

std::int64_t now()
{
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
}

double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

Clock::time_point after(Clock::time_point start, double seconds)
{
    return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// What the threads of a load have in common.
class Load {
public:
    explicit Load(const Options &options) : options_(options), seen_(most_jobs) {}

    int run()
    {
        if (options_.test == "enqueue")
            enqueue();
        else if (options_.test == "fill")
            fill();
        else if (options_.test == "drain")
            drain();
        else if (options_.test == "steady")
            steady();
        else
            latency();
        const std::scoped_lock held(mutex_);
        if (!error_.empty()) {
            std::fprintf(stderr, "load: %s\n", error_.c_str());
            return 1;
        }
        return 0;
    }

private:
    using Threads = std::vector<std::jthread>;

    /// A thread whose error ends all of them.
    void spawn(Threads &threads, std::function<void()> work)
    {
        threads.emplace_back([this, work = std::move(work)] {
            try {
                work();
            } catch (const std::exception &e) {
                const std::scoped_lock held(mutex_);
                error_  = e.what();
                failed_ = true;
            }
        });
    }

    std::vector<std::unique_ptr<Producer>> producers(int amount) const
    {
        std::vector<std::unique_ptr<Producer>> made;
        while (static_cast<int>(made.size()) < amount)
            made.push_back(make_producer(options_.system));
        return made;
    }

    std::vector<std::unique_ptr<Consumer>> consumers(int amount) const
    {
        std::vector<std::unique_ptr<Consumer>> made;
        for (int number = 0; number < std::min(amount, most_consumers(options_.system)); ++number)
            made.push_back(make_consumer(options_.system, number, options_.batch));
        return made;
    }

    void send(Producer &producer, int amount)
    {
        const std::int64_t first = next_.fetch_add(amount);
        if (amount == 1) {
            producer.one({first, now()});
        } else {
            std::vector<Job> jobs;
            for (std::int64_t id = first; id < first + amount; ++id)
                jobs.push_back({id, now()});
            producer.many(jobs);
        }
        sent_ += amount;
    }

    void consume(Consumer &consumer)
    {
        std::vector<double> latencies;
        while (!stop_ && !failed_) {
            const auto jobs = consumer.take();
            if (jobs.empty()) {
                consumer.wait();
                continue;
            }
            for (const Job job : jobs) {
                if (static_cast<std::size_t>(job.id) < seen_.size() &&
                    seen_[static_cast<std::size_t>(job.id)].fetch_add(1) > 0)
                    ++twice_;
                if (options_.test == "latency")
                    latencies.push_back(static_cast<double>(now() - job.sent) / 1000);
            }
            done_ += static_cast<std::int64_t>(jobs.size());
            consumer.finish();
        }
        consumer.close();
        const std::scoped_lock held(mutex_);
        latencies_.insert(latencies_.end(), latencies.begin(), latencies.end());
    }

    /// Until so many have reached the handler, or nothing comes any more.
    void wait_for(std::int64_t jobs)
    {
        auto         last = Clock::now();
        std::int64_t seen = -1;
        while (done_ < jobs && !failed_ && Clock::now() < after(last, options_.patience)) {
            if (done_ != seen) {
                seen = done_;
                last = Clock::now();
            }
            std::this_thread::sleep_for(milliseconds(1));
        }
    }

    void enqueue()
    {
        auto       clients = producers(options_.connections);
        const auto start   = Clock::now();
        const auto end     = after(start, options_.seconds);
        {
            Threads threads;
            for (auto &client : clients)
                spawn(threads, [&] {
                    while (Clock::now() < end && !failed_)
                        send(*client, options_.batch);
                });
        }
        const double seconds = seconds_since(start);
        std::printf(R"({"jobs":%lld,"per_s":%.0f})"
                    "\n",
                    static_cast<long long>(sent_), static_cast<double>(sent_) / seconds);
    }

    void fill()
    {
        auto       clients = producers(options_.connections);
        const auto start   = Clock::now();
        {
            Threads                   threads;
            std::atomic<std::int64_t> claimed = 0;
            for (auto &client : clients)
                spawn(threads, [&] {
                    while (!failed_) {
                        const auto first = claimed.fetch_add(options_.batch);
                        if (first >= options_.jobs)
                            break;
                        send(*client,
                             static_cast<int>(std::min<std::int64_t>(options_.batch, options_.jobs - first)));
                    }
                });
        }
        std::printf(R"({"jobs":%lld,"per_s":%.0f})"
                    "\n",
                    static_cast<long long>(sent_), static_cast<double>(sent_) / seconds_since(start));
    }

    void drain()
    {
        auto   clients = consumers(options_.connections);
        double seconds = 0;
        {
            Threads    threads;
            const auto start = Clock::now();
            for (auto &client : clients)
                spawn(threads, [&] { consume(*client); });
            wait_for(options_.jobs);
            seconds = seconds_since(start);
            stop_   = true;
        }
        std::printf(R"({"done":%lld,"lost":%lld,"twice":%lld,"per_s":%.0f})"
                    "\n",
                    static_cast<long long>(done_), static_cast<long long>(lost(options_.jobs)),
                    static_cast<long long>(twice_), static_cast<double>(done_) / seconds);
    }

    void steady()
    {
        auto                      senders = producers(options_.producers);
        auto                      clients = consumers(options_.connections);
        std::vector<std::int64_t> windows;
        std::int64_t              counted = 0;
        Threads                   working;
        for (auto &client : clients)
            spawn(working, [&] { consume(*client); });
        const auto start = Clock::now();
        {
            Threads threads;
            for (auto &sender : senders)
                spawn(threads, [&] {
                    while (Clock::now() < after(start, options_.seconds) && !failed_) {
                        if (sent_ - done_ > options_.bound)
                            std::this_thread::sleep_for(milliseconds(1));
                        else
                            send(*sender, options_.bulk);
                    }
                });
            for (int number = 1; number * options_.window <= options_.seconds && !failed_; ++number) {
                std::this_thread::sleep_until(after(start, number * options_.window));
                const std::int64_t done = done_;
                windows.push_back(
                    static_cast<std::int64_t>(static_cast<double>(done - counted) / options_.window));
                counted = done;
            }
        }
        wait_for(sent_);
        stop_ = true;
        working.clear();
        std::string list;
        for (const auto window : windows)
            list += (list.empty() ? "" : ",") + std::to_string(window);
        std::printf(R"({"done":%lld,"lost":%lld,"twice":%lld,"per_s":%.0f,"windows":[%s]})"
                    "\n",
                    static_cast<long long>(done_), static_cast<long long>(lost(sent_)),
                    static_cast<long long>(twice_),
                    static_cast<double>(counted) / (static_cast<double>(windows.size()) * options_.window),
                    list.c_str());
    }

    void latency()
    {
        // One worker, as the sidecar has one connection for work, and senders enough that none is ever late.
        auto       senders = producers(4);
        auto       clients = consumers(1);
        Threads    working;
        const auto start = Clock::now();
        for (auto &client : clients)
            spawn(working, [&] { consume(*client); });
        {
            Threads threads;
            for (std::size_t number = 0; number < senders.size(); ++number)
                spawn(threads, [&, number] {
                    // Of all jobs, sender n sends those of number n, n + 4, …
                    const auto jobs = static_cast<std::size_t>(options_.rate * options_.seconds);
                    for (std::size_t job = number; job < jobs && !failed_; job += senders.size()) {
                        std::this_thread::sleep_until(after(start, static_cast<double>(job) / options_.rate));
                        send(*senders[number], 1);
                    }
                });
        }
        wait_for(sent_);
        stop_ = true;
        working.clear();
        std::sort(latencies_.begin(), latencies_.end());
        std::printf(
            R"({"done":%lld,"lost":%lld,"twice":%lld,"p50_ms":%.2f,"p95_ms":%.2f,"p99_ms":%.2f,"max_ms":%.2f})"
            "\n",
            static_cast<long long>(done_), static_cast<long long>(lost(sent_)),
            static_cast<long long>(twice_), quantile(0.5), quantile(0.95), quantile(0.99), quantile(1));
    }

    double quantile(double share) const
    {
        if (latencies_.empty())
            return 0;
        const auto at = static_cast<std::size_t>(share * static_cast<double>(latencies_.size()));
        return latencies_[std::min(at, latencies_.size() - 1)];
    }

    std::int64_t lost(std::int64_t jobs) const
    {
        const auto end = seen_.begin() + std::min(jobs, static_cast<std::int64_t>(seen_.size()));
        return std::count(seen_.begin(), end, 0);
    }

    const Options                          &options_;
    std::vector<std::atomic<unsigned char>> seen_;
    std::atomic<std::int64_t>               next_   = 0;
    std::atomic<std::int64_t>               sent_   = 0;
    std::atomic<std::int64_t>               done_   = 0;
    std::atomic<std::int64_t>               twice_  = 0;
    std::atomic<bool>                       stop_   = false;
    std::atomic<bool>                       failed_ = false;
    std::mutex                              mutex_;
    std::vector<double>                     latencies_;
    std::string                             error_;
};

} // namespace

int main(int argc, char **argv)
{
    Options  options;
    CLI::App app(
        "Puts load on a queue and says what came of it.  The server is that of PGHOST, PGPORT, PGDATABASE.");
    app.add_option("--system", options.system)->required()->check(CLI::IsMember(systems()));
    app.add_option("--test", options.test)
        ->required()
        ->check(CLI::IsMember({"enqueue", "fill", "drain", "steady", "latency"}));
    app.add_option("--connections", options.connections, "Clients that enqueue, fill or drain")
        ->check(CLI::Range(1, 64));
    app.add_option("--batch", options.batch, "Jobs a call")->check(CLI::Range(1, 10000));
    app.add_option("--jobs", options.jobs, "Size of the backlog")->check(CLI::PositiveNumber);
    app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
    app.add_option("--window", options.window, "Seconds of a window of steady")->check(CLI::PositiveNumber);
    app.add_option("--producers", options.producers, "Of steady")->check(CLI::Range(1, 64));
    app.add_option("--bulk", options.bulk, "Jobs that a producer of steady sends in a call");
    app.add_option("--bound", options.bound, "Most jobs that lie unfinished in steady");
    app.add_option("--rate", options.rate, "Jobs a second of latency")->check(CLI::PositiveNumber);
    app.add_option("--patience", options.patience, "Seconds without any job after which the rest is lost")
        ->check(CLI::PositiveNumber);
    CLI11_PARSE(app, argc, argv);

    try {
        return Load(options).run();
    } catch (const std::exception &e) {
        std::fprintf(stderr, "load: %s\n", e.what());
        return 1;
    }
}
