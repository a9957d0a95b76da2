// What runs attempts.  An executor knows how to run one kind of task and how to stop it; leases, outcomes and the
// database's word on both are the worker's.
#pragma once

#include "async.hpp"
#include "run/attempt_log.hpp"
#include "run/attempt_notes.hpp"
#include "run/outcome.hpp"

#include <boost/json/object.hpp>

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::sidecar {

/// One claimed attempt, as the database handed it out.
struct Job {
    std::string                token;
    std::string                run_id;
    int                        attempt = 0;
    std::string                task;
    std::string                executor;
    std::string                machine;     ///< empty: the default
    std::string                traceparent; ///< of whoever enqueued the run; empty: nobody said
    std::string                target;
    boost::json::object        options;
    std::optional<std::string> payload; ///< JSON text
    Duration                   lease{};
    Duration                   heartbeat{};
    std::optional<Duration>    max_duration;
};

enum class StopReason {
    canceled,   ///< the database says the token is dead
    timed_out,  ///< max_duration is over
    drained,    ///< the worker leaves
    lease_over, ///< the database could not be reached in time; another worker may have the run by now
};

enum class Force { polite, firm };

/// The line between the worker and one running attempt.
class Control {
public:
    using Hook = std::function<void(Force)>;

    explicit Control(AttemptLog::Limits limits) : log_{limits} {}

    /// The first reason stays, except that a dead token outranks all others.
    void stop(StopReason reason, Force force = Force::polite);

    std::optional<StopReason> stopped() const { return reason_; }

    /// Called at each stop from now on, and at once if there was one already.
    void on_stop(Hook hook);

    /// Ends what runs, as a polite stop does, for a reason that its executor knows.
    void end_running()
    {
        if (hook_)
            hook_(Force::polite);
    }

    /// From now on somebody else does the work, and we only keep the lease: the attempt takes no place of ours.
    void set_elsewhere() { is_elsewhere_ = true; }
    bool is_elsewhere() const { return is_elsewhere_; }

    AttemptLog &log() { return log_; }

    AttemptNotes &notes() { return notes_; }

private:
    std::optional<StopReason> reason_;
    Force                     force_ = Force::polite;
    Hook                      hook_;
    bool                      is_elsewhere_ = false;
    AttemptLog                log_;
    AttemptNotes              notes_;
};

/// The outcome of an attempt that was stopped, whatever it did afterwards.
Outcome outcome_of_stop(StopReason reason);

/// Whether an attempt may begin, and what it holds while it runs.
struct Admission {
    std::optional<Outcome> refusal{};
    std::shared_ptr<void>  share{};
};

class Executor {
public:
    Executor()                            = default;
    Executor(const Executor &)            = delete;
    Executor &operator=(const Executor &) = delete;
    virtual ~Executor()                   = default;

    virtual std::string_view name() const = 0;

    /// Waits for what an attempt needs of the machine.  Its time does not run while it waits.
    virtual Task<Admission> admit(const Job &, Control &) { co_return Admission{}; }

    /// How many more attempts could be admitted now; 0: none are to be claimed.
    virtual std::size_t room() const { return std::numeric_limits<std::size_t>::max(); }

    /// Whether check() can tell anything.
    virtual bool checks() const { return false; }

    /// What would keep every attempt of the task from running here; nothing if nothing is known to.
    virtual Task<std::optional<Outcome>> check(const Job &, Control &) { co_return std::nullopt; }

    /// Job and control outlive the call.  Returns only when nothing of the attempt runs any more.
    virtual Task<Outcome> run(const Job &job, Control &control) = 0;
};

} // namespace sluice::sidecar
