// The table of settings, and the layers that fill it.
#include "core/machine.hpp"

#include "config.hpp"

#include "pg/conninfo.hpp"
#include "units.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <sstream>

namespace sluice::sidecar {

namespace {

std::string as_text(const RawValue &value)
{
    if (const auto *text = std::get_if<std::string>(&value))
        return *text;
    throw ConfigError{"must be a text"};
}

long as_count(const RawValue &value, long least, long most)
{
    const auto problem =
        "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    std::int64_t number = 0;
    if (const auto *integer = std::get_if<std::int64_t>(&value)) {
        number = *integer;
    } else if (const auto *text = std::get_if<std::string>(&value)) {
        const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
        if (error != std::errc{} || end != text->data() + text->size())
            throw ConfigError{problem};
    } else {
        throw ConfigError{problem};
    }
    if (number < least || number > most)
        throw ConfigError{problem};
    return static_cast<long>(number);
}

bool as_switch(const RawValue &value)
{
    if (const auto *flag = std::get_if<bool>(&value))
        return *flag;
    const auto *text = std::get_if<std::string>(&value);
    if (text != nullptr && (*text == "true" || *text == "on" || *text == "yes" || *text == "1"))
        return true;
    if (text != nullptr && (*text == "false" || *text == "off" || *text == "no" || *text == "0"))
        return false;
    throw ConfigError{"must be true or false"};
}

/// A list in the file, names with commas between them elsewhere.
std::vector<std::string> as_list(const RawValue &value)
{
    if (const auto *list = std::get_if<std::vector<std::string>>(&value))
        return *list;
    std::vector<std::string> items;
    std::istringstream       text{as_text(value)};
    for (std::string item; std::getline(text, item, ',');) {
        const auto first = item.find_first_not_of(' ');
        const auto last  = item.find_last_not_of(' ');
        if (first != std::string::npos)
            items.push_back(item.substr(first, last - first + 1));
    }
    return items;
}

Duration as_duration(const RawValue &value)
{
    std::optional<Duration> duration;
    if (const auto *integer = std::get_if<std::int64_t>(&value))
        duration = parse_duration(std::to_string(*integer));
    else if (const auto *real = std::get_if<double>(&value))
        duration = parse_duration(std::to_string(*real));
    else if (const auto *text = std::get_if<std::string>(&value))
        duration = parse_duration(*text);
    if (!duration)
        throw ConfigError{"must be a duration such as \"30s\" or \"1m30s\""};
    return *duration;
}

std::optional<std::size_t> read_size(const RawValue &value)
{
    if (const auto *integer = std::get_if<std::int64_t>(&value))
        return parse_size(std::to_string(*integer));
    if (const auto *text = std::get_if<std::string>(&value))
        return parse_size(*text);
    return std::nullopt;
}

std::size_t as_size(const RawValue &value)
{
    const std::optional<std::size_t> size = read_size(value);
    if (!size || *size > (std::size_t{1} << 30))
        throw ConfigError{"must be a size of at most 1 GiB, such as \"10MiB\""};
    return *size;
}

std::string in_quotes(std::string_view text)
{
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            quoted += '\\';
        quoted += c;
    }
    return quoted + "\"";
}

std::string shown_list(const std::vector<std::string> &items)
{
    std::string text = "[";
    for (const std::string &item : items)
        text += (text.size() > 1 ? ", " : "") + in_quotes(item);
    return text + "]";
}

std::string shown(bool flag)
{
    return flag ? "true" : "false";
}

constexpr std::string_view known_executors[] = {"sql", "process", "python", "http"};

void set_database_url(Config &config, const RawValue &value)
{
    const std::string url = as_text(value);
    if (const auto problem = conninfo_problem(url); !problem.empty())
        throw ConfigError{problem};
    config.database_url = url;
}

void set_worker_name(Config &config, const RawValue &value)
{
    const std::string name = as_text(value);
    if (name.size() > 128)
        throw ConfigError{"must have at most 128 characters"};
    config.worker_name = name;
}

void set_executors(Config &config, const RawValue &value)
{
    const auto list = as_list(value);
    for (const std::string &item : list)
        if (std::find(std::begin(known_executors), std::end(known_executors), item) ==
            std::end(known_executors))
            throw ConfigError{"names the executor " + in_quotes(item) +
                              "; there are \"sql\", \"process\", \"python\" and \"http\""};
    config.executors = list;
}

void set_heartbeat(Config &config, const RawValue &value)
{
    const auto *text = std::get_if<std::string>(&value);
    if (text != nullptr && *text == "auto") {
        config.heartbeat.reset();
        return;
    }
    const Duration every = as_duration(value);
    if (every < std::chrono::milliseconds{50})
        throw ConfigError{"must be \"auto\" or at least 50ms"};
    config.heartbeat = every;
}

void set_batch_window(Config &config, const RawValue &value)
{
    const Duration window = as_duration(value);
    if (window > std::chrono::seconds{1})
        throw ConfigError{"must be at most 1s"};
    config.batch_window = window;
}

std::vector<std::string> as_paths(const RawValue &value, const char *what)
{
    auto list = as_list(value);
    for (const std::string &item : list)
        if (!item.starts_with('/'))
            throw ConfigError{std::string{"must hold absolute "} + what + ", not " + in_quotes(item)};
    return list;
}

std::string as_path(const RawValue &value)
{
    std::string path = as_text(value);
    if (!path.empty() && !path.starts_with('/'))
        throw ConfigError{"must be an absolute path"};
    return path;
}

void set_hosts(Config &config, const RawValue &value)
{
    auto list = as_list(value);
    for (std::string &item : list) {
        if (item.empty() || item.find('/') != std::string::npos)
            throw ConfigError{
                "must hold names of hosts, such as \"example.com\" or \"*.example.com:8443\", not " +
                in_quotes(item)};
        std::transform(item.begin(), item.end(), item.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    }
    config.http.hosts = std::move(list);
}

void set_grace(Config &config, const RawValue &value)
{
    const Duration grace = as_duration(value);
    if (grace > duration_of(longest_grace_seconds))
        throw ConfigError{"must be at most 1h"};
    config.process_grace         = grace;
    config.process.grace_seconds = std::chrono::duration<double>{config.process_grace}.count();
}

void set_cgroup(Config &config, const RawValue &value)
{
    const std::string text = as_text(value);
    if (text != "auto" && text != "off" && !text.starts_with('/'))
        throw ConfigError{"must be \"auto\", \"off\" or an absolute directory"};
    config.machines.cgroup = text;
}

void set_memory(Config &config, const RawValue &value)
{
    if (const auto *text = std::get_if<std::string>(&value); text != nullptr && *text == "auto") {
        config.machines.memory = 0;
        return;
    }
    const std::optional<std::size_t> size = read_size(value);
    if (!size || *size < core::smallest_machine.memory)
        throw ConfigError{"must be \"auto\" or a size of at least 256MiB, the smallest machine"};
    config.machines.memory = *size;
}

std::string show_memory(const Config &config)
{
    return in_quotes(config.machines.memory == 0 ? "auto" : show_size(config.machines.memory));
}

void set_log_level(Config &config, const RawValue &value)
{
    const std::string                       text = as_text(value);
    const std::map<std::string, log::Level> levels{{"debug", log::Level::debug},
                                                   {"info", log::Level::info},
                                                   {"warn", log::Level::warn},
                                                   {"error", log::Level::error}};
    const auto                              found = levels.find(text);
    if (found == levels.end())
        throw ConfigError{"must be debug, info, warn or error"};
    config.log_level = found->second;
}

std::string show_log_level(const Config &config)
{
    constexpr const char *names[] = {"debug", "info", "warn", "error"};
    return in_quotes(names[static_cast<std::size_t>(config.log_level)]);
}

void set_log_format(Config &config, const RawValue &value)
{
    const std::string text = as_text(value);
    if (text == "auto")
        config.log_format = LogFormat::automatic;
    else if (text == "json")
        config.log_format = LogFormat::json;
    else if (text == "text")
        config.log_format = LogFormat::text;
    else
        throw ConfigError{"must be auto, json or text"};
}

std::string show_log_format(const Config &config)
{
    constexpr const char *names[] = {"auto", "json", "text"};
    return in_quotes(names[static_cast<std::size_t>(config.log_format)]);
}

const Setting *find_setting(std::string_view key)
{
    const auto &all = settings();
    const auto  found =
        std::find_if(all.begin(), all.end(), [&](const Setting &each) { return each.key == key; });
    return found == all.end() ? nullptr : &*found;
}

std::size_t distance(std::string_view a, std::string_view b)
{
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = std::exchange(row[j + 1], std::min({changed, row[j] + 1, row[j + 1] + 1}));
        }
    }
    return row.back();
}

