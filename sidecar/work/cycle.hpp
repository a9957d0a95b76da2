// One exchange in both directions: what the worker has to say, and what the database answered.  Pure text and rows;
// what follows from an answer is the worker's.
#pragma once

#include "pg/calls.hpp"
#include "pg/result.hpp"
#include "run/executor.hpp"
#include "work/running.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sluice::sidecar {

struct ExchangeRequest {
    std::string                                      worker;
    std::vector<std::pair<std::string, std::string>> outcomes; ///< token and JSON
    std::vector<std::string>                         heartbeats;
    std::size_t                                      capacity = 0;
    std::vector<std::string>                         queues; ///< empty: all
    std::vector<std::string>                         executors;
    long long                                        seen_reply = 0;
    bool is_partial = false; ///< more outcomes wait for the next one

    Statement statement() const;
};

struct ExchangeReply {
    struct Answer {
        std::string token;
        std::string answer;
    };

    long long           reply = 0;
    std::vector<Answer> ended;
    std::vector<Answer> lost;
    std::vector<Job>    claimed;
};

ExchangeReply read_exchange(const Result &result);

} // namespace sluice::sidecar
