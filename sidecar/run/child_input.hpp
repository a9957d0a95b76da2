// What a child is told after its first input, bit by bit, until it is closed.
#pragma once

#include "async.hpp"

#include <string>
#include <utility>

namespace sluice::sidecar {

class ChildInput {
public:
    explicit ChildInput(asio::io_context &io) : changed_{io} {}

    void give(std::string text)
    {
        pending_ += std::move(text);
        changed_.set();
    }

    void close()
    {
        is_closed_ = true;
        changed_.set();
    }

    /// The next text; empty once it is closed.
    Task<std::string> next()
    {
        while (pending_.empty() && !is_closed_)
            co_await changed_.wait();
        co_return std::exchange(pending_, {});
    }

private:
    std::string pending_;
    bool        is_closed_ = false;
    Event       changed_;
};

} // namespace sluice::sidecar
