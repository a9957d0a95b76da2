// Finds the output of a program among the lines of its stdout: the last one that is JSON.
#pragma once

#include "run/line_splitter.hpp"

#include <string>
#include <string_view>

namespace sluice::sidecar {

class OutputLine {
public:
    void add(std::string_view line, LineSplitter::Extent extent);

    const std::string &json() const { return json_; }       ///< empty: no line was JSON
    const std::string &problem() const { return problem_; } ///< the last candidate was too long

private:
    std::string json_;
    std::string problem_;
};

/// Whether it is worth parsing: a cheap look at the first character, for programs that write a lot.
bool may_be_json(std::string_view line);

} // namespace sluice::sidecar
