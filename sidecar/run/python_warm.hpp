// An interpreter that runs one attempt of a task after another.  It has a life of its own, under the machine of its first
// attempt; an attempt that ends it, or after which it cannot be cleaned, is the last one.
#pragma once

#include "loop.hpp"
#include "run/child_input.hpp"
#include "run/child_lines.hpp"
#include "run/machine.hpp"
#include "run/mark_finder.hpp"
#include "run/python_answer.hpp"
#include "run/python_task.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

class WarmPython : public std::enable_shared_from_this<WarmPython> {
public:
    /// The memory is its own for as long as it lives, whether it works or waits.
    WarmPython(Loop &loop, Machines &machines, std::string key, MemoryBudget::Share memory);

    WarmPython(const WarmPython &)            = delete;
    WarmPython &operator=(const WarmPython &) = delete;

    /// One attempt, whose outcome it returns; nothing: the interpreter had ended before it came to that.  The environment
    /// is that of its own variables.
    Task<std::optional<Outcome>> run(const Job &job, Control &control, const PythonTask &task,
                                     std::vector<std::string> environment, std::size_t longest_output);

    const std::string &key() const { return key_; }
    std::size_t        runs() const { return runs_; }
    bool               is_alive() const { return !end_ && !is_leaving_; }

    void   set_idle(bool is_idle);
    void   leave(); ///< ends it, now that it is idle
    void   kill();  ///< ends it, whatever it does
    Task<> ended();

    /// Of one that has ended, for another in its place.
    MemoryBudget::Share take_memory() { return std::move(memory_); }

private:
    struct Current {
        Current(Control &attempt, std::size_t longest, const std::string &mark, WarmPython &owner);

        Control     &control;
        MarkFinder   out_mark, err_mark;
        ChildLines   lines;
        PythonAnswer answer;
        bool         has_begun = false;
        bool         can_go_on = false;

        std::optional<bool> was_free; ///< whether nobody had ended it when it answered

        bool is_complete() const
        {
            return answer.outcome() && can_go_on && out_mark.is_found() && err_mark.is_found();
        }
    };

    void   start(const Job &job, const PythonTask &task, std::vector<std::string> environment,
                 std::string input);
    Task<> live(Child::Spec spec, Duration grace);
    void   take(Child::Stream stream, std::string_view bytes);
    void   heard(std::string_view word);
    void   await_heartbeat();
    void   end_running();

    Loop                       &loop_;
    Machines                   &machines_;
    std::string                 key_;
    MemoryBudget::Share         memory_;
    Job                         life_;
    Control                     control_{AttemptLog::Limits{}};
    std::shared_ptr<ChildInput> input_;
    Current                    *current_ = nullptr;
    Meter                       meter_;
    std::optional<ProcessEnd>   end_;
    std::optional<double>       heartbeat_seconds_;
    Duration                    grace_{};
    Event                       changed_; ///< for run()
    Event                       gone_;    ///< for ended(): an event has one that waits for it
    std::size_t                 runs_        = 0;
    bool                        is_started_  = false;
    bool                        is_leaving_  = false;
    bool                        has_stalled_ = false;
};

} // namespace sluice::sidecar
