// Runs tasks that are programs.
#pragma once

#include "run/executor.hpp"
#include "run/machine.hpp"
#include "run/program.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::sidecar {

class ProcessExecutor final : public Executor {
public:
    ProcessExecutor(Machines &machines, ProcessSettings settings, Secrets secrets)
        : machines_{machines}, settings_{std::move(settings)}, secrets_{std::move(secrets)}
    {
    }

    std::string_view name() const override { return "process"; }
    Task<Admission> admit(const Job &job, Control &control) override { return machines_.admit(job, control); }
    std::size_t     room() const override { return machines_.room(); }
    Task<Outcome>   run(const Job &job, Control &control) override;

    void configure(ProcessSettings settings)
    {
        settings_ = std::move(settings);
    } ///< for attempts that start later

private:
    Machines       &machines_;
    ProcessSettings settings_;
    Secrets         secrets_;
};

} // namespace sluice::sidecar
