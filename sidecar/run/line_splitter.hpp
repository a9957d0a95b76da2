// Cuts a stream of bytes into lines.  A line longer than the limit is cut off and marked so, and its rest is
// skipped, so that a program that writes no newline cannot fill our memory.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::sidecar {

class LineSplitter {
public:
    enum class Extent { whole, cut };
    using Sink = std::function<void(std::string_view line, Extent extent)>;

    LineSplitter(std::size_t longest, Sink sink) : longest_{longest}, sink_{std::move(sink)} {}

    void feed(std::string_view bytes);
    void finish(); ///< hands out a last line that has no newline

private:
    void take(std::string_view part);
    void emit();

    std::size_t longest_;
    Sink        sink_;
    std::string line_;
    bool        cut_ = false;
};

} // namespace sluice::sidecar
