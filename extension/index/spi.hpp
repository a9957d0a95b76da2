// spi: saved plans and typed columns, for the few statements that the index runs itself.
//
// The caller is connected to SPI and runs as the storage's owner.  Each statement takes a new snapshot.
#pragma once

#include <string_view>

#include "pg/postgres.hpp"

namespace sluice::index {

/// A statement that is planned once in a backend.
class Statement {
public:
    constexpr Statement(const char *sql, int arguments, const Oid *types)
        : text_(sql), arguments_(arguments), types_(types)
    {
    }

    /// Runs it; rows are in SPI_tuptable.  Returns how many.
    uint64 run(const Datum *values, const char *nulls = nullptr, long limit = 0);

    /// The same by a cursor, for results that are too large.
    Portal open(const Datum *values, const char *nulls = nullptr);

private:
    SPIPlanPtr plan();

    const char *text_;
    int         arguments_;
    const Oid  *types_;
    SPIPlanPtr  plan_ = nullptr;
};

/// A column of a row of SPI_tuptable, counted from 1; 0 where it is null.
Datum column(uint64 row, int number, bool *is_null = nullptr);

/// Is a text this word?
inline bool is_text(Datum value, std::string_view word)
{
    const text *here = DatumGetTextPP(value);
    return std::string_view(VARDATA_ANY(here), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(here))) == word;
}

/// Values as an int8[].
Datum int8_array(const int64 *values, int count);

/// Connects to SPI for a scope of C code that may leave by an error, as SPI cleans up itself.
void connect();

} // namespace sluice::index
