// One running program: its process group, its pipes and its end.  Nothing a program does with its descriptors or its
// children can keep us waiting: the end of the process is what counts, and what it left in the pipes is read then.
#pragma once

#include "loop.hpp"
#include "run/child_input.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/types.h>
#include <vector>

namespace sluice::sidecar {

class Child {
public:
    /// What the program is put under before it begins.
    struct Confinement {
        std::vector<int> groups;         ///< open cgroup.procs files: it enters each
        std::uint64_t    data_bytes = 0; ///< RLIMIT_DATA; 0: as it is
        std::uint64_t    tasks      = 0; ///< RLIMIT_NPROC; 0: as it is
    };

    struct Spec {
        std::string                 token;
        std::string                 path;
        std::vector<std::string>    argv;
        std::vector<std::string>    env;
        std::string                 cwd;
        std::string                 input;
        bool                        descriptor_3 = false;
        Confinement                 confinement{};
        std::shared_ptr<ChildInput> more_input{}; ///< what follows `input`, while the program runs
    };

    enum class Stream { out, err, descriptor_3 };
    using Sink = std::function<void(Stream stream, std::string_view bytes)>;

    struct End {
        int                wait_status = 0;
        std::optional<int> exec_error; ///< errno of a program that did not start
        rusage             used{};     ///< by the program and what it waited for
    };

    Child(Loop &loop, Spec spec, Sink sink);
    ~Child();

    Child(const Child &)            = delete;
    Child &operator=(const Child &) = delete;

    /// Starts the program and returns when it has ended and all that it wrote has gone to the sink.
    /// Throws std::system_error when there are no descriptors or processes to be had.
    Task<End> run();

    /// 0 before it has started.
    pid_t pid() const { return pid_; }

    /// SIGTERM to the whole group now, SIGKILL after the grace.  A program that was not started yet never is: it ends as if
    /// by SIGKILL.
    void stop_politely(Duration grace);
    void stop_firmly();

private:
    enum class Read { data, nothing, end };
    using Descriptor = asio::posix::stream_descriptor;

    void                       start();
    void                       signal_group(int signal) const;
    Task<>                     feed_input();
    Task<>                     read_stream(Stream stream);
    Read                       read_available(Stream stream);
    void                       drain_pipes();
    std::optional<int>         exec_error() const;
    std::optional<Descriptor> &descriptor(Stream stream)
    {
        return outputs_[static_cast<std::size_t>(stream)];
    }

    Loop                                    &loop_;
    Spec                                     spec_;
    Sink                                     sink_;
    std::string                              grace_name_;
    pid_t                                    pid_         = 0;
    bool                                     is_unwanted_ = false; ///< stopped before it was started
    std::optional<int>                       wait_status_;
    rusage                                   used_{};
    std::optional<Descriptor>                input_;
    std::array<std::optional<Descriptor>, 3> outputs_;
    int                                      exec_report_  = -1;
    int                                      streams_open_ = 0;
    Event                                    changed_;
};

} // namespace sluice::sidecar
