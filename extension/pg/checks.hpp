// checks: the CHECK constraints of a table, prepared once in a backend.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

/// For check_states() of a ResultRelInfo.  nullptr if the executor is to prepare them itself: there are none, or one of
/// them depends on what may be replaced without its text showing it: a function that is not Postgres' own, or a domain.
ExprState **prepared_checks(Relation table);

} // namespace sluice::pg
