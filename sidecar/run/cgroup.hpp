// Control groups: what enforces the limits of attempts, counts what they use, and holds together all that they start.
// Both versions are served; of version 1 each controller has a tree of its own, and an attempt a group in each.
//
// A sidecar makes one directory, named for its process, and in it one group for each attempt.  So the directories of a
// sidecar that was killed can be told from those of a living one, and whatever still runs in them is killed by the next.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

/// One directory in which groups may be made, and what is limited or counted there.
struct CgroupPlace {
    enum class Version { one, two };

    std::string              directory;
    Version                  version = Version::one;
    std::vector<std::string> controllers;

    bool has(std::string_view controller) const;
};

/// The directories that a setting means: "auto" is our own group, anything else a directory below one of the mounts; of
/// version 1 its namesakes below the other mounts are taken as well.  Pure: texts of /proc/self/mountinfo and
/// /proc/self/cgroup go in.  The controllers of version 2 are not known before its directory is looked at.
std::vector<CgroupPlace> find_cgroup_places(std::string_view setting, std::string_view mountinfo,
                                            std::string_view own_groups);

/// The number behind a word at the beginning of a line, as in memory.events and cpu.stat.
std::optional<std::uint64_t> number_behind(std::string_view text, std::string_view word);

struct CgroupLimits {
    std::uint64_t memory = 0;
    double        cpus   = 0;
    std::uint64_t tasks  = 0; ///< processes and threads
};

/// The groups of one attempt.
class Cgroup {
public:
    Cgroup(const std::vector<CgroupPlace> &places, const std::string &name, const CgroupLimits &limits);
    ~Cgroup(); ///< kills what is in it; what cannot be removed at once is left to the next sweep

    Cgroup(const Cgroup &)            = delete;
    Cgroup &operator=(const Cgroup &) = delete;

    const std::vector<int> &entrances() const { return entrances_; } ///< see Child::Confinement

    void kill() const; ///< from here on nothing in it can fork, and all of it gets SIGKILL
    bool is_empty() const;

    std::optional<std::int64_t>  oom_kills() const;
    std::optional<std::uint64_t> peak_memory() const;

    /// Lets the peak begin again at what is used now; false where the kernel does not, which is by version 2.
    bool forget_peak_memory() const;

    struct Cpu {
        double user   = 0; ///< seconds
        double system = 0;
    };
    std::optional<Cpu> cpu() const;

private:
    void               leave();
    void               set_limits(const CgroupPlace &group, const CgroupLimits &limits) const;
    const CgroupPlace *with(std::string_view controller) const;

    std::vector<CgroupPlace> groups_;
    std::vector<int>         entrances_;
};

/// The directories below which sidecars with this setting make theirs, with the controllers that are there.
std::vector<CgroupPlace> find_cgroup_bases(std::string_view setting);

/// Kills what sidecars that are gone have left behind there, and removes their groups; returns how many processes.
int sweep_cgroups(const std::vector<CgroupPlace> &bases);

/// The part of the trees that this sidecar uses.
class Cgroups {
public:
    /// Finds a place, makes the sidecar's directory there, and proves that a process can be put under limits in it.
    /// Throws std::runtime_error with the reason when that cannot be done.
    explicit Cgroups(std::string_view setting);
    ~Cgroups();

    Cgroups(const Cgroups &)            = delete;
    Cgroups &operator=(const Cgroups &) = delete;

    const std::vector<CgroupPlace> &places() const { return places_; } ///< for Cgroup

    std::string shown() const; ///< for the log

    int sweep() const { return sweep_cgroups(bases_); }

    /// All of it, at the end of the sidecar.
    void remove() const;

private:
    std::vector<CgroupPlace> bases_;
    std::vector<CgroupPlace> places_;
};

} // namespace sluice::sidecar
