// Which interpreter, and whether it may run this target.
#include "run/python_task.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <filesystem>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

namespace json = boost::json;

/// Raised and caught in this file only.
struct Refusal {
    std::string code;
    std::string message;
};

[[noreturn]] void refuse(const std::string &message)
{
    throw Refusal{"CONFIGURED_INCORRECTLY", message};
}

std::string text_option(const json::object &options, const char *name)
{
    const json::value *value = options.if_contains(name);
    if (value == nullptr || value->is_null())
        return {};
    const json::string *text = value->if_string();
    if (text == nullptr || text->find('\0') != json::string::npos)
        refuse(std::string{"options."} + name + " must be a string");
    return std::string{*text};
}

json::array list_option(const json::object &options, const char *name)
{
    const json::value *value = options.if_contains(name);
    if (value == nullptr || value->is_null())
        return {};
    const json::array *list = value->if_array();
    if (list == nullptr ||
        !std::all_of(list->begin(), list->end(), [](const json::value &item) { return item.is_string(); }))
        refuse(std::string{"options."} + name + " must be an array of strings");
    return *list;
}

std::string find_interpreter(const json::object &options, const PythonSettings &settings)
{
    if (const std::string venv = text_option(options, "venv"); !venv.empty()) {
        const std::string real = resolved_path(venv);
        if (real.empty() || !is_allowed(real, settings.directories))
            refuse("the venv " + venv + " is in none of the directories that this sidecar allows");
        const std::string interpreter = real + "/bin/python";
        if (resolved_path(real + "/pyvenv.cfg").empty() || ::access(interpreter.c_str(), X_OK) != 0)
            refuse(venv + " is not a venv: make it with python3 -m venv " + venv);
        return interpreter;
    }

    std::string wanted = text_option(options, "interpreter");
    if (wanted.empty()) {
        if (settings.interpreters.empty())
            refuse("this sidecar has no interpreter (python.interpreters is empty)");
        wanted = settings.interpreters.front();
    }
    if (std::find(settings.interpreters.begin(), settings.interpreters.end(), wanted) ==
        settings.interpreters.end())
        refuse("the interpreter " + wanted + " is none that this sidecar allows");
    if (::access(wanted.c_str(), X_OK) != 0)
        throw Refusal{"COULD_NOT_FIND_EXECUTOR", "there is no interpreter " + wanted + " on this machine"};
    return wanted;
}

std::string find_script(const std::string &wanted, const std::vector<std::string> &directories)
{
    const std::string real = resolved_path(wanted);
    // Outside the directories nothing is said about what exists.
    if (real.empty() && is_allowed(std::filesystem::path{wanted}.lexically_normal().string(), directories))
        throw Refusal{"COULD_NOT_FIND_EXECUTOR", "there is no script " + wanted + " on this machine"};
    if (real.empty() || !is_allowed(real, directories))
        refuse("the script " + wanted + " is in none of the directories that this sidecar allows");
    return real;
}

json::array find_path(const json::array &wanted, const std::vector<std::string> &directories)
{
    json::array path;
    for (const json::value &item : wanted) {
        const std::string directory{item.as_string()};
        const std::string real = resolved_path(directory);
        // The directory itself is as good as one below it.
        if (real.empty() || !is_allowed(real + "/", directories))
            refuse("the directory " + directory + " of options.path is in none that this sidecar allows");
        path.emplace_back(real);
    }
    return path;
}

PythonTask find(const Job &job, const ProcessSettings &processes, const PythonSettings &settings,
                const std::string &helper)
{
    PythonTask task;
    task.program.grace_seconds = processes.grace_seconds;
    if (auto problem = read_common_options(job.options, task.program); !problem.empty())
        refuse(problem);
    task.interpreter  = find_interpreter(job.options, settings);
    task.program.path = task.interpreter;
    task.program.argv = {task.interpreter, "-u", helper + "/sluice_main.py"};

    const std::string kind   = text_option(job.options, "kind");
    std::string       target = job.target;
    if (kind == "script")
        target = find_script(target, settings.directories);
    else if (kind == "code" && !settings.allow_code)
        refuse("this sidecar does not run code that stands in a task (python.allow_code is off)");
    else if (kind != "function" && kind != "code")
        refuse("options.kind must be \"script\", \"function\" or \"code\"");

    json::array directories;
    for (const std::string &directory : settings.directories)
        directories.emplace_back(directory);
    task.job = {{"kind", kind},
                {"target", target},
                {"task", job.task},
                {"directories", std::move(directories)},
                {"path", find_path(list_option(job.options, "path"), settings.directories)},
                {"requirements", list_option(job.options, "requirements")}};

    if (const json::value *value = job.options.if_contains("heartbeat_seconds");
        value != nullptr && value->is_number())
        task.heartbeat_seconds = value->to_number<double>();
    const json::value *warm = job.options.if_contains("warm");
    task.warm               = warm != nullptr && warm->is_bool() && warm->get_bool();
    task.warm_bytes         = settings.warm_bytes;

    // Programs that the task starts find the helper too, and what they print is as prompt as its own lines.
    std::map<std::string, std::string> &env   = task.program.env;
    const auto                          given = env.find("PYTHONPATH");
    env["PYTHONPATH"]                         = given == env.end() ? helper : helper + ":" + given->second;
    env.emplace("PYTHONUNBUFFERED", "1");
    env.emplace("PYTHONIOENCODING", "utf-8:backslashreplace");
    return task;
}

} // namespace

std::variant<PythonTask, Outcome> find_python_task(const Job &job, const ProcessSettings &processes,
                                                   const PythonSettings &settings, const std::string &helper)
{
    try {
        return find(job, processes, settings, helper);
    } catch (const Refusal &refusal) {
        return Outcome::failed_for_good(refusal.code, refusal.message);
    }
}

std::string PythonTask::key(const Job &of) const
{
    json::object whole = job;
    for (const auto &[name, value] : program.env)
        whole["env " + name] = value;
    whole["machine"]     = of.machine;
    whole["interpreter"] = interpreter;
    whole["cwd"]         = program.cwd;
    return json::serialize(whole);
}

std::string python_input(const PythonTask &task, const Job &job)
{
    json::object      told    = task.job;
    const std::string payload = job.payload.value_or("");
    told["payload_bytes"]     = payload.size();
    return json::serialize(told) + "\n" + payload;
}

} // namespace sluice::sidecar
