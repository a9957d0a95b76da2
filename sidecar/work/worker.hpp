// The worker: one connection, one exchange at a time, that reports what ended, keeps leases alive and claims for all
// free places at once.  Everything that happens between two exchanges waits for the next one, which then carries
// all of it; Pace says when that one starts.
#pragma once

#include "pg/connection.hpp"
#include "log_throttle.hpp"
#include "loop.hpp"
#include "run/executor.hpp"
#include "service.hpp"
#include "work/cycle.hpp"
#include "work/log_portions.hpp"
#include "work/pace.hpp"
#include "work/running.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

/// Sluiced cannot work with this database as it is; trying again does not help.
class StartupError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Worker final : public Service {
public:
    struct Options {
        std::string              name;
        std::string              host;
        std::string              conninfo;
        std::size_t              capacity = 10;
        std::vector<std::string> queues;
        std::vector<std::string> executors;
        std::optional<Duration>  heartbeat; ///< nothing: by the shortest lease held
        Duration                 batch_window{};
        std::size_t              max_log_bytes = 1 << 20;
        std::uint64_t            memory        = 0; ///< for all attempts at once, by their machines
    };

    /// What wait_for_work should wait for now.
    struct Wanted {
        std::vector<std::string> queues;
        std::vector<std::string> executors;       ///< empty: only for revocations
        bool                     nothing = false; ///< there is nothing to wait for at all
        bool                     operator==(const Wanted &) const = default;
    };

    using Executors = std::map<std::string, Executor *, std::less<>>;

    Worker(Loop &loop, Options options, Executors executors);

    std::string_view name() const override { return "worker"; }
    Task<>           run() override;  ///< returns when drained; throws StartupError
    void             stop() override; ///< gives up at once: nothing more is reported
    Stats            stats() const override;

    void configure(Options options); ///< name, host and conninfo stay
    void on_ready(std::function<void()> ready) { ready_ = std::move(ready); }
    void on_settled(std::function<void()> settled) { settled_ = std::move(settled); }
    void on_session(std::function<void()> session) { on_session_ = std::move(session); } ///< registered
    void on_failed(std::function<void(const Job &, const Outcome &)> failed) { failed_ = std::move(failed); }

    /// No more claims; what runs may finish until the limit and is then stopped and given back.
    void drain(Duration limit);
    void stop_attempts(StopReason reason, Force force);

    /// Asks for an exchange and returns once it has been answered; says whether anything came of it.
    Task<bool> exchange_now();

    /// Asks for an exchange and does not wait.
    void nudge();

    Wanted wanted() const;

    /// Whether somebody waits in the database for work and will ask for an exchange when there is any.
    void set_watched(bool is_watched) { watched_ = is_watched; }

    /// Whether the database lets requests go to private addresses, as of the last exchange.
    bool allows_private_targets() const
    {
        return connection_.reported("sluice.allow_private_targets") == "on";
    }

    bool is_quiet() const { return pace_.is_quiet(); }
    bool is_connected() const { return registered_; }
    bool holds_attempts() const { return !running_.empty(); }
    bool has_free_places() const { return !draining_ && free_places() > 0; }

private:
    /// The notes of a token, as they were when a statement was made of them.
    struct NoteMark {
        std::string      token;
        std::uint64_t    version;
        std::string_view what;
        std::size_t      statement; ///< its number in the pipeline
    };

    Task<> session();
    Task<> check_database();
    Task<> pause(Duration delay);
    Task<> register_worker();
    Task<> cycle();

    ExchangeRequest       request(const LogPortions::Taken &lines) const;
    void                  settle_logs(const std::vector<Reply> &replies, const LogPortions::Taken &lines);
    std::vector<NoteMark> add_notes(std::vector<Statement> &statements) const;
    void                  settle_notes(const std::vector<Reply> &replies, const std::vector<NoteMark> &marks);
    void                  take(const ExchangeRequest &request, ExchangeReply reply, Instant sent);
    void                  take_lost(Attempt &attempt, const std::string &answer);
    void                  refused(const ExchangeRequest &request, const Failure &failure);
    bool                  isolate_outcome(const ExchangeRequest &request, const Failure &failure);
    void                  start(Job job, Instant sent);
    void                  arm_max_duration(Attempt &attempt);
    void                  finished(Attempt &attempt, Outcome outcome);
    void                  forget(const std::string &token);
    void                  retry_in(Duration delay);
    void                  arm_heartbeat();
    void                  arm_lease_check();
    void                  arm_log_flush();
    void                  arm_drain_end();
    std::size_t           free_places() const;
    std::size_t           room(const std::vector<std::string> &executors) const;

    std::vector<std::string> executors_with_room() const;

    bool is_done() const { return stopped_ || (draining_ && running_.empty()); }

    Loop                                             &loop_;
    Options                                           options_;
    Executors                                         executors_;
    Connection                                        connection_;
    Running                                           running_;
    LogPortions                                       log_portions_;
    Pace                                              pace_;
    Event                                             wake_;
    Event                                             answered_;
    std::function<void()>                             ready_;
    std::function<void()>                             settled_;
    std::function<void()>                             on_session_;
    std::function<void(const Job &, const Outcome &)> failed_;
    LogThrottle                                       refusals_{std::chrono::minutes{1}};
    LogThrottle                                       reconnects_{std::chrono::minutes{1}};

    bool          registered_            = false;
    bool          was_ready_             = false;
    bool          watched_               = false;
    bool          draining_              = false;
    bool          stopped_               = false;
    bool          one_outcome_at_a_time_ = false; ///< one of them broke the last exchange: find out which
    Instant       no_claims_until_{};
    long long     seen_reply_         = 0;
    std::uint64_t exchanges_started_  = 0;
    std::uint64_t exchanges_answered_ = 0;
    std::uint64_t claimed_            = 0;
    std::uint64_t ended_              = 0;
    std::uint64_t lost_               = 0;
};

} // namespace sluice::sidecar
