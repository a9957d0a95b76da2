// Reading a task's options and holding them against the sidecar's settings.
#include "run/program.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

namespace sluice::sidecar {

namespace {

namespace json = boost::json;

constexpr const char *shell_path = "/bin/sh";

Outcome misconfigured(const std::string &message)
{
    return Outcome::failed_for_good("CONFIGURED_INCORRECTLY", message);
}

bool lies_in(const std::string &path, const std::string &directory)
{
    if (directory.empty())
        return false;
    const std::string prefix = directory.back() == '/' ? directory : directory + "/";
    return path.starts_with(prefix);
}

bool has_nul(std::string_view text)
{
    return text.find('\0') != std::string_view::npos;
}

/// Empty: no problem.
std::string read_argv(const json::value &value, std::vector<std::string> &argv)
{
    const json::array *items = value.if_array();
    if (items == nullptr || items->empty())
        return "options.argv must be an array with at least the program";
    for (const json::value &item : *items) {
        const json::string *text = item.if_string();
        if (text == nullptr || has_nul(*text))
            return "options.argv must hold strings only";
        argv.emplace_back(*text);
    }
    return {};
}

std::string read_env(const json::value &value, std::map<std::string, std::string> &env)
{
    const json::object *entries = value.if_object();
    if (entries == nullptr)
        return "options.env must be an object";
    for (const auto &[name, item] : *entries) {
        const json::string *text = item.if_string();
        const std::string   key{name};
        if (text == nullptr || has_nul(*text) || key.empty() || has_nul(key) ||
            key.find('=') != std::string::npos)
            return "options.env must map names to strings";
        env[key] = std::string{*text};
    }
    return {};
}

std::string read_secrets(const json::value &value, std::vector<std::string> &secrets)
{
    const json::array *items = value.if_array();
    if (items == nullptr)
        return "options.secrets must be an array";
    for (const json::value &item : *items) {
        const json::string *text = item.if_string();
        if (text == nullptr || text->empty() || has_nul(*text) || text->find('=') != json::string::npos)
            return "options.secrets must hold names only";
        secrets.emplace_back(*text);
    }
    return {};
}

} // namespace

std::string resolved_path(const std::string &path)
{
    const std::unique_ptr<char, decltype(&std::free)> real{::realpath(path.c_str(), nullptr), std::free};
    return real ? std::string{real.get()} : std::string{};
}

bool is_allowed(const std::string &path, const std::vector<std::string> &directories)
{
    return std::any_of(directories.begin(), directories.end(),
                       [&](const std::string &directory) { return lies_in(path, resolved_path(directory)); });
}

std::string read_common_options(const json::object &options, Program &program)
{
    if (const json::value *value = options.if_contains("env"); value != nullptr && !value->is_null())
        if (auto problem = read_env(*value, program.env); !problem.empty())
            return problem;
    if (const json::value *value = options.if_contains("secrets"); value != nullptr && !value->is_null())
        if (auto problem = read_secrets(*value, program.secrets); !problem.empty())
            return problem;
    if (const json::value *value = options.if_contains("cwd"); value != nullptr && !value->is_null()) {
        const json::string *text = value->if_string();
        if (text == nullptr || has_nul(*text) || !text->starts_with('/'))
            return "options.cwd must be an absolute directory";
        program.cwd = std::string{*text};
    }
    if (const json::value *value = options.if_contains("output"); value != nullptr && !value->is_null()) {
        const json::string *text = value->if_string();
        if (text == nullptr || (*text != "stdout" && *text != "fd:3"))
            return "options.output must be \"stdout\" or \"fd:3\"";
        program.output_on_descriptor_3 = *text == "fd:3";
    }
    if (const json::value *value = options.if_contains("grace_seconds");
        value != nullptr && !value->is_null()) {
        boost::system::error_code error;
        const double              seconds = value->is_number() ? value->to_number<double>(error) : -1;
        if (error || seconds < 0 || seconds > longest_grace_seconds)
            return "options.grace_seconds must be a number from 0 to 3600";
        program.grace_seconds = seconds;
    }
    return {};
}

std::optional<Outcome> add_secrets(Program &program, const Secrets &secrets)
{
    for (const std::string &name : program.secrets) {
        auto secret = secrets(name);
        if (!secret || secret->empty())
            return misconfigured("this sidecar has no secret \"" + name + "\"");
        if (has_nul(*secret))
            return misconfigured("the secret \"" + name +
                                 "\" of this sidecar holds a NUL, which no variable can");
        program.env[name] = std::move(*secret);
    }
    return std::nullopt;
}

std::variant<Program, Outcome> find_program(const json::object &options, const ProcessSettings &settings)
{
    Program program;
    program.grace_seconds = settings.grace_seconds;
    if (auto problem = read_common_options(options, program); !problem.empty())
        return misconfigured(problem);

    const json::value *shell = options.if_contains("shell");
    if (shell != nullptr && !shell->is_null()) {
        const json::string *text = shell->if_string();
        if (text == nullptr || has_nul(*text))
            return misconfigured("options.shell must be a string");
        if (!settings.allow_shell)
            return misconfigured("this sidecar does not run shell commands (process.allow_shell is off)");
        program.path = shell_path;
        program.argv = {shell_path, "-c", std::string{*text}};
        return program;
    }

    const json::value *argv = options.if_contains("argv");
    if (argv == nullptr)
        return misconfigured("options.argv is missing");
    if (auto problem = read_argv(*argv, program.argv); !problem.empty())
        return misconfigured(problem);

    const std::string &wanted = program.argv.front();
    if (!wanted.starts_with('/'))
        return misconfigured("the program must be an absolute path: " + wanted);

    program.path = resolved_path(wanted);
    if (program.path.empty()) {
        // Outside the directories nothing is said about what exists.
        const std::string plain = std::filesystem::path{wanted}.lexically_normal().string();
        if (is_allowed(plain, settings.directories))
            return Outcome::failed_for_good("COULD_NOT_FIND_EXECUTOR",
                                            "there is no program " + wanted + " on this machine");
    }
    if (program.path.empty() || !is_allowed(program.path, settings.directories))
        return misconfigured("the program " + wanted +
                             " is in none of the directories that this sidecar allows");
    return program;
}

} // namespace sluice::sidecar
