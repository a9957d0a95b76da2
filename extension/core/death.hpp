// death: why an attempt ended, from what is known about its end.
//
// What the kernel counted outranks what a signal suggests, and that what somebody wrote.  Where nothing was counted, an
// end by SIGKILL that we did not send is most often the kernel's, for memory: the code then says "maybe".  Where the
// kernel did count and counted nothing, somebody else sent it.  What we ended ourselves is never out of memory, whatever
// was counted or written on the way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/pure.hpp" // keep last

namespace sluice::core {

enum class Cause {
    none,                ///< it ended well
    ended_by_us,         ///< timeout, cancel, drain
    out_of_memory,       ///< established
    maybe_out_of_memory, ///< killed, and nobody knows by whom
    disk_full,
    sigterm,
    sigsegv,
    signal, ///< another one, or SIGKILL by somebody else
    exit_code,
    error, ///< an error object that says none of the above
};

/// What is known.  Texts may be empty; what does not apply is left out.
struct Death {
    bool                        ended_by_us = false;
    std::optional<int>          exit_code{};
    std::optional<int>          signal{};
    std::optional<std::int64_t> oom_kills{};  ///< of the control group; nothing: nobody counts
    std::optional<double>       peak_share{}; ///< of the limit, that it came to use; nothing: unknown
    std::string_view            words{};      ///< the end of stderr
    std::string_view            error_name{};
    std::string_view            error_message{};
    std::string_view            error_stack{};
    std::string_view            error_code{}; ///< one of ours, from somebody who has judged already
    std::string_view            sqlstate{};
};

struct Finding {
    Cause       cause = Cause::none;
    std::string evidence; ///< a sentence without a full stop; empty where signal or exit code say it all
};

Finding cause_of(const Death &death);

/// The code of an error with this cause.
std::string_view code_of(Cause cause) noexcept;

constexpr bool is_memory(Cause cause) noexcept
{
    return cause == Cause::out_of_memory || cause == Cause::maybe_out_of_memory;
}

/// The message by which a program says itself that it was out of memory.
inline constexpr std::string_view manual_oom = "MANUAL_OOM_KILL_ERROR";

} // namespace sluice::core
