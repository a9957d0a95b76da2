// HTTP requests on the event loop, by libcurl.  Names are resolved in a thread of libcurl's, so nothing here blocks.
// A request goes to the host of its URL and nowhere else: no redirects, no proxies, and, unless it says otherwise, no
// private addresses, which are checked after the name was resolved, when the socket is made, and again before a
// connection is used once more.
#pragma once

#include "loop.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <curl/curl.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

struct HttpRequest {
    std::string url;
    std::vector<std::pair<std::string, std::string>>
                headers; ///< without line breaks: the caller has seen to it
    std::string body;
    Duration    timeout{}; ///< for all of it
    std::size_t longest_reply = 1 << 20;
    std::string ca_file; ///< empty: the system's
    bool        allow_private = false;
};

struct HttpReply {
    enum class Failure {
        none,
        aborted, ///< by the caller
        private_address,
        too_long, ///< the reply
        timed_out,
        certificate, ///< cannot be trusted
        network,     ///< whatever else came in between
    };

    Failure     failure = Failure::none;
    std::string problem; ///< in words, when it failed
    long        status = 0;
    std::string content_type;
    std::string retry_after;
    std::string body;
};

/// What became of the addresses of a host.
struct HttpAddresses {
    bool tried   = false; ///< a connection to one of them was begun
    bool refused = false; ///< one of them was private
};

/// What a transfer failed of that libcurl ended, and none of our own checks.  Pure.
HttpReply::Failure http_failure(CURLcode code, HttpAddresses addresses);

class HttpClient {
public:
    explicit HttpClient(Loop &loop);
    ~HttpClient();

    HttpClient(const HttpClient &)            = delete;
    HttpClient &operator=(const HttpClient &) = delete;

    /// One request, which its owner may abort.
    class Transfer {
    public:
        Transfer(HttpClient &client, HttpRequest request);
        ~Transfer();

        Transfer(const Transfer &)            = delete;
        Transfer &operator=(const Transfer &) = delete;

        Task<HttpReply> run();
        void            abort();

    private:
        friend class HttpClient;

        static std::size_t   take_body(char *data, std::size_t size, std::size_t count, void *self);
        static std::size_t   take_header(char *data, std::size_t size, std::size_t count, void *self);
        static curl_socket_t open_socket(void *self, curlsocktype purpose, curl_sockaddr *address);
        static int before_request(void *self, char *remote, char *local, int remote_port, int local_port);

        void prepare();
        void ended(CURLcode code);

        HttpClient &client_;
        HttpRequest request_;
        HttpReply   reply_;
        Event       done_;

        HttpAddresses addresses_;
        CURL         *easy_                     = nullptr;
        curl_slist   *headers_                  = nullptr;
        std::size_t   header_bytes_             = 0;
        bool          is_running_               = false;
        bool          has_ended_                = false;
        char          problem_[CURL_ERROR_SIZE] = {};
    };

private:
    struct Watched;

    static int on_socket(CURL *easy, curl_socket_t socket, int what, void *self, void *watched);
    static int on_timer(CURLM *multi, long milliseconds, void *self);

    void watch(curl_socket_t socket, int what);
    void arm(const std::shared_ptr<Watched> &watched);
    void act(curl_socket_t socket, int events);
    void collect_ended();

    Loop                                             &loop_;
    CURLM                                            *multi_ = nullptr;
    std::map<curl_socket_t, std::shared_ptr<Watched>> sockets_;
};

} // namespace sluice::sidecar
