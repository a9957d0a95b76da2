// Finds a mark in a stream of bytes, however they arrive: what stands before it belongs to one attempt.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::sidecar {

class MarkFinder {
public:
    explicit MarkFinder(std::string mark) : mark_{std::move(mark)} {}

    /// What of all that came so far is before the mark for certain, and was not given out yet.
    std::string feed(std::string_view bytes)
    {
        if (is_found_)
            return {};
        held_ += bytes;
        const auto at    = held_.find(mark_);
        is_found_        = at != std::string::npos;
        std::size_t kept = 0;
        if (!is_found_)
            for (kept = std::min(held_.size(), mark_.size() - 1); kept > 0; --kept)
                if (held_.compare(held_.size() - kept, kept, mark_, 0, kept) == 0)
                    break;
        std::string out = held_.substr(0, is_found_ ? at : held_.size() - kept);
        held_.erase(0, is_found_ ? held_.size() : out.size());
        return out;
    }

    /// What was held back, once it is clear that no mark will come.
    std::string rest() { return std::exchange(held_, {}); }

    bool is_found() const { return is_found_; }

private:
    std::string mark_;
    std::string held_;
    bool        is_found_ = false;
};

} // namespace sluice::sidecar
