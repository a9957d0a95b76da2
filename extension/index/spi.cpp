// Saved plans; see spi.hpp.

#include "index/spi.hpp"

namespace sluice::index {

SPIPlanPtr Statement::plan()
{
    if (plan_ == nullptr) {
        // SPI only reads the types.
        SPIPlanPtr made = SPI_prepare(text_, arguments_, const_cast<Oid *>(types_));
        if (made == nullptr || SPI_keepplan(made) != 0)
            elog(ERROR, "could not prepare \"%s\": %s", text_, SPI_result_code_string(SPI_result));
        plan_ = made;
    }
    return plan_;
}

uint64 Statement::run(const Datum *values, const char *nulls, long limit)
{
    const int code = SPI_execute_plan(plan(), const_cast<Datum *>(values), nulls, false, limit);
    if (code < 0)
        elog(ERROR, "could not run \"%s\": %s", text_, SPI_result_code_string(code));
    return SPI_processed;
}

Portal Statement::open(const Datum *values, const char *nulls)
{
    return SPI_cursor_open(nullptr, plan(), const_cast<Datum *>(values), nulls, false);
}

Datum column(uint64 row, int number, bool *is_null)
{
    bool        null_here;
    const Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &null_here);
    if (is_null != nullptr)
        *is_null = null_here;
    return null_here ? Datum{0} : value;
}

Datum int8_array(const int64 *values, int count)
{
    auto *datums = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<std::size_t>(count + 1)));
    for (int i = 0; i < count; ++i)
        datums[i] = Int64GetDatum(values[i]);
    return PointerGetDatum(
        construct_array(datums, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void connect()
{
    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "could not connect to SPI");
}

} // namespace sluice::index
