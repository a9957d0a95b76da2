// Limits, budget, and what is left of an attempt when its program has ended.
#include "core/machine.hpp"

#include "run/machine.hpp"

#include "log.hpp"
#include "run/process_name.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// After SIGKILL: a process in the middle of an I/O that does not return can be waited for no longer.
constexpr Duration longest_end = seconds{5};

double to_seconds(const timeval &time)
{
    constexpr double us = 1e-6;
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * us;
}

/// What the kernel tells of the program and of all that it has waited for, or of its group, whichever is more.
Usage usage_of(const rusage &used, const Cgroup *group, Duration wall)
{
    constexpr std::uint64_t disk_block = 512, kib = 1024;
    constexpr double        tick = 0.02; ///< groups of version 1 count in ticks
    Usage                   usage;
    usage.wall          = std::chrono::duration<double>{wall}.count();
    usage.cpu_user      = to_seconds(used.ru_utime);
    usage.cpu_system    = to_seconds(used.ru_stime);
    usage.peak_memory   = static_cast<std::uint64_t>(used.ru_maxrss) * kib;
    usage.read_bytes    = static_cast<std::uint64_t>(used.ru_inblock) * disk_block;
    usage.written_bytes = static_cast<std::uint64_t>(used.ru_oublock) * disk_block;
    if (group == nullptr)
        return usage;
    if (const auto cpu = group->cpu();
        cpu && cpu->user + cpu->system > usage.cpu_user + usage.cpu_system + tick) {
        usage.cpu_user   = cpu->user;
        usage.cpu_system = cpu->system;
    }
    usage.peak_memory = group->peak_memory().value_or(usage.peak_memory);
    return usage;
}

/// Processes and threads of our user, which is what RLIMIT_NPROC counts.
std::uint64_t count_tasks_of_user()
{
    constexpr int   threads = 17; // behind the name
    std::uint64_t   count   = 0;
    std::error_code error;
    for (std::filesystem::directory_iterator entry{"/proc", error}, end; !error && entry != end;
         entry.increment(error)) {
        const std::string path = entry->path().string();
        struct stat       file {};
        if (path.find_first_of("0123456789") == std::string::npos || ::stat(path.c_str(), &file) != 0 ||
            file.st_uid != ::getuid())
            continue;
        std::ifstream     stream{path + "/stat"};
        const std::string text{std::istreambuf_iterator<char>{stream}, {}};
        const auto        name_end = text.rfind(')');
        if (name_end == std::string::npos)
            continue;
        std::istringstream rest{text.substr(name_end + 1)};
        std::string        field;
        for (int i = 0; i <= threads && rest >> field; ++i) {
        }
        count += static_cast<std::uint64_t>(std::max(1L, std::atol(field.c_str())));
    }
    return count;
}

Outcome too_large(const core::Machine &machine, std::uint64_t total)
{
    // Given back: the database knows whether there is a larger sidecar.
    return Outcome::with_error(Outcome::Kind::released, "MACHINE_TOO_LARGE",
                               "machine " + std::string{machine.name} + " needs " +
                                   std::to_string(machine.memory / core::mib) + " MiB, this sidecar has " +
                                   std::to_string(total / core::mib) +
                                   " MiB for all attempts (process.memory)");
}

} // namespace

MemoryBudget::MemoryBudget(asio::io_context &io, std::uint64_t total)
    : io_{io}, total_{total}, needed_{core::smallest_machine.memory}
{
}

std::size_t MemoryBudget::room() const
{
    const std::uint64_t taken = held(Use::attempt); // all else goes when it is needed
    if (!turns_.empty() || taken + needed_ > total_)
        return 0;
    return std::max<std::size_t>(1, (total_ - taken) / core::default_machine.memory);
}

void MemoryBudget::set_total(std::uint64_t total)
{
    total_  = total;
    needed_ = core::smallest_machine.memory; // who waited in vain may never fit now
    for (Turn *turn : turns_)
        if (turn->bytes > total)
            turn->come->set();
    make_room(0);
    wake_first();
}

/// Those leave that do nothing, until there will be room or nobody does nothing.
void MemoryBudget::make_room(std::uint64_t bytes)
{
    while (held(Use::idle) > 0 && held(Use::attempt) + held(Use::idle) + bytes > total_) {
        const std::uint64_t before = held(Use::idle);
        if (evict_)
            evict_();
        if (held(Use::idle) >= before)
            return;
    }
}

