// The long poll.
#include "work/waiter.hpp"

#include "pg/backoff.hpp"
#include "json_text.hpp"
#include "log.hpp"

#include <algorithm>
#include <utility>

namespace sluice::sidecar {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char *wait_interval = "30 seconds";

// Longer than the wait itself: then the server has not kept its word.
constexpr Duration wait_limit = seconds{45};

// "Work" that turned out to be somebody else's, or a revocation that is being dealt with, must not make us spin.
constexpr Duration first_rest   = milliseconds{50};
constexpr Duration longest_rest = milliseconds{400};

// A full worker waits for revocations; tasks of a few milliseconds never get to see that wait.
constexpr Duration before_revocations = milliseconds{20};

// Without a connection of its own the worker still looks for work.
constexpr Duration poll_without_connection = seconds{1};

/// While it lives, the worker need not look for work itself.
class Watch {
public:
    Watch(Worker &worker, const Worker::Wanted &wanted) : worker_{worker}
    {
        worker_.set_watched(!wanted.executors.empty());
    }
    ~Watch() { worker_.set_watched(false); }

    Watch(const Watch &)            = delete;
    Watch &operator=(const Watch &) = delete;

private:
    Worker &worker_;
};

} // namespace

Waiter::Waiter(Loop &loop, Worker &worker, std::string conninfo, std::string worker_name)
    : loop_{loop}, worker_{worker}, conninfo_{std::move(conninfo)}, worker_name_{std::move(worker_name)},
      connection_{loop, "waiter"}, changed_{loop.io}
{
    connection_.set_statement_limit(wait_limit);
}

void Waiter::stop()
{
    stopping_ = true;
    connection_.close();
    changed_.set();
}

void Waiter::update()
{
    changed_.set();
    if (!waiting_)
        return;
    const Worker::Wanted wanted = worker_.wanted();
    // A wait for work tells of revocations too, and a worker that is full for a moment will soon want work again.
    const bool will_do = wanted.executors.empty() && !wanted.nothing;
    if (wanted != waiting_for_ && !will_do) {
        waiting_ = false; // one request is enough
        connection_.cancel();
    }
}

Task<> Waiter::rest(Duration delay)
{
    const Instant until = BootClock::now() + delay;
    while (!stopping_ && BootClock::now() < until)
        co_await changed_.wait_until(until);
}

Task<> Waiter::run()
{
    Backoff backoff = reconnect_backoff();
    while (!stopping_) {
        if (!worker_.is_connected()) {
            co_await changed_.wait_for(poll_without_connection);
            continue;
        }
        std::string         problem;
        const std::uint64_t waits_before = waits_;
        try {
            co_await session();
        } catch (const Failure &failure) {
            problem = failure.message();
        }
        connection_.close();
        if (stopping_)
            co_return;
        if (waits_ != waits_before)
            backoff.reset();
        log::warn("the waiting connection was lost, looking for work without it", {{"reason", problem}});
        // The worker's own connection has most likely gone as well and does not know it yet.
        worker_.nudge();
        co_await rest(std::min(backoff.next(), poll_without_connection));
    }
}

Task<> Waiter::session()
{
    co_await connection_.connect(conninfo_);
    while (!stopping_) {
        const Worker::Wanted wanted = worker_.wanted();
        if (wanted.nothing || !worker_.is_quiet()) {
            co_await changed_.wait();
            continue;
        }
        if (wanted.executors.empty()) {
            co_await rest(before_revocations);
            if (stopping_ || worker_.wanted() != wanted)
                continue;
        }
        co_await wait(wanted);
    }
}

Task<> Waiter::wait(Worker::Wanted wanted)
{
    waiting_for_ = wanted;
    waiting_     = true;
    Params params;
    if (wanted.queues.empty())
        params.emplace_back(std::nullopt);
    else
        params.emplace_back(array_literal(wanted.queues));
    params.emplace_back(wait_interval);
    params.emplace_back(array_literal(wanted.executors));
    params.emplace_back(worker_name_);

    std::vector<Statement> statements;
    statements.push_back({calls::wait_for_work, std::move(params)});
    std::vector<Reply> replies;
    {
        const Watch watch{worker_, wanted};
        replies = co_await connection_.pipeline(std::move(statements));
    }
    waiting_ = false;
    co_await connection_.cancels_delivered();
    if (stopping_)
        co_return;

    if (auto *failure = std::get_if<Failure>(&replies.front())) {
        if (failure->is("57014"))
            co_return; // by us, to wait for something else
        throw std::move(*failure);
    }
    ++waits_;
    const std::string reason = std::get<Result>(replies.front()).text(0, "reason");
    if (reason == "work" && !worker_.has_free_places())
        co_return; // filled up in the meantime; the exchange that reports the next end claims as well
    const bool fruitful = co_await worker_.exchange_now();
    if (reason == "timeout" || fruitful) {
        empty_rest_ = Duration::zero();
        co_return;
    }
    empty_rest_ = std::clamp(empty_rest_ * 2, first_rest, longest_rest);
    co_await rest(empty_rest_);
}

} // namespace sluice::sidecar
