// libpq without blocking: its socket is watched by the loop but stays its own.
#include "pg/connection.hpp"

#include "log.hpp"

#include <csignal>
#include <cstring>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace sluice::sidecar {

namespace {

constexpr Duration connect_limit = std::chrono::seconds{10};

// A cancel request that cannot be delivered in this time is not going to be.
constexpr unsigned cancel_limit_seconds = 10;

Failure failure_of(const PGresult *result)
{
    const auto field = [result](int code) -> std::string {
        const char *value = PQresultErrorField(result, code);
        return value != nullptr ? value : "";
    };
    Failure::Parts parts{field(PG_DIAG_SQLSTATE), field(PG_DIAG_MESSAGE_PRIMARY),
                         field(PG_DIAG_MESSAGE_DETAIL), field(PG_DIAG_MESSAGE_HINT), field(PG_DIAG_CONTEXT)};
    if (parts.message.empty())
        parts.message = PQresultErrorMessage(result);
    return Failure{std::move(parts)};
}

std::string trimmed(const char *message)
{
    std::string text = message != nullptr ? message : "";
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.pop_back();
    return text;
}

void forward_notice(void *name, const PGresult *result)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    log::debug("notice from the database", {{"connection", *static_cast<const std::string *>(name)},
                                            {"notice", text != nullptr ? text : ""}});
}

/// Runs in a forked child, because PQcancel blocks and the event loop must not.
[[noreturn]] void deliver_cancel(PGcancel *request)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(cancel_limit_seconds);
    // Copies of the pipes to running programs would keep these from seeing the end of their input.
    ::syscall(SYS_close_range, 3U, ~0U, 0U);
    char error[256];
    ::_exit(PQcancel(request, error, sizeof error) != 0 ? 0 : 1);
}

} // namespace

Connection::Connection(Loop &loop, std::string name)
    : loop_{loop}, name_{std::move(name)}, limit_name_{"connection " + name_},
      cancel_done_{std::make_shared<Event>(loop.io)}
{
}

Connection::~Connection()
{
    close();
}

void Connection::close()
{
    loop_.deadlines.disarm(limit_name_);
    if (socket_) {
        // libpq opened the descriptor and will close it; a coroutine that waits on it wakes up and finds no conn_.
        socket_->release();
        socket_.reset();
    }
    conn_.reset();
}

void Connection::require_open() const
{
    if (!conn_)
        throw Failure::lost_connection("the connection was closed");
}

std::string Connection::reported(const char *setting) const
{
    const char *value = conn_ == nullptr ? nullptr : PQparameterStatus(conn_.get(), setting);
    return value == nullptr ? std::string{} : std::string{value};
}

bool Connection::is_usable()
{
    if (conn_ && (PQconsumeInput(conn_.get()) == 0 || PQstatus(conn_.get()) == CONNECTION_BAD))
        close();
    return is_open();
}

void Connection::listen(Event &event)
{
    require_open();
    socket_->async_wait(asio::posix::descriptor_base::wait_read,
                        [&event](const boost::system::error_code &error) {
                            if (!error)
                                event.set();
                        });
}

void Connection::stop_listening()
{
    if (socket_)
        socket_->cancel();
}

bool Connection::take_notifications()
{
    require_open();
    if (PQconsumeInput(conn_.get()) == 0)
        lose(trimmed(PQerrorMessage(conn_.get())));
    bool any = false;
    while (PGnotify *notification = PQnotifies(conn_.get())) {
        PQfreemem(notification);
        any = true;
    }
    return any;
}

void Connection::lose(const std::string &why)
{
    const std::string message = why.empty() ? "the connection to the database is lost" : why;
    close();
    throw Failure::lost_connection(message);
}

Task<> Connection::wait(Direction direction)
{
    const auto [error] = co_await socket_->async_wait(direction == Direction::readable
                                                          ? asio::posix::descriptor_base::wait_read
                                                          : asio::posix::descriptor_base::wait_write,
                                                      as_result);
    require_open();
    if (error)
        lose(error.message());
}

Task<> Connection::connect(std::string conninfo)
{
    close();
    const std::string application = "sluiced " + name_;

    // What comes later wins: the user's string may change our defaults, not the encoding.
    const char *const keywords[] = {
        "fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout",          "dbname",          "client_encoding",     nullptr};
    const char *const values[] = {application.c_str(), "30",   "5",    "3", "20000",
                                  conninfo.c_str(),    "UTF8", nullptr};

    conn_.reset(PQconnectStartParams(keywords, values, 1));
    if (!conn_)
        throw std::bad_alloc{};
    if (PQstatus(conn_.get()) == CONNECTION_BAD)
        lose(trimmed(PQerrorMessage(conn_.get())));

    loop_.deadlines.arm_in(limit_name_, connect_limit, [this] { close(); });
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        // The socket may be another one after each poll: libpq goes through hosts and addresses.
        socket_.emplace(loop_.io, PQsocket(conn_.get()));
        co_await wait(state == PGRES_POLLING_READING ? Direction::readable : Direction::writable);
        socket_->release();
        socket_.reset();
        state = PQconnectPoll(conn_.get());
        if (state == PGRES_POLLING_FAILED)
            lose(trimmed(PQerrorMessage(conn_.get())));
    }
    socket_.emplace(loop_.io, PQsocket(conn_.get()));
    PQsetnonblocking(conn_.get(), 1);
    PQsetNoticeReceiver(conn_.get(), forward_notice, &name_);
    // Still under the limit of connecting, which the end of a statement lifts.
    co_await exec(calls::prepare_session);
}

