// Collecting, bounding and handing over an attempt's lines.
#include "run/attempt_log.hpp"

#include "json_text.hpp"

#include <algorithm>

namespace sluice::sidecar {

namespace {

std::string cut_mark(std::size_t bytes)
{
    return " … (" + std::to_string(bytes) + " more bytes)";
}

} // namespace

void AttemptLog::add(std::string_view stream, std::string_view line, Instant at)
{
    // Once a line was dropped all later ones are: a log with holes in it misleads.
    if (dropped_ > 0 || total_bytes_ + std::min(line.size(), limits_.line_bytes) > limits_.bytes) {
        ++dropped_;
        return;
    }
    std::string text = clean_text(line.substr(0, limits_.line_bytes));
    if (line.size() > limits_.line_bytes)
        text += cut_mark(line.size() - limits_.line_bytes);
    total_bytes_ += text.size() + 1;
    kept_bytes_ += text.size() + 1;
    lines_.push_back({next_seq_++, stream, std::move(text), at});
}

void AttemptLog::close(Instant at)
{
    if (dropped_ == 0)
        return;
    std::string text = "[sluice] " + std::to_string(dropped_) + " further lines were dropped, the limit is " +
                       std::to_string(limits_.bytes) + " bytes";
    kept_bytes_ += text.size() + 1;
    lines_.push_back({next_seq_++, "stderr", std::move(text), at});
    dropped_     = 0;
    total_bytes_ = limits_.bytes;
}

std::string AttemptLog::unsent_json(Instant now, std::uint64_t &mark) const
{
    std::string json = "[";
    for (const Line &line : lines_) {
        if (json.size() > 1)
            json += ',';
        const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - line.at).count();
        json += "{\"seq\":" + std::to_string(line.seq) + ",\"stream\":\"" + std::string{line.stream} +
                "\",\"line\":" + json_quote(line.text) + ",\"age_ms\":" + std::to_string(age) + "}";
    }
    mark = next_seq_;
    return json + "]";
}

void AttemptLog::forget_up_to(std::uint64_t mark)
{
    while (!lines_.empty() && lines_.front().seq < mark) {
        kept_bytes_ -= lines_.front().text.size() + 1;
        lines_.pop_front();
    }
}

} // namespace sluice::sidecar
