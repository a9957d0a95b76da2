// watch: the triggers that a watch consists of.
//
// For each event a table has two triggers.  The statement trigger, with transition tables, does the work
// (watched.cpp).  The row trigger never fires: its WHEN clause holds the watch's expressions, bound by Postgres to
// columns, functions and operators, so that they follow a renamed column, keep a needed one from being dropped, are in
// a dump, and cannot be led astray by anybody's search_path.  All have the same arguments, by which they find each
// other; docs/design/007-table-triggers.md has the reasons.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::watch {

/// The arguments of the triggers, by place.  What is behind rows_per_run is as it was given, for people to read.
enum Argument {
    name,
    task,
    rows_per_run,
    columns,
    condition,
    concurrency_key,
    priority,
    only_when_changed,
    argument_count
};

/// The trigger of a partition, for statements that name the partition itself, says so with one argument more.
inline constexpr const char *partition_mark = "partition";

/// The elements of the row in the WHEN clause.
enum Element { applies, key_of_run, priority_of_run, payload_of_run, element_count };

inline bool is_partition_trigger(const Trigger &trigger)
{
    return trigger.tgnargs > argument_count;
}

/// Whether a trigger belongs to a watch at all; `function` is sluice.watched.
inline bool is_ours(const Trigger &trigger, Oid function)
{
    return trigger.tgfoid == function && trigger.tgnargs >= argument_count;
}

inline bool is_of(const Trigger &trigger, Oid function, const char *watch)
{
    return is_ours(trigger, function) && strcmp(trigger.tgargs[name], watch) == 0;
}

/// The trigger of a table that belongs to a watch, is for one event (TRIGGER_TYPE_INSERT …) and level; or null.
inline const Trigger *find(Relation table, Oid function, const char *watch, int event, bool for_each_row)
{
    const TriggerDesc *all = table->trigdesc;
    for (int i = 0; all != nullptr && i < all->numtriggers; ++i) {
        const Trigger &one = all->triggers[i];
        if (is_of(one, function, watch) && (one.tgtype & event) != 0 &&
            (TRIGGER_FOR_ROW(one.tgtype) != 0) == for_each_row && !is_partition_trigger(one))
            return &one;
    }
    return nullptr;
}

} // namespace sluice::watch
