// claim: hands runs to a worker.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::index {

/// The columns of sluice._claim_runs(), in its order.
enum Column : int {
    c_token,
    c_run_id,
    c_attempt,
    c_task,
    c_payload,
    c_lease_until,
    c_executor,
    c_target,
    c_options,
    c_lease_seconds,
    c_max_duration,
    c_machine,
    c_heartbeat,
    c_traceparent,
    claimed_columns
};

struct Claimed {
    Datum values[claimed_columns];
    bool  nulls[claimed_columns];
};

/// Who asks for how many runs.  Null queues: all; null executors: none.
struct Request {
    text      *worker;
    ArrayType *queues;
    int32      capacity;
    ArrayType *executors;
    int64      reply; ///< the number of the exchange; -1 without a session
};

/// Raises SL015 in a copy of another database.  With an SPI connection, as the storage's owner, like all of these.
void assert_home();

/// Claims up to request.capacity runs, by the index or by the tables: marks them executing, takes their slots, starts
/// their leases.  Calls emit(context, run) for each, in the order of claiming.
void claim_runs(const Request &request, void (*emit)(void *context, const Claimed &run), void *context);

} // namespace sluice::index
