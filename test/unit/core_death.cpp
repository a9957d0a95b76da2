// The table of deaths: what is known about an end, and the cause that follows from it.
#include "core/death.hpp"
#include "core/machine.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <string>

namespace sluice::core {
namespace {

struct Case {
    const char *what;
    Death       death;
    Cause       cause;
    const char *evidence; ///< a part of it; empty: none is given
};

Death exited(int code, std::string_view words = {})
{
    return {.exit_code = code, .words = words};
}

Death killed(int signal, std::string_view words = {})
{
    return {.signal = signal, .words = words};
}

Death error(std::string_view name, std::string_view message)
{
    return {.error_name = name, .error_message = message};
}

Death with_stack(Death death, std::string_view stack)
{
    death.error_stack = stack;
    return death;
}

Death used(double share, Death death)
{
    death.peak_share = share;
    return death;
}

Death counted(std::int64_t kills, Death death)
{
    death.oom_kills = kills;
    return death;
}

Death by_us(Death death)
{
    death.ended_by_us = true;
    return death;
}

Death with_code(std::string_view code)
{
    return {.error_message = "it ended", .error_code = code};
}

Death with_sqlstate(std::string_view sqlstate, std::string_view message = "an error")
{
    return {.error_message = message, .sqlstate = sqlstate};
}

const std::string long_message = "Process exited with code 1" + std::string(100, '.') + "SIGKILL";

TEST(CoreDeath, has_the_cause_that_is_known_of_it)
{
    constexpr auto oom   = Cause::out_of_memory;
    constexpr auto maybe = Cause::maybe_out_of_memory;
    const Case     cases[]{
            {"a clean exit", exited(0), Cause::none, ""},
            {"a clean exit that wrote of memory", exited(0, "MemoryError\n"), Cause::none, ""},
            {"a helper was killed, and it coped", counted(1, exited(0)), Cause::none, ""},

            {"the group counted a kill", counted(1, killed(SIGKILL)), oom, "counter of its control group is 1"},
            {"the group counted, a shell reports 137", counted(1, exited(137)), oom,
             "counter of its control group is 1"},
            {"the group counted, whoever ran it exits with 1", counted(2, exited(1)), oom,
             "counter of its control group is 2"},
            {"the group counted, and the disk was full as well", counted(1, exited(1, "No space left on device")),
             oom, "counter"},
            {"the group counted none: another one sent SIGKILL", counted(0, killed(SIGKILL)), Cause::signal,
             "counter of its control group is 0"},
            {"the group counted none, 137 is a number", counted(0, exited(137)), Cause::exit_code, ""},

            {"SIGKILL, nobody counts", killed(SIGKILL), maybe, "SIGKILL"},
            {"137, nobody counts", exited(137), maybe, "137"},
            {"137 with bash's word", exited(137, "x.sh: line 2:  4711 Killed   convert a b\n"), maybe, "137"},
            {"128 is no signal", exited(128), Cause::exit_code, ""},

            {"V8's handler, aborted", killed(SIGABRT, "node::OOMErrorHandler(char const*)\n"), oom,
             "OOMErrorHandler"},
            {"V8's heap",
             killed(SIGABRT,
                    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n"),
             oom, "heap out of memory"},
            {"V8's heap where the group counted none",
             counted(0, killed(SIGABRT, "Allocation failed - JavaScript heap out of memory")), oom, "heap"},
            {"V8 reported by npm", exited(1, "npm ERR! JavaScript heap out of memory\n"), oom, "heap"},
            {"Java", exited(1, "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space\n"), oom,
             "OutOfMemoryError"},
            {"Java that was told to leave",
             exited(3, "Terminating due to java.lang.OutOfMemoryError: Java heap space\n"), oom, "OutOfMemory"},
            {"Python", exited(1, "Traceback (most recent call last):\n  File \"x\", line 1\nMemoryError\n"), oom,
             "MemoryError"},
            {"Python with a message", exited(1, "MemoryError: Unable to allocate 600 MiB for an array\n"), oom,
             "MemoryError"},
            {"numpy's", exited(1, "numpy.core._exceptions.MemoryError: Unable to allocate 600 MiB\n"), oom,
             "MemoryError"},
            {"numpy's private one", exited(1, "numpy._core._exceptions._ArrayMemoryError: Unable\n"), oom,
             "MemoryError"},
            {"numpy's error object", error("_ArrayMemoryError", "Unable to allocate 600 MiB"), oom, "_Array"},
            {"a leaf of a group of exceptions",
             exited(1,
                    "  | ExceptionGroup: two (2 sub-exceptions)\n  +-+--- 1 ---\n    | MemoryError\n    +---\n"),
             oom, "MemoryError"},
            {"such a leaf of a module", exited(1, "    | numpy.core._exceptions.MemoryError: Unable\n"), oom,
             "MemoryError"},
            {"Python without memory to say it",
             exited(1, "object type     : 0xb63fa0\nobject type name: MemoryError\nlost sys.stderr\n"), oom,
             "MemoryError"},
            {"another object that Python dumps",
             exited(1, "object type name: str\nobject repr     : 'MemoryError'\n"), Cause::exit_code, ""},
            {"a line of code in a group", exited(1, "  |     raise MemoryError\n  | ValueError: 7\n"),
             Cause::exit_code, ""},
            {"shared memory of a database", exited(1, "OutOfSharedMemoryError: out of shared memory\n"),
             Cause::exit_code, ""},
            {"the same of a module", exited(1, "pg.OutOfSharedMemoryError: x\n"), Cause::exit_code, ""},
            {"the same as an error object", error("OutOfSharedMemoryError", "out of shared memory"), Cause::error,
             ""},
            {"a line that only speaks of MemoryError", exited(1, "caught MemoryError, going on\nValueError: 7\n"),
             Cause::exit_code, ""},
            {"a class with a longer name", exited(1, "MemoryErrorHandlerMissing: x\n"), Cause::exit_code, ""},
            {"C++", killed(SIGABRT, "terminate called after throwing an instance of 'std::bad_alloc'\n"), oom,
             "bad_alloc"},
            {"Go", exited(2, "fatal error: runtime: out of memory\n"), oom, "runtime"},
            {"Go without a mapping", exited(2, "fatal error: runtime: cannot allocate memory\n"), oom, "runtime"},
            {"Rust", killed(SIGABRT, "memory allocation of 629145600 bytes failed\n"), oom, "memory"},
            {"Rust's words around no number", exited(1, "memory allocation of x bytes failed\n"),
             Cause::exit_code, ""},
            {"PHP", exited(255, "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried …)\n"),
             oom, "memory"},
            {"Ruby", exited(1, "x.rb:1:in `*': failed to allocate memory (NoMemoryError)\n"), oom, "memory"},
            {".NET", killed(SIGABRT, "Unhandled exception. System.OutOfMemoryException: Array dimensions\n"), oom,
             "OutOfMemory"},
            {"Perl", exited(1, "Out of memory!\n"), oom, "Out of memory"},
            {"PHP that was refused", exited(255, "PHP Fatal error:  Out of memory (allocated 2097152)\n"), oom,
             "Out of memory"},
            {"GNU", exited(1, "cc1: virtual memory exhausted\n"), oom, "exhausted"},

            {"words that may be about anything", exited(1, "the printer is out of memory cards\n"),
             Cause::exit_code, ""},
            {"the same of one that had used little", used(0.1, exited(1, "out of memory\n")), Cause::exit_code,
             ""},
            {"the same of one that had used much", used(0.96, exited(1, "x: out of memory\n")), oom,
             "\"out of memory\" and had used 96 %"},
            {"the same where the group counted none", counted(0, used(0.96, exited(1, "x: out of memory\n"))),
             Cause::exit_code, ""},
            {"much used, nothing said of it", used(0.99, exited(1, "oops\n")), Cause::exit_code, ""},
            {"the memory of a graphics card", used(0.9, exited(1, "RuntimeError: CUDA out of memory. Tried\n")),
             Cause::exit_code, ""},
            {"the same as an error object", error("OutOfMemoryError", "CUDA out of memory. Tried"), Cause::error,
             ""},

            {"ffmpeg killed, as its runner says", error("Error", "ffmpeg was killed with signal SIGKILL"), oom,
             "ffmpeg"},
            {"the same in a stack on stderr",
             exited(1, "Error: ffmpeg was killed with signal SIGKILL\n    at x.js:1\n"), oom, "ffmpeg"},
            {"with the number of the signal", exited(1, "ffmpeg was killed with signal 9\n"), oom, "ffmpeg"},
            {"ffmpeg exited with 137", error("Error", "ffmpeg exited with code 137: Conversion failed!"), oom,
             "ffmpeg"},
            {"ffmpeg was refused memory", exited(244, "Error while filtering: Cannot allocate memory\n"), oom,
             "allocate"},
            {"x264 was refused memory", exited(1, "[libx264 @ 0x1] malloc of size 12441600 failed\n"), oom,
             "malloc"},
            {"ffmpeg ended by SIGTERM", error("Error", "ffmpeg was killed with signal SIGTERM"), Cause::error,
             ""},
            {"ffmpeg with a wrong argument", exited(1, "Unrecognized option 'x'.\n"), Cause::exit_code, ""},

            {"refused memory, nobody counts", exited(1, "fork: Cannot allocate memory\n"), oom, "allocate"},
            {"refused memory though the group counted none",
             counted(0, exited(1, "fork: Cannot allocate memory\n")), Cause::exit_code, ""},

            {"it says so itself", exited(1, "Error: MANUAL_OOM_KILL_ERROR\n"), oom, "MANUAL_OOM_KILL_ERROR"},
            {"an error that says so itself", error("OutOfMemoryError", "MANUAL_OOM_KILL_ERROR"), oom, ""},
            {"it only names the word", exited(1, "MANUAL_OOM_KILL_ERROR is what to raise\n"), Cause::exit_code,
             ""},
            {"Python's error object", error("MemoryError", ""), oom, "MemoryError"},
            {"Java's error object", error("java.lang.OutOfMemoryError", "Java heap space"), oom,
             "OutOfMemoryError"},
            {"another error object", error("ValueError", "7"), Cause::error, ""},
            {"a worker's word about its child",
             error("Error", "Process exited with code -1 after signal SIGKILL."), maybe, "SIGKILL"},
            {"the word of a newer one",
             error("UnexpectedExitError", "Unexpected exit with code -1 after signal SIGKILL"), maybe, "SIGKILL"},
            {"its word about 137", error("Error", "Process exited with code 137."), maybe, "SIGKILL"},
            {"its word about another code", error("Error", "Process exited with code 1."), Cause::error, ""},
            {"its word about SIGTERM", error("Error", "Process exited with code -1 after signal SIGTERM."),
             Cause::sigterm, ""},
            {"its word about SIGSEGV", error("Error", "Process exited with code 139 after signal SIGSEGV."),
             Cause::sigsegv, ""},
            {"behind the first hundred characters", error("Error", long_message), Cause::error, ""},
            {"the newer one's, in its stack",
             with_stack(error("UnexpectedExitError", "Unexpected exit with code -1"), "at x: signal SIGKILL"),
             maybe, "SIGKILL"},
            {"SIGTERM in its stack",
             with_stack(error("UnexpectedExitError", "Unexpected exit with code -1"), "at x: signal SIGTERM"),
             Cause::sigterm, ""},
            {"SIGSEGV in its stack",
             with_stack(error("UnexpectedExitError", "Unexpected exit with code -1"), "at x: signal SIGSEGV"),
             Cause::sigsegv, ""},
            {"another code, and a stack that tells of SIGKILL",
             with_stack(error("UnexpectedExitError", "Unexpected exit with code 1"), "signal SIGKILL"),
             Cause::error, ""},
            {"another error with such a stack",
             with_stack(error("Error", "Unexpected exit with code -1"), "signal SIGKILL"), Cause::error, ""},
            {"SIGKILL in other words", error("Error", "do not send SIGKILL"), Cause::error, ""},
            {"somebody has judged already", with_code("TASK_PROCESS_OOM_KILLED"), oom, "code"},
            {"somebody was not sure", with_code("TASK_PROCESS_MAYBE_OOM_KILLED"), maybe, "code"},

            {"sql: out of memory", with_sqlstate("53200"), oom, "53200"},
            {"sql: disk full", with_sqlstate("53100"), Cause::disk_full, "53100"},
            {"sql: another error that speaks of memory", with_sqlstate("P0001", "Out of memory"), Cause::error,
             ""},

            {"disk full", exited(1, "cp: error writing 'x': No space left on device\n"), Cause::disk_full,
             "No space"},
            {"disk full, in node", error("Error", "ENOSPC: no space left on device, write"), Cause::disk_full,
             "ENOSPC"},
            {"quota", exited(1, "write: Disk quota exceeded\n"), Cause::disk_full, "quota"},
            {"somebody found the disk full", with_code("DISK_SPACE_EXCEEDED"), Cause::disk_full, "code"},

            {"SIGTERM from elsewhere", killed(SIGTERM), Cause::sigterm, ""},
            {"SIGSEGV", killed(SIGSEGV), Cause::sigsegv, ""},
            {"SIGABRT", killed(SIGABRT), Cause::signal, ""},
            {"an exit code", exited(3, "oops\n"), Cause::exit_code, ""},

            {"by us, killed", by_us(killed(SIGKILL)), Cause::ended_by_us, ""},
            {"by us, though the group counted", by_us(counted(3, killed(SIGKILL))), Cause::ended_by_us, ""},
            {"by us, though it wrote of memory", by_us(exited(1, "MemoryError\n")), Cause::ended_by_us, ""},
            {"by us, and it went well", by_us(exited(0)), Cause::ended_by_us, ""},
    };
    for (const Case &c : cases) {
        const Finding found = cause_of(c.death);
        EXPECT_EQ(found.cause, c.cause) << c.what;
        EXPECT_NE(found.evidence.find(c.evidence), std::string::npos) << c.what << ": " << found.evidence;
        EXPECT_EQ(is_memory(c.cause) && found.evidence.empty(), false)
            << c.what << ": a claim without evidence";
    }
}

TEST(CoreMachine, presets_grow_and_have_names)
{
    for (std::size_t i = 1; i < std::size(machines); ++i) {
        EXPECT_GT(machines[i].memory, machines[i - 1].memory);
        EXPECT_GE(machines[i].cpus, machines[i - 1].cpus);
    }
    EXPECT_EQ(find_machine("large-1x")->memory, 8192 * mib);
    EXPECT_EQ(default_machine.name, "small-1x");
    EXPECT_EQ(find_machine("huge"), nullptr);
}

} // namespace
} // namespace sluice::core
