// version: this library, the SQL functions and the storage must come from one release.
//
// After ALTER EXTENSION … UPDATE an old session still has the old library, whose ideas of the tables may be old too; and
// until setup() has been run the tables are still the old ones, as they are after a restore into a newer release.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

/// Raises SL012 unless all three fit.  Looks once in a session, and again after functions of the database were replaced.
void check_version();

/// The same of the library and the functions alone, for what has to work on any storage.
void check_library();

} // namespace sluice::pg
