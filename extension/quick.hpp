// quick: public functions that C++ carries out by itself where the call needs no more than the ordinary.
//
// The twin in plpgsql has all the rules.  A quick way takes only calls to which none of them applies, does what the twin
// would do, and leaves every other call, wrong ones included, to it.
#pragma once

#include "pg/postgres.hpp"

namespace sluice {

/// Returns false, having done nothing, where the twin is to do it.  Called as the storage's owner.
using QuickWay = bool (*)(FunctionCallInfo call, Oid schema, Datum *result);

/// The quick way of a public function; nullptr where there is none.
QuickWay quick_way(const char *function);

} // namespace sluice
