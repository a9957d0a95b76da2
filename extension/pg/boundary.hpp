// The one place where C++ and Postgres errors meet.
//
// A Postgres call may leave by longjmp, which runs no destructors; a C++ exception must never reach a Postgres frame
// (it would abort the whole cluster).  So:
//
//   1. While an object with a destructor is alive, call nothing that can ereport.
//      Read arguments first, compute with core/, build the result last.
//   2. core/ throws core::InvalidValue or returns a value; it never calls Postgres.
//   3. No threads in the backend.
//
// Then one guard is enough, and Postgres errors need none.
#pragma once

#include <cstring>
#include <exception>
#include <new>
#include <type_traits>

#include "core/error.hpp"

#include "pg/error.hpp"
#include "pg/postgres.hpp"

namespace sluice::pg {

/// An exception's words in fixed buffers: nothing to destroy when ereport leaves.
struct ErrorText {
    int  sqlstate;
    char message[512];
    char hint[512];

    void copy(int code, const char *what, const char *advice) noexcept
    {
        sqlstate = code;
        strlcpy(message, what, sizeof(message));
        strlcpy(hint, advice, sizeof(hint));
    }

    [[noreturn]] void report() const
    {
        ereport(ERROR, errcode(sqlstate), errmsg("%s", message), hint[0] == '\0' ? 0 : errhint("%s", hint));
        pg_unreachable();
    }
};
static_assert(std::is_trivially_destructible_v<ErrorText>);

template <typename Body>
Datum guarded(FunctionCallInfo fcinfo, Body body)
{
    ErrorText text;

    try {
        return body(fcinfo);
    } catch (const core::InvalidValue &e) {
        text.copy(errcode_invalid_value, e.what(), e.hint().c_str());
    } catch (const std::bad_alloc &) {
        text.copy(ERRCODE_OUT_OF_MEMORY, "out of memory", "");
    } catch (const std::exception &e) {
        text.copy(errcode_internal, e.what(), "This is a fault in sluice; please report it.");
    }

    text.report(); // outside the handlers: the exception is already destroyed
}

} // namespace sluice::pg

/// Defines an SQL-callable function; the body follows and sees `fcinfo`.
#define SLUICE_FUNCTION(name)                                                                                \
    static Datum name##_body(FunctionCallInfo fcinfo);                                                       \
    extern "C" {                                                                                             \
    PG_FUNCTION_INFO_V1(name);                                                                               \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS)                                                                 \
    {                                                                                                        \
        return ::sluice::pg::guarded(fcinfo, name##_body);                                                   \
    }                                                                                                        \
    }                                                                                                        \
    static Datum name##_body(FunctionCallInfo fcinfo)
