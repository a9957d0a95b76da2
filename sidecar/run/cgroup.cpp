// Finding, making, reading and removing control groups.
#include "run/cgroup.hpp"

#include "run/process_name.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view wanted[]     = {"memory", "cpu", "cpuacct", "pids"};
constexpr std::string_view ours[]       = {"memory", "cpu", "pids"}; ///< of version 2
constexpr std::string_view name_prefix  = "sluiced-";
constexpr std::string_view own_name     = "main";  ///< of version 2: where sluiced itself is
constexpr std::uint64_t    cpu_period   = 100'000; ///< µs
constexpr std::uint64_t    least_quota  = 1'000;
constexpr auto             longest_wait = std::chrono::seconds{2};

std::string read_file(const std::string &path)
{
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// False, and errno says why.
bool try_write(const std::string &path, std::string_view text)
{
    const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    const bool done  = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int  error = errno;
    ::close(file);
    errno = error;
    return done;
}

[[noreturn]] void fail(const std::string &what)
{
    throw std::system_error{errno, std::generic_category(), what};
}

void must_write(const std::string &path, std::string_view text)
{
    if (!try_write(path, text))
        fail("cannot write " + std::string{text} + " to " + path);
}

void make_directory(const std::string &path)
{
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
        fail("cannot make " + path);
}

std::vector<std::string> split(std::string_view text, char separator)
{
    std::vector<std::string> parts;
    std::istringstream       stream{std::string{text}};
    for (std::string part; std::getline(stream, part, separator);)
        if (!part.empty())
            parts.push_back(part);
    return parts;
}

std::vector<pid_t> pids_in(const std::string &directory)
{
    std::ifstream file{directory + "/cgroup.procs"};
    return {std::istream_iterator<pid_t>{file}, {}};
}

/// Forks fail from here on, and all that is there is killed.  Returns how many there were.
int kill_group(const CgroupPlace &group)
{
    const auto pids = pids_in(group.directory);
    if (group.version == CgroupPlace::Version::two && try_write(group.directory + "/cgroup.kill", "1"))
        return static_cast<int>(pids.size());
    if (group.has("pids"))
        try_write(group.directory + "/pids.max", "0");
    for (const pid_t pid : pids_in(group.directory))
        ::kill(pid, SIGKILL);
    return static_cast<int>(pids.size());
}

std::vector<std::string> directories_in(const std::string &directory)
{
    std::vector<std::string> found;
    std::error_code          error;
    for (fs::directory_iterator entry{directory, error}, end; !error && entry != end; entry.increment(error))
        if (entry->is_directory(error))
            found.push_back(entry->path().filename().string());
    return found;
}

/// A directory with all that is below it: killed and removed, within a bounded time.
int clear(const CgroupPlace &place)
{
    int        killed = 0;
    const auto until  = std::chrono::steady_clock::now() + longest_wait;
    for (const std::string &name : directories_in(place.directory))
        killed += clear({place.directory + "/" + name, place.version, place.controllers});
    while (::rmdir(place.directory.c_str()) != 0 && errno == EBUSY &&
           std::chrono::steady_clock::now() < until) {
        killed = std::max(killed, kill_group(place));
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
    return killed;
}

struct Mount {
    std::string              root;
    std::string              point;
    CgroupPlace::Version     version = CgroupPlace::Version::one;
    std::vector<std::string> controllers;
};

/// "36 25 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
std::vector<Mount> read_mounts(std::string_view mountinfo)
{
    std::vector<Mount> mounts;
    for (const std::string &line : split(mountinfo, '\n')) {
        const auto dash = line.find(" - ");
        if (dash == std::string::npos)
            continue;
        const auto before = split(std::string_view{line}.substr(0, dash), ' ');
        const auto after  = split(std::string_view{line}.substr(dash + 3), ' ');
        if (before.size() < 5 || after.size() < 3 || (after[0] != "cgroup" && after[0] != "cgroup2"))
            continue;
        Mount mount{before[3], before[4], CgroupPlace::Version::one, {}};
        if (after[0] == "cgroup2")
            mount.version = CgroupPlace::Version::two;
        else
            for (const std::string &option : split(after[2], ','))
                if (std::find(std::begin(wanted), std::end(wanted), option) != std::end(wanted))
                    mount.controllers.push_back(option);
        if (mount.version == CgroupPlace::Version::two || !mount.controllers.empty())
            mounts.push_back(std::move(mount));
    }
    return mounts;
}

/// Our own group below a mount: "4:memory:/a/b", "0::/a/b".
std::optional<std::string> own_directory(const Mount &mount, std::string_view own_groups)
{
    for (const std::string &line : split(own_groups, '\n')) {
        const auto first  = line.find(':');
        const auto second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos)
            continue;
        const auto names   = split(std::string_view{line}.substr(first + 1, second - first - 1), ',');
        const bool matches = mount.version == CgroupPlace::Version::two
                                 ? names.empty()
                                 : std::any_of(names.begin(), names.end(), [&](const std::string &name) {
                                       return std::find(mount.controllers.begin(), mount.controllers.end(),
                                                        name) != mount.controllers.end();
                                   });
        if (!matches)
            continue;
        std::string path = line.substr(second + 1);
        // In a container the mount shows a part of the tree, and our path may be given from its top.
        if (mount.root != "/" && (path == mount.root || path.starts_with(mount.root + "/")))
            path.erase(0, mount.root.size());
        return path == "/" || path.empty() ? mount.point : mount.point + path;
    }
    return std::nullopt;
}

/// The kernel's word on who we are among the control groups.
std::string own_groups_text()
{
    return read_file("/proc/self/cgroup");
}

std::string mountinfo_text()
{
    return read_file("/proc/self/mountinfo");
}

/// Version 2 lets a group with processes in it have no limited children: so those that are in it, we among them, move
/// into one of their own.  Under systemd that is what Delegate=yes is for.  The root of the tree, which has no type, is
/// exempt, and holds processes of the kernel that cannot be moved.
void move_out_of(const std::string &directory)
{
    const auto inside = pids_in(directory);
    if (inside.empty() || !fs::exists(directory + "/cgroup.type"))
        return;
    const std::string own = directory + "/" + std::string{own_name};
    make_directory(own);
    for (const pid_t pid : inside)
        must_write(own + "/cgroup.procs", std::to_string(pid));
}

/// Where "auto" is when a sluiced before us has moved all into a group of their own, us among them: the one above.
std::string group_of_all(const std::string &own)
{
    const fs::path    above  = fs::path{own}.parent_path();
    const std::string handed = read_file((above / "cgroup.subtree_control").string());
    const bool        moved  = fs::path{own}.filename() == own_name && fs::exists(above / "cgroup.type") &&
                       handed.find("memory") != std::string::npos &&
                       ::access((above / "cgroup.procs").c_str(), W_OK) == 0;
    return moved ? above.string() : own;
}

void hand_down(const CgroupPlace &place)
{
    for (const std::string &controller : place.controllers)
        must_write(place.directory + "/cgroup.subtree_control", "+" + controller);
}

/// A process of ours goes in, and is seen there.
void prove(const std::vector<CgroupPlace> &places)
{
    const Cgroup probe{places, "probe", {std::uint64_t{64} << 20, 1, 8}};
    const pid_t  pid = ::fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid == 0) {
        for (const int entrance : probe.entrances())
            if (::write(entrance, "0", 1) != 1)
                ::_exit(errno);
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
        fail("no process can be put into a group below " + places.front().directory);
    }
}

} // namespace

