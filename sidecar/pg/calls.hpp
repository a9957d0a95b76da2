// Every statement that the sidecar sends.  If it is not here, it is not sent.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace sluice::sidecar {

struct Call {
    const char *name;
    const char *sql;
};

using Params = std::vector<std::optional<std::string>>;

struct Statement {
    Call   call;
    Params params;
};

namespace calls {

// A role or database may carry settings that would break long waits or resolve names elsewhere.  The last timeout is there from
// PostgreSQL 17 on.
inline constexpr Call prepare_session{
    "prepare_session", "select pg_catalog.set_config('search_path', 'pg_catalog', false),"
                       " pg_catalog.set_config('statement_timeout', '0', false),"
                       " pg_catalog.set_config('lock_timeout', '0', false),"
                       " pg_catalog.set_config('idle_session_timeout', '0', false),"
                       " (select pg_catalog.set_config(s.name, '0', false) from pg_catalog.pg_settings as s"
                       "  where s.name operator(pg_catalog.=) 'transaction_timeout'),"
                       " pg_catalog.set_config('default_transaction_isolation', 'read committed', false)"};

inline constexpr Call version{"version",
                              "select sluice.version() as library, pg_catalog.pg_backend_pid() as backend"};
inline constexpr Call storage_version{"storage_version",
                                      "select library, stored from sluice.storage_version()"};
inline constexpr Call setup{"setup", "select sluice.setup() as report"};

inline constexpr Call register_worker{"register_worker",
                                      "select sluice.register_worker($1::text, $2::jsonb)"};

inline constexpr Call exchange{
    "exchange",
    "select * from sluice.exchange(worker => $1::text, outcomes => $2::jsonb, heartbeats => $3::uuid[],"
    " capacity => $4::int, queues => $5::text[], executors => $6::text[], seen_reply => $7::bigint)"};

inline constexpr Call append_logs{"append_logs", "select sluice.append_logs($1::uuid, $2::jsonb)"};
inline constexpr Call set_metadata{"set_metadata", "select sluice.set_metadata($1::uuid, $2::jsonb)"};
inline constexpr Call add_tags{"add_tags", "select sluice.add_tags($1::uuid, $2::text[])"};

inline constexpr Call tasks_to_check{
    "tasks_to_check", "select * from sluice.tasks_to_check(executors => $1::text[], queues => $2::text[])"};
inline constexpr Call report_tasks{"report_tasks", "select sluice.report_tasks($1::text, $2::jsonb)"};

inline constexpr Call wait_for_work{
    "wait_for_work", "call sluice.wait_for_work($1::text[], $2::interval, $3::text[], $4::text, null)"};

inline constexpr Call perform{"perform", "call sluice.perform($1::uuid, null, true)"};
// After one that failed, which has not cleaned up.  At the top level, where a task's code cannot follow.
inline constexpr Call clean_session{"clean_session", "select sluice.clean_session()"};

// A leader speaks at least once a second.  One that is frozen keeps its connection and with it the lock: the server
// then ends the session, and another sidecar leads.
inline constexpr Call end_silent_leader{"end_silent_leader",
                                        "select pg_catalog.set_config('idle_session_timeout', '4s', false)"};
inline constexpr Call try_lead{"try_lead", "select sluice.try_lead($1::text) as leading"};
inline constexpr Call reap_sessions{"reap_sessions", "select reaped as count, null::float8 as next_in"
                                                     " from sluice.reap_sessions()"};
inline constexpr Call expire_leases{"expire_leases",
                                    "select expired as count, extract(epoch from next_in)::float8"
                                    " as next_in from sluice.expire_leases()"};
inline constexpr Call expire_runs{"expire_runs",
                                  "select expired as count, extract(epoch from next_in)::float8"
                                  " as next_in from sluice.expire_runs()"};
// A schedule that is new or was changed may be due before the leader would look again.
inline constexpr Call listen_to_schedules{"listen_to_schedules", "listen sluice_schedules"};
inline constexpr Call fire_schedules{"fire_schedules",
                                     "select fired as count, extract(epoch from next_in)::float8"
                                     " as next_in from sluice.fire_schedules()"};
inline constexpr Call announce_due{"announce_due", "select due as count, extract(epoch from next_in)::float8"
                                                   " as next_in from sluice.announce_due()"};
inline constexpr Call expire_idempotency_keys{
    "expire_idempotency_keys", "select expired as count, extract(epoch from next_in)::float8 as next_in"
                               " from sluice.expire_idempotency_keys()"};
inline constexpr Call remove_old_runs{
    "remove_old_runs", "select removed as count, finding, extract(epoch from next_in)::float8 as next_in"
                       " from sluice.remove_old_runs()"};
inline constexpr Call sweep{"sweep", "select finding from sluice.sweep()"};

} // namespace calls
} // namespace sluice::sidecar
