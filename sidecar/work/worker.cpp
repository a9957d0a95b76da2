// The worker's cycle and its connection.
#include "work/worker.hpp"

#include "pg/backoff.hpp"
#include "json_text.hpp"
#include "log.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration shortest_heartbeat = milliseconds{50};
constexpr Duration log_flush          = seconds{1};

// An exchange may wait for a lock for a moment; a server that says nothing for so long is gone.
constexpr Duration exchange_limit = seconds{60};

// After the database refused to hand out work, e.g. because it is a restored copy that nobody has adopted.
constexpr Duration refused_claims_pause = seconds{5};

// Once all children are stopped, how long to try to say so before leaving anyway.
constexpr Duration last_report_limit = seconds{10};

// Outputs may have 10 MB each; the rest goes with the next exchange.
constexpr std::size_t outcome_bytes_at_once = 32 << 20;

std::string json_list(const std::vector<std::string> &items)
{
    std::string json = "[";
    for (const std::string &item : items)
        json += (json.size() > 1 ? "," : "") + json_quote(item);
    return json + "]";
}

/// The values themselves are wrong, so that sending them again would fail again.
bool blames_the_data(const Failure &failure)
{
    return failure.in_class("22") || failure.in_class("23") || failure.in_class("54");
}

/// The same statement may do better a moment later.
bool may_pass(const Failure &failure)
{
    return failure.in_class("40") || failure.in_class("53") || failure.in_class("55") ||
           failure.in_class("57");
}

/// SL012: an upgrade was made; a new session has the new library.
bool ends_the_session(const Failure &failure)
{
    return failure.in_class("08") || failure.in_class("57P") || failure.is("25006") || failure.is("SL104") ||
           failure.is("SL012");
}

/// What is missing, in the words of someone who can do something about it.
std::optional<std::string> setup_problem(const Failure &failure)
{
    if (failure.is("3F000") || failure.is("42883") || failure.is("42P01"))
        return "the database has no sluice functions that this sluiced knows (" + failure.message() +
               "); run: create extension sluice; select sluice.setup();";
    if (failure.is("SL010"))
        return failure.message() + "; run: sluiced --setup (or: select sluice.setup();)";
    if (failure.is("42501"))
        return "the login may not act as a worker (" + failure.message() +
               "); run: sluiced --setup, unless the storage has been made, and: grant sluice_worker to "
               "<login>";
    return std::nullopt;
}

} // namespace

Worker::Worker(Loop &loop, Options options, Executors executors)
    : loop_{loop}, options_{std::move(options)}, executors_{std::move(executors)},
      connection_{loop, "worker"}, pace_{options_.batch_window}, wake_{loop.io}, answered_{loop.io}
{
    connection_.set_statement_limit(exchange_limit);
}

Stats Worker::stats() const
{
    return {{"running", static_cast<double>(running_.size())},
            {"exchanges", static_cast<double>(exchanges_answered_)},
            {"claimed", static_cast<double>(claimed_)},
            {"ended", static_cast<double>(ended_)},
            {"lost", static_cast<double>(lost_)}};
}

void Worker::configure(Options options)
{
    options.name     = options_.name;
    options.host     = options_.host;
    options.conninfo = options_.conninfo;
    options_         = std::move(options);
    pace_.set_window(options_.batch_window);
    nudge();
}

void Worker::nudge()
{
    pace_.ask();
    wake_.set();
}

void Worker::stop()
{
    stopped_ = true;
    connection_.close();
    wake_.set();
    answered_.set();
}

void Worker::drain(Duration limit)
{
    if (draining_)
        return;
    draining_ = true;
    loop_.deadlines.arm_in("drain", limit, [this] {
        if (running_.executing() > 0)
            log::info("drain timeout, stopping what still runs", {{"running", running_.executing()}});
        stop_attempts(StopReason::drained, Force::polite);
        arm_drain_end();
    });
    if (running_.empty() && !registered_)
        connection_.close(); // nothing to say: do not wait for a server that does not answer
    nudge();
}