bool CgroupPlace::has(std::string_view controller) const
{
    return std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
}

std::vector<CgroupPlace> find_cgroup_places(std::string_view setting, std::string_view mountinfo,
                                            std::string_view own_groups)
{
    const std::vector<Mount> mounts = read_mounts(mountinfo);
    std::vector<CgroupPlace> one, two;
    const auto               add = [&](const Mount &mount, std::string directory) {
        auto &places = mount.version == CgroupPlace::Version::two ? two : one;
        places.push_back({std::move(directory), mount.version, mount.controllers});
    };
    // A tree may be mounted a second time, in a chroot for instance, which may be gone tomorrow.
    const auto is_same_tree = [](const Mount &a, const Mount &b) {
        return a.version == b.version && a.controllers == b.controllers;
    };
    const auto is_first = [&](const Mount &mount) {
        return std::find_if(mounts.begin(), mounts.end(), [&](const Mount &each) {
                   return is_same_tree(each, mount);
               })->point == mount.point;
    };

    if (setting == "auto") {
        for (const Mount &mount : mounts)
            if (auto directory = is_first(mount) ? own_directory(mount, own_groups) : std::nullopt)
                add(mount, std::move(*directory));
        // Where memory is limited by version 1, version 2 has no controllers to offer.
        const bool first =
            std::any_of(one.begin(), one.end(), [](const auto &place) { return place.has("memory"); });
        return first ? one : two;
    }

    const auto below = [&](const Mount &mount) {
        return setting == mount.point || setting.starts_with(mount.point + "/");
    };
    const auto found = std::max_element(mounts.begin(), mounts.end(), [&](const Mount &a, const Mount &b) {
        return (below(a) ? a.point.size() : 0) < (below(b) ? b.point.size() : 0);
    });
    if (found == mounts.end() || !below(*found))
        return {};
    const std::string rest{setting.substr(found->point.size())};
    for (const Mount &mount : mounts)
        if (is_same_tree(mount, *found) ? &mount == &*found
                                        : mount.version == found->version && is_first(mount))
            add(mount, mount.point + rest);
    return found->version == CgroupPlace::Version::two ? two : one;
}

