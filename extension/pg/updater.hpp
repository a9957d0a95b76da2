// updater: finds rows of one table by their primary key, and changes them, without a statement.
//
// A statement costs its start and end, its way through the executor for each row, and the text of the checks, which it
// reads anew; and one that must not wait for others first locks each row, with a record in the log, and then writes it.
// This goes the way of logical replication: a search of the primary key, one update of the tuple, checks that were
// prepared before (checks.hpp), and entries in the indexes where the new version is not on the old one's page.
//
// It waits for nobody.  A row that somebody else has changed or locked is left to the caller, who has a statement for
// it: so whatever depends on what the other does is decided there alone.  What only a statement does (triggers, rules,
// row security, generated columns) is not done here: a table that has such is refused by open().
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

/// Plain data, so that an error may pass through: Postgres then closes what is open.
class Rows {
public:
    /// Opens a table to read columns by name.  False if its primary key is not the first of them, of a type that find() takes.
    bool open(Oid table, const char *const *columns, int count)
    {
        return open(table, columns, count, AccessShareLock);
    }

    /// A table of ours, which has such a key.
    void open_ours(Oid table, const char *const *columns, int count);
    void open_ours(const char *table, const char *const *columns, int count);

    /// The row of a key (boolean, integer, bigint, text) as of the moment when the table was opened; it stays until the next.
    bool find(Datum key);

    /// Of the row that was found; a column by its number in open().
    Datum get(int column, bool *is_null = nullptr);

    /// Locks of the tables stay until the transaction ends, as after a statement.
    void close() { close(NoLock); }

    /// For one that only reads, in a transaction that goes on for long: lets go of its locks.
    void close_and_unlock() { close(AccessShareLock); }

protected:
    static constexpr int most_columns = 32;

    bool open(Oid table, const char *const *columns, int count, LOCKMODE mode);
    void close(LOCKMODE unlock);

    Relation        table_    = nullptr;
    Relation        key_      = nullptr;
    Snapshot        snapshot_ = nullptr;
    IndexScanDesc   scan_     = nullptr;
    TupleTableSlot *found_    = nullptr;
    RegProcedure    equals_   = InvalidOid; ///< of the key's type
    AttrNumber      number_[most_columns];
};

class Updater : public Rows {
public:
    /// Opens a table that set() and update() will change.  False if that takes a statement.
    bool open(Oid table, const char *const *columns, int count);

    bool find(Datum key)
    {
        begun_ = false;
        return Rows::find(key);
    }

    /// A column of the new version of the row that was found.
    void set(int column, Datum value);

    /// Writes the new version.  False, and nothing is written: somebody has changed or locked the row.
    bool update();

    /// What was written is visible from here on.
    void close();

private:
    void begin();

    EState         *state_   = nullptr;
    ResultRelInfo  *result_  = nullptr;
    TupleTableSlot *new_     = nullptr;
    bool            begun_   = false; ///< new_ has the values of the row that was found
    bool            indexes_ = false; ///< they are open
};

} // namespace sluice::pg