void Worker::arm_drain_end()
{
    loop_.deadlines.arm_in("drain end", last_report_limit, [this] {
        if (running_.executing() > 0)
            return arm_drain_end();
        if (!running_.empty())
            log::warn("leaving without the database's answer", {{"outcomes", running_.size()}});
        stop();
    });
}

void Worker::stop_attempts(StopReason reason, Force force)
{
    for (const auto &[token, attempt] : running_.attempts())
        if (!attempt->is_reporting())
            attempt->control.stop(reason, force);
}

Task<bool> Worker::exchange_now()
{
    const std::uint64_t wanted = exchanges_started_ + 1;
    const std::uint64_t fruit  = claimed_ + lost_ + ended_;
    nudge();
    while (exchanges_answered_ < wanted && !stopped_)
        co_await answered_.wait();
    co_return claimed_ + lost_ + ended_ != fruit;
}

Worker::Wanted Worker::wanted() const
{
    Wanted wanted;
    wanted.queues        = options_.queues;
    const bool may_claim = has_free_places() && BootClock::now() >= no_claims_until_;
    if (may_claim)
        wanted.executors = executors_with_room();
    wanted.nothing = !registered_ || (!may_claim && running_.empty());
    return wanted;
}

std::vector<std::string> Worker::executors_with_room() const
{
    std::vector<std::string> names;
    for (const std::string &name : options_.executors) {
        const auto executor = executors_.find(name);
        if (executor != executors_.end() && executor->second->room() > 0)
            names.push_back(name);
    }
    return names;
}

std::size_t Worker::room(const std::vector<std::string> &executors) const
{
    std::size_t least = std::numeric_limits<std::size_t>::max();
    for (const std::string &name : executors)
        least = std::min(least, executors_.find(name)->second->room());
    return executors.empty() ? 0 : least;
}

std::size_t Worker::free_places() const
{
    const std::size_t taken = running_.places();
    return options_.capacity > taken ? options_.capacity - taken : 0;
}

Task<> Worker::pause(Duration delay)
{
    const Instant until = BootClock::now() + delay;
    while (!is_done() && BootClock::now() < until)
        co_await wake_.wait_until(until);
}

Task<> Worker::run()
{
    Backoff backoff = reconnect_backoff();
    while (!is_done()) {
        std::string problem;
        try {
            co_await session();
        } catch (const Failure &failure) {
            problem = failure.message() + (failure.hint().empty() ? "" : "; " + failure.hint());
        }
        connection_.close();
        if (std::exchange(registered_, false))
            backoff.reset();
        if (is_done())
            break;
        const Duration delay = backoff.next();
        if (reconnects_.pass(problem))
            log::warn("cannot work with the database, trying again",
                      {{"reason", problem},
                       {"held", running_.size()},
                       {"retry_ms", std::chrono::duration_cast<milliseconds>(delay).count()}});
        co_await pause(delay);
    }
    connection_.close();
    stopped_ = true; // who asked for one more exchange must not wait for it
    answered_.set();
    for (const char *name : {"drain", "drain end", "heartbeat", "lease", "logs", "exchange"})
        loop_.deadlines.disarm(name);
}

Task<> Worker::session()
{
    co_await connection_.connect(options_.conninfo);
    co_await check_database();
    co_await register_worker();
    registered_ = true;
    reconnects_.reset();
    if (on_session_)
        on_session_();
    pace_.lost(); // whatever was in flight on an earlier connection
    pace_.ask();

    while (!is_done()) {
        const Instant now  = BootClock::now();
        const Instant next = pace_.next(now, running_.executing()).value_or(Instant::max());
        if (next <= now)
            co_await cycle();
        else
            co_await wake_.wait_until(next);
    }
}

