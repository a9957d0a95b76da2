// Ids by hashing, attributes by percent-encoding.
#include "run/trace_context.hpp"

#include "hash.hpp"

#include <cctype>

namespace sluice::sidecar {

namespace {

constexpr std::size_t trace_digits = 32;
constexpr std::size_t span_digits  = 16;
constexpr std::size_t trace_begins = 3; // behind the version

constexpr std::size_t traceparent_length = trace_begins + trace_digits + 1 + span_digits + 3;

/// The one flag that version 00 knows.
bool is_sampled(std::string_view traceparent)
{
    return std::string_view{"13579bdf"}.find(traceparent.back()) != std::string_view::npos;
}

/// A value of OTEL_RESOURCE_ATTRIBUTES may hold neither commas nor equals signs as they are.
std::string encoded(const std::string &text)
{
    constexpr char hex[] = "0123456789ABCDEF";
    std::string    out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '/') {
            out += c;
            continue;
        }
        out += '%';
        out += hex[byte >> 4U];
        out += hex[byte & 0xFU];
    }
    return out;
}

} // namespace

std::string traceparent(const Job &job)
{
    const std::string span = sha256_hex("sluice attempt " + job.token).substr(0, span_digits);
    if (job.traceparent.size() == traceparent_length) // which enqueue has checked
        return job.traceparent.substr(0, trace_begins + trace_digits) + "-" + span + "-0" +
               (is_sampled(job.traceparent) ? "1" : "0");
    return "00-" + sha256_hex("sluice run " + job.run_id).substr(0, trace_digits) + "-" + span + "-01";
}

std::string resource_attributes(const Job &job)
{
    return "service.name=sluice,sluice.run_id=" + encoded(job.run_id) +
           ",sluice.attempt=" + std::to_string(job.attempt) + ",sluice.task=" + encoded(job.task);
}

} // namespace sluice::sidecar
