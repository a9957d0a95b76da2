// Names of processes, and who carries one.
#include "run/process_name.hpp"

#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

std::string pid_namespace()
{
    struct stat entry {};
    return ::stat("/proc/self/ns/pid", &entry) == 0 ? std::to_string(entry.st_ino) : "0";
}

/// When a process started, in ticks since the machine did; empty: there is none.  A dead one that nobody has collected is
/// none either.
std::string start_of(const std::string &pid)
{
    constexpr int state = 0, start = 19; // behind the name, which may hold anything
    std::ifstream file{"/proc/" + pid + "/stat"};
    std::string   text{std::istreambuf_iterator<char>{file}, {}};
    const auto    end = text.rfind(')');
    if (end == std::string::npos)
        return {};
    std::istringstream rest{text.substr(end + 1)};
    std::string        field;
    for (int i = 0; rest >> field; ++i) {
        if (i == state && (field == "Z" || field == "X"))
            return {};
        if (i == start)
            return field;
    }
    return {};
}

bool is_number(std::string_view text)
{
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

} // namespace

std::string process_name()
{
    const std::string pid = std::to_string(::getpid());
    return pid_namespace() + "-" + pid + "-" + start_of(pid);
}

bool is_gone(std::string_view name)
{
    const auto first  = name.find('-');
    const auto second = first == std::string_view::npos ? first : name.find('-', first + 1);
    if (second == std::string_view::npos)
        return false;
    const std::string space{name.substr(0, first)}, pid{name.substr(first + 1, second - first - 1)},
        start{name.substr(second + 1)};
    if (!is_number(pid) || !is_number(start) || space != pid_namespace())
        return false;
    return start_of(pid) != start;
}

int kill_orphans()
{
    int             killed = 0;
    std::error_code error;
    const auto      wanted = std::string{sidecar_variable} + "=";
    for (std::filesystem::directory_iterator entry{"/proc", error}, end; !error && entry != end;
         entry.increment(error)) {
        const std::string pid = entry->path().filename().string();
        if (!is_number(pid))
            continue;
        std::ifstream     file{entry->path() / "environ", std::ios::binary};
        const std::string environment{std::istreambuf_iterator<char>{file}, {}};
        for (auto at = environment.find(wanted); at != std::string::npos;
             at      = environment.find(wanted, at + 1)) {
            if (at != 0 && environment[at - 1] != '\0')
                continue;
            const auto begin = at + wanted.size();
            const auto stop  = std::min(environment.find('\0', begin), environment.size());
            if (is_gone(std::string_view{environment}.substr(begin, stop - begin)) &&
                ::kill(static_cast<pid_t>(std::stol(pid)), SIGKILL) == 0)
                ++killed;
            break;
        }
    }
    return killed;
}

} // namespace sluice::sidecar