Task<> Worker::check_database()
{
    std::optional<Failure> refusal;
    Result                 version;
    Result                 storage;
    try {
        version = co_await connection_.exec(calls::version);
        storage = co_await connection_.exec(calls::storage_version);
    } catch (const Failure &failure) {
        refusal = failure;
    }
    if (refusal) {
        const auto problem = setup_problem(*refusal);
        if (problem && !was_ready_)
            throw StartupError{*problem};
        throw std::move(*refusal);
    }

    // A pooler answers for the server when a connection is made, under a process id that it makes up.
    if (version.integer(0, "backend", 0) != connection_.server_pid()) {
        const std::string pooled =
            "the connection to the database goes through a pooler, and sluiced needs direct ones: "
            "it is known by its sessions, and its waits would hold up the pool; "
            "give the address of the server itself as database.url";
        if (!was_ready_)
            throw StartupError{pooled};
        throw Failure::lost_connection(pooled);
    }

    const auto needed = storage.integer(0, "library", 0);
    const auto stored = storage.integer(0, "stored", 0);
    if (stored == needed)
        co_return;
    const std::string problem =
        "the storage has version " + std::to_string(stored) + " but the extension (" +
        version.text(0, "library") + ") needs version " + std::to_string(needed) +
        (stored < needed ? "; run: sluiced --setup"
                         : "; install the newer release and run: alter extension sluice update");
    if (!was_ready_)
        throw StartupError{problem};
    throw Failure::lost_connection(problem);
}

Task<> Worker::register_worker()
{
    const std::string queues = options_.queues.empty() ? "null" : json_list(options_.queues);
    std::string       options =
        "{\"host\":" + json_quote(options_.host) + ",\"pid\":" + std::to_string(::getpid()) +
        ",\"version\":" + json_quote(SLUICE_VERSION) + ",\"executors\":" + json_list(options_.executors) +
        ",\"queues\":" + queues + ",\"capacity\":" + std::to_string(options_.capacity) +
        ",\"memory\":" + std::to_string(options_.memory) + ",\"tokens\":" + json_list(running_.tokens()) +
        ",\"seen_reply\":" + std::to_string(seen_reply_) + "}";

    std::optional<Failure> refusal;
    Params                 params{options_.name, std::move(options)};
    try {
        co_await connection_.exec(calls::register_worker, std::move(params));
    } catch (const Failure &failure) {
        refusal = failure;
    }
    if (!refusal)
        co_return;
    const auto problem = setup_problem(*refusal);
    if (problem && !was_ready_)
        throw StartupError{*problem};
    throw std::move(*refusal);
}

Task<> Worker::cycle()
{
    LogPortions::Taken          lines      = log_portions_.take(running_, BootClock::now());
    std::vector<Statement>      statements = std::move(lines.statements);
    const std::vector<NoteMark> notes      = add_notes(statements);
    const ExchangeRequest       asked      = request(lines);
    statements.push_back(asked.statement());

    pace_.started();
    ++exchanges_started_;
    const Instant      sent    = BootClock::now();
    std::vector<Reply> replies = co_await connection_.pipeline(std::move(statements));

    pace_.answered(BootClock::now());
    settle_logs(replies, lines);
    settle_notes(replies, notes);
    if (const auto *failure = std::get_if<Failure>(&replies.back())) {
        if (ends_the_session(*failure))
            throw Failure::lost_connection(failure->message());
        refused(asked, *failure);
    } else {
        take(asked, read_exchange(std::get<Result>(replies.back())), sent);
        if (!std::exchange(was_ready_, true) && ready_)
            ready_();
    }
    exchanges_answered_ = exchanges_started_;
    answered_.set();
    arm_heartbeat();
    if (pace_.is_quiet() && settled_)
        settled_();
}

void Worker::settle_logs(const std::vector<Reply> &replies, const LogPortions::Taken &lines)
{
    for (std::size_t i = 0; i < lines.marks.size(); ++i) {
        const auto &[token, mark] = lines.marks[i];
        if (const auto *failure = std::get_if<Failure>(&replies[i]); failure && refusals_.pass("append_logs"))
            log::warn("the database did not take the lines of an attempt", {{"reason", failure->message()}});
        if (Attempt *attempt = running_.find(token))
            attempt->control.log().forget_up_to(mark);
    }
    if (!lines.unfinished.empty())
        pace_.ask();
}