RawValue raw_value(const toml::node &node, const std::string &key)
{
    if (const auto *text = node.as_string())
        return text->get();
    if (const auto *number = node.as_integer())
        return number->get();
    if (const auto *flag = node.as_boolean())
        return flag->get();
    if (const auto *real = node.as_floating_point())
        return real->get();
    if (const auto *array = node.as_array()) {
        std::vector<std::string> list;
        for (const toml::node &item : *array) {
            const auto *text = item.as_string();
            if (text == nullptr)
                throw ConfigError{key + " must be a list of texts"};
            list.push_back(text->get());
        }
        return list;
    }
    throw ConfigError{key + " has a type that no setting has"};
}

void collect(const toml::table &table, const std::string &prefix, RawValues &values,
             const std::string &file_name)
{
    for (const auto &[name, node] : table) {
        const std::string key =
            prefix.empty() ? std::string{name.str()} : prefix + "." + std::string{name.str()};
        const auto line = std::to_string(node.source().begin.line);
        if (const auto *inner = node.as_table(); inner != nullptr && prefix.empty()) {
            const auto &all   = settings();
            const bool  known = std::any_of(all.begin(), all.end(), [&](const Setting &each) {
                return std::string_view{each.key}.starts_with(key + ".");
            });
            if (!known)
                throw ConfigError{
                    file_name + " line " + line + ": unknown section [" + key +
                    "]; the sections are database, worker, process, python, http, secrets, log and leader"};
            collect(*inner, key, values, file_name);
            continue;
        }
        if (find_setting(key) == nullptr)
            throw ConfigError{file_name + " line " + line + ": unknown setting " + key + "; did you mean " +
                              nearest_key(key) + "?"};
        values.insert_or_assign(key, raw_value(node, key));
    }
}

} // namespace

