// leaf: in which partition of a table the rows of a run are.
//
// Five tables are partitioned by run id with the same bounds.  Whoever goes to a partition itself, without a statement on
// its parent, asks here; the parent stays locked until the transaction ends, so that no partition goes meanwhile.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

/// A partition and whether it is the one for ids that no other takes.
struct Leaf {
    Oid  table; ///< InvalidOid: there is none, or it has partitions itself
    bool is_default;
};

/// The leaf of a range of ids.  None if they have not all the same one, or the table is not partitioned by run id alone.
/// An active snapshot is needed, which decides which partitions there are.
Leaf leaf_of(Relation parent, int64 lowest, int64 highest);

inline Leaf leaf_of(Relation parent, int64 run_id)
{
    return leaf_of(parent, run_id, run_id);
}

} // namespace sluice::pg
