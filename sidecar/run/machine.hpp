// Machines: runs the programs of attempts under the limits of their machines, and lets only so many begin as memory is
// there for.  The limits are the control group's where sluiced may make one, else those that a process can be given; what
// an attempt is told about its end names which it was.
#pragma once

#include "loop.hpp"
#include "run/cgroup.hpp"
#include "run/child.hpp"
#include "run/executor.hpp"
#include "run/machine_settings.hpp"
#include "run/meter.hpp"
#include "run/verdict.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace sluice::core {
struct Machine;
}

namespace sluice::sidecar {

/// Bytes that are given to attempts, first come first served: one that needs much is not overtaken for ever.  What is held
/// without need is taken back when somebody waits.
class MemoryBudget {
public:
    MemoryBudget(asio::io_context &io, std::uint64_t total);

    enum class Use {
        attempt,
        idle,    ///< by an interpreter that waits for an attempt
        leaving, ///< by what is about to end
    };

    /// Gives them back.
    class Share {
    public:
        Share() = default;
        Share(MemoryBudget &budget, std::uint64_t bytes) : budget_{&budget}, bytes_{bytes} {}
        Share(Share &&other) noexcept
            : budget_{std::exchange(other.budget_, nullptr)}, bytes_{other.bytes_}, use_{other.use_}
        {
        }
        Share &operator=(Share &&other) noexcept
        {
            std::swap(budget_, other.budget_);
            std::swap(bytes_, other.bytes_);
            std::swap(use_, other.use_);
            return *this;
        }
        ~Share()
        {
            if (budget_ != nullptr)
                budget_->give_back(bytes_, use_);
        }

        Use  use() const { return use_; }
        void set_use(Use use)
        {
            const Use from = std::exchange(use_, use);
            if (budget_ != nullptr)
                budget_->change(bytes_, from, use);
        }

    private:
        MemoryBudget *budget_ = nullptr;
        std::uint64_t bytes_  = 0;
        Use           use_    = Use::attempt;
    };

    /// Waits for its turn and for room.  Nothing: the attempt was stopped, or the time is over.
    Task<std::optional<Share>> acquire(std::uint64_t bytes, Control &control, Duration longest);

    std::uint64_t total() const { return total_; }
    std::uint64_t used() const { return held(Use::attempt) + held(Use::idle) + held(Use::leaving); }
    std::size_t   waiting() const { return turns_.size(); }

    /// How many more attempts could begin, for all that is known before they are claimed.
    std::size_t room() const;

    void set_total(std::uint64_t total);

    /// Who is called for room while something is held idle: it lets the least recently used of that leave.
    void on_want(std::function<void()> evict) { evict_ = std::move(evict); }

private:
    struct Turn {
        std::uint64_t bytes;
        Event        *come;
    };

    std::uint64_t  held(Use use) const { return held_[static_cast<std::size_t>(use)]; }
    std::uint64_t &held(Use use) { return held_[static_cast<std::size_t>(use)]; }
    void           give_back(std::uint64_t bytes, Use use);
    void           change(std::uint64_t bytes, Use from, Use to);
    void           make_room(std::uint64_t bytes);
    void           wake_first();

    asio::io_context            &io_;
    std::uint64_t                total_;
    std::array<std::uint64_t, 3> held_{}; ///< by use
    std::uint64_t         needed_; ///< for the smallest machine; more, once somebody has waited in vain
    std::deque<Turn *>    turns_;
    std::function<void()> evict_;
};

class Machines {
public:
    Machines(Loop &loop, MachineSettings settings);

    /// The machine of an attempt; what the database does not name is the default.
    static const core::Machine &machine_of(const Job &job);

    /// Waits until there is memory for an attempt; see Executor::admit.
    Task<Admission> admit(const Job &job, Control &control);
    std::size_t     room() const { return budget_.room(); }

    /// The same for who keeps the memory for longer than an attempt.
    Task<std::variant<MemoryBudget::Share, Outcome>> reserve(const Job &job, Control &control);
    void on_want_of_memory(std::function<void()> evict) { budget_.on_want(std::move(evict)); }

    /// Runs a program and returns when nothing of it is left: its end, without what it gave out.
    /// SIGTERM and after the grace SIGKILL is how it is stopped.  A meter can tell meanwhile what it uses.
    Task<ProcessEnd> run(const Job &job, Control &control, Child::Spec spec, Child::Sink sink, Duration grace,
                         Meter *meter = nullptr);

    std::uint64_t    memory() const { return budget_.total(); }
    std::string_view enforced_by() const { return cgroups_ ? "cgroup" : "rlimit"; }

    void configure(MachineSettings settings); ///< for attempts that start later; where groups are stays

private:
    Task<>                  empty(const Cgroup &group);
    std::unique_ptr<Cgroup> make_group(const Job &job, const core::Machine &machine) const;
    std::uint64_t           task_limit();

    Loop                    &loop_;
    MachineSettings          settings_;
    std::unique_ptr<Cgroups> cgroups_;
    MemoryBudget             budget_;
    std::string              name_; ///< which children carry
    Instant                  counted_at_{};
    std::uint64_t            tasks_of_user_ = 0;
};

/// The memory of the machine or, if it is less, what our own control group may use.
std::uint64_t memory_here();

} // namespace sluice::sidecar
