// The lines that one attempt wrote and that the database does not have yet.  Bounded: a program that never stops
// talking fills neither our memory nor the database.
#pragma once

#include "async.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace sluice::sidecar {

class AttemptLog {
public:
    struct Limits {
        std::size_t bytes      = 1 << 20; ///< of all lines of the attempt; a short one counts as 16
        std::size_t line_bytes = 1 << 16; ///< of one line; the rest of it is cut off
    };

    struct Size {
        std::size_t lines = 0;
        std::size_t bytes = 0;
    };

    /// Some of the unsent lines, the oldest ones, for append_logs.
    struct Portion {
        std::string   json;
        std::uint64_t mark = 0; ///< they are gone once the database has them: forget_up_to()
        Size          size{};
        bool          is_all = false;
    };

    explicit AttemptLog(Limits limits) : limits_{limits} {}

    void add(std::string_view stream, std::string_view line, Instant at);
    void close(Instant at); ///< adds the one line that says how many were dropped

    bool has_unsent() const { return !lines_.empty(); }

    /// As many lines as are within the size, and one at least.
    Portion unsent(Instant now, Size most) const;
    void    forget_up_to(std::uint64_t mark);

private:
    struct Line {
        std::uint64_t    seq;
        std::string_view stream; ///< a literal
        std::string      text;
        Instant          at;
    };

    Limits           limits_;
    std::deque<Line> lines_;
    std::uint64_t    next_seq_    = 0;
    std::size_t      total_bytes_ = 0;
    std::uint64_t    dropped_     = 0;
};

} // namespace sluice::sidecar
