// perform, its errors and its cancellation.
#include "core/death.hpp"

#include "run/sql_executor.hpp"

#include "pg/backoff.hpp"
#include "json_text.hpp"
#include "log.hpp"

#include <utility>

namespace sluice::sidecar {

namespace {

// A statement may sit in code that looks at cancel requests rarely; asking again costs nothing.
constexpr Duration ask_again = std::chrono::seconds{2};

// A statement may catch cancel requests.  A sidecar that leaves does not wait for it for ever: the run is given back, and
// what the statement does then cannot be committed.
constexpr int most_asks_when_drained = 5;

Outcome outcome_of(const Failure &failure, std::optional<StopReason> stopped)
{
    if (failure.is("SL102"))
        return Outcome::only(Outcome::Kind::canceled);
    if (stopped && (failure.is("57014") || failure.is_lost_connection()))
        return outcome_of_stop(*stopped);
    if (failure.is_lost_connection() || failure.in_class("57P"))
        return Outcome::with_error(Outcome::Kind::crashed, "TASK_RUN_CRASHED", failure.message());

    const core::Finding found =
        core::cause_of(core::Death{.error_message = failure.message(), .sqlstate = failure.sqlstate()});
    Outcome outcome =
        Outcome::with_error(core::is_memory(found.cause) ? Outcome::Kind::oom : Outcome::Kind::failed,
                            core::code_of(found.cause), failure.message());
    outcome.error["name"] = failure.sqlstate();
    if (!found.evidence.empty())
        outcome.error["evidence"] = found.evidence;
    if (!failure.detail().empty())
        outcome.error["detail"] = clean_text(failure.detail());
    if (!failure.hint().empty())
        outcome.error["hint"] = clean_text(failure.hint());
    if (!failure.context().empty())
        outcome.error["stackTrace"] = clean_text(failure.context());
    return outcome;
}

/// Lets the hook of a stop go when the attempt ends, however it ends.
class Hooked {
public:
    Hooked(Control &control, Control::Hook hook) : control_{control} { control_.on_stop(std::move(hook)); }
    ~Hooked() { control_.on_stop(nullptr); }

    Hooked(const Hooked &)            = delete;
    Hooked &operator=(const Hooked &) = delete;

private:
    Control &control_;
};

} // namespace

void SqlExecutor::set_capacity(std::size_t capacity)
{
    capacity_ = capacity;
    while (idle_.size() > capacity_)
        idle_.pop_back();
}

void SqlExecutor::give_back(Pooled connection)
{
    if (connection->is_open() && idle_.size() < capacity_)
        idle_.push_back(std::move(connection));
}

Task<SqlExecutor::Pooled> SqlExecutor::acquire(Control &control)
{
    while (!idle_.empty()) {
        Pooled connection = std::move(idle_.back());
        idle_.pop_back();
        if (connection->is_usable())
            co_return connection;
    }

    Event        stopped{loop_.io};
    const Hooked hooked{control, [&stopped](Force) { stopped.set(); }};
    Backoff      backoff = reconnect_backoff();
    while (!control.stopped()) {
        auto        connection = std::make_unique<Connection>(loop_, "sql " + std::to_string(++opened_));
        std::string problem;
        try {
            co_await connection->connect(conninfo_);
            co_return connection;
        } catch (const Failure &failure) {
            problem = failure.message();
        }
        log::warn("no connection for an sql task, trying again", {{"reason", problem}});
        co_await stopped.wait_for(backoff.next());
    }
    co_return nullptr;
}

Task<> SqlExecutor::clean(Connection &connection)
{
    try {
        if (!connection.is_open())
            co_return;
        co_await connection.exec(calls::clean_session);
        co_await connection.exec(calls::prepare_session); // it has forgotten that, too
    } catch (const Failure &) {
        connection.close(); // it is not used for another task
    }
}

Task<Outcome> SqlExecutor::run(const Job &job, Control &control)
{
    Backoff backoff = reconnect_backoff();
    for (;;) {
        if (std::optional<Outcome> outcome = co_await perform(job, control))
            co_return std::move(*outcome);
        Event        stopped{loop_.io};
        const Hooked hooked{control, [&stopped](Force) { stopped.set(); }};
        co_await stopped.wait_for(backoff.next());
    }
}

Task<std::optional<Outcome>> SqlExecutor::perform(const Job &job, Control &control)
{
    Pooled connection = co_await acquire(control);
    if (!connection)
        co_return outcome_of_stop(*control.stopped());

    const std::string     again_name = "cancel again " + job.token;
    int                   asks       = 0;
    std::function<void()> ask        = [&] {
        if (++asks > most_asks_when_drained && control.stopped() == StopReason::drained)
            return connection->close();
        connection->cancel();
        loop_.deadlines.arm_in(again_name, ask_again, ask);
    };

    std::optional<Failure> failure;
    {
        const Hooked hooked{control, [&](Force force) {
                                if (force == Force::firm)
                                    connection->close();
                                else if (asks == 0)
                                    ask();
                            }};
        Params       params{job.token};
        try {
            co_await connection->exec(calls::perform, std::move(params));
        } catch (const Failure &lost) {
            failure = lost;
        }
    }
    loop_.deadlines.disarm(again_name);
    if (failure && asks == 0)
        co_await clean(*connection);

    // An upgrade is under way: nothing of the task was done, and a session that comes later can do it.
    const bool is_outdated = failure && failure->is("SL012") && !control.stopped();
    if (asks > 0 || is_outdated)
        connection->close(); // a late cancel request could hit the next task
    give_back(std::move(connection));

    if (is_outdated) {
        log::warn("an sql task waits for the end of an upgrade", {{"reason", failure->message()}});
        co_return std::nullopt;
    }
    if (!failure)
        co_return Outcome::only(Outcome::Kind::settled);
    co_return outcome_of(*failure, control.stopped());
}

} // namespace sluice::sidecar
