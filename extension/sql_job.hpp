// sql_job: what perform() has to run for a token.
#pragma once

#include "pg/postgres.hpp"

namespace sluice {

/// The work of one attempt of an sql task.
struct SqlJob {
    Oid   role;
    char *search_path;
    char *target;
    bool  is_function;
    bool  has_payload;
    Datum payload;
};

/// Reads it without a statement, into `context`, and keeps no lock of a table.  Raises SL102 if the token does not own an attempt.  As the storage's owner, with
/// an SPI connection.
SqlJob read_sql_job(MemoryContext context, Datum token);

} // namespace sluice
