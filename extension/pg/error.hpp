// SQLSTATE class SL, the codes that C++ raises.  Classes that start with I to Z are free for implementations.
//
// SL0xx wrong call, SL1xx wrong state, SL2xx limit reached, SL9xx a fault of ours.  docs/errors.md lists every code,
// those raised in SQL too, and test/lint/errors.sh compares the two.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

inline constexpr int errcode_no_such_watch      = MAKE_SQLSTATE('S', 'L', '0', '0', '5');
inline constexpr int errcode_invalid_value      = MAKE_SQLSTATE('S', 'L', '0', '0', '6');
inline constexpr int errcode_not_watchable      = MAKE_SQLSTATE('S', 'L', '0', '0', '8');
inline constexpr int errcode_no_such_column     = MAKE_SQLSTATE('S', 'L', '0', '0', '9');
inline constexpr int errcode_not_set_up         = MAKE_SQLSTATE('S', 'L', '0', '1', '0');
inline constexpr int errcode_unsafe_owner       = MAKE_SQLSTATE('S', 'L', '0', '1', '1');
inline constexpr int errcode_version_mismatch   = MAKE_SQLSTATE('S', 'L', '0', '1', '2');
inline constexpr int errcode_wrong_context      = MAKE_SQLSTATE('S', 'L', '0', '1', '3');
inline constexpr int errcode_sql_task_forbidden = MAKE_SQLSTATE('S', 'L', '0', '1', '7');
inline constexpr int errcode_prepare_refused    = MAKE_SQLSTATE('S', 'L', '0', '1', '8');
inline constexpr int errcode_broken_watch       = MAKE_SQLSTATE('S', 'L', '1', '0', '6');
inline constexpr int errcode_internal           = MAKE_SQLSTATE('S', 'L', '9', '0', '1');

} // namespace sluice::pg
