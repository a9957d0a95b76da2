// The pure parts of http tasks: addresses, hosts, statuses, Retry-After, signatures.
#include "hash.hpp"
#include "http/address.hpp"
#include "http/client.hpp"
#include "run/http_reply.hpp"
#include "run/http_task.hpp"
#include "secrets.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace sluice::sidecar {
namespace {

TEST(SidecarAddress, only_what_can_be_reached_from_everywhere_is_public)
{
    for (const char *address :
         {"1.1.1.1",         "8.8.8.8",         "9.255.255.255", "11.0.0.0",        "100.63.255.255",
          "100.128.0.0",     "126.255.255.255", "128.0.0.1",     "169.253.255.255", "172.15.255.255",
          "172.32.0.0",      "192.167.255.255", "192.169.0.0",   "198.17.255.255",  "198.20.0.0",
          "223.255.255.255", "2606:4700::1111", "2a00::1",       "::ffff:1.1.1.1",  "64:ff9b::1.1.1.1"})
        EXPECT_TRUE(is_public(std::string_view{address})) << address;
    for (const char *address : {"0.0.0.0",
                                "0.1.2.3",
                                "10.0.0.1",
                                "10.255.255.255",
                                "100.64.0.1",
                                "127.0.0.1",
                                "127.255.255.255",
                                "169.254.169.254",
                                "172.16.0.1",
                                "172.31.255.255",
                                "192.0.0.1",
                                "192.0.2.1",
                                "192.168.1.1",
                                "192.88.99.1",
                                "198.18.0.1",
                                "198.51.100.1",
                                "203.0.113.9",
                                "224.0.0.1",
                                "239.255.255.255",
                                "240.0.0.1",
                                "255.255.255.255",
                                "::",
                                "::1",
                                "::127.0.0.1",
                                "::ffff:127.0.0.1",
                                "::ffff:10.0.0.1",
                                "::ffff:a9fe:a9fe",
                                "64:ff9b::10.0.0.1",
                                "64:ff9b:1::1",
                                "100::1",
                                "2001::1",
                                "2001:db8::1",
                                "2002:7f00:1::1",
                                "2002:101:101::1",
                                "3fff::1",
                                "fc00::1",
                                "fd12::1",
                                "fe80::1",
                                "fe80::1%eth0",
                                "fec0::1",
                                "ff02::1",
                                "5f00::1",
                                "localhost",
                                "",
                                "1.2.3"})
        EXPECT_FALSE(is_public(std::string_view{address})) << address;
}

TEST(SidecarTransfer, fails_of_a_private_address_only_where_there_was_no_other)
{
    using Failure = HttpReply::Failure;
    struct Case {
        const char   *what;
        CURLcode      code;
        HttpAddresses addresses;
        Failure       failure;
    };
    const Case cases[] = {
        {"private ones only",
         CURLE_COULDNT_CONNECT,
         {.tried = false, .refused = true},
         Failure::private_address},
        {"a public one did not answer, another was private",
         CURLE_COULDNT_CONNECT,
         {.tried = true, .refused = true},
         Failure::network},
        {"a public one hung, another was private",
         CURLE_OPERATION_TIMEDOUT,
         {.tried = true, .refused = true},
         Failure::timed_out},
        {"a public one has a bad certificate, another was private",
         CURLE_PEER_FAILED_VERIFICATION,
         {.tried = true, .refused = true},
         Failure::certificate},
        {"nobody listens", CURLE_COULDNT_CONNECT, {.tried = true, .refused = false}, Failure::network},
        {"no such name", CURLE_COULDNT_RESOLVE_HOST, {}, Failure::network},
        {"a kept connection broke", CURLE_RECV_ERROR, {}, Failure::network},
    };
    for (const Case &c : cases)
        EXPECT_EQ(http_failure(c.code, c.addresses), c.failure) << c.what;
}

TEST(SidecarHost, is_enabled_by_name_by_domain_and_by_port)
{
    struct Case {
        const char *pattern, *host, *port;
        bool        enabled;
    };
    const Case cases[] = {
        {"example.com", "example.com", "443", true},
        {"example.com", "example.com", "8443", true},
        {"example.com:443", "example.com", "443", true},
        {"example.com:443", "example.com", "8443", false},
        {"example.com", "www.example.com", "443", false},
        {"example.com", "example.com.evil.org", "443", false},
        {"example.com", "badexample.com", "443", false},
        {"*.example.com", "www.example.com", "443", true},
        {"*.example.com", "a.b.example.com", "443", true},
        {"*.example.com", "example.com", "443", false},
        {"*.example.com", "badexample.com", "443", false},
        {"*.example.com", ".example.com", "443", false},
        {"*", "anything", "1", true},
        {"*:80", "anything", "443", false},
        {"[::1]", "[::1]", "80", true},
        {"[::1]:80", "[::1]", "80", true},
        {"[::1]:80", "[::1]", "81", false},
    };
    for (const Case &c : cases)
        EXPECT_EQ(is_enabled_host(c.host, c.port, {c.pattern}), c.enabled) << c.pattern << " " << c.host;
    EXPECT_FALSE(is_enabled_host("example.com", "443", {}));
}

TEST(SidecarRetryAfter, is_seconds_or_a_date_and_at_most_a_day)
{
    constexpr std::int64_t now = 784'111'700; // 77 seconds before the date below
    EXPECT_EQ(retry_after_seconds("", now), std::nullopt);
    EXPECT_EQ(retry_after_seconds("0", now), 0);
    EXPECT_EQ(retry_after_seconds("120", now), 120);
    EXPECT_EQ(retry_after_seconds("86401", now), 86'400);
    EXPECT_EQ(retry_after_seconds("99999999999999999999999", now), 86'400);
    EXPECT_EQ(retry_after_seconds("-3", now), 0);
    EXPECT_EQ(retry_after_seconds("soon", now), std::nullopt);
    EXPECT_EQ(retry_after_seconds("1.5", now), std::nullopt);
    EXPECT_EQ(retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT", now), 77);
    EXPECT_EQ(retry_after_seconds("Sunday, 06-Nov-94 08:49:37 GMT", now), 77);
    EXPECT_EQ(retry_after_seconds("Sun Nov  6 08:49:37 1994", now), 77);
    EXPECT_EQ(retry_after_seconds("Sun, 06 Nov 1994 08:00:00 GMT", now), 0);
    EXPECT_EQ(retry_after_seconds("Sun, 06 Nov 2044 08:49:37 GMT", now), 86'400);
}

TEST(SidecarReply, has_one_outcome)
{
    using Kind = Outcome::Kind;
    HttpReply reply;
    reply.status       = 200;
    reply.content_type = "application/json; charset=utf-8";
    reply.body         = " {\"a\": 1} ";
    EXPECT_EQ(http_verdict(reply, 0)->output, " {\"a\": 1} ");
    reply.content_type = "text/html";
    EXPECT_EQ(http_verdict(reply, 0)->output, R"(" {\"a\": 1} ")");
    reply.content_type = "application/octet-stream";
    EXPECT_EQ(http_verdict(reply, 0)->output, "");
    reply.status = 202;
    EXPECT_EQ(http_verdict(reply, 0), std::nullopt);

    reply.status      = 503;
    reply.retry_after = "7";
    auto outcome      = *http_verdict(reply, 0);
    EXPECT_EQ(outcome.kind, Kind::failed);
    EXPECT_EQ(outcome.retry_in, 7);
    EXPECT_NE(outcome_json("t", outcome).find("\"retry_in\":7"), std::string::npos);
    EXPECT_EQ(outcome.error.if_contains("retryable"), nullptr);
    reply.status = 404;
    outcome      = *http_verdict(reply, 0);
    EXPECT_EQ(outcome.error.at("retryable"), false);
    EXPECT_EQ(outcome.retry_in, std::nullopt) << "what is final has no next time";

    reply.failure = HttpReply::Failure::too_long;
    EXPECT_EQ(http_verdict(reply, 0)->error.at("http_status"), 404);
    reply.status = 429;
    EXPECT_EQ(http_verdict(reply, 0)->retry_in, 7);
    reply.status = 202;
    EXPECT_EQ(http_verdict(reply, 0), std::nullopt);
    reply.status = 200;
    EXPECT_EQ(http_verdict(reply, 0)->error.at("retryable"), false) << "it is done, and not to be done again";
    EXPECT_EQ(http_verdict(reply, 0)->error.at("code"), "TASK_OUTPUT_ERROR");

    reply.failure = HttpReply::Failure::private_address;
    EXPECT_EQ(http_verdict(reply, 0)->error.at("code"), "CONFIGURED_INCORRECTLY");
}

TEST(SidecarHash, is_that_of_the_standards)
{
    EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // RFC 4231, test case 2.
    EXPECT_EQ(hmac_sha256_hex("Jefe", "what do ya want for nothing?"),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(SidecarSecret, is_a_file_or_a_variable_and_never_elsewhere)
{
    std::string directory = "/tmp/sluice-unit-XXXXXX";
    ASSERT_NE(::mkdtemp(directory.data()), nullptr);
    std::ofstream{directory + "/hook.key-1"} << "of the file\n";
    ::setenv("SLUICE_SECRET_HOOK_KEY_1", "of the variable", 1);
    ::setenv("SLUICE_SECRET____HOSTNAME", "not this", 1);
    EXPECT_EQ(find_secret(directory, "hook.key-1"), "of the file");
    EXPECT_EQ(find_secret("", "hook.key-1"), "of the variable");
    EXPECT_EQ(find_secret("/nowhere", "hook.key-1"), "of the variable");
    for (const char *name : {"", "other", "../hostname", "a/b", ".", "..", ".hidden", "a b"})
        EXPECT_EQ(find_secret("/etc/ssl", name), std::nullopt) << name;
    std::filesystem::remove_all(directory);
}

Job http_job(const std::string &url, const std::string &options = "{}")
{
    Job job;
    job.token   = "token";
    job.run_id  = "17";
    job.attempt = 2;
    job.task    = "t";
    job.target  = url;
    job.options = boost::json::parse(options).as_object();
    return job;
}

TEST(SidecarRequest, goes_only_to_enabled_hosts_as_libcurl_reads_them)
{
    HttpSettings settings;
    settings.hosts     = {"example.com"};
    const auto none    = [](const std::string &) { return std::nullopt; };
    const auto refused = [&](const std::string &url, const std::string &options = "{}") {
        const auto  found   = find_http_request(http_job(url, options), settings, none, 0);
        const auto *outcome = std::get_if<Outcome>(&found);
        return outcome == nullptr ? std::string{} : std::string{outcome->error.at("code").as_string()};
    };
    EXPECT_EQ(refused("https://example.com/a?b"), "");
    EXPECT_EQ(refused("https://EXAMPLE.com/"), "");
    for (const char *url :
         {"https://example.org/", "https://example.com@evil.org/", "https://u:p@example.com/",
          "https://evil.org\\@example.com/", "file:///etc/passwd", "gopher://example.com/",
          "https://example.com.evil.org/", "", "https://", "example.com"})
        EXPECT_EQ(refused(url), "CONFIGURED_INCORRECTLY") << url;
    EXPECT_EQ(refused("https://example.com/", R"({"headers":{"a":"b\r\nc: d"}})"), "CONFIGURED_INCORRECTLY");
    EXPECT_EQ(refused("https://example.com/", R"({"headers":{"a\r\nb":"c"}})"), "CONFIGURED_INCORRECTLY");
    EXPECT_EQ(refused("https://example.com/", R"({"secret":"x"})"), "CONFIGURED_INCORRECTLY");
}

} // namespace
} // namespace sluice::sidecar
