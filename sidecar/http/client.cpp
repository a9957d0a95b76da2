// libcurl's multi interface, whose sockets and timer are the loop's.
#include "http/client.hpp"

#include "http/address.hpp"

#include <algorithm>
#include <cctype>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

constexpr const char *timer_name       = "http";
constexpr long        connect_seconds  = 30;
constexpr std::size_t longest_headers  = 64 * 1024;
constexpr long        idle_connections = 64;

std::string trimmed(std::string_view text)
{
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos)
        return {};
    return std::string{text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1)};
}

std::string lower(std::string_view text)
{
    std::string out{text};
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

void require_threaded_resolver()
{
    if ((curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS) == 0)
        throw std::runtime_error{
            "this libcurl resolves names on the calling thread, which would hold up all work"};
}

} // namespace

struct HttpClient::Watched {
    Watched(asio::io_context &io, curl_socket_t number) : socket{number}, descriptor{io, number} {}
    ~Watched() { descriptor.release(); } // it is libcurl's

    curl_socket_t                  socket;
    asio::posix::stream_descriptor descriptor;
    int                            wanted     = CURL_POLL_NONE;
    bool                           is_reading = false;
    bool                           is_writing = false;
    bool                           is_gone    = false;
};

HttpReply::Failure http_failure(CURLcode code, HttpAddresses addresses)
{
    using Failure = HttpReply::Failure;
    // Where a public address was there too, what became of that is the answer.
    if (addresses.refused && !addresses.tried)
        return Failure::private_address;
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return Failure::timed_out;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return Failure::certificate;
    default:
        return Failure::network;
    }
}

HttpClient::HttpClient(Loop &loop) : loop_{loop}
{
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready != CURLE_OK)
        throw std::runtime_error{"libcurl cannot be used"};
    require_threaded_resolver();
    multi_ = curl_multi_init();
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &HttpClient::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &HttpClient::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, idle_connections);
}

HttpClient::~HttpClient()
{
    loop_.deadlines.disarm(timer_name);
    curl_multi_cleanup(multi_);
    loop_.deadlines.disarm(timer_name);
}

int HttpClient::on_socket(CURL *, curl_socket_t socket, int what, void *self, void *)
{
    static_cast<HttpClient *>(self)->watch(socket, what);
    return 0;
}

int HttpClient::on_timer(CURLM *, long milliseconds, void *self)
{
    auto &client = *static_cast<HttpClient *>(self);
    if (milliseconds < 0)
        client.loop_.deadlines.disarm(timer_name);
    else
        client.loop_.deadlines.arm_in(timer_name, std::chrono::milliseconds{milliseconds},
                                      [&client] { client.act(CURL_SOCKET_TIMEOUT, 0); });
    return 0;
}

void HttpClient::watch(curl_socket_t socket, int what)
{
    const auto found = sockets_.find(socket);
    if (what == CURL_POLL_REMOVE) {
        if (found == sockets_.end())
            return;
        found->second->is_gone = true;
        found->second->descriptor.release(); // ends the waits; libcurl closes the socket itself
        sockets_.erase(found);
        return;
    }
    const auto watched =
        found != sockets_.end()
            ? found->second
            : sockets_.emplace(socket, std::make_shared<Watched>(loop_.io, socket)).first->second;
    watched->wanted = what;
    arm(watched);
}

void HttpClient::arm(const std::shared_ptr<Watched> &watched)
{
    using Descriptor = asio::posix::stream_descriptor;
    if ((watched->wanted & CURL_POLL_IN) != 0 && !watched->is_reading) {
        watched->is_reading = true;
        watched->descriptor.async_wait(Descriptor::wait_read, [this, watched](const auto &error) {
            watched->is_reading = false;
            if (error || watched->is_gone)
                return;
            if ((watched->wanted & CURL_POLL_IN) != 0)
                act(watched->socket, CURL_CSELECT_IN);
            if (!watched->is_gone)
                arm(watched);
        });
    }
    if ((watched->wanted & CURL_POLL_OUT) != 0 && !watched->is_writing) {
        watched->is_writing = true;
        watched->descriptor.async_wait(Descriptor::wait_write, [this, watched](const auto &error) {
            watched->is_writing = false;
            if (error || watched->is_gone)
                return;
            if ((watched->wanted & CURL_POLL_OUT) != 0)
                act(watched->socket, CURL_CSELECT_OUT);
            if (!watched->is_gone)
                arm(watched);
        });
    }
}

void HttpClient::act(curl_socket_t socket, int events)
{
    int running = 0;
    curl_multi_socket_action(multi_, socket, events, &running);
    collect_ended();
}

void HttpClient::collect_ended()
{
    int left = 0;
    while (const CURLMsg *message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE)
            continue;
        void          *owner = nullptr;
        const CURLcode code  = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
        static_cast<Transfer *>(owner)->ended(code);
    }
}

HttpClient::Transfer::Transfer(HttpClient &client, HttpRequest request)
    : client_{client}, request_{std::move(request)}, done_{client.loop_.io}
{
}

HttpClient::Transfer::~Transfer()
{
    abort();
    if (easy_ != nullptr)
        curl_easy_cleanup(easy_);
    curl_slist_free_all(headers_);
}

