// All settings of sluiced: one table names each with its flag, variable, place in the file and default.  A flag
// outranks the environment, the environment the file, the file the default.
#pragma once

#include "async.hpp"
#include "log.hpp"
#include "run/http_task.hpp"
#include "run/machine_settings.hpp"
#include "run/program.hpp"
#include "run/python_task.hpp"

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sluice::sidecar {

class ConfigError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class LogFormat { automatic, json, text };

struct Config {
    std::string              database_url;
    std::string              worker_name; ///< empty: made up from host, pid and chance
    long                     capacity = 10;
    std::vector<std::string> queues; ///< empty: all
    std::vector<std::string> executors{"sql"};
    Duration                 drain_timeout = std::chrono::seconds{30};
    std::optional<Duration>  heartbeat; ///< nothing: a quarter of the shortest lease, at most 15 s
    Duration                 batch_window = std::chrono::milliseconds{2};
    ProcessSettings          process;
    MachineSettings          machines;
    PythonSettings           python;
    HttpSettings             http;
    std::string              secrets_directory;
    Duration                 process_grace  = std::chrono::seconds{5};
    log::Level               log_level      = log::Level::info;
    LogFormat                log_format     = LogFormat::automatic;
    bool                     leader_enabled = true;
};

/// A value as it was written: text from flags and environment, typed from the file.
using RawValue  = std::variant<std::string, std::int64_t, bool, double, std::vector<std::string>>;
using RawValues = std::map<std::string, RawValue, std::less<>>; ///< by key, e.g. "worker.capacity"

/// One setting.
struct Setting {
    const char *key;  ///< section.name, as in the file
    const char *flag; ///< without dashes; null when there is none
    const char *help;
    void (*apply)(Config &config, const RawValue &value); ///< throws ConfigError with what is wrong
    std::string (*show)(const Config &config);            ///< as it would be written in the file
};

const std::vector<Setting> &settings();

/// "worker.capacity" → "SLUICE_WORKER_CAPACITY".
std::string environment_name(std::string_view key);

/// Keys and values of a TOML text; throws ConfigError naming the unknown key and the nearest known one.
RawValues parse_toml(std::string_view text, std::string_view file_name);
RawValues read_config_file(const std::string &path);
RawValues read_environment();

/// Later layers win.
Config make_config(const std::vector<RawValues> &layers);

/// The whole configuration as a file, without secrets.
std::string show_config(const Config &config);

std::string nearest_key(std::string_view unknown);

} // namespace sluice::sidecar
