// The life of an interpreter, and the attempts in it.
#include "run/python_warm.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>

namespace sluice::sidecar {

namespace {

/// From the end of its input to the signal, for an interpreter that nobody uses.
constexpr Duration longest_leave = std::chrono::seconds{5};

std::string mark_of(const Job &job)
{
    return "\x1e"
           "sluice-end-" +
           job.token;
}

/// The job as the runner reads it, with what is this attempt's alone.
std::string input_of(const PythonTask &task, const Job &job, const std::vector<std::string> &environment)
{
    boost::json::object variables;
    for (const std::string &each : environment) {
        const auto equals                 = each.find('=');
        variables[each.substr(0, equals)] = each.substr(equals + 1);
    }
    PythonTask told         = task;
    told.job["warm"]        = true;
    told.job["warm_bytes"]  = task.warm_bytes;
    told.job["mark"]        = mark_of(job);
    told.job["environment"] = std::move(variables);
    return python_input(told, job);
}

} // namespace

WarmPython::Current::Current(Control &attempt, std::size_t longest, const std::string &mark,
                             WarmPython &owner)
    : control{attempt}, out_mark{mark}, err_mark{mark}, lines{attempt.log(), longest},
      answer{longest, attempt, [&owner](std::string_view word) { owner.heard(word); }}
{
}

WarmPython::WarmPython(Loop &loop, Machines &machines, std::string key, MemoryBudget::Share memory)
    : loop_{loop}, machines_{machines}, key_{std::move(key)}, memory_{std::move(memory)},
      input_{std::make_shared<ChildInput>(loop.io)}, changed_{loop.io}, gone_{loop.io}
{
}

void WarmPython::start(const Job &job, const PythonTask &task, std::vector<std::string> environment,
                       std::string input)
{
    is_started_ = true;
    life_       = job;
    life_.payload.reset();
    grace_ = duration_of(task.program.grace_seconds);
    Child::Spec spec{job.token,
                     task.program.path,
                     task.program.argv,
                     std::move(environment),
                     task.program.cwd,
                     std::move(input),
                     true,
                     {}};
    spec.more_input = input_;
    asio::co_spawn(
        loop_.io,
        [](std::shared_ptr<WarmPython> self, Child::Spec begun) -> Task<> {
            co_await self->live(std::move(begun), self->grace_);
        }(shared_from_this(), std::move(spec)),
        asio::detached);
}

Task<> WarmPython::live(Child::Spec spec, Duration grace)
{
    Child::Sink sink = [this](Child::Stream stream, std::string_view bytes) { take(stream, bytes); };
    ProcessEnd  end =
        co_await machines_.run(life_, control_, std::move(spec), std::move(sink), grace, &meter_);
    end_ = std::move(end);
    loop_.deadlines.disarm("python rest " + life_.token);
    if (memory_.use() != MemoryBudget::Use::attempt)
        memory_ = {}; // whoever still knows of it has no use for it
    changed_.set();
    gone_.set();
}

void WarmPython::take(Child::Stream stream, std::string_view bytes)
{
    if (current_ == nullptr)
        return; // nobody's
    switch (stream) {
    case Child::Stream::out:
        current_->lines.out(current_->out_mark.feed(bytes));
        break;
    case Child::Stream::err:
        current_->lines.err(current_->err_mark.feed(bytes));
        break;
    case Child::Stream::descriptor_3:
        current_->answer.feed(bytes);
        break;
    }
    if (current_->is_complete())
        changed_.set();
}

void WarmPython::heard(std::string_view word)
{
    if (word == "begun") {
        current_->has_begun = true;
        return;
    }
    if (word == "heartbeat") {
        if (!current_->answer.outcome())
            await_heartbeat();
        return;
    }
    if (word == "rest") {
        current_->can_go_on = true;
        return;
    }
    if (!current_->was_free)
        current_->was_free = !current_->control.stopped() && !has_stalled_;
    // What follows the answer has its grace: the marks of an interpreter that goes on, or the end of one that does not.
    loop_.deadlines.disarm("python heartbeat " + life_.token);
    loop_.deadlines.arm_in("python rest " + life_.token, grace_, [this] { end_running(); });
}

/// Whatever it says from now on, it is not used again.
void WarmPython::end_running()
{
    is_leaving_ = true;
    control_.end_running();
}

void WarmPython::await_heartbeat()
{
    if (heartbeat_seconds_)
        loop_.deadlines.arm_in("python heartbeat " + life_.token, duration_of(*heartbeat_seconds_), [this] {
            has_stalled_ = true;
            end_running();
        });
}

Task<std::optional<Outcome>> WarmPython::run(const Job &job, Control &control, const PythonTask &task,
                                             std::vector<std::string> environment, std::size_t longest_output)
{
    const auto  self    = shared_from_this();
    const bool  is_used = is_started_;
    Current     current{control, longest_output, mark_of(job), *this};
    std::string input  = input_of(task, job, environment);
    current_           = &current;
    heartbeat_seconds_ = task.heartbeat_seconds;
    meter_.begin();
    if (is_used)
        input_->give(std::move(input));
    else
        start(job, task, std::move(environment), std::move(input));
    loop_.reaper.begin_guest(job.token);
    control.on_stop([this](Force force) {
        is_leaving_ = true; // its signals are under way, however the attempt ends
        control_.stop(StopReason::drained, force);
    });
    await_heartbeat();

    while (!end_ && !current.is_complete())
        co_await changed_.wait();
    current_ = nullptr;
    control.on_stop(nullptr);
    loop_.reaper.end_guest(job.token, life_.token);
    loop_.deadlines.disarm("python heartbeat " + life_.token);
    loop_.deadlines.disarm("python rest " + life_.token);
    current.lines.out(current.out_mark.rest());
    current.lines.err(current.err_mark.rest());
    current.lines.finish();
    ++runs_;
    // Somebody has killed it while it waited, which is no attempt's fault.
    if (end_ && is_used && !current.has_begun && !control.stopped())
        co_return std::nullopt;

    ProcessEnd end = end_ ? meter_.of_attempt(*end_) : meter_.standing();
    end.last_words = current.lines.last_words();
    end.stopped    = stop_that_counts(control, current.was_free.value_or(false));
    if (has_stalled_ && !end.stopped)
        co_return python_stalled(current.answer.outcome(), *task.heartbeat_seconds, end);
    co_return python_verdict(current.answer.outcome(), end);
}

void WarmPython::set_idle(bool is_idle)
{
    memory_.set_use(is_idle ? MemoryBudget::Use::idle : MemoryBudget::Use::attempt);
}

void WarmPython::leave()
{
    is_leaving_ = true;
    memory_.set_use(MemoryBudget::Use::leaving);
    input_->close();
    if (is_started_ &&
        !end_) // what it still does by itself has its grace, and somebody may wait for the memory
        loop_.deadlines.arm_in("python rest " + life_.token, std::min<Duration>(grace_, longest_leave),
                               [this] { end_running(); });
}

void WarmPython::kill()
{
    is_leaving_ = true;
    memory_.set_use(MemoryBudget::Use::leaving);
    control_.stop(StopReason::drained, Force::firm);
}

Task<> WarmPython::ended()
{
    while (is_started_ && !end_)
        co_await gone_.wait();
}

} // namespace sluice::sidecar