void MemoryBudget::wake_first()
{
    if (turns_.empty())
        return;
    make_room(turns_.front()->bytes);
    if (used() + turns_.front()->bytes <= total_)
        turns_.front()->come->set();
}

void MemoryBudget::give_back(std::uint64_t bytes, Use use)
{
    held(use) -= bytes;
    if (held(Use::attempt) + needed_ <= total_)
        needed_ = core::smallest_machine.memory;
    wake_first();
}

void MemoryBudget::change(std::uint64_t bytes, Use from, Use to)
{
    held(to) += bytes;
    give_back(bytes, from);
}

Task<std::optional<MemoryBudget::Share>> MemoryBudget::acquire(std::uint64_t bytes, Control &control,
                                                               Duration longest)
{
    Event         come{io_};
    Turn          turn{bytes, &come};
    const Instant until = BootClock::now() + longest;
    turns_.push_back(&turn);
    control.on_stop([&come](Force) { come.set(); });
    bool has_come = false;
    for (;;) {
        if (control.stopped() || bytes > total_)
            break;
        if (turns_.front() == &turn)
            make_room(bytes);
        has_come = turns_.front() == &turn && used() + bytes <= total_;
        if (has_come || BootClock::now() >= until)
            break;
        co_await come.wait_until(until);
    }
    control.on_stop(nullptr);
    turns_.erase(std::find(turns_.begin(), turns_.end(), &turn));
    if (has_come)
        held(Use::attempt) += bytes;
    else if (!control.stopped() && bytes <= total_)
        needed_ = std::max(needed_, bytes); // it comes again
    wake_first();
    if (!has_come)
        co_return std::nullopt;
    co_return Share{*this, bytes};
}

Machines::Machines(Loop &loop, MachineSettings settings)
    : loop_{loop}, settings_{std::move(settings)},
      budget_{loop.io, settings_.memory != 0 ? settings_.memory : memory_here()}, name_{process_name()}
{
    if (settings_.cgroup != "off") {
        try {
            cgroups_ = std::make_unique<Cgroups>(settings_.cgroup);
        } catch (const std::exception &error) {
            // Of what was asked for by name one must hear; that a plain login may make no groups is usual.
            const auto say = settings_.cgroup == "auto" ? log::info : log::warn;
            say("no control groups, limits of machines are those of single processes",
                {{"reason", error.what()}});
        }
    }
    int killed = kill_orphans();
    if (cgroups_) {
        killed += cgroups_->sweep();
        log::info("machines are enforced by control groups", {{"groups", cgroups_->shown()}});
    }
    if (killed > 0)
        log::warn("killed what a sidecar that is gone had left running", {{"processes", killed}});
}

void Machines::configure(MachineSettings settings)
{
    settings.cgroup = settings_.cgroup;
    settings_       = std::move(settings);
    budget_.set_total(settings_.memory != 0 ? settings_.memory : memory_here());
}

const core::Machine &Machines::machine_of(const Job &job)
{
    const core::Machine *machine = core::find_machine(job.machine);
    return machine != nullptr ? *machine : core::default_machine;
}

Task<Admission> Machines::admit(const Job &job, Control &control)
{
    Admission admission;
    auto      reserved = co_await reserve(job, control);
    if (auto *share = std::get_if<MemoryBudget::Share>(&reserved))
        admission.share = std::make_shared<MemoryBudget::Share>(std::move(*share));
    else
        admission.refusal = std::get<Outcome>(std::move(reserved));
    co_return admission;
}

Task<std::variant<MemoryBudget::Share, Outcome>> Machines::reserve(const Job &job, Control &control)
{
    const core::Machine &machine = machine_of(job);
    if (machine.memory > budget_.total())
        co_return too_large(machine, budget_.total());
    std::optional<MemoryBudget::Share> share =
        co_await budget_.acquire(machine.memory, control, settings_.memory_wait);
    if (share)
        co_return std::move(*share);
    if (!control.stopped() && machine.memory > budget_.total())
        co_return too_large(machine, budget_.total());                          // there is less now
    co_return outcome_of_stop(control.stopped().value_or(StopReason::drained)); // given back
}

