// Writing the question, reading the answer.
#include "work/cycle.hpp"

#include "json_text.hpp"

#include <boost/json/parse.hpp>

namespace sluice::sidecar {

namespace {

boost::json::object parse_object(const std::string &text)
{
    boost::system::error_code  error;
    boost::json::parse_options options;
    options.max_depth        = 512;
    boost::json::value value = boost::json::parse(text, error, {}, options);
    return !error && value.is_object() ? std::move(value.get_object()) : boost::json::object{};
}

Job read_job(const Result &result, int row)
{
    Job job;
    job.token       = result.text(row, "token");
    job.run_id      = result.text(row, "run_id");
    job.attempt     = static_cast<int>(result.integer(row, "attempt", 0));
    job.task        = result.text(row, "task");
    job.executor    = result.text(row, "executor");
    job.target      = result.text(row, "target");
    job.machine     = result.text(row, "machine");
    job.traceparent = result.text(row, "traceparent");
    job.options     = parse_object(result.text(row, "options"));
    if (const auto payload = result.get(row, "payload"))
        job.payload = std::string{*payload};
    job.lease     = duration_of(result.number(row, "lease_seconds", 30));
    job.heartbeat = duration_of(result.number(row, "heartbeat_seconds", 15));
    if (result.get(row, "max_duration_seconds"))
        job.max_duration = duration_of(result.number(row, "max_duration_seconds", 0));
    return job;
}

} // namespace

Statement ExchangeRequest::statement() const
{
    std::string list = "[";
    for (const auto &[token, json] : outcomes) {
        if (list.size() > 1)
            list += ',';
        list += json;
    }
    list += ']';

    Params params{worker, std::move(list), array_literal(heartbeats), std::to_string(capacity)};
    if (queues.empty())
        params.emplace_back(std::nullopt);
    else
        params.emplace_back(array_literal(queues));
    params.emplace_back(array_literal(executors));
    params.emplace_back(std::to_string(seen_reply));
    return {calls::exchange, std::move(params)};
}

ExchangeReply read_exchange(const Result &result)
{
    ExchangeReply reply;
    for (int row = 0; row < result.rows(); ++row) {
        const std::string kind = result.text(row, "kind");
        if (kind == "reply")
            reply.reply = result.integer(row, "reply", 0);
        else if (kind == "ended")
            reply.ended.push_back({result.text(row, "token"), result.text(row, "answer")});
        else if (kind == "lost")
            reply.lost.push_back({result.text(row, "token"), result.text(row, "answer")});
        else if (kind == "claimed")
            reply.claimed.push_back(read_job(result, row));
    }
    return reply;
}

} // namespace sluice::sidecar
