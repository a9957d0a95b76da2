// Runs tasks that are SQL, on a small pool of connections of their own.  The database completes the attempt in the
// transaction of the task, so success needs no report.
#pragma once

#include "pg/connection.hpp"
#include "loop.hpp"
#include "run/executor.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

class SqlExecutor final : public Executor {
public:
    SqlExecutor(Loop &loop, std::string conninfo) : loop_{loop}, conninfo_{std::move(conninfo)} {}

    std::string_view name() const override { return "sql"; }
    Task<Outcome>    run(const Job &job, Control &control) override;

    /// Connections beyond this number are closed when they fall idle.
    void set_capacity(std::size_t capacity);

private:
    using Pooled = std::unique_ptr<Connection>;

    Task<Pooled> acquire(Control &control);

    /// One try; nothing if the session is of another release than the database, so that another has to do it.
    Task<std::optional<Outcome>> perform(const Job &job, Control &control);

    /// A session in which a task has failed is made as new, or closed.
    static Task<> clean(Connection &connection);

    void give_back(Pooled connection);

    Loop               &loop_;
    std::string         conninfo_;
    std::size_t         capacity_ = 1;
    std::vector<Pooled> idle_;
    unsigned            opened_ = 0;
};

} // namespace sluice::sidecar