std::vector<Worker::NoteMark> Worker::add_notes(std::vector<Statement> &statements) const
{
    std::vector<NoteMark> marks;
    for (const auto &[token, attempt] : running_.attempts()) {
        const AttemptNotes &notes = attempt->control.notes();
        if (std::string json = notes.metadata_json(); !json.empty()) {
            marks.push_back({token, notes.version(), "metadata", statements.size()});
            statements.push_back({calls::set_metadata, Params{token, std::move(json)}});
        }
        if (const auto tags = notes.tags(); !tags.empty()) {
            marks.push_back({token, notes.version(), "tags", statements.size()});
            statements.push_back({calls::add_tags, Params{token, array_literal(tags)}});
        }
    }
    return marks;
}

void Worker::settle_notes(const std::vector<Reply> &replies, const std::vector<NoteMark> &marks)
{
    std::set<std::string_view> again;
    for (const auto &[token, version, what, statement] : marks) {
        const auto *failure = std::get_if<Failure>(&replies[statement]);
        Attempt    *attempt = running_.find(token);
        if (failure == nullptr || failure->is("SL102") || attempt == nullptr)
            continue; // of a dead token the exchange says more
        log::warn("the database did not take what an attempt noted", {{"run_id", attempt->job.run_id},
                                                                      {"attempt", attempt->job.attempt},
                                                                      {"what", what},
                                                                      {"reason", failure->message()}});
        if (may_pass(*failure))
            again.insert(token);
        else
            attempt->control.log().add("stderr",
                                       "[sluice] " + std::string{what} + " not kept: " + failure->message(),
                                       BootClock::now());
    }
    for (const NoteMark &mark : marks)
        if (Attempt *attempt = running_.find(mark.token); attempt != nullptr && !again.contains(mark.token))
            attempt->control.notes().forget(mark.version);
}

ExchangeRequest Worker::request(const LogPortions::Taken &lines) const
{
    ExchangeRequest asked;
    asked.worker     = options_.name;
    asked.heartbeats = running_.tokens();
    asked.queues     = options_.queues;
    asked.executors  = executors_with_room();
    asked.seen_reply = seen_reply_;

    std::size_t bytes = 0;
    for (const auto &[token, attempt] : running_.attempts()) {
        if (!attempt->is_reporting() || attempt->outcome->kind == Outcome::Kind::unrenewed)
            continue;
        if (lines.unfinished.contains(token)) { // an outcome follows its lines
            asked.is_partial = true;
            continue;
        }
        const bool full = one_outcome_at_a_time_ || bytes > outcome_bytes_at_once;
        if (!asked.outcomes.empty() && full) {
            asked.is_partial = true;
            break;
        }
        asked.outcomes.emplace_back(token, outcome_json(token, *attempt->outcome));
        bytes += asked.outcomes.back().second.size();
    }

    if (!draining_ && BootClock::now() >= no_claims_until_) {
        const std::size_t held = running_.places() - asked.outcomes.size();
        const std::size_t free = options_.capacity > held ? options_.capacity - held : 0;
        asked.capacity         = std::min(free, room(asked.executors));
    }
    return asked;
}

void Worker::take(const ExchangeRequest &asked, ExchangeReply reply, Instant sent)
{
    seen_reply_ = reply.reply;

    for (const auto &[token, answer] : reply.ended) {
        if (const Attempt *attempt = running_.find(token))
            log::debug(
                "attempt reported",
                {{"run_id", attempt->job.run_id}, {"attempt", attempt->job.attempt}, {"answer", answer}});
        ++ended_;
        forget(token);
    }

    std::set<std::string_view> dead;
    for (const auto &[token, answer] : reply.lost) {
        dead.insert(token);
        // It may have ended by its own outcome in this very exchange, or in the transaction of its sql task.
        if (Attempt *attempt = running_.find(token))
            take_lost(*attempt, answer);
    }

    for (const std::string &token : asked.heartbeats) {
        Attempt *attempt = dead.contains(token) ? nullptr : running_.find(token);
        if (attempt == nullptr)
            continue;
        attempt->confirmed = sent;
        if (attempt->is_reporting() && attempt->outcome->kind == Outcome::Kind::unrenewed) {
            // The database kept the lease after all, but the child was stopped because we could not know.
            attempt->outcome = Outcome::with_error(Outcome::Kind::crashed, "TASK_RUN_CRASHED",
                                                   "stopped because the lease could not be renewed in time");
            nudge();
        }
    }

    pace_.claimed(asked.capacity, reply.claimed.size());
    claimed_ += reply.claimed.size();
    for (Job &job : reply.claimed)
        start(std::move(job), sent);

    if (asked.is_partial)
        pace_.ask();
    else
        one_outcome_at_a_time_ = false;
}

