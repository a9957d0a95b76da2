// Starting, feeding, reading and ending a program.
#include "run/child.hpp"

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace sluice::sidecar {

namespace {

constexpr std::size_t read_at_once = 64 * 1024;

// After the end of the process only what the pipes held is read, not what a survivor may still write.
constexpr int reads_after_end = 32;

/// Closes what it still holds.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_{fd} {}
    Fd(Fd &&other) noexcept : fd_{other.release()} {}
    Fd &operator=(Fd &&other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd()
    {
        if (fd_ >= 0)
            ::close(fd_);
    }

    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

private:
    int fd_ = -1;
};

struct PipeEnds {
    Fd read;
    Fd write;
};

PipeEnds make_pipe()
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        throw std::system_error{errno, std::generic_category(), "could not make a pipe"};
    return {Fd{ends[0]}, Fd{ends[1]}};
}

void set_nonblocking(int fd)
{
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

std::vector<char *> pointers(std::vector<std::string> &strings)
{
    std::vector<char *> list;
    list.reserve(strings.size() + 1);
    for (std::string &text : strings)
        list.push_back(text.data());
    list.push_back(nullptr);
    return list;
}

/// All that the forked child needs; it may not allocate.
struct Launch {
    const char  *path;
    char *const *argv;
    char *const *env;
    const char  *cwd;
    int          input, out, err, descriptor_3, report;
    pid_t        parent;
    const int   *groups;
    std::size_t  group_count;
    rlim_t       data_bytes, tasks;
};

[[noreturn]] void give_up(const Launch &launch)
{
    const int                   error   = errno;
    [[maybe_unused]] const auto written = ::write(launch.report, &error, sizeof error);
    ::_exit(127);
}

/// Moves a descriptor out of the numbers that are about to be overwritten.
int above_standard(int fd)
{
    return fd < 0 ? fd : ::fcntl(fd, F_DUPFD_CLOEXEC, 10);
}

/// Before anything else, so that all that follows is counted and nothing can be forked outside.
void confine(const Launch &launch)
{
    for (std::size_t i = 0; i < launch.group_count; ++i)
        if (::write(launch.groups[i], "0", 1) != 1) {
            errno = EAGAIN; // whatever the reason: it is the machine's, not the task's
            give_up(launch);
        }
    const auto limit = [](auto resource, rlim_t most) {
        rlimit now{};
        if (most == 0 || ::getrlimit(resource, &now) != 0)
            return;
        const rlim_t lower = now.rlim_max == RLIM_INFINITY || most < now.rlim_max ? most : now.rlim_max;
        now                = {lower, lower};
        ::setrlimit(resource, &now);
    };
    limit(RLIMIT_DATA, launch.data_bytes);
    limit(RLIMIT_NPROC, launch.tasks);

    // Where the whole machine is out of memory, programs go before sluiced.
    if (const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); file >= 0) {
        [[maybe_unused]] const auto written = ::write(file, "500", 3);
        ::close(file);
    }
}

[[noreturn]] void become_program(const Launch &launch)
{
    ::setpgid(0, 0);
    confine(launch);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != launch.parent)
        ::_exit(127); // sluiced died before the line above took hold

    // What sluiced ignores would stay ignored in the program, e.g. SIGPIPE.
    for (int signal = 1; signal < NSIG; ++signal)
        ::signal(signal, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);

    Launch moved       = launch;
    moved.input        = above_standard(launch.input);
    moved.out          = above_standard(launch.out);
    moved.err          = above_standard(launch.err);
    moved.descriptor_3 = above_standard(launch.descriptor_3);
    moved.report       = above_standard(launch.report);
    if (::dup2(moved.input, 0) < 0 || ::dup2(moved.out, 1) < 0 || ::dup2(moved.err, 2) < 0)
        give_up(moved);
    if (moved.descriptor_3 >= 0 && ::dup2(moved.descriptor_3, 3) < 0)
        give_up(moved);
    const unsigned first_to_close = moved.descriptor_3 >= 0 ? 4 : 3;
    ::syscall(SYS_close_range, first_to_close, ~0U, CLOSE_RANGE_CLOEXEC);

    if (::chdir(moved.cwd) != 0)
        give_up(moved);
    ::execve(moved.path, moved.argv, moved.env);
    give_up(moved);
}

} // namespace

Child::Child(Loop &loop, Spec spec, Sink sink)
    : loop_{loop}, spec_{std::move(spec)}, sink_{std::move(sink)},
      grace_name_{"grace " + spec_.token}, changed_{loop.io}
{
}

Child::~Child()
{
    loop_.deadlines.disarm(grace_name_);
    if (exec_report_ >= 0)
        ::close(exec_report_);
}

