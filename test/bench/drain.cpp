// drain: works off a backlog on several connections and says, as one line of JSON, how fast, how evenly, with how
// much WAL, and whether anything was handed out twice.  The connections are made before the clock starts; it stops
// when the last piece of work has ended.

#include "connection.hpp"
#include "worker.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace sluice::bench;
using Clock = std::chrono::steady_clock;

/// A connection that got nothing for so long gives up: there is less work than was said.
constexpr auto patience = std::chrono::seconds(5);

struct Options {
    std::string  way         = "exchange";
    int          connections = 4;
    int          batch       = 10;
    std::int64_t runs        = 0;
    int          seconds     = 120;
};

/// What one connection did.
struct Tally {
    std::vector<std::int64_t> ids;
    std::vector<double>       milliseconds; ///< of each take that got something, but for the first
    double                    first = 0;    ///< milliseconds of the first, which plans and fills caches
    std::int64_t              empty = 0;    ///< takes that got nothing
    std::string               error;
};

double milliseconds_since(Clock::time_point start)
{
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void work(Worker &worker, const Options &options, Clock::time_point deadline,
          std::atomic<std::int64_t> &taken, Tally &tally)
{
    auto last = Clock::now();
    while (taken.load() < options.runs && last < deadline && Clock::now() < last + patience) {
        const auto start = Clock::now();
        const auto ids   = worker.take();
        if (ids.empty()) {
            // What is left is in the hands of the others, or gets ready in a moment.
            ++tally.empty;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            continue;
        }
        last                 = Clock::now();
        const double elapsed = std::chrono::duration<double, std::milli>(last - start).count();
        if (tally.ids.empty())
            tally.first = elapsed;
        else
            tally.milliseconds.push_back(elapsed);
        tally.ids.insert(tally.ids.end(), ids.begin(), ids.end());
        taken += static_cast<std::int64_t>(ids.size());
        worker.after_take();
    }
    worker.at_the_end();
}

double quantile(const std::vector<double> &sorted, double share)
{
    if (sorted.empty())
        return 0;
    const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
    return sorted[std::min(at, sorted.size() - 1)];
}

std::string wal_position(Connection &connection)
{
    return std::string(connection.run("select pg_current_wal_insert_lsn()").value(0, 0));
}

int drain(const Options &options)
{
    std::vector<std::unique_ptr<Worker>> workers;
    for (int number = 0; number < options.connections; ++number)
        workers.push_back(make_worker(options.way, number, options.batch));

    Connection                control;
    const std::string         wal_before = wal_position(control);
    std::vector<Tally>        tallies(workers.size());
    std::atomic<std::int64_t> taken    = 0;
    const auto                start    = Clock::now();
    const auto                deadline = start + std::chrono::seconds(options.seconds);
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < workers.size(); ++i)
            threads.emplace_back([&, i] {
                try {
                    work(*workers[i], options, deadline, taken, tallies[i]);
                } catch (const std::exception &e) {
                    tallies[i].error = e.what();
                    taken += options.runs; // the others stop too
                }
            });
    }
    const double      seconds = milliseconds_since(start) / 1000;
    const std::string wal     = std::string(
            control.run(("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '" + wal_before + "')").c_str())
                .value(0, 0));

    std::vector<std::int64_t> ids;
    std::vector<double>       milliseconds;
    std::int64_t              empty = 0;
    double                    first = 0;
    for (const Tally &tally : tallies) {
        if (!tally.error.empty()) {
            std::fprintf(stderr, "drain: %s\n", tally.error.c_str());
            return 1;
        }
        ids.insert(ids.end(), tally.ids.begin(), tally.ids.end());
        milliseconds.insert(milliseconds.end(), tally.milliseconds.begin(), tally.milliseconds.end());
        empty += tally.empty;
        first = std::max(first, tally.first);
    }
    std::sort(ids.begin(), ids.end());
    std::sort(milliseconds.begin(), milliseconds.end());
    const auto distinct = std::unique(ids.begin(), ids.end()) - ids.begin();
    const auto drained  = static_cast<std::int64_t>(ids.size());

    std::printf(
        R"({"way":"%s","connections":%d,"batch":%d,"drained":%lld,"twice":%lld,"seconds":%.3f,)"
        R"("per_second":%.0f,"wal_bytes":%s,"takes":%zu,"empty":%lld,"p50_ms":%.2f,"p99_ms":%.2f,"max_ms":%.2f,"first_ms":%.2f})"
        "\n",
        options.way.c_str(), options.connections, options.batch, static_cast<long long>(drained),
        static_cast<long long>(drained - distinct), seconds, static_cast<double>(drained) / seconds,
        wal.c_str(), milliseconds.size(), static_cast<long long>(empty), quantile(milliseconds, 0.5),
        quantile(milliseconds, 0.99), milliseconds.empty() ? 0.0 : milliseconds.back(), first);
    if (drained < options.runs) {
        std::fprintf(stderr, "drain: %lld of %lld runs within %d s\n", static_cast<long long>(drained),
                     static_cast<long long>(options.runs), options.seconds);
        return 1;
    }
    return drained == distinct ? 0 : 1;
}

} // namespace

int main(int argc, char **argv)
{
    Options  options;
    CLI::App app("Works off a backlog and says how fast.  The server is that of PGHOST, PGPORT, PGDATABASE.");
    app.add_option("--way", options.way, "How: see worker.cpp")
        ->check(CLI::IsMember(ways()))
        ->capture_default_str();
    app.add_option("--connections", options.connections)->check(CLI::Range(1, 64))->capture_default_str();
    app.add_option("--batch", options.batch, "Most that one call takes")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    app.add_option("--runs", options.runs, "Stop after so many")->required()->check(CLI::PositiveNumber);
    app.add_option("--seconds", options.seconds, "Give up after so long")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);

    try {
        return drain(options);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "drain: %s\n", e.what());
        return 1;
    }
}