void HttpClient::Transfer::prepare()
{
    easy_          = curl_easy_init();
    const auto set = [this](CURLoption option, auto value) {
        if (curl_easy_setopt(easy_, option, value) != CURLE_OK)
            throw std::runtime_error{"libcurl does not know an option that a request needs"};
    };
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(request_.timeout).count();

    for (const auto &[name, value] : request_.headers)
        headers_ = curl_slist_append(headers_, (value.empty() ? name + ";" : name + ": " + value).c_str());
    // No waiting for "100 Continue": receivers that do not know it would cost a second.
    headers_ = curl_slist_append(headers_, "Expect:");

    set(CURLOPT_PRIVATE, static_cast<void *>(this));
    set(CURLOPT_ERRORBUFFER, problem_);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_URL, request_.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PROXY, "");
    set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDS, request_.body.data());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set(CURLOPT_HTTPHEADER, headers_);
    set(CURLOPT_USERAGENT, "sluiced/" SLUICE_VERSION);
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<decltype(milliseconds)>(milliseconds, 1)));
    set(CURLOPT_CONNECTTIMEOUT, connect_seconds);
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    if (!request_.ca_file.empty())
        set(CURLOPT_CAINFO, request_.ca_file.c_str());
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::open_socket);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void *>(this));
    set(CURLOPT_PREREQFUNCTION, &Transfer::before_request);
    set(CURLOPT_PREREQDATA, static_cast<void *>(this));
    set(CURLOPT_WRITEFUNCTION, &Transfer::take_body);
    set(CURLOPT_WRITEDATA, static_cast<void *>(this));
    set(CURLOPT_HEADERFUNCTION, &Transfer::take_header);
    set(CURLOPT_HEADERDATA, static_cast<void *>(this));
}

Task<HttpReply> HttpClient::Transfer::run()
{
    prepare();
    if (!has_ended_) {
        is_running_ = true;
        curl_multi_add_handle(client_.multi_, easy_);
        while (!has_ended_)
            co_await done_.wait();
    }
    co_return std::move(reply_);
}

void HttpClient::Transfer::abort()
{
    if (has_ended_)
        return;
    has_ended_     = true;
    reply_.failure = HttpReply::Failure::aborted;
    if (std::exchange(is_running_, false))
        curl_multi_remove_handle(client_.multi_, easy_);
    done_.set();
}

void HttpClient::Transfer::ended(CURLcode code)
{
    is_running_ = false;
    curl_multi_remove_handle(client_.multi_, easy_);
    has_ended_ = true;
    done_.set();
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &reply_.status);
    if (code == CURLE_OK)
        return;
    reply_.problem = problem_[0] != '\0' ? problem_ : curl_easy_strerror(code);
    if (reply_.failure == HttpReply::Failure::none) // else it was found by one of our own checks
        reply_.failure = http_failure(code, addresses_);
}

std::size_t HttpClient::Transfer::take_body(char *data, std::size_t size, std::size_t count, void *self)
{
    auto             &transfer = *static_cast<Transfer *>(self);
    const std::size_t bytes    = size * count;
    const std::size_t room     = transfer.request_.longest_reply - transfer.reply_.body.size();
    transfer.reply_.body.append(data, std::min(bytes, room));
    if (bytes <= room)
        return bytes;
    transfer.reply_.failure = HttpReply::Failure::too_long;
    return 0;
}

std::size_t HttpClient::Transfer::take_header(char *data, std::size_t size, std::size_t count, void *self)
{
    auto                  &transfer = *static_cast<Transfer *>(self);
    const std::string_view line{data, size * count};
    transfer.header_bytes_ += line.size();
    if (transfer.header_bytes_ > longest_headers) {
        transfer.reply_.failure = HttpReply::Failure::too_long;
        return 0;
    }
    if (line.starts_with("HTTP/")) { // an interim reply came before
        transfer.reply_.content_type.clear();
        transfer.reply_.retry_after.clear();
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos)
        return line.size();
    const std::string name = lower(line.substr(0, colon));
    if (name == "content-type")
        transfer.reply_.content_type = lower(trimmed(line.substr(colon + 1)));
    else if (name == "retry-after")
        transfer.reply_.retry_after = trimmed(line.substr(colon + 1));
    return line.size();
}

curl_socket_t HttpClient::Transfer::open_socket(void *self, curlsocktype, curl_sockaddr *address)
{
    auto &transfer = *static_cast<Transfer *>(self);
    if (!transfer.request_.allow_private && !is_public(address->addr)) {
        transfer.addresses_.refused = true;
        return CURL_SOCKET_BAD;
    }
    transfer.addresses_.tried = true;
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

int HttpClient::Transfer::before_request(void *self, char *remote, char *, int, int)
{
    auto &transfer = *static_cast<Transfer *>(self);
    if (transfer.request_.allow_private || is_public(std::string_view{remote}))
        return CURL_PREREQFUNC_OK;
    transfer.reply_.failure = HttpReply::Failure::private_address;
    return CURL_PREREQFUNC_ABORT;
}

} // namespace sluice::sidecar
