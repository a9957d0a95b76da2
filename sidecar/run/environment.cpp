// Three layers of variables.
#include "run/environment.hpp"

#include "run/trace_context.hpp"

#include <cstdlib>

namespace sluice::sidecar {

std::vector<std::string> environment(const Job &job, const std::vector<std::string> &inherited,
                                     const std::map<std::string, std::string> &own)
{
    std::map<std::string, std::string> variables;
    for (const std::string &name : inherited)
        if (const char *value = std::getenv(name.c_str()); value != nullptr)
            variables[name] = value;
    for (const auto &[name, value] : own)
        variables[name] = value;
    variables["SLUICE_RUN_ID"]            = job.run_id;
    variables["SLUICE_ATTEMPT"]           = std::to_string(job.attempt);
    variables["SLUICE_TASK"]              = job.task;
    variables["SLUICE_TOKEN"]             = job.token;
    variables["TRACEPARENT"]              = traceparent(job);
    variables["OTEL_RESOURCE_ATTRIBUTES"] = resource_attributes(job);

    std::vector<std::string> list;
    list.reserve(variables.size());
    for (const auto &[name, value] : variables)
        list.push_back(name + "=" + value);
    return list;
}

} // namespace sluice::sidecar
