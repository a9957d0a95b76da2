// What one attempt has used of a program that runs several: the difference between two looks at the program's counters.
#pragma once

#include "loop.hpp"
#include "run/cgroup.hpp"
#include "run/child.hpp"
#include "run/usage.hpp"
#include "run/verdict.hpp"

#include <cstdint>
#include <optional>
#include <sys/types.h>

namespace sluice::sidecar {

class Meter {
public:
    /// Until detach(): where the counters of the program are.
    void attach(const Child &child, const Cgroup *group, Usage limits);
    void detach();

    /// From now on it is another attempt's.
    void begin();

    /// The end of an attempt that left the program running.
    ProcessEnd standing() const;

    /// The end of the program, which counts all of its life, as the end of this attempt.
    ProcessEnd of_attempt(ProcessEnd end) const;

private:
    struct Counters {
        double        cpu_user      = 0;
        double        cpu_system    = 0;
        std::uint64_t read_bytes    = 0;
        std::uint64_t written_bytes = 0;
        std::int64_t  oom_kills     = 0;
    };

    pid_t         pid() const { return child_ != nullptr ? child_->pid() : 0; }
    Counters      counters() const;
    std::uint64_t peak_memory() const;
    Usage         since_begin(Usage usage) const;

    const Child  *child_ = nullptr;
    const Cgroup *group_ = nullptr;
    Usage         limits_;
    Counters      begun_;
    Instant       begun_at_     = BootClock::now();
    bool          has_own_peak_ = false; ///< the group's peak is of this attempt alone
};

} // namespace sluice::sidecar
