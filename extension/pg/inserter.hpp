// inserter: puts rows into a table that is partitioned by run id, without a statement.
//
// A statement costs several times what its rows cost: its tree is made ready, its way through the partitions is set up,
// and all that is thrown away.  This goes the ways of logical replication and of COPY: not-null, check and partition
// constraints are tested, indexes are kept, and rows reach the table many at a time.  What only a statement does
// (triggers, rules, row security, generated columns) is not done here: a table that has such is refused by open().
//
// A check is stored as text, which each statement reads and prepares anew: the dearest part of a short one.  Here it is
// prepared once in a backend, and again when its text has changed (checks.hpp).
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

/// Plain data, so that an error may pass through: Postgres then closes what is open.
class Inserter {
public:
    /// Opens the partition that all ids from `lowest` to `highest` belong to.  False if that takes a statement.  An
    /// active snapshot is needed, which decides which partitions there are.
    bool open(Oid table, int64 lowest, int64 highest, const char *const *columns, int count);

    /// One row; values in the order of the columns of open().  What they point to must stay until close().
    void insert(const Datum *values, const bool *nulls);

    void close();

private:
    static constexpr int most_columns = 32;

    static constexpr int most_rows = 64;

    bool            fits(Relation relation, const char *const *columns, int count);
    TupleTableSlot *next_slot();
    void            write();

    Relation        parent_     = nullptr;
    Relation        leaf_       = nullptr;
    EState         *state_      = nullptr;
    ResultRelInfo  *result_     = nullptr;
    bool            is_default_ = false;
    int             slots_      = 0; ///< made so far
    int             rows_       = 0; ///< that are to be written
    TupleTableSlot *slot_[most_rows];
    int source_[most_columns]; ///< of each attribute: the number of its value; none for a dropped one
};

} // namespace sluice::pg
