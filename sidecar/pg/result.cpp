// Reading values out of a result.
#include "pg/result.hpp"

#include <cstdlib>

namespace sluice::sidecar {

int Result::rows() const
{
    return result_ ? PQntuples(result_.get()) : 0;
}

std::optional<std::string_view> Result::get(int row, const char *column) const
{
    const int number = PQfnumber(result_.get(), column);
    if (number < 0 || row >= rows() || PQgetisnull(result_.get(), row, number) != 0)
        return std::nullopt;
    return std::string_view{PQgetvalue(result_.get(), row, number),
                            static_cast<std::size_t>(PQgetlength(result_.get(), row, number))};
}

std::string Result::text(int row, const char *column) const
{
    return std::string{get(row, column).value_or("")};
}

double Result::number(int row, const char *column, double when_null) const
{
    const auto value = get(row, column);
    return value ? std::strtod(value->data(), nullptr) : when_null;
}

long long Result::integer(int row, const char *column, long long when_null) const
{
    const auto value = get(row, column);
    return value ? std::strtoll(value->data(), nullptr, 10) : when_null;
}

} // namespace sluice::sidecar