std::optional<std::uint64_t> number_behind(std::string_view text, std::string_view word)
{
    for (std::size_t at = 0; at < text.size();) {
        const auto             end  = std::min(text.find('\n', at), text.size());
        const std::string_view line = text.substr(at, end - at);
        at                          = end + 1;
        if (!line.starts_with(word) || line.size() <= word.size() + 1 || line[word.size()] != ' ')
            continue;
        std::uint64_t     number = 0;
        const char *const begin  = line.data() + word.size() + 1;
        if (std::from_chars(begin, line.data() + line.size(), number).ec == std::errc{})
            return number;
    }
    return std::nullopt;
}

Cgroup::Cgroup(const std::vector<CgroupPlace> &places, const std::string &name, const CgroupLimits &limits)
{
    try {
        for (const CgroupPlace &place : places) {
            CgroupPlace group{place.directory + "/" + name, place.version, place.controllers};
            make_directory(group.directory);
            groups_.push_back(std::move(group));
            set_limits(groups_.back(), limits);
            const int entrance =
                ::open((groups_.back().directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
            if (entrance < 0)
                fail("cannot open cgroup.procs of " + groups_.back().directory);
            entrances_.push_back(entrance);
        }
    } catch (...) {
        leave(); // a constructor that throws has no destructor
        throw;
    }
}

Cgroup::~Cgroup()
{
    leave();
}

void Cgroup::leave()
{
    for (const int entrance : entrances_)
        ::close(entrance);
    for (const CgroupPlace &group : groups_) {
        if (::rmdir(group.directory.c_str()) == 0)
            continue;
        kill_group(group);
        ::rmdir(group.directory.c_str());
    }
    entrances_.clear();
    groups_.clear();
}

void Cgroup::set_limits(const CgroupPlace &group, const CgroupLimits &limits) const
{
    const std::string &d      = group.directory;
    const std::string  memory = std::to_string(limits.memory);
    const std::string  quota  = std::to_string(
          std::max(least_quota,
                   static_cast<std::uint64_t>(std::llround(limits.cpus * static_cast<double>(cpu_period)))));
    const std::string tasks  = std::to_string(limits.tasks);
    const std::string period = std::to_string(cpu_period);

    if (group.version == CgroupPlace::Version::two) {
        must_write(d + "/memory.max", memory);
        try_write(d + "/memory.swap.max", "0"); // not there where swap is not counted
        if (group.has("cpu"))
            must_write(d + "/cpu.max", quota + " " + period);
        if (group.has("pids"))
            must_write(d + "/pids.max", tasks);
        return;
    }
    if (group.has("memory")) {
        must_write(d + "/memory.limit_in_bytes", memory);
        try_write(d + "/memory.memsw.limit_in_bytes", memory);
    }
    if (group.has("cpu")) {
        must_write(d + "/cpu.cfs_period_us", period);
        must_write(d + "/cpu.cfs_quota_us", quota);
    }
    if (group.has("pids"))
        must_write(d + "/pids.max", tasks);
}

const CgroupPlace *Cgroup::with(std::string_view controller) const
{
    const auto found = std::find_if(groups_.begin(), groups_.end(),
                                    [&](const CgroupPlace &group) { return group.has(controller); });
    return found == groups_.end() ? nullptr : &*found;
}

void Cgroup::kill() const
{
    // Where forks can be refused they are, before the first process is killed.
    if (const CgroupPlace *pids = with("pids"); pids != nullptr)
        kill_group(*pids);
    else
        kill_group(groups_.front());
}

bool Cgroup::is_empty() const
{
    return std::all_of(groups_.begin(), groups_.end(),
                       [](const CgroupPlace &group) { return pids_in(group.directory).empty(); });
}

std::optional<std::int64_t> Cgroup::oom_kills() const
{
    const CgroupPlace *group = with("memory");
    if (group == nullptr)
        return std::nullopt;
    const bool two   = group->version == CgroupPlace::Version::two;
    const auto kills = number_behind(
        read_file(group->directory + (two ? "/memory.events" : "/memory.oom_control")), "oom_kill");
    return kills ? std::optional{static_cast<std::int64_t>(*kills)} : std::nullopt;
}

std::optional<std::uint64_t> Cgroup::peak_memory() const
{
    const CgroupPlace *group = with("memory");
    if (group == nullptr)
        return std::nullopt;
    const bool two = group->version == CgroupPlace::Version::two;
    const auto text =
        "peak " + read_file(group->directory + (two ? "/memory.peak" : "/memory.max_usage_in_bytes"));
    return number_behind(text, "peak");
}

bool Cgroup::forget_peak_memory() const
{
    const CgroupPlace *group = with("memory");
    return group != nullptr && group->version == CgroupPlace::Version::one &&
           try_write(group->directory + "/memory.max_usage_in_bytes", "0");
}

std::optional<Cgroup::Cpu> Cgroup::cpu() const
{
    constexpr double us = 1e-6;
    if (const CgroupPlace *group = with("cpuacct"); group != nullptr) {
        const std::string text   = read_file(group->directory + "/cpuacct.stat");
        const auto        user   = number_behind(text, "user");
        const auto        system = number_behind(text, "system");
        const auto        tick   = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
        if (user && system)
            return Cpu{static_cast<double>(*user) * tick, static_cast<double>(*system) * tick};
    }
    if (const CgroupPlace *group = with("cpu");
        group != nullptr && group->version == CgroupPlace::Version::two) {
        const std::string text   = read_file(group->directory + "/cpu.stat");
        const auto        user   = number_behind(text, "user_usec");
        const auto        system = number_behind(text, "system_usec");
        if (user && system)
            return Cpu{static_cast<double>(*user) * us, static_cast<double>(*system) * us};
    }
    return std::nullopt;
}

std::vector<CgroupPlace> find_cgroup_bases(std::string_view setting)
{
    if (setting == "off")
        return {};
    std::vector<CgroupPlace> bases = find_cgroup_places(setting, mountinfo_text(), own_groups_text());
    if (setting != "auto")
        std::erase_if(bases,
                      [](const CgroupPlace &base) { return ::access(base.directory.c_str(), W_OK) != 0; });
    for (CgroupPlace &base : bases) {
        if (base.version == CgroupPlace::Version::one)
            continue;
        if (setting == "auto")
            base.directory = group_of_all(base.directory);
        const auto offered = split(read_file(base.directory + "/cgroup.controllers"), ' ');
        for (std::string controller : offered) {
            controller.erase(controller.find_last_not_of('\n') + 1);
            if (std::find(std::begin(ours), std::end(ours), controller) != std::end(ours))
                base.controllers.push_back(controller);
        }
    }
    return bases;
}

int sweep_cgroups(const std::vector<CgroupPlace> &bases)
{
    int killed = 0;
    for (const CgroupPlace &base : bases)
        for (const std::string &name : directories_in(base.directory))
            if (name.starts_with(name_prefix) && is_gone(std::string_view{name}.substr(name_prefix.size())))
                killed += clear({base.directory + "/" + name, base.version, base.controllers});
    return killed;
}

Cgroups::Cgroups(std::string_view setting) : bases_{find_cgroup_bases(setting)}
{
    std::stable_partition(bases_.begin(), bases_.end(),
                          [](const CgroupPlace &base) { return base.has("memory"); });
    if (bases_.empty() || !bases_.front().has("memory"))
        throw std::runtime_error{"no group in which memory can be limited may be made" +
                                 std::string{setting == "auto" ? "" : " at "} +
                                 std::string{setting == "auto" ? "" : setting}};

    const std::string name = std::string{name_prefix} + process_name();
    try {
        for (const CgroupPlace &base : bases_) {
            if (base.version == CgroupPlace::Version::two) {
                move_out_of(base.directory);
                hand_down(base);
            }
            CgroupPlace place{base.directory + "/" + name, base.version, base.controllers};
            if (::mkdir(place.directory.c_str(), 0755) != 0 && errno != EEXIST) {
                // What else there is to limit is worth having, but memory is what it is about.
                if (base.has("memory"))
                    fail("cannot make " + place.directory);
                continue;
            }
            places_.push_back(place);
            if (base.version == CgroupPlace::Version::two)
                hand_down(place);
        }
        prove(places_);
    } catch (...) {
        remove();
        throw;
    }
}

Cgroups::~Cgroups()
{
    remove();
}

void Cgroups::remove() const
{
    for (const CgroupPlace &place : places_)
        clear(place);
}

std::string Cgroups::shown() const
{
    std::string text;
    for (const CgroupPlace &place : places_) {
        text += text.empty() ? "" : ", ";
        text += place.directory;
    }
    return text;
}

} // namespace sluice::sidecar
