// URL, headers, signature.
#include "run/http_task.hpp"

#include "hash.hpp"
#include "run/trace_context.hpp"

#include <algorithm>
#include <memory>

namespace sluice::sidecar {

namespace {

namespace json = boost::json;

constexpr double default_timeout_seconds = 30;

Outcome misconfigured(const std::string &message)
{
    return Outcome::failed_for_good("CONFIGURED_INCORRECTLY", message);
}

/// A part of a URL as libcurl understands it, which is what it will connect to.
std::string part_of(CURLU *url, CURLUPart part)
{
    char *text = nullptr;
    if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK || text == nullptr)
        return {};
    const std::unique_ptr<char, decltype(&curl_free)> owned{text, &curl_free};
    return std::string{text};
}

bool is_one_line(std::string_view text)
{
    return std::none_of(text.begin(), text.end(),
                        [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7F; });
}

} // namespace

bool is_enabled_host(std::string_view host, std::string_view port, const std::vector<std::string> &enabled)
{
    return std::any_of(enabled.begin(), enabled.end(), [&](std::string_view pattern) {
        // An IPv6 address has colons of its own, and stands in brackets.
        const auto colon = pattern.rfind(':');
        if (colon != std::string_view::npos && pattern.find(']', colon) == std::string_view::npos) {
            if (pattern.substr(colon + 1) != port)
                return false;
            pattern = pattern.substr(0, colon);
        }
        if (pattern == "*")
            return true;
        if (pattern.starts_with("*."))
            return host.size() > pattern.size() - 1 && host.ends_with(pattern.substr(1));
        return host == pattern;
    });
}

std::variant<HttpRequest, Outcome> find_http_request(const Job &job, const HttpSettings &settings,
                                                     const Secrets &secrets, std::int64_t at)
{
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url{curl_url(), &curl_url_cleanup};
    if (curl_url_set(url.get(), CURLUPART_URL, job.target.c_str(), 0) != CURLUE_OK)
        return misconfigured("the target is not a URL: " + job.target);
    const std::string scheme = part_of(url.get(), CURLUPART_SCHEME);
    std::string       host   = part_of(url.get(), CURLUPART_HOST);
    std::transform(host.begin(), host.end(), host.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (scheme != "http" && scheme != "https")
        return misconfigured("the target is no http or https URL: " + job.target);
    if (!part_of(url.get(), CURLUPART_USER).empty() || !part_of(url.get(), CURLUPART_PASSWORD).empty())
        return misconfigured("the target has a user or a password, which do not belong into a URL");
    if (!is_enabled_host(host, part_of(url.get(), CURLUPART_PORT), settings.hosts))
        return misconfigured("the host " + host + " is none that this sidecar enables (http.hosts)");

    HttpRequest request;
    request.url           = job.target;
    request.body          = job.payload.value_or("null");
    request.ca_file       = settings.ca_file;
    request.longest_reply = settings.max_reply_bytes;
    request.timeout       = duration_of(default_timeout_seconds);

    auto &headers = request.headers;
    if (const json::value *given = job.options.if_contains("headers"); given != nullptr && given->is_object())
        for (const auto &[name, value] : given->get_object()) {
            if (!value.is_string() || !is_one_line(name) || !is_one_line(value.get_string()))
                return misconfigured("options.headers must map names to one-line strings");
            headers.emplace_back(name, value.get_string());
        }
    headers.emplace_back("content-type", "application/json");
    headers.emplace_back("sluice-run-id", job.run_id);
    headers.emplace_back("sluice-attempt", std::to_string(job.attempt));
    headers.emplace_back("sluice-task", job.task);
    headers.emplace_back("sluice-token", job.token);
    headers.emplace_back("traceparent", traceparent(job));

    if (const json::value *given = job.options.if_contains("secret");
        given != nullptr && given->is_string()) {
        const std::string name{given->get_string()};
        const auto        secret = secrets(name);
        if (!secret || secret->empty())
            return misconfigured("this sidecar has no secret \"" + name + "\"");
        const std::string time = std::to_string(at);
        headers.emplace_back("sluice-signature",
                             "t=" + time + ",v1=" +
                                 hmac_sha256_hex(*secret, time + "." + job.run_id + "." +
                                                              std::to_string(job.attempt) + "." +
                                                              request.body));
    }
    if (const json::value *given = job.options.if_contains("timeout_seconds");
        given != nullptr && given->is_number())
        request.timeout = duration_of(given->to_number<double>());
    return request;
}

} // namespace sluice::sidecar
