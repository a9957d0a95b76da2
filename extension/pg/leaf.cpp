// The partition of a run id; see leaf.hpp.

#include "pg/leaf.hpp"

namespace sluice::pg {

namespace {

constexpr Leaf none{InvalidOid, false};

/// Where an id lies between the bounds of the partitions.
int bound_of(PartitionKey key, PartitionDesc partitions, int64 run_id)
{
    Datum values[] = {Int64GetDatum(run_id)};
    bool  equal    = false;
    return partition_range_datum_bsearch(key->partsupfunc, key->partcollation, partitions->boundinfo, 1,
                                         values, &equal);
}

} // namespace

Leaf leaf_of(Relation parent, int64 lowest, int64 highest)
{
    const PartitionDesc partitions = RelationGetPartitionDesc(parent, true);
    const PartitionKey  key        = RelationGetPartitionKey(parent);
    if (partitions->nparts == 0 || key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1 ||
        key->parttypid[0] != INT8OID)
        return none;

    const int bound = bound_of(key, partitions, lowest);
    if (lowest != highest && bound != bound_of(key, partitions, highest))
        return none;
    const int within = partitions->boundinfo->indexes[bound + 1];
    const int number = within >= 0 ? within : partitions->boundinfo->default_index;
    if (number < 0 || !partitions->is_leaf[number])
        return none;
    return {partitions->oids[number], within < 0};
}

} // namespace sluice::pg
