// Cutting bytes into lines.
#include "run/line_splitter.hpp"

#include <algorithm>

namespace sluice::sidecar {

void LineSplitter::feed(std::string_view bytes)
{
    for (;;) {
        const auto newline = bytes.find('\n');
        take(bytes.substr(0, newline));
        if (newline == std::string_view::npos)
            return;
        emit();
        bytes.remove_prefix(newline + 1);
    }
}

void LineSplitter::finish()
{
    if (!line_.empty() || cut_)
        emit();
}

void LineSplitter::take(std::string_view part)
{
    const std::size_t room = longest_ - line_.size();
    if (part.size() > room)
        cut_ = true;
    line_ += part.substr(0, std::min(room, part.size()));
}

void LineSplitter::emit()
{
    if (!line_.empty() && line_.back() == '\r' && !cut_)
        line_.pop_back();
    sink_(line_, cut_ ? Extent::cut : Extent::whole);
    line_.clear();
    cut_ = false;
}

} // namespace sluice::sidecar
