// The leader's duties.  Any number of sidecars ask for the lock; the session that has it does all timed work of the
// database, on the very connection that holds the lock: losing the connection loses the power to act.
#pragma once

#include "pg/connection.hpp"
#include "log_throttle.hpp"
#include "loop.hpp"
#include "service.hpp"
#include "work/worker.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::sidecar {

class Leader final : public Service {
public:
    /// Leads only while the worker is registered: after a restart of the server it would otherwise be taken for dead
    /// by its own leader.
    Leader(Loop &loop, Worker &worker, std::string conninfo, std::string worker_name);

    std::string_view name() const override { return "leader"; }
    Task<>           run() override;
    void             stop() override;
    Stats            stats() const override
    {
        return {{"leading", leading_ ? 1.0 : 0.0}, {"duties", static_cast<double>(done_)}};
    }

private:
    struct Duty {
        Call     call;
        Duration every;
        bool     due         = true;
        bool     has_next_in = true;
        bool     on_notice   = false; ///< due when the database notifies us
    };

    Task<> session();
    Task<> try_lead();
    Task<> do_due();
    void   settle(Duty &duty, const Reply &reply);
    void   arm(Duty &duty, Duration delay);

    Loop               &loop_;
    Worker             &worker_;
    std::string         conninfo_;
    std::string         worker_name_;
    Connection          connection_;
    Event               changed_;
    LogThrottle         failures_{std::chrono::minutes{1}};
    std::array<Duty, 8> duties_;
    bool                leading_  = false;
    bool                stopping_ = false;
    std::uint64_t       done_     = 0;
};

} // namespace sluice::sidecar
