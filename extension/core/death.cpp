// The order of the questions, and the words by which programs say that memory or disk were at their end.
#include "core/death.hpp"

#include <algorithm>
#include <csignal>
#include <string>

namespace sluice::core {

namespace {

constexpr int exit_of_sigkill = 128 + SIGKILL; ///< as shells report it of what they ran

/// Words that only a want of memory produces.
constexpr std::string_view memory_words[] = {
    "OOMErrorHandler",                         // V8, in its stack
    "JavaScript heap out of memory",           // V8, on its way out
    "FATAL ERROR: Out of memory",              // V8, other heaps
    "java.lang.OutOfMemoryError",              // Java
    "Terminating due to java.lang.OutOfMemo",  // Java with ExitOnOutOfMemoryError
    "ffmpeg was killed with signal SIGKILL",   // what ran ffmpeg
    "ffmpeg was killed with signal 9",         //
    "ffmpeg exited with code 137",             //
    "std::bad_alloc",                          // C++
    "fatal error: runtime: out of memory",     // Go
    "fatal error: runtime: cannot allocate m", // Go
    "failed to allocate memory (NoMemoryErro", // Ruby
    "System.OutOfMemoryException",             // .NET
    "LLVM ERROR: out of memory",
};

/// Words of who was refused memory; they count where allocations are refused, which is where nobody counts.
constexpr std::string_view refusal_words[] = {
    "Cannot allocate memory", // ENOMEM, in ffmpeg's words too
    "cannot allocate memory",
    "virtual memory exhausted",  // GNU
    "Out of memory!",            // Perl
    "Out of memory (allocated ", // PHP
    "malloc of size ",           // libx264: "malloc of size 8388608 failed"
    "av_malloc",
};

/// Words that may be about anything; they count like those, and only of a program that has used memory.
constexpr std::string_view vague_words[] = {
    "Out of memory",
    "out of memory",
    "Memory exhausted",
    "memory exhausted",
};

/// Who doubles a buffer is refused at a third of the limit.
constexpr double used_memory = 0.25;

/// The memory of a graphics card, of which a larger machine has no more.
constexpr std::string_view device_words[] = {"CUDA out of memory", "HIP out of memory"};

constexpr std::string_view disk_words[] = {
    "No space left on device", "ENOSPC", "Disk quota exceeded",
    "disk quota exceeded",     "EDQUOT", "There is not enough space on the disk",
};

template <std::size_t N>
std::string_view first_of(const std::string_view (&words)[N], std::string_view text)
{
    const auto *found = std::find_if(std::begin(words), std::end(words), [&](std::string_view word) {
        return text.find(word) != std::string_view::npos;
    });
    return found == std::end(words) ? std::string_view{} : *found;
}

bool has(std::string_view text, std::string_view part)
{
    return text.find(part) != std::string_view::npos;
}

/// Whether this is all that stands before "MemoryError" in a line of Python's: nothing, a module, the frame of a group of
/// exceptions, or what Python 3.13 and later say where no memory is left to print the exception.  Of classes with longer
/// names numpy's is one of memory, and "OutOfSharedMemoryError" is none.
bool leads_to_memory_error(std::string_view before)
{
    const auto frame = before.find_first_not_of(' ');
    if (frame != std::string_view::npos && before.substr(frame).starts_with("| "))
        before.remove_prefix(frame + 2);
    constexpr std::string_view dumped = "object type name: ";
    if (before.starts_with(dumped))
        before.remove_prefix(dumped.size());
    constexpr std::string_view numpy = "_Array";
    if (before.ends_with(numpy))
        before.remove_suffix(numpy.size());
    return (before.empty() || before.back() == '.') && std::all_of(before.begin(), before.end(), [](char c) {
               return c == '.' || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      (c >= '0' && c <= '9');
           });
}

/// "MemoryError" as Python writes it: a line of its own, alone or with a message behind a colon.
bool has_memory_error(std::string_view text)
{
    constexpr std::string_view name = "MemoryError";
    for (auto at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
        const auto begin  = text.rfind('\n', at) + 1; // npos + 1 is 0
        const auto behind = at + name.size();
        if (leads_to_memory_error(text.substr(begin, at - begin)) &&
            (behind == text.size() || text[behind] == '\n' || text[behind] == ':' || text[behind] == '\r'))
            return true;
    }
    return false;
}

/// "memory allocation of 123 bytes failed", Rust; "Allowed memory size of 123 bytes exhausted", PHP.
bool has_counted_bytes(std::string_view text)
{
    const auto spans = [&](std::string_view before, std::string_view after) {
        const auto at = text.find(before);
        if (at == std::string_view::npos)
            return false;
        auto end = at + before.size();
        while (end < text.size() && text[end] >= '0' && text[end] <= '9')
            ++end;
        return end > at + before.size() && text.substr(end).starts_with(after);
    };
    return spans("memory allocation of ", " bytes failed") ||
           spans("Allowed memory size of ", " bytes exhausted");
}

/// Whether a line ends with the word by which a program says it itself.
bool says_it_itself(std::string_view text)
{
    for (auto at = text.find(manual_oom); at != std::string_view::npos; at = text.find(manual_oom, at + 1)) {
        const std::string_view behind = text.substr(at + manual_oom.size());
        if (behind.empty() || behind.front() == '\n' || behind.front() == '\r')
            return true;
    }
    return false;
}

std::string quoted(std::string_view words)
{
    return "it said \"" + std::string{words} + "\"";
}

/// What a text says about memory; empty: nothing.
std::string words_about_memory(const Death &death, std::string_view text)
{
    if (says_it_itself(text))
        return quoted(manual_oom);
    if (const auto word = first_of(memory_words, text); !word.empty())
        return quoted(word);
    if (has_memory_error(text))
        return quoted("MemoryError");
    if (has_counted_bytes(text))
        return quoted("memory exhausted");
    // In a control group no allocation is refused: who is told so has another reason.
    if (death.oom_kills)
        return {};
    if (const auto word = first_of(refusal_words, text); !word.empty())
        return quoted(word);
    if (death.peak_share.value_or(0) >= used_memory && first_of(device_words, text).empty())
        if (const auto word = first_of(vague_words, text); !word.empty())
            return quoted(word) + " and had used " +
                   std::to_string(static_cast<int>(*death.peak_share * 100)) + " % of its memory";
    return {};
}

bool is_memory_name(std::string_view name)
{
    return name == "MemoryError" || name.ends_with(".MemoryError") || name == "_ArrayMemoryError" ||
           name == "OutOfMemoryError" || name.ends_with(".OutOfMemoryError") || name == "OutOfMemory" ||
           name.ends_with(".OutOfMemory") || name == "NoMemoryError" || name == "std::bad_alloc";
}

/// What an error of somebody who ran a process tells of its end: "Process exited with code -1 after signal SIGTERM.".
std::optional<Finding> told_end(const Death &death)
{
    constexpr std::size_t  looked_at = 100;
    const std::string_view message   = death.error_message.substr(0, looked_at);
    if (!message.starts_with("Process exited with code") && !message.starts_with("Unexpected exit with code"))
        return std::nullopt;
    const bool by_stack =
        death.error_name == "UnexpectedExitError" && message.starts_with("Unexpected exit with code -1");
    const auto tells = [&](std::string_view word) {
        return has(message, word) || (by_stack && has(death.error_stack, word));
    };
    if (tells("SIGTERM"))
        return Finding{Cause::sigterm, {}};
    if (tells("SIGSEGV"))
        return Finding{Cause::sigsegv, {}};
    if (tells("SIGKILL") || has(message, "code 137"))
        return Finding{Cause::maybe_out_of_memory, "its error tells of a SIGKILL"};
    return std::nullopt;
}

std::optional<Finding> established(const Death &death)
{
    if (death.oom_kills.value_or(0) > 0)
        return Finding{Cause::out_of_memory,
                       "the oom_kill counter of its control group is " + std::to_string(*death.oom_kills)};
    if (death.error_code == "TASK_PROCESS_OOM_KILLED")
        return Finding{Cause::out_of_memory, "its error has the code TASK_PROCESS_OOM_KILLED"};
    if (death.error_code == "TASK_PROCESS_MAYBE_OOM_KILLED")
        return Finding{Cause::maybe_out_of_memory, "its error has the code TASK_PROCESS_MAYBE_OOM_KILLED"};
    if (death.sqlstate == "53200")
        return Finding{Cause::out_of_memory, "SQLSTATE 53200"};
    if (death.sqlstate == "53100" || death.error_code == "DISK_SPACE_EXCEEDED")
        return Finding{Cause::disk_full, death.sqlstate.empty() ? "its error has the code DISK_SPACE_EXCEEDED"
                                                                : "SQLSTATE 53100"};
    if (!death.sqlstate.empty())
        return Finding{Cause::error, {}}; // a server knows what it says; its texts are not searched
    return std::nullopt;
}

std::optional<Finding> said(const Death &death)
{
    if (is_memory_name(death.error_name) && first_of(device_words, death.error_message).empty())
        return Finding{Cause::out_of_memory, "its error is a " + std::string{death.error_name}};
    for (const std::string_view text : {death.error_message, death.words})
        if (std::string evidence = words_about_memory(death, text); !evidence.empty())
            return Finding{Cause::out_of_memory, std::move(evidence)};
    if (auto finding = told_end(death))
        return finding;
    for (const std::string_view text : {death.error_message, death.words})
        if (const auto word = first_of(disk_words, text); !word.empty())
            return Finding{Cause::disk_full, quoted(word)};
    return std::nullopt;
}

Finding by_signal(int signal, const Death &death)
{
    switch (signal) {
    case SIGTERM:
        return {Cause::sigterm, {}};
    case SIGSEGV:
        return {Cause::sigsegv, {}};
    case SIGKILL:
        if (death.oom_kills)
            return {Cause::signal, "somebody sent SIGKILL: the oom_kill counter of its control group is 0"};
        return {Cause::maybe_out_of_memory, "it was ended by SIGKILL, which sluiced did not send"};
    default:
        return {Cause::signal, {}};
    }
}

Finding by_exit_code(int code, const Death &death)
{
    // A shell's word for the end of what it ran; with a counter at nought it is only a number.
    if (code == exit_of_sigkill && !death.oom_kills)
        return {Cause::maybe_out_of_memory, "exit code 137 stands for SIGKILL"};
    return {Cause::exit_code, {}};
}

} // namespace

Finding cause_of(const Death &death)
{
    if (death.ended_by_us)
        return {Cause::ended_by_us, {}};
    const bool has_error = !death.error_name.empty() || !death.error_message.empty() ||
                           !death.error_code.empty() || !death.sqlstate.empty();
    if (!has_error && !death.signal && death.exit_code.value_or(0) == 0)
        return {}; // a program that lost a helper and ended well has coped
    if (auto finding = established(death))
        return *finding;
    if (auto finding = said(death))
        return *finding;
    if (death.signal)
        return by_signal(*death.signal, death);
    if (death.exit_code.value_or(0) != 0)
        return by_exit_code(*death.exit_code, death);
    return {Cause::error, {}};
}

std::string_view code_of(Cause cause) noexcept
{
    switch (cause) {
    case Cause::out_of_memory:
        return "TASK_PROCESS_OOM_KILLED";
    case Cause::maybe_out_of_memory:
        return "TASK_PROCESS_MAYBE_OOM_KILLED";
    case Cause::disk_full:
        return "DISK_SPACE_EXCEEDED";
    case Cause::sigterm:
        return "TASK_PROCESS_SIGTERM";
    case Cause::sigsegv:
        return "TASK_PROCESS_SIGSEGV";
    case Cause::signal:
        return "TASK_RUN_CRASHED";
    case Cause::exit_code:
        return "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE";
    case Cause::none:
    case Cause::ended_by_us:
    case Cause::error:
        break;
    }
    return "TASK_EXECUTION_FAILED";
}

} // namespace sluice::core
