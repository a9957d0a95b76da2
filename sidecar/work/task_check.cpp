// One task after another, between two connections that are not kept.
#include "work/task_check.hpp"

#include "json_text.hpp"
#include "log.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>

namespace sluice::sidecar {

namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration longest_check = minutes{1};
constexpr Duration again_after   = minutes{10};
constexpr Duration after_failure = seconds{30};
constexpr Duration soon          = seconds{2};

// Of tasks that keep failing, or of a session that keeps ending, a look is no reason to do nothing else.
constexpr int rest_for_each_look = 10;

// What report_tasks() takes.  The log has all.
constexpr std::size_t most_reported = 100;

Job read_task(const Result &result, int row)
{
    Job job;
    job.token    = "check-" + std::to_string(row);
    job.run_id   = "0";
    job.task     = result.text(row, "task");
    job.executor = result.text(row, "executor");
    job.target   = result.text(row, "target");
    job.machine  = result.text(row, "machine");
    boost::system::error_code error;
    boost::json::value        options = boost::json::parse(result.text(row, "options"), error);
    if (!error && options.is_object())
        job.options = std::move(options.get_object());
    return job;
}

std::string text_in(const boost::json::object &error, const char *name)
{
    const boost::json::value *value = error.if_contains(name);
    return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

} // namespace

TaskCheck::TaskCheck(Loop &loop, Options options, const Worker::Executors &executors)
    : loop_{loop}, options_{std::move(options)}, executors_{executors},
      connection_{loop, "task check"}, wake_{loop.io}
{
    connection_.set_statement_limit(minutes{1});
}

void TaskCheck::configure(Options options)
{
    options_.executors = std::move(options.executors);
    options_.queues    = std::move(options.queues);
    not_before_        = {}; // somebody waits for it
    look();
}

void TaskCheck::look()
{
    look_in(Duration::zero());
}

void TaskCheck::look_in(Duration delay)
{
    const Instant when = std::max(BootClock::now() + delay, not_before_);
    if (stopped_ || (next_ && *next_ <= when))
        return;
    next_ = when;
    loop_.deadlines.arm("task check", when, [this] {
        next_.reset();
        wanted_ = true;
        wake_.set();
    });
}

void TaskCheck::attempt_failed(const Job &job, const Outcome &outcome)
{
    const auto executor = executors_.find(job.executor);
    if (text_in(outcome.error, "code") != "CONFIGURED_INCORRECTLY" || executor == executors_.end() ||
        !executor->second->checks() || problems_.contains(job.task) || std::exchange(soon_, true))
        return;
    look_in(soon);
}

void TaskCheck::stop()
{
    stopped_ = true;
    if (checking_ != nullptr)
        checking_->stop(StopReason::drained, Force::firm);
    connection_.close();
    wake_.set();
}

std::vector<std::string> TaskCheck::executors() const
{
    std::vector<std::string> names;
    for (const std::string &name : options_.executors)
        if (const auto found = executors_.find(name); found != executors_.end() && found->second->checks())
            names.push_back(name);
    return names;
}

Task<> TaskCheck::run()
{
    while (!stopped_) {
        if (!std::exchange(wanted_, false)) {
            co_await wake_.wait();
            continue;
        }
        std::string   problem;
        const Instant begin = BootClock::now();
        try {
            co_await look_at_all();
        } catch (const Failure &failure) {
            problem = failure.message();
        }
        connection_.close();
        if (stopped_)
            break;
        const Instant end = BootClock::now();
        not_before_       = end + rest_for_each_look * (end - begin);
        if (!problem.empty() && failures_.pass("look"))
            log::warn("cannot look at the tasks, trying again", {{"reason", problem}});
        if (!problem.empty() || !problems_.empty())
            look_in(problem.empty() ? again_after : after_failure);
    }
    loop_.deadlines.disarm("task check");
}

Task<> TaskCheck::look_at_all()
{
    const std::vector<std::string> names = executors();
    std::vector<Job>               jobs;
    soon_ = false;
    if (!names.empty()) {
        Params params{array_literal(names), std::nullopt};
        if (!options_.queues.empty())
            params[1] = array_literal(options_.queues);
        co_await connection_.connect(options_.conninfo);
        const Result tasks = co_await connection_.exec(calls::tasks_to_check, std::move(params));
        connection_.close(); // looking takes its time
        for (int row = 0; row < tasks.rows(); ++row)
            jobs.push_back(read_task(tasks, row));
    }

    std::map<std::string, std::string> problems;
    for (const Job &job : jobs) {
        if (stopped_)
            co_return;
        if (const auto problem = co_await look_at(*executors_.find(job.executor)->second, job))
            problems[job.task] = *problem;
    }
    problems_ = std::move(problems);
    std::erase_if(told_, [this](const auto &entry) { return !problems_.contains(entry.first); });
    if (stopped_ || (problems_.empty() && !has_reported_))
        co_return;

    boost::json::object report;
    for (const auto &[task, code] : problems_)
        if (report.size() < most_reported)
            report[task] = code;
    Params params{options_.worker, boost::json::serialize(report)};
    has_reported_ = true; // even if the reply is lost
    co_await connection_.connect(options_.conninfo);
    co_await connection_.exec(calls::report_tasks, std::move(params));
    has_reported_ = !problems_.empty();
}

/// The code of what is wrong.
Task<std::optional<std::string>> TaskCheck::look_at(Executor &executor, const Job &job)
{
    Control control{AttemptLog::Limits{}};
    checking_ = &control;
    loop_.deadlines.arm_in("task check limit", longest_check,
                           [&control] { control.stop(StopReason::timed_out, Force::firm); });
    std::optional<Outcome> outcome;
    try {
        outcome = co_await executor.check(job, control);
    } catch (const std::exception &error) {
        log::error("a task could not be looked at", {{"task", job.task}, {"reason", error.what()}});
    }
    loop_.deadlines.disarm("task check limit");
    checking_ = nullptr;
    // One that takes too long on a busy machine may run all the same.
    if (control.stopped() == StopReason::timed_out)
        log::warn("a task could not be looked at",
                  {{"task", job.task}, {"reason", "its interpreter did not answer in time"}});
    if (!outcome || control.stopped())
        co_return std::nullopt;

    const std::string code   = text_in(outcome->error, "code");
    const std::string reason = text_in(outcome->error, "message");
    const auto        told   = told_.find(job.task);
    if (told == told_.end() || told->second != reason) {
        told_[job.task] = reason;
        log::warn("a task cannot run here",
                  {{"task", job.task}, {"executor", job.executor}, {"code", code}, {"reason", reason}});
    }
    co_return code;
}

} // namespace sluice::sidecar
