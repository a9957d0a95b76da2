// From a job to a program and back to an outcome.
#include "run/process_executor.hpp"

#include "json_text.hpp"
#include "run/child.hpp"
#include "run/child_lines.hpp"
#include "run/environment.hpp"
#include "run/output_line.hpp"
#include "run/verdict.hpp"

namespace sluice::sidecar {

namespace {

/// All that is collected from one program while it runs.
class Collector {
public:
    Collector(AttemptLog &log, std::size_t longest)
        : longest_{longest}, lines_{log, longest, [this](std::string_view line, LineSplitter::Extent extent) {
                                        output_.add(line, extent);
                                    }}
    {
    }

    Collector(const Collector &)            = delete;
    Collector &operator=(const Collector &) = delete;

    void take(Child::Stream stream, std::string_view bytes)
    {
        switch (stream) {
        case Child::Stream::out:
            lines_.out(bytes);
            break;
        case Child::Stream::err:
            lines_.err(bytes);
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
        lines_.finish();
        end.last_words = lines_.last_words();
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

    std::size_t longest_;
    OutputLine  output_;
    ChildLines  lines_;
    std::string descriptor_3_;
    bool        too_long_ = false;
};

} // namespace

Task<Outcome> ProcessExecutor::run(const Job &job, Control &control)
{
    auto found = find_program(job.options, settings_);
    if (auto *refusal = std::get_if<Outcome>(&found))
        co_return std::move(*refusal);
    Program program = std::get<Program>(std::move(found));
    if (auto refusal = add_secrets(program, secrets_))
        co_return std::move(*refusal);

    Collector   collector{control.log(), settings_.max_output_bytes};
    Child::Spec spec{job.token,
                     program.path,
                     program.argv,
                     environment(job, settings_.env_allow, program.env),
                     program.cwd,
                     job.payload.value_or(""),
                     program.output_on_descriptor_3,
                     {}};
    Child::Sink sink = [&collector](Child::Stream stream, std::string_view bytes) {
        collector.take(stream, bytes);
    };
    ProcessEnd end = co_await machines_.run(job, control, std::move(spec), std::move(sink),
                                            duration_of(program.grace_seconds));
    collector.finish(end, program.output_on_descriptor_3);
    co_return verdict(end);
}

} // namespace sluice::sidecar
