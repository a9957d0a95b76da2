// Postgres for C++: the only file that includes server headers or asks which major version this is.
//
// Include it after the standard library and core/.  Supported majors: 15 to 18, whose differences are kept here so that they
// stay in one place.  15, 17 and 18 are built and tested (CONTRIBUTING.md, Versions).  16 is untried, since no Debian has
// it: what is said of it here was not checked against its headers.
#pragma once

extern "C" {
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "parser/parser.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "pgstat.h"
#include "rewrite/rewriteManip.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
// Without this the header of struct Port wants Kerberos' headers; the struct keeps its layout on purpose.
#undef ENABLE_GSS
#include "libpq/libpq-be.h"
}

#if PG_VERSION_NUM < 150000
#error "sluice needs PostgreSQL 15 or later"
#endif

namespace sluice::pg {

/// 16 generalised the ACL checks of each catalog into one.
inline bool may_execute(Oid function, Oid role)
{
#if PG_VERSION_NUM >= 160000
    return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
    return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

inline bool owns_table(Oid table, Oid role)
{
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(RelationRelationId, table, role);
#else
    return pg_class_ownercheck(table, role);
#endif
}

/// 16 gave the walker's argument its type.
inline bool walk_raw_expression(Node *node, bool (*walker)(Node *, void *), void *context)
{
#if PG_VERSION_NUM >= 160000
    return raw_expression_tree_walker(node, walker, context);
#else
    return raw_expression_tree_walker(
        node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), context);
#endif
}

/// 16 renamed the accessor of the backends' status; indexes count from 1 in both.
inline const LocalPgBackendStatus *backend_entry(int index)
{
#if PG_VERSION_NUM >= 160000
    return pgstat_get_local_beentry_by_index(index);
#else
    return pgstat_fetch_stat_local_beentry(index);
#endif
}

/// 17 added the argument that asks about stronger locks too.
inline bool holds_lock(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 170000
    return LockHeldByMe(tag, mode, false);
#else
    return LockHeldByMe(tag, mode);
#endif
}

/// 17 took the number of a backend's PGPROC out of it.
inline int my_proc()
{
#if PG_VERSION_NUM >= 170000
    return MyProcNumber;
#else
    return MyProc->pgprocno;
#endif
}

/// 17 lets an extension name what it waits for; before it is "Extension".  For a name that never changes.
inline uint32 wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
    static uint32 event = 0;
    if (event == 0)
        event = WaitEventExtensionNew(name);
    return event;
#else
    (void)name;
    return PG_WAIT_EXTENSION;
#endif
}

/// 16 gave the callback of a tree's walk its arguments, and casts it by itself.
inline bool walk_expression(Node *node, bool (*visit)(Node *, void *), void *context)
{
#if PG_VERSION_NUM >= 160000
    return expression_tree_walker(node, visit, context);
#else
    return expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(visit)),
                                  context);
#endif
}

/// 18 renamed the checks that a ResultRelInfo has prepared.
inline ExprState **&check_states(ResultRelInfo *result)
{
#if PG_VERSION_NUM >= 180000
    return result->ri_CheckConstraintExprs;
#else
    return result->ri_ConstraintExprs;
#endif
}

/// 16 added the argument for summarizing indexes, which only an update knows.
inline void insert_index_entries(ResultRelInfo *result, TupleTableSlot *row, EState *state)
{
#if PG_VERSION_NUM >= 160000
    ExecInsertIndexTuples(result, row, state, false, false, nullptr, NIL, false);
#else
    ExecInsertIndexTuples(result, row, state, false, false, nullptr, NIL);
#endif
}

/// 16 tells apart which indexes want an entry of a new version.
#if PG_VERSION_NUM >= 160000
using IndexesToUpdate = TU_UpdateIndexes;
inline bool needs_any(IndexesToUpdate indexes)
{
    return indexes != TU_None;
}
#else
using IndexesToUpdate = bool;
inline bool needs_any(IndexesToUpdate indexes)
{
    return indexes;
}
#endif

inline void update_index_entries(ResultRelInfo *result, TupleTableSlot *row, EState *state,
                                 IndexesToUpdate indexes)
{
#if PG_VERSION_NUM >= 160000
    ExecInsertIndexTuples(result, row, state, true, false, nullptr, NIL, indexes == TU_Summarizing);
#else
    (void)indexes;
    ExecInsertIndexTuples(result, row, state, true, false, nullptr, NIL);
#endif
}

/// Writes a new version of a tuple.  False if that would have to wait for somebody, or somebody has changed it.
inline bool update_tuple(Relation table, ItemPointer place, TupleTableSlot *row, CommandId command,
                         Snapshot snapshot, IndexesToUpdate *indexes)
{
    TM_FailureData failure;
    LockTupleMode  mode;
    return table_tuple_update(table, place, row, command, snapshot, InvalidSnapshot, false, &failure, &mode,
                              indexes) == TM_Ok;
}

/// 18 added the counters that EXPLAIN shows.
inline IndexScanDesc begin_index_scan(Relation table, Relation index, Snapshot snapshot, int keys)
{
#if PG_VERSION_NUM >= 180000
    return index_beginscan(table, index, snapshot, nullptr, keys, 0);
#else
    return index_beginscan(table, index, snapshot, keys, 0);
#endif
}

/// 18 asks whether one that is checked at commit only will do.
inline Oid primary_key_of(Relation table)
{
#if PG_VERSION_NUM >= 180000
    return RelationGetPrimaryKeyIndex(table, false);
#else
    return RelationGetPrimaryKeyIndex(table);
#endif
}

inline Latch *latch_of(int proc)
{
    return &GetPGProcByNumber(proc)->procLatch;
}

} // namespace sluice::pg
