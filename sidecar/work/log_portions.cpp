// Sharing an exchange among the attempts that talk.
#include "work/log_portions.hpp"

#include <algorithm>

namespace sluice::sidecar {

namespace {

// What the server writes in some ten milliseconds.
constexpr AttemptLog::Size most_at_once{.lines = 2000, .bytes = 256 * 1024};

} // namespace

LogPortions::Taken LogPortions::take(const Running &running, Instant now)
{
    using Talking = std::pair<const std::string *, const AttemptLog *>;
    std::vector<Talking> talking;
    for (const auto &[token, attempt] : running.attempts())
        if (attempt->control.log().has_unsent())
            talking.emplace_back(&token, &attempt->control.log());
    if (talking.empty())
        return {};
    const auto behind_last = std::find_if(talking.begin(), talking.end(),
                                          [this](const Talking &each) { return *each.first > last_; });
    std::rotate(talking.begin(), behind_last, talking.end());

    Taken            taken;
    AttemptLog::Size left = most_at_once;
    for (std::size_t i = 0; i < talking.size(); ++i) {
        const auto &[token, log]      = talking[i];
        const std::size_t      others = talking.size() - i;
        const AttemptLog::Size share{left.lines / others, left.bytes / others};
        // The first is always served; that one line may be longer than its share.
        if (i > 0 && (left.lines == 0 || left.bytes == 0)) {
            taken.unfinished.insert(*token);
            continue;
        }
        AttemptLog::Portion portion = log->unsent(now, share);
        left.lines -= std::min(left.lines, portion.size.lines);
        left.bytes -= std::min(left.bytes, portion.size.bytes);
        taken.statements.push_back({calls::append_logs, Params{*token, std::move(portion.json)}});
        taken.marks.emplace_back(*token, portion.mark);
        if (!portion.is_all)
            taken.unfinished.insert(*token);
        last_ = *token;
    }
    return taken;
}

} // namespace sluice::sidecar