void Worker::take_lost(Attempt &attempt, const std::string &answer)
{
    // An sql task ends its attempt in its own transaction; the answer of its session is on its way.
    if (answer == "ended" && attempt.job.executor == "sql" && !attempt.is_reporting())
        return;
    ++lost_;
    log::info("lease lost, stopping the attempt",
              {{"run_id", attempt.job.run_id}, {"attempt", attempt.job.attempt}, {"reason", answer}});
    if (!attempt.is_reporting()) {
        attempt.control.stop(StopReason::canceled);
        return;
    }
    // Nothing runs any more; its outcome would be refused, so that only the place remains to be freed.
    attempt.outcome = Outcome::only(Outcome::Kind::canceled);
    nudge();
}

void Worker::refused(const ExchangeRequest &asked, const Failure &failure)
{
    if (refusals_.pass(failure.sqlstate()))
        log::error("the database refused an exchange", {{"sqlstate", failure.sqlstate()},
                                                        {"reason", failure.message()},
                                                        {"detail", failure.detail()},
                                                        {"hint", failure.hint()}});
    if (isolate_outcome(asked, failure))
        return nudge();
    if (failure.in_class("40"))
        return retry_in(milliseconds{50});
    if (asked.capacity > 0) {
        // Heartbeats and outcomes must not suffer because claims are refused.
        no_claims_until_ = BootClock::now() + refused_claims_pause;
        // A deadline of its own: a shorter retry in between would take the place of the one that ends the pause.
        loop_.deadlines.arm_in("claims", refused_claims_pause, [this] { nudge(); });
        if (!running_.empty())
            nudge();
        return;
    }
    retry_in(seconds{1});
}

/// True when the outcomes were to blame and the next exchange will be another one.
bool Worker::isolate_outcome(const ExchangeRequest &asked, const Failure &failure)
{
    if (asked.outcomes.empty() || !blames_the_data(failure))
        return false;
    if (asked.outcomes.size() > 1) {
        one_outcome_at_a_time_ = true;
        return true;
    }

    const std::string &token   = asked.outcomes.front().first;
    Attempt           *attempt = running_.find(token);
    if (attempt == nullptr)
        return true;
    if (attempt->outcome->kind != Outcome::Kind::completed) {
        log::error("an outcome cannot be reported and is given up",
                   {{"run_id", attempt->job.run_id}, {"reason", failure.message()}});
        forget(token);
        return true;
    }
    attempt->outcome = Outcome::with_error(Outcome::Kind::failed, "TASK_OUTPUT_ERROR",
                                           "the database does not accept the output: " + failure.message());
    return true;
}

void Worker::retry_in(Duration delay)
{
    loop_.deadlines.arm_in("exchange", delay, [this] { nudge(); });
}

