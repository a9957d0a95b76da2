// Becoming the leader and doing what it has to do.
#include "timer/leader.hpp"

#include "pg/backoff.hpp"
#include "log.hpp"

#include <algorithm>
#include <utility>

namespace sluice::sidecar {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration ask_for_lock_every = seconds{1};

// Deadlines that the database names are met at once, but never in a tight loop should one not go away.
constexpr Duration shortest_pause = milliseconds{10};

// A duty that waits for a lock this long is given up together with the leadership.
constexpr Duration duty_limit = seconds{60};

} // namespace

Leader::Leader(Loop &loop, Worker &worker, std::string conninfo, std::string worker_name)
    : loop_{loop}, worker_{worker}, conninfo_{std::move(conninfo)}, worker_name_{std::move(worker_name)},
      connection_{loop, "leader"}, changed_{loop.io},
      duties_{Duty{calls::reap_sessions, seconds{1}},
              Duty{calls::expire_leases, seconds{1}},
              Duty{calls::expire_runs, seconds{1}},
              Duty{calls::fire_schedules, seconds{10}, true, true, true},
              Duty{calls::announce_due, seconds{1}},
              Duty{calls::expire_idempotency_keys, seconds{60}},
              Duty{calls::remove_old_runs, seconds{60}},
              Duty{calls::sweep, seconds{60}, true, false}}
{
    connection_.set_statement_limit(duty_limit);
}

void Leader::stop()
{
    stopping_ = true;
    connection_.close();
    changed_.set();
}

Task<> Leader::run()
{
    Backoff backoff = reconnect_backoff();
    while (!stopping_) {
        if (!worker_.is_connected()) {
            co_await changed_.wait_for(milliseconds{100});
            continue;
        }
        std::string         problem;
        const std::uint64_t done_before = done_;
        try {
            co_await session();
        } catch (const Failure &failure) {
            problem = failure.message();
        }
        connection_.close();
        for (const Duty &duty : duties_)
            loop_.deadlines.disarm(std::string{"leader "} + duty.call.name);
        if (std::exchange(leading_, false))
            log::info("no longer the leader", {{"reason", problem}});
        if (stopping_)
            co_return;
        if (done_ != done_before)
            backoff.reset();
        worker_.nudge(); // its connection has most likely gone as well and does not know it yet
        if (failures_.pass("connection"))
            log::warn("the leader connection was lost", {{"reason", problem}});
        co_await changed_.wait_for(backoff.next());
    }
}

Task<> Leader::session()
{
    co_await connection_.connect(conninfo_);
    co_await connection_.exec(calls::end_silent_leader);
    co_await connection_.exec(calls::listen_to_schedules);
    while (!stopping_) {
        if (!leading_) {
            co_await try_lead();
            if (!leading_)
                co_await changed_.wait_for(ask_for_lock_every);
            continue;
        }
        if (connection_.take_notifications())
            for (Duty &duty : duties_)
                duty.due |= duty.on_notice;
        if (std::none_of(duties_.begin(), duties_.end(), [](const Duty &duty) { return duty.due; })) {
            connection_.listen(changed_);
            co_await changed_.wait();
            connection_.stop_listening();
            continue;
        }
        co_await do_due();
    }
}

Task<> Leader::try_lead()
{
    if (!worker_.is_connected())
        co_return;
    Params       params{worker_name_};
    const Result answer = co_await connection_.exec(calls::try_lead, std::move(params));
    leading_            = answer.text(0, "leading") == "t";
    if (!leading_)
        co_return;
    log::info("leader");
    for (Duty &duty : duties_)
        duty.due = true;
}

Task<> Leader::do_due()
{
    std::vector<Statement> statements;
    std::vector<Duty *>    asked;
    for (Duty &duty : duties_) {
        if (!duty.due)
            continue;
        duty.due = false;
        statements.push_back({duty.call, {}});
        asked.push_back(&duty);
    }
    const std::vector<Reply> replies = co_await connection_.pipeline(std::move(statements));
    for (std::size_t i = 0; i < asked.size(); ++i)
        settle(*asked[i], replies[i]);
}

void Leader::settle(Duty &duty, const Reply &reply)
{
    if (const auto *failure = std::get_if<Failure>(&reply)) {
        if (failure->is("SL105")) {
            if (std::exchange(leading_, false))
                log::info("no longer the leader", {{"reason", failure->message()}});
            return;
        }
        if (failure->is("SL012")) // an upgrade was made; a new session has the new library
            throw Failure::lost_connection(failure->message());
        if (failures_.pass(std::string{duty.call.name} + failure->sqlstate()))
            log::error("a duty of the leader failed", {{"duty", duty.call.name},
                                                       {"sqlstate", failure->sqlstate()},
                                                       {"reason", failure->message()}});
        return arm(duty, duty.every);
    }

    ++done_;
    const Result &result = std::get<Result>(reply);
    if (!duty.has_next_in) {
        for (int row = 0; row < result.rows(); ++row)
            log::info("sweep", {{"finding", result.text(row, "finding")}});
        return arm(duty, duty.every);
    }
    const long long count = result.integer(0, "count", 0);
    if (count > 0)
        log::debug("duty done", {{"duty", duty.call.name}, {"count", count}});
    if (std::string finding = result.text(0, "finding"); !finding.empty())
        log::info(duty.call.name, {{"finding", finding}});
    const double next_in = result.number(0, "next_in", 1e9);
    const auto   named   = std::chrono::duration<double>{std::clamp(next_in, 0.0, 1e6)};
    arm(duty, std::clamp(std::chrono::duration_cast<Duration>(named), shortest_pause, duty.every));
}

void Leader::arm(Duty &duty, Duration delay)
{
    loop_.deadlines.arm_in(std::string{"leader "} + duty.call.name, delay, [this, &duty] {
        duty.due = true;
        changed_.set();
    });
}

} // namespace sluice::sidecar
