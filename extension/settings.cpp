// The `sluice.*` parameters that the database must know.  SQL reads them with current_setting(), after the library of
// the public function that calls it has been loaded; what only the sidecar needs is in its own file.

#include "settings.hpp"

#include "pg/postgres.hpp"

namespace {

int  max_payload_kb  = 3 * 1024;
int  max_output_kb   = 10 * 1024;
int  max_metadata_kb = 256;
int  default_lease_s = 60;
int  log_limit_kb    = 2 * 1024;
int  index_memory_kb = 64 * 1024;
bool private_targets = false;

} // namespace

std::size_t sluice::max_payload_bytes()
{
    constexpr std::size_t bytes_per_kb = 1024;
    return static_cast<std::size_t>(max_payload_kb) * bytes_per_kb;
}

std::size_t sluice::max_output_bytes()
{
    constexpr std::size_t bytes_per_kb = 1024;
    return static_cast<std::size_t>(max_output_kb) * bytes_per_kb;
}

double sluice::default_lease_seconds()
{
    return default_lease_s;
}

std::size_t sluice::index_memory_bytes()
{
    constexpr std::size_t bytes_per_kb = 1024;
    return static_cast<std::size_t>(index_memory_kb) * bytes_per_kb;
}

void sluice::define_settings()
{
    DefineCustomIntVariable("sluice.max_payload", "The largest payload of a run.",
                            "Measured as jsonb before compression; enqueue refuses a larger one.",
                            &max_payload_kb, 3 * 1024, 1, 262'143, PGC_SUSET, GUC_UNIT_KB, nullptr, nullptr,
                            nullptr);
    DefineCustomIntVariable("sluice.max_output", "The largest output of a run.",
                            "Measured as jsonb before compression; a larger one ends the attempt as failed.",
                            &max_output_kb, 10 * 1024, 1, 262'143, PGC_SUSET, GUC_UNIT_KB, nullptr, nullptr,
                            nullptr);
    DefineCustomIntVariable("sluice.max_metadata", "The largest metadata of a run.",
                            "Measured as jsonb before compression; enqueue refuses a larger one.",
                            &max_metadata_kb, 256, 1, 262'143, PGC_SUSET, GUC_UNIT_KB, nullptr, nullptr,
                            nullptr);
    DefineCustomIntVariable("sluice.max_log", "The most log text that is kept of one attempt.",
                            "Lines beyond it are dropped, and the last kept line says so.", &log_limit_kb,
                            2 * 1024, 1, 262'143, PGC_SUSET, GUC_UNIT_KB, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("sluice.default_lease", "How long a worker owns an attempt without a heartbeat.",
                            "A task may set its own.", &default_lease_s, 60, 1, 86'400, PGC_SUSET, GUC_UNIT_S,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "sluice.index_memory", "Shared memory for the ready index of each database; 0 turns it off.",
        "Taken when the index is first used after a start of the server.", &index_memory_kb, 64 * 1024, 0,
        16 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, nullptr, nullptr, nullptr);
    // Reported, so that every sidecar knows of a change with its next answer, and asks nothing.
    DefineCustomBoolVariable("sluice.allow_private_targets",
                             "Whether http tasks may speak to private addresses.",
                             "Loopback, private, link-local and other special addresses.", &private_targets,
                             false, PGC_SUSET, GUC_REPORT, nullptr, nullptr, nullptr);
    MarkGUCPrefixReserved("sluice");
}