void Worker::start(Job job, Instant sent)
{
    const std::string token = job.token;
    Attempt &attempt        = running_.add(std::move(job), sent, AttemptLog::Limits{options_.max_log_bytes});
    log::debug("attempt claimed", {{"run_id", attempt.job.run_id},
                                   {"attempt", attempt.job.attempt},
                                   {"task", attempt.job.task},
                                   {"executor", attempt.job.executor}});

    const auto executor = executors_.find(attempt.job.executor);
    if (draining_ || executor == executors_.end()) {
        finished(attempt, Outcome::only(Outcome::Kind::released));
        return;
    }
    arm_lease_check();
    arm_log_flush();

    asio::co_spawn(
        loop_.io,
        [](Worker &worker, Executor &runs, Attempt &held) -> Task<> {
            Outcome outcome;
            try {
                Admission admission = co_await runs.admit(held.job, held.control);
                if (admission.refusal) {
                    outcome = std::move(*admission.refusal);
                } else {
                    worker.arm_max_duration(held);
                    outcome = co_await runs.run(held.job, held.control);
                }
            } catch (const std::exception &error) {
                log::error("an executor failed", {{"run_id", held.job.run_id}, {"reason", error.what()}});
                outcome = Outcome::with_error(Outcome::Kind::crashed, "TASK_RUN_CRASHED", error.what());
            }
            worker.finished(held, std::move(outcome));
        }(*this, *executor->second, attempt),
        asio::detached);
}

void Worker::arm_max_duration(Attempt &attempt)
{
    if (attempt.job.max_duration)
        loop_.deadlines.arm_in("max_duration " + attempt.job.token, *attempt.job.max_duration,
                               [&attempt] { attempt.control.stop(StopReason::timed_out); });
}

void Worker::finished(Attempt &attempt, Outcome outcome)
{
    log::debug("attempt ended", {{"run_id", attempt.job.run_id},
                                 {"attempt", attempt.job.attempt},
                                 {"outcome", name_of(outcome.kind)}});
    loop_.deadlines.disarm("max_duration " + attempt.job.token);
    wake_.set();

    if (outcome.kind == Outcome::Kind::settled) {
        ++ended_;
        forget(std::string{attempt.job.token});
        pace_.place_freed(watched_);
        if (running_.empty())
            loop_.deadlines.disarm("heartbeat"); // there may be no exchange to do it
        return;
    }
    pace_.ended();
    if (failed_ && outcome.kind == Outcome::Kind::failed)
        failed_(attempt.job, outcome);
    // Whatever it did last: a dead token can only be let go.
    const bool dead = attempt.control.stopped() == StopReason::canceled;
    attempt.outcome = dead ? Outcome::only(Outcome::Kind::canceled) : std::move(outcome);
}

void Worker::forget(const std::string &token)
{
    running_.remove(token);
}

void Worker::arm_heartbeat()
{
    const auto shortest = running_.shortest_heartbeat();
    if (!shortest) {
        loop_.deadlines.disarm("heartbeat");
        return;
    }
    const Duration of_tasks = std::max<Duration>(*shortest, shortest_heartbeat);
    loop_.deadlines.arm_in("heartbeat", options_.heartbeat.value_or(of_tasks), [this] { nudge(); });
}

/// One deadline for all leases: the earliest end of any.  Heartbeats move only the attempts' own times, so it
/// mostly fires for nothing and moves on.
void Worker::arm_lease_check()
{
    std::optional<Instant> earliest;
    const Instant          now = BootClock::now();
    for (const auto &[token, attempt] : running_.attempts()) {
        if (attempt->is_reporting() || attempt->control.stopped())
            continue;
        const Instant end = attempt->confirmed + attempt->job.lease;
        if (end <= now) {
            log::warn("the lease could not be renewed in time, stopping the attempt",
                      {{"run_id", attempt->job.run_id}, {"attempt", attempt->job.attempt}});
            attempt->control.stop(StopReason::lease_over);
            continue;
        }
        earliest = std::min(earliest.value_or(end), end);
    }
    if (earliest)
        loop_.deadlines.arm("lease", *earliest, [this] { arm_lease_check(); });
}

void Worker::arm_log_flush()
{
    loop_.deadlines.arm_in("logs", log_flush, [this] {
        const auto &attempts = running_.attempts();
        if (std::any_of(attempts.begin(), attempts.end(), [](const auto &entry) {
                return entry.second->control.log().has_unsent() || entry.second->control.notes().has_unsent();
            }))
            nudge();
        if (!attempts.empty())
            arm_log_flush();
    });
}

} // namespace sluice::sidecar
