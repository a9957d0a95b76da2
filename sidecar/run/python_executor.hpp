// Runs tasks that are Python: an interpreter for each attempt, or a warm one for one after another.
#pragma once

#include "loop.hpp"
#include "run/executor.hpp"
#include "run/machine.hpp"
#include "run/python_helper.hpp"
#include "run/python_pool.hpp"
#include "run/python_task.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace sluice::sidecar {

class PythonExecutor final : public Executor {
public:
    PythonExecutor(Loop &loop, Machines &machines, ProcessSettings processes, PythonSettings settings,
                   Secrets secrets)
        : loop_{loop}, machines_{machines}, pool_{loop},
          processes_{std::move(processes)}, settings_{std::move(settings)}, secrets_{std::move(secrets)}
    {
        machines_.on_want_of_memory([this] { pool_.evict(); });
    }

    std::string_view name() const override { return "python"; }
    Task<Admission>  admit(const Job &job, Control &control) override;
    std::size_t      room() const override { return machines_.room(); }
    Task<Outcome>    run(const Job &job, Control &control) override;

    bool                         checks() const override { return true; }
    Task<std::optional<Outcome>> check(const Job &job, Control &control) override;

    /// For attempts that start later.
    void configure(ProcessSettings processes, PythonSettings settings)
    {
        processes_ = std::move(processes);
        settings_  = std::move(settings);
    }

    /// Ends the interpreters that wait; nothing may be started afterwards.
    Task<> close() { return pool_.close(); }

private:
    /// What an admitted attempt begins with: memory, or an interpreter that has it, for a task as it was then.
    struct Seat {
        MemoryBudget::Share       memory;
        PythonPool::Interpreter   interpreter;
        std::optional<PythonTask> task;
    };

    std::variant<PythonTask, Outcome> find(const Job &job);

    Task<Outcome> run_cold(const Job &job, Control &control, const PythonTask &task);
    Task<Outcome> run_warm(const Job &job, Control &control, const PythonTask &task, Seat &seat);

    Loop           &loop_;
    Machines       &machines_;
    PythonPool      pool_;
    ProcessSettings processes_;
    PythonSettings  settings_;
    Secrets         secrets_;
    PythonHelper    helper_;

    std::map<std::string, Seat> seats_; ///< by token, between admit() and run()
};

} // namespace sluice::sidecar