std::unique_ptr<Cgroup> Machines::make_group(const Job &job, const core::Machine &machine) const
{
    if (!cgroups_)
        return nullptr;
    try {
        return std::make_unique<Cgroup>(cgroups_->places(), job.token,
                                        CgroupLimits{machine.memory, machine.cpus, settings_.max_processes});
    } catch (const std::system_error &error) {
        log::error("no control group for an attempt, its limits are those of single processes",
                   {{"run_id", job.run_id}, {"reason", error.what()}});
        return nullptr;
    }
}

std::uint64_t Machines::task_limit()
{
    // The limit is on all that the user runs, so it stands on top of what is there.
    const Instant now = BootClock::now();
    if (counted_at_ == Instant{} || now - counted_at_ > seconds{1}) {
        tasks_of_user_ = count_tasks_of_user();
        counted_at_    = now;
    }
    return tasks_of_user_ + settings_.max_processes;
}

/// The program has ended; what it has left behind, in whatever session, ends here.
Task<> Machines::empty(const Cgroup &group)
{
    const Instant until = BootClock::now() + longest_end;
    Duration      pause = milliseconds{1};
    Timer         timer{loop_.io};
    while (!group.is_empty() && BootClock::now() < until) {
        group.kill();
        timer.expires_after(pause);
        co_await timer.async_wait(as_result);
        pause = std::min<Duration>(2 * pause, milliseconds{50});
    }
}

// g++ 12 takes the two halves of Asio's aligned allocation, when it has inlined one of them here, for strangers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

Task<ProcessEnd> Machines::run(const Job &job, Control &control, Child::Spec spec, Child::Sink sink,
                               Duration grace, Meter *meter)
{
    const core::Machine    &machine = machine_of(job);
    std::unique_ptr<Cgroup> group   = make_group(job, machine);
    if (group) {
        spec.confinement.groups = group->entrances();
    } else {
        spec.confinement.data_bytes = machine.memory;
        spec.confinement.tasks      = task_limit();
    }
    spec.env.insert(spec.env.begin(), {std::string{sidecar_variable} + "=" + name_,
                                       "SLUICE_MACHINE=" + std::string{machine.name}});

    Usage limits;
    limits.machine      = machine.name;
    limits.enforced_by  = group ? "cgroup" : "rlimit";
    limits.memory_limit = machine.memory;

    ProcessEnd end;
    end.program         = spec.path;
    const Instant begin = BootClock::now();
    std::string   start_problem;
    {
        Child child{loop_, std::move(spec), std::move(sink)};
        if (meter != nullptr)
            meter->attach(child, group.get(), limits);
        control.on_stop([&child, grace](Force force) {
            if (force == Force::firm)
                child.stop_firmly();
            else
                child.stop_politely(grace);
        });
        try {
            const Child::End ended = co_await child.run();
            end.wait_status        = ended.wait_status;
            end.exec_error         = ended.exec_error;
            end.usage              = usage_of(ended.used, group.get(), BootClock::now() - begin);
        } catch (const std::system_error &error) {
            start_problem  = error.what();
            end.exec_error = error.code().value();
        }
        control.on_stop(nullptr);
        if (meter != nullptr)
            meter->detach();
    }
    if (!start_problem.empty())
        log::error("a process could not be started", {{"run_id", job.run_id}, {"reason", start_problem}});

    if (group) {
        co_await empty(*group);
        end.oom_kills = group->oom_kills();
    }
    if (end.exec_error)
        end.usage.reset();
    if (end.usage) {
        end.usage->machine      = limits.machine;
        end.usage->enforced_by  = limits.enforced_by;
        end.usage->memory_limit = limits.memory_limit;
    }
    end.stopped = control.stopped();
    co_return end;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

std::uint64_t memory_here()
{
    std::uint64_t least = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                          static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const auto text_of = [](const std::string &path) {
        std::ifstream file{path};
        return std::string{std::istreambuf_iterator<char>{file}, {}};
    };
    for (const CgroupPlace &place :
         find_cgroup_places("auto", text_of("/proc/self/mountinfo"), text_of("/proc/self/cgroup"))) {
        if (place.has("memory"))
            if (const auto limit =
                    number_behind(text_of(place.directory + "/memory.stat"), "hierarchical_memory_limit"))
                least = std::min(least, *limit);
        if (place.version != CgroupPlace::Version::two)
            continue;
        for (std::filesystem::path at = place.directory; at.has_relative_path(); at = at.parent_path())
            if (const auto limit = number_behind("max " + text_of(at / "memory.max"), "max"))
                least = std::min(least, *limit);
    }
    return least;
}

} // namespace sluice::sidecar
