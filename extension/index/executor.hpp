// executor: the names of executors, as tables have them, and the numbers that the index uses.
#pragma once

#include <array>
#include <string_view>

#include "core/ready_index.hpp"

#include "pg/postgres.hpp"

namespace sluice::index {

inline constexpr std::array<const char *, core::executor_kinds> executor_names{"sql", "process", "python",
                                                                               "http", "external"};

inline const char *name_of(core::Executor executor)
{
    return executor_names[static_cast<std::size_t>(executor)];
}

inline core::Executor executor_named(Datum name)
{
    const text            *value = DatumGetTextPP(name);
    const std::string_view view(VARDATA_ANY(value), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(value)));
    for (int i = 0; i < core::executor_kinds; ++i)
        if (view == executor_names[static_cast<std::size_t>(i)])
            return static_cast<core::Executor>(i);
    elog(ERROR, "unknown executor \"%s\"", text_to_cstring(value));
    pg_unreachable();
}

/// Names that are no executor's stand for nothing; null for all.
inline core::ExecutorMask executors_named(const ArrayType *names)
{
    constexpr core::ExecutorMask all = (1U << core::executor_kinds) - 1U;
    if (names == nullptr)
        return all;

    core::ExecutorMask mask = 0;
    Datum             *elements;
    bool              *nulls;
    int                count;
    deconstruct_array(const_cast<ArrayType *>(names), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls,
                      &count);
    for (int i = 0; i < count; ++i)
        for (int kind = 0; kind < core::executor_kinds && !nulls[i]; ++kind)
            if (strcmp(TextDatumGetCString(elements[i]), executor_names[static_cast<std::size_t>(kind)]) == 0)
                mask |= core::mask_of(static_cast<core::Executor>(kind));
    return mask;
}

} // namespace sluice::index
