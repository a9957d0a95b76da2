// version: the SQL side and this library must come from one release.
//
// After ALTER EXTENSION … UPDATE an old session still has the old library, whose ideas of the tables may be old too.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

/// Raises SL012 unless they fit.  Looks once in a session, and again after functions of the database were replaced.
void check_version();

} // namespace sluice::pg
