// From a job to a program and back to an outcome.
#include "run/process_executor.hpp"

#include "json_text.hpp"
#include "run/child.hpp"
#include "run/line_splitter.hpp"
#include "run/output_line.hpp"
#include "run/verdict.hpp"

#include <cstdlib>
#include <map>

namespace sluice::sidecar {

namespace {

/// All that is collected from one program while it runs.
class Collector {
public:
    Collector(AttemptLog &log, std::size_t longest)
        : log_{log}, longest_{longest}, out_{longest,
                                             [this](std::string_view line, LineSplitter::Extent extent) {
                                                 log_.add("stdout", line, BootClock::now());
                                                 output_.add(line, extent);
                                             }},
          err_{longest, [this](std::string_view line, LineSplitter::Extent) {
                   log_.add("stderr", line, BootClock::now());
                   last_words_.add(line);
               }}
    {
    }

    Collector(const Collector &)            = delete;
    Collector &operator=(const Collector &) = delete;

    void take(Child::Stream stream, std::string_view bytes)
    {
        switch (stream) {
        case Child::Stream::out:
            out_.feed(bytes);
            break;
        case Child::Stream::err:
            err_.feed(bytes);
            break;
        case Child::Stream::descriptor_3:
            too_long_ = too_long_ || descriptor_3_.size() + bytes.size() > longest_;
            if (!too_long_)
                descriptor_3_ += bytes;
            break;
        }
    }

    void finish(ProcessEnd &end, bool on_descriptor_3)
    {
        out_.finish();
        err_.finish();
        log_.close(BootClock::now());
        end.last_words = last_words_.text();
        if (on_descriptor_3) {
            judge_descriptor_3(end);
            return;
        }
        end.output         = output_.json();
        end.output_problem = output_.problem();
    }

private:
    void judge_descriptor_3(ProcessEnd &end) const
    {
        if (too_long_) {
            end.output_problem = "the output is longer than " + std::to_string(longest_) + " bytes";
            return;
        }
        if (descriptor_3_.find_first_not_of(" \t\r\n") == std::string::npos)
            return;
        if (auto json = json_for_database(descriptor_3_))
            end.output = std::move(*json);
        else
            end.output_problem = "what the process wrote to descriptor 3 is not JSON";
    }

    AttemptLog  &log_;
    std::size_t  longest_;
    OutputLine   output_;
    LastWords    last_words_;
    LineSplitter out_;
    LineSplitter err_;
    std::string  descriptor_3_;
    bool         too_long_ = false;
};

Duration seconds(double count)
{
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>{count});
}

} // namespace

std::vector<std::string> ProcessExecutor::environment(const Job &job, const Program &program) const
{
    std::map<std::string, std::string> variables;
    for (const std::string &name : settings_.env_allow)
        if (const char *value = std::getenv(name.c_str()); value != nullptr)
            variables[name] = value;
    for (const auto &[name, value] : program.env)
        variables[name] = value;
    variables["SLUICE_RUN_ID"]  = job.run_id;
    variables["SLUICE_ATTEMPT"] = std::to_string(job.attempt);
    variables["SLUICE_TASK"]    = job.task;
    variables["SLUICE_TOKEN"]   = job.token;

    std::vector<std::string> list;
    list.reserve(variables.size());
    for (const auto &[name, value] : variables)
        list.push_back(name + "=" + value);
    return list;
}

Task<Outcome> ProcessExecutor::run(const Job &job, Control &control)
{
    auto found = find_program(job.options, settings_);
    if (auto *refusal = std::get_if<Outcome>(&found))
        co_return std::move(*refusal);
    const Program program = std::get<Program>(std::move(found));

    Collector   collector{control.log(), settings_.max_output_bytes};
    Child::Spec spec{job.token,
                     program.path,
                     program.argv,
                     environment(job, program),
                     program.cwd,
                     job.payload.value_or(""),
                     program.output_on_descriptor_3,
                     {}};
    Child::Sink sink = [&collector](Child::Stream stream, std::string_view bytes) {
        collector.take(stream, bytes);
    };
    ProcessEnd end = co_await machines_.run(job, control, std::move(spec), std::move(sink),
                                            seconds(program.grace_seconds));
    collector.finish(end, program.output_on_descriptor_3);
    co_return verdict(end);
}

} // namespace sluice::sidecar
