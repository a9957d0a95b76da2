// Which line of stdout is the output.
#include "run/output_line.hpp"

#include "json_text.hpp"

namespace sluice::sidecar {

bool may_be_json(std::string_view line)
{
    const auto first = line.find_first_not_of(" \t");
    return first != std::string_view::npos &&
           std::string_view{"{[\"-0123456789tfn"}.find(line[first]) != std::string_view::npos;
}

void OutputLine::add(std::string_view line, LineSplitter::Extent extent)
{
    if (!may_be_json(line))
        return;
    if (extent == LineSplitter::Extent::cut) {
        const char first = line[line.find_first_not_of(" \t")];
        if (first == '{' || first == '[' || first == '"')
            problem_ = "the output is longer than " + std::to_string(line.size()) + " bytes";
        return;
    }
    if (auto json = json_for_database(line)) {
        json_ = std::move(*json);
        problem_.clear();
    }
}

} // namespace sluice::sidecar