const std::vector<Setting> &settings()
{
    static const std::vector<Setting> all{
        {"database.url", "database", "connection string or URL; what it leaves out comes from PGHOST etc.",
         set_database_url,
         [](const Config &c) { return in_quotes(conninfo_without_secrets(c.database_url)); }},
        {"worker.name", "name", "unique name of this worker (default host:pid:random)", set_worker_name,
         [](const Config &c) { return in_quotes(c.worker_name); }},
        {"worker.capacity", "capacity", "how many attempts run at once",
         [](Config &c, const RawValue &v) { c.capacity = as_count(v, 0, 10'000); },
         [](const Config &c) { return std::to_string(c.capacity); }},
        {"worker.queues", "queues", "queues to serve, with commas between them (default all)",
         [](Config &c, const RawValue &v) { c.queues = as_list(v); },
         [](const Config &c) { return shown_list(c.queues); }},
        {"worker.executors", "executors", "kinds of task to run: sql, process, python, http", set_executors,
         [](const Config &c) { return shown_list(c.executors); }},
        {"worker.drain_timeout", "drain-timeout", "how long running work may go on after SIGTERM",
         [](Config &c, const RawValue &v) { c.drain_timeout = as_duration(v); },
         [](const Config &c) { return in_quotes(show_duration(c.drain_timeout)); }},
        {"worker.heartbeat", "heartbeat", "time between heartbeats, or auto", set_heartbeat,
         [](const Config &c) { return in_quotes(c.heartbeat ? show_duration(*c.heartbeat) : "auto"); }},
        {"worker.batch_window", nullptr, "how long ends of attempts are gathered while busy",
         set_batch_window, [](const Config &c) { return in_quotes(show_duration(c.batch_window)); }},
        {"process.directories", "process-directories",
         "directories whose programs may run, with commas between them",
         [](Config &c, const RawValue &v) { c.process.directories = as_paths(v, "directories"); },
         [](const Config &c) { return shown_list(c.process.directories); }},
        {"process.allow_shell", nullptr, "whether tasks may use options.shell",
         [](Config &c, const RawValue &v) { c.process.allow_shell = as_switch(v); },
         [](const Config &c) { return shown(c.process.allow_shell); }},
        {"process.env_allow", nullptr, "variables that programs inherit",
         [](Config &c, const RawValue &v) { c.process.env_allow = as_list(v); },
         [](const Config &c) { return shown_list(c.process.env_allow); }},
        {"process.max_log_bytes", nullptr, "lines kept of one attempt",
         [](Config &c, const RawValue &v) { c.process.max_log_bytes = as_size(v); },
         [](const Config &c) { return in_quotes(show_size(c.process.max_log_bytes)); }},
        {"process.max_output_bytes", nullptr, "largest output of one attempt",
         [](Config &c, const RawValue &v) { c.process.max_output_bytes = as_size(v); },
         [](const Config &c) { return in_quotes(show_size(c.process.max_output_bytes)); }},
        {"process.grace", nullptr, "time between SIGTERM and SIGKILL", set_grace,
         [](const Config &c) { return in_quotes(show_duration(c.process_grace)); }},
        {"process.cgroup", nullptr, "where control groups are made: auto, off, or a directory", set_cgroup,
         [](const Config &c) { return in_quotes(c.machines.cgroup); }},
        {"process.memory", nullptr, "memory for all attempts at once, or auto", set_memory, show_memory},
        {"process.memory_wait", nullptr, "how long a claimed run waits for memory before it is given back",
         [](Config &c, const RawValue &v) { c.machines.memory_wait = as_duration(v); },
         [](const Config &c) { return in_quotes(show_duration(c.machines.memory_wait)); }},
        {"process.max_processes", nullptr, "processes and threads of one attempt",
         [](Config &c, const RawValue &v) {
             c.machines.max_processes = static_cast<std::uint64_t>(as_count(v, 1, 4'000'000));
         },
         [](const Config &c) { return std::to_string(c.machines.max_processes); }},
        {"python.interpreters", nullptr,
         "interpreters that python tasks may name; the first one is the default",
         [](Config &c, const RawValue &v) { c.python.interpreters = as_paths(v, "programs"); },
         [](const Config &c) { return shown_list(c.python.interpreters); }},
        {"python.directories", "python-directories",
         "directories whose scripts, modules and venvs may be used, with commas between them",
         [](Config &c, const RawValue &v) { c.python.directories = as_paths(v, "directories"); },
         [](const Config &c) { return shown_list(c.python.directories); }},
        {"python.allow_code", nullptr, "whether python tasks may be code that stands in the task",
         [](Config &c, const RawValue &v) { c.python.allow_code = as_switch(v); },
         [](const Config &c) { return shown(c.python.allow_code); }},
        {"python.warm_runs", nullptr, "attempts of one warm interpreter",
         [](Config &c, const RawValue &v) {
             c.python.warm_runs = static_cast<std::size_t>(as_count(v, 1, 1'000'000));
         },
         [](const Config &c) { return std::to_string(c.python.warm_runs); }},
        {"python.warm_memory", nullptr, "a warm interpreter that holds more is not used again",
         [](Config &c, const RawValue &v) { c.python.warm_bytes = as_size(v); },
         [](const Config &c) { return in_quotes(show_size(c.python.warm_bytes)); }},
        {"python.warm_idle", nullptr, "how long a warm interpreter waits for its next attempt",
         [](Config &c, const RawValue &v) { c.python.warm_idle = as_duration(v); },
         [](const Config &c) { return in_quotes(show_duration(c.python.warm_idle)); }},
        {"http.hosts", "http-hosts", "hosts that http tasks may speak to, with commas between them",
         set_hosts, [](const Config &c) { return shown_list(c.http.hosts); }},
        {"http.ca_file", nullptr, "certificates that are trusted instead of the system's",
         [](Config &c, const RawValue &v) { c.http.ca_file = as_path(v); },
         [](const Config &c) { return in_quotes(c.http.ca_file); }},
        {"http.max_reply_bytes", nullptr, "how long a reply may be",
         [](Config &c, const RawValue &v) { c.http.max_reply_bytes = as_size(v); },
         [](const Config &c) { return in_quotes(show_size(c.http.max_reply_bytes)); }},
        {"http.max_wait", nullptr, "how long a receiver that answered 202 may take to end its attempt",
         [](Config &c, const RawValue &v) { c.http.max_wait = as_duration(v); },
         [](const Config &c) { return in_quotes(show_duration(c.http.max_wait)); }},
        {"secrets.directory", nullptr,
         "where a secret is a file of its name; else it is SLUICE_SECRET_<NAME>",
         [](Config &c, const RawValue &v) { c.secrets_directory = as_path(v); },
         [](const Config &c) { return in_quotes(c.secrets_directory); }},
        {"log.level", "log-level", "debug, info, warn or error", set_log_level, show_log_level},
        {"log.format", "log-format", "json, text, or auto: text on a terminal", set_log_format,
         show_log_format},
        {"leader.enabled", nullptr, "whether this sidecar may do the leader's duties",
         [](Config &c, const RawValue &v) { c.leader_enabled = as_switch(v); },
         [](const Config &c) { return shown(c.leader_enabled); }},
    };
    return all;
}

std::string environment_name(std::string_view key)
{
    std::string name = "SLUICE_";
    for (const char c : key)
        name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    return name;
}

std::string nearest_key(std::string_view unknown)
{
    const auto &all = settings();
    return std::min_element(all.begin(), all.end(),
                            [&](const Setting &a, const Setting &b) {
                                return distance(unknown, a.key) < distance(unknown, b.key);
                            })
        ->key;
}

RawValues parse_toml(std::string_view text, std::string_view file_name)
{
    RawValues         values;
    const std::string file{file_name};
    try {
        const toml::table table = toml::parse(text, file_name);
        collect(table, "", values, file);
    } catch (const toml::parse_error &error) {
        throw ConfigError{file + " line " + std::to_string(error.source().begin.line) + ": " +
                          std::string{error.description()}};
    }
    return values;
}

RawValues read_config_file(const std::string &path)
{
    std::ifstream     file{path};
    std::stringstream text;
    text << file.rdbuf();
    if (!file)
        throw ConfigError{"cannot read the file " + path};
    return parse_toml(text.str(), path);
}

RawValues read_environment()
{
    RawValues values;
    for (const Setting &setting : settings())
        if (const char *value = std::getenv(environment_name(setting.key).c_str()); value != nullptr)
            values.insert_or_assign(setting.key, std::string{value});
    return values;
}

Config make_config(const std::vector<RawValues> &layers)
{
    Config config;
    for (const RawValues &layer : layers) {
        for (const auto &[key, value] : layer) {
            const Setting *setting = find_setting(key);
            if (setting == nullptr)
                throw ConfigError{"unknown setting " + key + "; did you mean " + nearest_key(key) + "?"};
            try {
                setting->apply(config, value);
            } catch (const ConfigError &error) {
                throw ConfigError{key + " " + error.what()};
            }
        }
    }
    return config;
}

std::string show_config(const Config &config)
{
    std::string text;
    std::string section;
    for (const Setting &setting : settings()) {
        const std::string key = setting.key;
        const auto        dot = key.find('.');
        if (key.substr(0, dot) != section) {
            text += (section.empty() ? "[" : "\n[") + key.substr(0, dot) + "]\n";
            section = key.substr(0, dot);
        }
        text += key.substr(dot + 1) + " = " + setting.show(config) + "\n";
    }
    return text;
}

} // namespace sluice::sidecar
