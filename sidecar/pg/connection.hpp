// One libpq connection on the event loop.  Statements are sent one after another by one coroutine at a time; close()
// and cancel() may be called from anywhere.
#pragma once

#include "pg/calls.hpp"
#include "pg/failure.hpp"
#include "pg/result.hpp"
#include "loop.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace sluice::sidecar {

/// The answer to one statement of a pipeline: each transaction stands or fails alone.
using Reply = std::variant<Result, Failure>;

class Connection {
public:
    /// The name appears in logs and, after "sluiced ", as application_name.
    Connection(Loop &loop, std::string name);
    ~Connection();

    Connection(const Connection &)            = delete;
    Connection &operator=(const Connection &) = delete;

    Task<>       connect(std::string conninfo);
    Task<Result> exec(Call call, Params params = {});

    /// All statements in one round trip, each in a transaction of its own unless it joins the next one's.  Throws only
    /// when the connection is lost.
    Task<std::vector<Reply>> pipeline(std::vector<Statement> statements);

    /// Asks the server to end the running statement.  Does not block and does not wait for the outcome.
    void cancel();

    /// Returns once no cancel request is on its way any more, so that it cannot hit the next statement.
    Task<> cancels_delivered();

    void close();
    bool is_open() const { return conn_ != nullptr; }

    /// A setting of the server's that it reports by itself; empty when it has not, or while there is no connection.
    std::string reported(const char *setting) const;

    /// Whether an idle connection can still be used: the server may have hung up since the last statement.
    bool is_usable();

    /// The process id that the other end gave when the connection was made; of a server, that of its backend.
    int server_pid() const { return PQbackendPID(conn_.get()); }

    /// While no statement is under way: sets the event once the server says something by itself, or hangs up.
    void listen(Event &event);
    void stop_listening();

    /// Whether there were notifications since it was asked last.  Throws when the server has hung up.
    bool take_notifications();

    /// A statement that takes longer loses the connection.  Zero: as long as it takes.
    void set_statement_limit(Duration limit) { statement_limit_ = limit; }

private:
    struct Finish {
        void operator()(PGconn *conn) const { PQfinish(conn); }
    };

    enum class Direction { readable, writable };

    Task<>            wait(Direction direction);
    Task<>            flush();
    Task<Result>      next_result();
    Task<Reply>       next_reply();
    void              send(const Statement &statement);
    void              require_open() const;
    [[noreturn]] void lose(const std::string &why);

    Loop                                         &loop_;
    std::string                                   name_;
    std::string                                   limit_name_;
    std::unique_ptr<PGconn, Finish>               conn_;
    std::optional<asio::posix::stream_descriptor> socket_;
    Duration                                      statement_limit_{};
    std::shared_ptr<int>   cancels_ = std::make_shared<int>(0); ///< outlives us in the reaper's callback
    std::shared_ptr<Event> cancel_done_;
};

} // namespace sluice::sidecar
