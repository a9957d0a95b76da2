// The lines that go with one exchange: so few that the heartbeats behind them are not late, and a fair part of each
// attempt's.  What is left goes with the next ones.
#pragma once

#include "pg/calls.hpp"
#include "work/running.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::sidecar {

class LogPortions {
public:
    struct Taken {
        std::vector<Statement>                             statements;
        std::vector<std::pair<std::string, std::uint64_t>> marks; ///< up to where a token's lines are sent
        std::set<std::string, std::less<>>                 unfinished; ///< tokens with lines that are left
    };

    /// Begins behind the attempt whose lines went last.
    Taken take(const Running &running, Instant now);

private:
    std::string last_;
};

} // namespace sluice::sidecar