void Child::start()
{
    PipeEnds input  = make_pipe();
    PipeEnds out    = make_pipe();
    PipeEnds err    = make_pipe();
    PipeEnds extra  = spec_.descriptor_3 ? make_pipe() : PipeEnds{};
    PipeEnds report = make_pipe();

    const std::vector<char *> argv = pointers(spec_.argv);
    const std::vector<char *> env  = pointers(spec_.env);
    const Launch              launch{spec_.path.c_str(),
                        argv.data(),
                        env.data(),
                        spec_.cwd.c_str(),
                        input.read.get(),
                        out.write.get(),
                        err.write.get(),
                        extra.write.get(),
                        report.write.get(),
                        ::getpid(),
                        spec_.confinement.groups.data(),
                        spec_.confinement.groups.size(),
                        spec_.confinement.data_bytes,
                        spec_.confinement.tasks};

    // All that may fail comes before there is a process that nobody would wait for.
    const auto adopt = [this](std::optional<Descriptor> &slot, Fd &fd) {
        if (fd.get() < 0)
            return;
        set_nonblocking(fd.get());
        slot.emplace(loop_.io, fd.get());
        fd.release();
    };
    adopt(input_, input.write);
    adopt(descriptor(Stream::out), out.read);
    adopt(descriptor(Stream::err), err.read);
    adopt(descriptor(Stream::descriptor_3), extra.read);
    set_nonblocking(report.read.get());
    exec_report_ = report.read.release();

    const pid_t pid = ::fork();
    if (pid < 0)
        throw std::system_error{errno, std::generic_category(), "could not start a process"};
    if (pid == 0)
        become_program(launch);

    // Both sides set the group, so that it exists whichever of them runs first.
    ::setpgid(pid, pid);
    pid_ = pid;
    loop_.reaper.watch(pid, spec_.token, [this](int status, const rusage &used) {
        wait_status_ = status;
        used_        = used;
        changed_.set();
    });
}

Task<Child::End> Child::run()
{
    if (is_unwanted_) {
        if (spec_.more_input)
            spec_.more_input->close();
        co_return End{SIGKILL, std::nullopt, {}};
    }
    start();

    const auto closed = [this](const std::exception_ptr &) {
        --streams_open_;
        changed_.set();
    };
    ++streams_open_;
    asio::co_spawn(loop_.io, feed_input(), closed);
    for (const Stream stream : {Stream::out, Stream::err, Stream::descriptor_3}) {
        if (!descriptor(stream))
            continue;
        ++streams_open_;
        asio::co_spawn(loop_.io, read_stream(stream), closed);
    }

    while (!wait_status_)
        co_await changed_.wait();
    loop_.deadlines.disarm(grace_name_);

    // The reaper has killed the group; what left the group goes here.
    loop_.reaper.sweep();
    drain_pipes();
    input_.reset();
    if (spec_.more_input)
        spec_.more_input->close();
    for (auto &output : outputs_)
        output.reset();
    while (streams_open_ > 0)
        co_await changed_.wait();

    co_return End{*wait_status_, exec_error(), used_};
}

void Child::signal_group(int signal) const
{
    if (pid_ > 0 && !wait_status_)
        ::kill(-pid_, signal);
}

void Child::stop_politely(Duration grace)
{
    is_unwanted_ = pid_ == 0;
    if (wait_status_ || is_unwanted_)
        return;
    signal_group(SIGTERM);
    loop_.deadlines.arm_in(grace_name_, grace, [this] { stop_firmly(); });
}

void Child::stop_firmly()
{
    is_unwanted_ = pid_ == 0;
    signal_group(SIGKILL);
}

Task<> Child::feed_input()
{
    std::string text = std::move(spec_.input);
    for (;;) {
        std::string_view rest = text;
        while (input_ && !rest.empty()) {
            const ssize_t written = ::write(input_->native_handle(), rest.data(), rest.size());
            if (written >= 0) {
                rest.remove_prefix(static_cast<std::size_t>(written));
                continue;
            }
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN)
                break; // the program does not want to read: its right
            const auto [error] = co_await input_->async_wait(Descriptor::wait_write, as_result);
            if (error)
                break;
        }
        if (!spec_.more_input || !input_ || !rest.empty())
            break;
        text = co_await spec_.more_input->next();
        if (text.empty())
            break;
    }
    input_.reset(); // the program sees the end of its input
}

Task<> Child::read_stream(Stream stream)
{
    while (descriptor(stream)) {
        const auto [error] = co_await descriptor(stream)->async_wait(Descriptor::wait_read, as_result);
        if (error || !descriptor(stream))
            co_return;
        if (read_available(stream) == Read::end) {
            descriptor(stream).reset();
            co_return;
        }
    }
}

Child::Read Child::read_available(Stream stream)
{
    static char   buffer[read_at_once]; // one thread, and no wait between read and sink
    const ssize_t count = ::read(descriptor(stream)->native_handle(), buffer, sizeof buffer);
    if (count > 0) {
        sink_(stream, {buffer, static_cast<std::size_t>(count)});
        return Read::data;
    }
    return count < 0 && (errno == EINTR || errno == EAGAIN) ? Read::nothing : Read::end;
}

void Child::drain_pipes()
{
    for (const Stream stream : {Stream::out, Stream::err, Stream::descriptor_3}) {
        for (int i = 0; descriptor(stream) && i < reads_after_end; ++i)
            if (read_available(stream) != Read::data)
                break;
    }
}

std::optional<int> Child::exec_error() const
{
    int error = 0;
    if (::read(exec_report_, &error, sizeof error) != static_cast<ssize_t>(sizeof error))
        return std::nullopt;
    return error;
}

} // namespace sluice::sidecar
