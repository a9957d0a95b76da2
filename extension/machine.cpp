// What SQL asks core/ about machines and about errors that tell how a program died.
#include "core/machine.hpp"
#include "core/death.hpp"

#include "pg/boundary.hpp"

namespace {

std::string_view view_of(const text *value)
{
    return value == nullptr
               ? std::string_view{}
               : std::string_view{VARDATA_ANY(value), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(value))};
}

/// Five digits or capitals.
bool is_sqlstate(std::string_view name)
{
    constexpr std::size_t length = 5;
    return name.size() == length &&
           name.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos;
}

} // namespace

// sluice._machine_memory(machine text) returns bigint: bytes; null for none of that name.
SLUICE_FUNCTION(sluice_machine_memory)
{
    const text *name    = PG_GETARG_TEXT_PP(0);
    const auto *machine = sluice::core::find_machine(view_of(name));
    if (machine == nullptr)
        PG_RETURN_NULL();
    PG_RETURN_INT64(static_cast<int64>(machine->memory));
}

// sluice._told_death(name text, message text, code text, stack text) returns text: the code of the death of a program, for
// which want of memory counts, that an error object tells of; null: of none.  Called on null input.
SLUICE_FUNCTION(sluice_told_death)
{
    const text *given[4];
    for (int i = 0; i < 4; ++i)
        given[i] = PG_ARGISNULL(i) ? nullptr : PG_GETARG_TEXT_PP(i);
    const std::string_view name = view_of(given[0]);
    sluice::core::Death    death;
    if (is_sqlstate(name))
        death.sqlstate = name;
    else
        death.error_name = name;
    death.error_message = view_of(given[1]);
    death.error_code    = view_of(given[2]);
    death.error_stack   = view_of(given[3]);
    death.oom_kills     = 0; // words that may have other reasons are not enough to give up a run

    using sluice::core::Cause;
    const Cause cause = sluice::core::cause_of(death).cause;
    if (!sluice::core::is_memory(cause) && cause != Cause::sigterm && cause != Cause::sigsegv)
        PG_RETURN_NULL();
    const std::string_view code = sluice::core::code_of(cause);
    PG_RETURN_TEXT_P(cstring_to_text_with_len(code.data(), static_cast<int>(code.size())));
}
