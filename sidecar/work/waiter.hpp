// Waits in the database for something to do, on a connection of its own, so that an idle worker neither polls nor
// keeps a transaction open.  What it waits for follows the worker: for work while there are free places, only for
// revocations while there are none.  While an exchange is under way it does not begin to wait: that one claims.
#pragma once

#include "pg/connection.hpp"
#include "loop.hpp"
#include "service.hpp"
#include "work/worker.hpp"

#include <string>
#include <string_view>

namespace sluice::sidecar {

class Waiter final : public Service {
public:
    Waiter(Loop &loop, Worker &worker, std::string conninfo, std::string worker_name);

    std::string_view name() const override { return "waiter"; }
    Task<>           run() override;
    void             stop() override;
    Stats            stats() const override { return {{"waits", static_cast<double>(waits_)}}; }

    /// The worker's wants may have changed: a wait for something else is ended.
    void update();

private:
    Task<> session();
    Task<> wait(Worker::Wanted wanted);
    Task<> rest(Duration delay);

    Loop          &loop_;
    Worker        &worker_;
    std::string    conninfo_;
    std::string    worker_name_;
    Connection     connection_;
    Event          changed_;
    Worker::Wanted waiting_for_;
    bool           waiting_  = false;
    bool           stopping_ = false;
    Duration       empty_rest_{};
    std::uint64_t  waits_ = 0;
};

} // namespace sluice::sidecar
