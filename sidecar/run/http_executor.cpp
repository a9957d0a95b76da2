// From a job to a request and back to an outcome.
#include "run/http_executor.hpp"

#include "run/http_reply.hpp"

#include <ctime>

namespace sluice::sidecar {

namespace {

std::string told(const HttpReply &reply, Duration took)
{
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
    return (reply.failure == HttpReply::Failure::none ? "answered " + std::to_string(reply.status)
                                                      : reply.problem) +
           " after " + std::to_string(milliseconds) + " ms";
}

} // namespace

Task<Outcome> HttpExecutor::run(const Job &job, Control &control)
{
    auto found = find_http_request(job, settings_, secrets_, std::time(nullptr));
    if (auto *refusal = std::get_if<Outcome>(&found))
        co_return std::move(*refusal);
    auto &request         = std::get<HttpRequest>(found);
    request.allow_private = allow_private_();

    const Instant        begun = BootClock::now();
    HttpClient::Transfer transfer{client_, std::move(request)};
    control.on_stop([&transfer](Force) { transfer.abort(); });
    const HttpReply reply = co_await transfer.run();
    control.on_stop(nullptr);
    if (reply.failure == HttpReply::Failure::aborted)
        co_return outcome_of_stop(control.stopped().value_or(StopReason::drained));

    const Instant now = BootClock::now();
    control.log().add("stdout", told(reply, now - begun), now);
    if (auto outcome = http_verdict(reply, std::time(nullptr)))
        co_return std::move(*outcome);

    // The receiver will end the attempt.  Its lease is renewed as for any that runs, until the database says that the
    // token is dead: used up, or canceled.
    control.set_elsewhere();
    Event stopped{loop_.io};
    control.on_stop([&stopped](Force) { stopped.set(); });
    const Instant limit = now + settings_.max_wait;
    bool          waits = true;
    while (waits && !control.stopped())
        waits = co_await stopped.wait_until(limit);
    control.on_stop(nullptr);
    co_return outcome_of_stop(control.stopped().value_or(StopReason::timed_out));
}

} // namespace sluice::sidecar
