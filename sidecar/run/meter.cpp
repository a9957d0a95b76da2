// The kernel's counters of a process and of its control group.
#include "run/meter.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <unistd.h>
#include <utility>

namespace sluice::sidecar {

namespace {

std::string proc_text(pid_t pid, const char *name)
{
    std::ifstream file{"/proc/" + std::to_string(pid) + "/" + name};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// Seconds of the process and of what it has waited for.
Cgroup::Cpu cpu_of(pid_t pid)
{
    constexpr int     before = 11; // from the state to utime, which stime, cutime and cstime follow
    const std::string text   = proc_text(pid, "stat");
    const auto        name   = text.rfind(')');
    if (name == std::string::npos)
        return {};
    std::istringstream rest{text.substr(name + 1)};
    std::string        skipped;
    for (int i = 0; i < before; ++i)
        rest >> skipped;
    double user = 0, system = 0, children_user = 0, children_system = 0;
    rest >> user >> system >> children_user >> children_system;
    const auto tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
    return {(user + children_user) * tick, (system + children_system) * tick};
}

template <class Number>
Number difference(Number now, Number before)
{
    return now > before ? now - before : Number{};
}

} // namespace

void Meter::attach(const Child &child, const Cgroup *group, Usage limits)
{
    child_        = &child;
    group_        = group;
    limits_       = std::move(limits);
    has_own_peak_ = group != nullptr; // the first attempt's: nothing was there before
}

void Meter::detach()
{
    child_ = nullptr;
    group_ = nullptr;
}

void Meter::begin()
{
    begun_    = counters();
    begun_at_ = BootClock::now();
    if (pid() == 0)
        return;
    has_own_peak_ = group_ != nullptr && group_->forget_peak_memory();
    std::ofstream{"/proc/" + std::to_string(pid()) + "/clear_refs"} << "5"; // the peak of the process alone
}

Meter::Counters Meter::counters() const
{
    Counters found;
    if (pid() == 0)
        return found;
    const Cgroup::Cpu cpu = group_ != nullptr ? group_->cpu().value_or(cpu_of(pid())) : cpu_of(pid());
    const std::string io  = proc_text(pid(), "io");
    found.cpu_user        = cpu.user;
    found.cpu_system      = cpu.system;
    found.read_bytes      = number_behind(io, "read_bytes:").value_or(0);
    found.written_bytes   = number_behind(io, "write_bytes:").value_or(0);
    found.oom_kills       = group_ != nullptr ? group_->oom_kills().value_or(0) : 0;
    return found;
}

std::uint64_t Meter::peak_memory() const
{
    constexpr std::uint64_t kib = 1024;
    if (has_own_peak_)
        if (const auto peak = group_->peak_memory())
            return *peak;
    const std::string status = proc_text(pid(), "status");
    const auto        at     = status.find("VmHWM:");
    return at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + 6, nullptr, 10) * kib;
}

/// Of totals what came after begin().
Usage Meter::since_begin(Usage usage) const
{
    usage.wall          = std::chrono::duration<double>{BootClock::now() - begun_at_}.count();
    usage.cpu_user      = difference(usage.cpu_user, begun_.cpu_user);
    usage.cpu_system    = difference(usage.cpu_system, begun_.cpu_system);
    usage.read_bytes    = difference(usage.read_bytes, begun_.read_bytes);
    usage.written_bytes = difference(usage.written_bytes, begun_.written_bytes);
    return usage;
}

ProcessEnd Meter::standing() const
{
    ProcessEnd end;
    if (pid() == 0)
        return end;
    const Counters now   = counters();
    Usage          usage = limits_;
    usage.cpu_user       = now.cpu_user;
    usage.cpu_system     = now.cpu_system;
    usage.read_bytes     = now.read_bytes;
    usage.written_bytes  = now.written_bytes;
    usage.peak_memory    = peak_memory();
    end.usage            = since_begin(std::move(usage));
    if (group_ != nullptr && group_->oom_kills())
        end.oom_kills = difference(now.oom_kills, begun_.oom_kills);
    return end;
}

ProcessEnd Meter::of_attempt(ProcessEnd end) const
{
    if (end.usage)
        end.usage = since_begin(std::move(*end.usage));
    if (end.oom_kills)
        end.oom_kills = difference(*end.oom_kills, begun_.oom_kills);
    return end;
}

} // namespace sluice::sidecar
