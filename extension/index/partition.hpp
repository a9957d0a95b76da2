// partition: where the rows of a run are, and the statements on that partition alone.
//
// A statement on the partitioned tables locks and opens every partition, of which there is one for each week that is
// kept; a claim would cost more with each.  So the statements of the hot path name the leaf partitions, and are planned
// once for each of them.
#pragma once

#include "pg/postgres.hpp"

#include "index/spi.hpp"

namespace sluice::index {

/// The leaf partitions of sluice.run and sluice.payload that a run's rows are in.
struct Leaves {
    Oid run;
    Oid payload;

    bool operator==(const Leaves &) const = default;
};

/// Which leaves runs are in: looks the tables up once, then each run in their bounds.  Close it; an error does so by itself.
class Partitions {
public:
    Partitions();

    Leaves leaves_of(int64 run_id) const;

    /// Of ids in order: the end of those from `first` on that are in the same leaves as that one.
    int end_of_leaf(const int64 *ids, int first, int count) const;

    /// Held until the transaction ends, as Postgres does: no partition goes meanwhile.
    void close() const { close(NoLock); }

    /// For who has read all it wants: lets go of its locks.
    void close_and_unlock() const { close(AccessShareLock); }

private:
    void close(LOCKMODE unlock) const;

    Relation run_, payload_;
};

/// A statement on one pair of leaves: in its text %1$s stands for that of run, %2$s for that of payload.
class LeafStatement {
public:
    constexpr LeafStatement(const char *sql, int arguments, const Oid *types)
        : text_(sql), arguments_(arguments), types_(types)
    {
    }

    /// Runs it on the leaves; rows are in SPI_tuptable.  Returns how many.
    uint64 run(const Leaves &leaves, const Datum *values);

private:
    static constexpr int room = 8; ///< runs of more weeks at once are rare

    struct Planned {
        Leaves     leaves;
        SPIPlanPtr plan;
    };

    const char *text_;
    int         arguments_;
    const Oid  *types_;
    Planned     planned_[room]{};
    int         next_ = 0; ///< whose place the next new one takes
};

} // namespace sluice::index
