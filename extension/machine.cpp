// What SQL asks core/ about machines and about errors that tell of a want of memory.
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

// sluice._tells_of_memory(name text, message text, code text) returns bool: does an error object say that memory was at
// its end?  Called on null input.
SLUICE_FUNCTION(sluice_tells_of_memory)
{
    const text *given[3];
    for (int i = 0; i < 3; ++i)
        given[i] = PG_ARGISNULL(i) ? nullptr : PG_GETARG_TEXT_PP(i);
    const std::string_view name = view_of(given[0]);
    sluice::core::Death    death;
    if (is_sqlstate(name))
        death.sqlstate = name;
    else
        death.error_name = name;
    death.error_message = view_of(given[1]);
    death.error_code    = view_of(given[2]);
    death.oom_kills     = 0; // words that may have other reasons are not enough to give up a run
    PG_RETURN_BOOL(sluice::core::is_memory(sluice::core::cause_of(death).cause));
}
