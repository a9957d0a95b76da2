// Runs tasks that are programs.
#pragma once

#include "loop.hpp"
#include "run/executor.hpp"
#include "run/program.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::sidecar {

class ProcessExecutor final : public Executor {
public:
    ProcessExecutor(Loop &loop, ProcessSettings settings) : loop_{loop}, settings_{std::move(settings)} {}

    std::string_view name() const override { return "process"; }
    Task<Outcome>    run(const Job &job, Control &control) override;

    void configure(ProcessSettings settings)
    {
        settings_ = std::move(settings);
    } ///< for attempts that start later

private:
    std::vector<std::string> environment(const Job &job, const Program &program) const;

    Loop           &loop_;
    ProcessSettings settings_;
};

} // namespace sluice::sidecar
