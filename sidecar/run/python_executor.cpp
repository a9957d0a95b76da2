// From a job to an interpreter and back to an outcome.
#include "run/python_executor.hpp"

#include "run/child.hpp"
#include "run/child_lines.hpp"
#include "run/environment.hpp"
#include "run/python_answer.hpp"

#include <exception>

namespace sluice::sidecar {

std::variant<PythonTask, Outcome> PythonExecutor::find(const Job &job)
{
    std::string helper;
    try {
        helper = helper_.directory();
    } catch (const std::exception &error) {
        return Outcome::with_error(Outcome::Kind::failed, "TASK_EXECUTION_ABORTED", error.what());
    }
    auto found = find_python_task(job, processes_, settings_, helper);
    if (auto *task = std::get_if<PythonTask>(&found))
        if (auto refusal = add_secrets(task->program, secrets_))
            return std::move(*refusal);
    return found;
}

Task<Outcome> PythonExecutor::run(const Job &job, Control &control)
{
    Seat seat;
    if (auto taken = seats_.extract(job.token))
        seat = std::move(taken.mapped());
    std::variant<PythonTask, Outcome> found;
    if (seat.task)
        found = std::move(*seat.task);
    else
        found = find(job);
    if (auto *refusal = std::get_if<Outcome>(&found))
        co_return std::move(*refusal);
    const PythonTask task = std::get<PythonTask>(std::move(found));
    if (task.warm)
        co_return co_await run_warm(job, control, task, seat);
    co_return co_await run_cold(job, control, task);
}

Task<std::optional<Outcome>> PythonExecutor::check(const Job &job, Control &control)
{
    auto found = find(job);
    if (auto *refusal = std::get_if<Outcome>(&found))
        co_return std::move(*refusal);
    PythonTask task = std::get<PythonTask>(std::move(found));
    if (task.job.at("requirements").as_array().empty())
        co_return std::nullopt;
    task.job["only_check"] = true;
    task.heartbeat_seconds.reset();
    Outcome outcome = co_await run_cold(job, control, task);
    if (outcome.kind == Outcome::Kind::completed)
        co_return std::nullopt;
    co_return outcome;
}

Task<Admission> PythonExecutor::admit(const Job &job, Control &control)
{
    // An interpreter that waits for such an attempt has its memory already.  It is taken now, while it is there.
    Seat seat;
    auto found = find(job);
    if (auto *task = std::get_if<PythonTask>(&found); task != nullptr && task->warm)
        seat.interpreter = pool_.take(task->key(job));
    if (seat.interpreter) {
        seat.task = std::get<PythonTask>(std::move(found));
    } else {
        auto reserved = co_await machines_.reserve(job, control);
        if (auto *refusal = std::get_if<Outcome>(&reserved))
            co_return Admission{std::move(*refusal), {}};
        seat.memory = std::get<MemoryBudget::Share>(std::move(reserved));
    }
    seats_.insert_or_assign(job.token, std::move(seat));
    co_return Admission{};
}

Task<Outcome> PythonExecutor::run_warm(const Job &job, Control &control, const PythonTask &task, Seat &seat)
{
    const std::string       key         = task.key(job);
    PythonPool::Interpreter interpreter = std::move(seat.interpreter);
    if (!interpreter)
        interpreter = pool_.take(key); // one that began to wait since
    if (interpreter)
        seat.memory = {};
    std::optional<Outcome> outcome;
    while (!outcome) {
        if (!interpreter) {
            interpreter = std::make_shared<WarmPython>(loop_, machines_, key, std::move(seat.memory));
            pool_.note(interpreter);
        }
        outcome = co_await interpreter->run(job, control, task,
                                            environment(job, processes_.env_allow, task.program.env),
                                            processes_.max_output_bytes);
        if (!outcome) {
            // It had ended before it came to that.
            seat.memory = interpreter->take_memory();
            interpreter.reset();
        }
    }
    if (interpreter->runs() < settings_.warm_runs)
        pool_.give_back(std::move(interpreter), settings_.warm_idle);
    else
        interpreter->leave();
    co_return std::move(*outcome);
}

Task<Outcome> PythonExecutor::run_cold(const Job &job, Control &control, const PythonTask &task)
{
    const std::string   rest_name   = "python rest " + job.token;
    const std::string   stall_name  = "python heartbeat " + job.token;
    const Duration      grace       = duration_of(task.program.grace_seconds);
    bool                has_stalled = false;
    std::optional<bool> was_free; // whether nobody had ended it when it answered

    const std::function<void()> await_heartbeat = [&] {
        if (task.heartbeat_seconds)
            loop_.deadlines.arm_in(stall_name, duration_of(*task.heartbeat_seconds), [&] {
                has_stalled = true;
                control.end_running();
            });
    };

    ChildLines   lines{control.log(), processes_.max_output_bytes};
    PythonAnswer answer{processes_.max_output_bytes, control, [&](std::string_view word) {
                            if (word == "heartbeat") {
                                if (!answer.outcome())
                                    await_heartbeat();
                                return;
                            }
                            if (!was_free)
                                was_free = !control.stopped() && !has_stalled;
                            // Threads and programs that the task has left behind have their grace, and no more.
                            loop_.deadlines.disarm(stall_name);
                            loop_.deadlines.arm_in(rest_name, grace, [&] { control.end_running(); });
                        }};
    Child::Spec  spec{job.token,
                     task.program.path,
                     task.program.argv,
                     environment(job, processes_.env_allow, task.program.env),
                     task.program.cwd,
                     python_input(task, job),
                     true,
                     {}};
    Child::Sink  sink = [&](Child::Stream stream, std::string_view bytes) {
        switch (stream) {
        case Child::Stream::out:
            return lines.out(bytes);
        case Child::Stream::err:
            return lines.err(bytes);
        case Child::Stream::descriptor_3:
            return answer.feed(bytes);
        }
    };

    await_heartbeat();
    ProcessEnd end = co_await machines_.run(job, control, std::move(spec), std::move(sink), grace);
    loop_.deadlines.disarm(stall_name);
    loop_.deadlines.disarm(rest_name);

    lines.finish();
    end.last_words = lines.last_words();
    end.stopped    = stop_that_counts(control, was_free.value_or(false));
    if (has_stalled && !end.stopped)
        co_return python_stalled(answer.outcome(), *task.heartbeat_seconds, end);
    co_return python_verdict(answer.outcome(), end);
}

} // namespace sluice::sidecar
