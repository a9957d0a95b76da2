// right: whether the caller of a public function may use a task, for ways that do without statements.
#pragma once

#include "pg/postgres.hpp"

namespace sluice {

/// A task as its row has it.  No owner is InvalidOid and nullptr.
struct TaskRights {
    int32       task_id;
    bool        is_sql;
    Oid         owner_id;
    const char *owner;
};

/// True if the caller may use the task.  False may be a no, or a case for sluice._may_use, which knows the rest: a role
/// that was renamed or that comes from another cluster.  An active snapshot is needed where the task was granted.
bool may_use(Oid schema, const TaskRights &task);

/// Whether a role may claim from every queue.  Others ask sluice._claimable().
bool may_claim_all(Oid role);

} // namespace sluice
