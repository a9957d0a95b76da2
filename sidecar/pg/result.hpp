// The answer to one statement, as text values by row and column name.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::sidecar {

class Result {
public:
    Result() = default;
    explicit Result(PGresult *result) : result_{result} {}

    /// PGRES_EMPTY_QUERY when there is none.
    ExecStatusType  status() const { return result_ ? PQresultStatus(result_.get()) : PGRES_EMPTY_QUERY; }
    const PGresult *get() const { return result_.get(); }

    int                             rows() const;
    std::optional<std::string_view> get(int row, const char *column) const;  ///< nothing: SQL null
    std::string                     text(int row, const char *column) const; ///< null reads as empty
    double                          number(int row, const char *column, double when_null) const;
    long long                       integer(int row, const char *column, long long when_null) const;

private:
    struct Clear {
        void operator()(PGresult *result) const { PQclear(result); }
    };
    std::unique_ptr<PGresult, Clear> result_;
};

} // namespace sluice::sidecar
