// Collecting, bounding and handing over an attempt's lines.
#include "run/attempt_log.hpp"

#include "json_text.hpp"

#include <algorithm>

namespace sluice::sidecar {

namespace {

// What is kept of a line besides its text: without it a program that writes nothing but newlines has no bound.
constexpr std::size_t least_size = 16;

std::size_t size_of(std::size_t text)
{
    return std::max(least_size, text + 1);
}

std::string cut_mark(std::size_t bytes)
{
    return " … (" + std::to_string(bytes) + " more bytes)";
}

} // namespace

void AttemptLog::add(std::string_view stream, std::string_view line, Instant at)
{
    // Once a line was dropped all later ones are: a log with holes in it misleads.
    if (dropped_ > 0 || total_bytes_ + size_of(std::min(line.size(), limits_.line_bytes)) > limits_.bytes) {
        ++dropped_;
        return;
    }
    std::string text = clean_text(line.substr(0, limits_.line_bytes));
    if (line.size() > limits_.line_bytes)
        text += cut_mark(line.size() - limits_.line_bytes);
    total_bytes_ += size_of(text.size());
    lines_.push_back({next_seq_++, stream, std::move(text), at});
}

void AttemptLog::close(Instant at)
{
    if (dropped_ == 0)
        return;
    std::string text = "[sluice] " + std::to_string(dropped_) + " further lines were dropped, the limit is " +
                       std::to_string(limits_.bytes) + " bytes";
    lines_.push_back({next_seq_++, "stderr", std::move(text), at});
    dropped_     = 0;
    total_bytes_ = limits_.bytes;
}

AttemptLog::Portion AttemptLog::unsent(Instant now, Size most) const
{
    Portion portion;
    portion.json   = "[";
    portion.is_all = true;
    for (const Line &line : lines_) {
        const Size with{portion.size.lines + 1, portion.size.bytes + size_of(line.text.size())};
        if (portion.size.lines > 0 && (with.lines > most.lines || with.bytes > most.bytes)) {
            portion.is_all = false;
            break;
        }
        if (portion.size.lines > 0)
            portion.json += ',';
        const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - line.at).count();
        portion.json += "{\"seq\":" + std::to_string(line.seq) + ",\"stream\":\"" + std::string{line.stream} +
                        "\",\"line\":" + json_quote(line.text) + ",\"age_ms\":" + std::to_string(age) + "}";
        portion.size = with;
        portion.mark = line.seq + 1;
    }
    portion.json += "]";
    return portion;
}

void AttemptLog::forget_up_to(std::uint64_t mark)
{
    while (!lines_.empty() && lines_.front().seq < mark)
        lines_.pop_front();
}

} // namespace sluice::sidecar
