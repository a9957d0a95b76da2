// Three rows by their keys: the run, its task, its payload; see sql_job.hpp.

#include "core/token.hpp"

#include "pg/error.hpp"
#include "pg/updater.hpp"

#include "index/claim.hpp"
#include "index/partition.hpp"
#include "index/spi.hpp"
#include "index/uuid.hpp"
#include "sql_job.hpp"

namespace {

using namespace sluice;

/// The task of the attempt that a token owns; 0 if it owns none.
int32 task_of(const index::Leaves &leaves, const core::Token &token)
{
    enum Column : int { r_run_id, r_token, r_status, r_task_id };
    static const char *const columns[]{"run_id", "token", "status", "task_id"};

    pg::Rows run;
    int32    task_id = 0;
    run.open_ours(leaves.run, columns, lengthof(columns));
    if (run.find(Int64GetDatum(core::token_run_id(token))) &&
        index::is_text(run.get(r_status), "executing")) {
        bool        is_null;
        const Datum owner = run.get(r_token, &is_null);
        if (!is_null && index::token_of(owner) == token)
            task_id = DatumGetInt32(run.get(r_task_id));
    }
    run.close_and_unlock();
    return task_id;
}

char *text_at(pg::Rows &row, int column)
{
    bool        is_null;
    const Datum value = row.get(column, &is_null);
    return is_null ? nullptr : TextDatumGetCString(value);
}

/// False if the task is none in SQL.
bool read_task(int32 task_id, SqlJob *job)
{
    enum Column : int { t_task_id, t_executor, t_owner, t_owner_id, t_search_path, t_target, t_is_function };
    static const char *const columns[]{"task_id",     "executor", "owner",      "owner_id",
                                       "search_path", "target",   "is_function"};

    pg::Rows task;
    task.open_ours("task", columns, lengthof(columns));
    const bool is_sql = task.find(Int32GetDatum(task_id)) && index::is_text(task.get(t_executor), "sql");
    if (is_sql) {
        bool        is_null;
        const Datum owner = task.get(t_owner_id, &is_null);
        job->role         = is_null ? InvalidOid : DatumGetObjectId(owner);
        job->search_path  = text_at(task, t_search_path);
        job->target       = text_at(task, t_target);
        job->is_function  = DatumGetBool(task.get(t_is_function));
        if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(job->role)))
            ereport(ERROR, errcode(pg::errcode_sql_task_forbidden),
                    errmsg("role \"%s\" of the task does not exist", text_at(task, t_owner)),
                    errdetail("A role that was made since then by that name is another one."),
                    errhint("Create the role, or give the task another one with sluice.create_task."));
    }
    task.close_and_unlock();
    return is_sql;
}

void read_payload(const index::Leaves &leaves, int64 run_id, SqlJob *job)
{
    static const char *const columns[]{"run_id", "payload"};

    pg::Rows payload;
    payload.open_ours(leaves.payload, columns, lengthof(columns));
    bool is_null = true;
    if (payload.find(Int64GetDatum(run_id)))
        job->payload = payload.get(1, &is_null);
    job->has_payload = !is_null;
    if (job->has_payload)
        job->payload = PointerGetDatum(PG_DETOAST_DATUM_COPY(job->payload));
    payload.close_and_unlock();
}

} // namespace

SqlJob sluice::read_sql_job(MemoryContext context, Datum token)
{
    static const Oid        types[] = {UUIDOID};
    static index::Statement refuse("select sluice._refuse_sql_job($1)", 1, types);

    index::assert_home();
    const core::Token   wanted = index::token_of(token);
    const int64         run_id = core::token_run_id(wanted);
    const MemoryContext before = MemoryContextSwitchTo(context);
    SqlJob              job{};
    bool                is_there = false;
    if (run_id >= 0) { // else the token is none of ours
        const index::Partitions partitions;
        const index::Leaves     leaves  = partitions.leaves_of(run_id);
        const int32             task_id = task_of(leaves, wanted);
        is_there                        = task_id != 0 && read_task(task_id, &job);
        if (is_there)
            read_payload(leaves, run_id, &job);
        partitions.close_and_unlock();
    }
    MemoryContextSwitchTo(before);
    if (!is_there) {
        (void)refuse.run(&token);
        elog(ERROR, "nothing is to be run for a token");
    }
    return job;
}