void Connection::send(const Statement &statement)
{
    std::vector<const char *> values;
    values.reserve(statement.params.size());
    for (const auto &param : statement.params)
        values.push_back(param ? param->c_str() : nullptr);

    const int sent = PQsendQueryParams(conn_.get(), statement.call.sql, static_cast<int>(values.size()),
                                       nullptr, values.data(), nullptr, nullptr, 0);
    if (sent == 0)
        lose(trimmed(PQerrorMessage(conn_.get())));
}

Task<> Connection::flush()
{
    // Waiting for room alone cannot deadlock: all answers but the last of a pipeline are a few bytes, so the
    // server never stops reading because we do not read.
    for (;;) {
        const int state = PQflush(conn_.get());
        if (state == 0)
            co_return;
        if (state < 0)
            lose(trimmed(PQerrorMessage(conn_.get())));
        co_await wait(Direction::writable);
    }
}

Task<Result> Connection::next_result()
{
    while (PQisBusy(conn_.get()) != 0) {
        co_await wait(Direction::readable);
        if (PQconsumeInput(conn_.get()) == 0)
            lose(trimmed(PQerrorMessage(conn_.get())));
    }
    co_return Result{PQgetResult(conn_.get())};
}

Task<Result> Connection::exec(Call call, Params params)
{
    std::vector<Statement> statements;
    statements.push_back(Statement{call, std::move(params)});
    std::vector<Reply> replies = co_await pipeline(std::move(statements));
    if (auto *failure = std::get_if<Failure>(&replies.front()))
        throw std::move(*failure);
    co_return std::get<Result>(std::move(replies.front()));
}

/// The results of one statement and the sync behind it.
Task<Reply> Connection::next_reply()
{
    std::optional<Reply> reply;
    for (bool ended = false; !ended;) {
        Result result = co_await next_result();
        switch (result.status()) {
        case PGRES_PIPELINE_SYNC:
            ended = true;
            break;
        case PGRES_TUPLES_OK:
        case PGRES_COMMAND_OK:
            reply.emplace(std::move(result));
            break;
        case PGRES_EMPTY_QUERY: // no result: the end of this statement's results
            if (PQstatus(conn_.get()) == CONNECTION_BAD)
                lose(trimmed(PQerrorMessage(conn_.get())));
            break;
        default:
            if (PQstatus(conn_.get()) == CONNECTION_BAD)
                lose(trimmed(PQresultErrorMessage(result.get())));
            reply.emplace(failure_of(result.get()));
        }
    }
    if (!reply)
        lose("the database sent no result");
    co_return std::move(*reply);
}

Task<std::vector<Reply>> Connection::pipeline(std::vector<Statement> statements)
{
    require_open();
    if (statement_limit_ > Duration::zero())
        loop_.deadlines.arm_in(limit_name_, statement_limit_, [this] {
            log::warn("the database did not answer in time, the connection is given up",
                      {{"connection", name_}});
            close();
        });

    if (PQenterPipelineMode(conn_.get()) == 0)
        lose(trimmed(PQerrorMessage(conn_.get())));
    for (const Statement &statement : statements) {
        send(statement);
        // A sync ends the transaction: an error must not abort the statements behind it.
        if (PQpipelineSync(conn_.get()) == 0)
            lose(trimmed(PQerrorMessage(conn_.get())));
    }
    co_await flush();

    std::vector<Reply> replies;
    replies.reserve(statements.size());
    for (std::size_t i = 0; i < statements.size(); ++i) {
        Reply reply = co_await next_reply();
        replies.push_back(std::move(reply));
    }
    PQexitPipelineMode(conn_.get());
    loop_.deadlines.disarm(limit_name_);
    co_return replies;
}

void Connection::cancel()
{
    if (!conn_)
        return;
    const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> request{PQgetCancel(conn_.get()), PQfreeCancel};
    if (!request)
        return;
    const pid_t pid = ::fork();
    if (pid == 0)
        deliver_cancel(request.get());
    if (pid < 0)
        return;
    ++*cancels_;
    loop_.reaper.watch(pid, "", [count = cancels_, done = cancel_done_](int, const rusage &) {
        --*count;
        done->set();
    });
}

Task<> Connection::cancels_delivered()
{
    while (*cancels_ > 0)
        co_await cancel_done_->wait();
}

} // namespace sluice::sidecar
