// A connection of the benchmark's client: prepared statements over libpq, and an exception for every error, since a
// benchmark that goes on after an error measures nothing.
#pragma once

#include <libpq-fe.h>

#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace sluice::bench {

class Result {
public:
    explicit Result(PGresult *result) : result_(result, PQclear) {}

    [[nodiscard]] int rows() const { return PQntuples(result_.get()); }

    [[nodiscard]] std::string_view value(int row, int column) const
    {
        return {PQgetvalue(result_.get(), row, column),
                static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
    }

    [[nodiscard]] ExecStatusType status() const { return PQresultStatus(result_.get()); }

private:
    std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

class Connection {
public:
    /// Where to comes from PGHOST and the like.
    Connection() : connection_(PQconnectdb(""), PQfinish)
    {
        if (PQstatus(connection_.get()) != CONNECTION_OK)
            throw std::runtime_error(PQerrorMessage(connection_.get()));
    }

    void prepare(const char *name, const std::string &statement)
    {
        checked(PQprepare(connection_.get(), name, statement.c_str(), 0, nullptr));
    }

    Result run(const char *name, std::initializer_list<const char *> parameters)
    {
        return checked(PQexecPrepared(connection_.get(), name, static_cast<int>(parameters.size()),
                                      parameters.begin(), nullptr, nullptr, 0));
    }

    Result run(const char *statement) { return checked(PQexec(connection_.get(), statement)); }

private:
    Result checked(PGresult *raw)
    {
        Result result(raw);
        if (result.status() != PGRES_TUPLES_OK && result.status() != PGRES_COMMAND_OK)
            throw std::runtime_error(PQerrorMessage(connection_.get()));
        return result;
    }

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

} // namespace sluice::bench
