// build: makes the index from the tables, and changes between the ways of claiming.
#pragma once

#include "index/segment.hpp"

namespace sluice::index {

/// Called by each claim, in its transaction: settles which way it goes, builds the index if that is due, and holds the
/// mode lock to the end of the transaction.  `none`: this transaction has ended attempts and must not build.
enum class Way { none, index, table };
Way enter();

/// Before anything that asks for leases: builds the index if nobody has claimed since the server started and this transaction
/// may.
void enter_if_unbuilt();

/// Where leases are.  Unless that is unknown, which it is before anybody has claimed since the server started, it stays so until
/// this transaction ends or lets go of the mode lock, which it holds shared: a beat goes where the deadline is looked for, and no
/// lease is taken from a worker whose beat went elsewhere.
enum class Leases { in_index, in_tables, unknown };
Leases keep_leases();

/// Did prepared transactions end since they were looked at last?  They may have enqueued: then a build is due.
void look_at_prepared(const Attached &index);

/// Is there something that enter() would do first?  `now`: without it nothing can be claimed.
enum class Due { nothing, later, now };
Due due();

/// Does it outside of a claim, if this transaction may.  Is nothing due any more?
bool settle();

} // namespace sluice::index
