// An http task as a request, held against the sidecar's settings.  Pure but for the clock that its caller reads.
#pragma once

#include "http/client.hpp"
#include "run/executor.hpp"
#include "secrets.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sluice::sidecar {

/// What the sidecar's file says about http tasks.
struct HttpSettings {
    std::vector<std::string> hosts; ///< "example.com", "*.example.com", "*", each also with ":port"
    std::string              ca_file;
    std::size_t              max_reply_bytes = 1 << 20;
    Duration                 max_wait        = std::chrono::hours{24}; ///< after 202
};

/// `at` is the time of the signature in seconds since 1970.
std::variant<HttpRequest, Outcome> find_http_request(const Job &job, const HttpSettings &settings,
                                                     const Secrets &secrets, std::int64_t at);

/// Whether a host is one of the enabled ones.
bool is_enabled_host(std::string_view host, std::string_view port, const std::vector<std::string> &enabled);

} // namespace sluice::sidecar
