// Runs tasks that are HTTP requests.
#pragma once

#include "http/client.hpp"
#include "loop.hpp"
#include "run/executor.hpp"
#include "run/http_task.hpp"

#include <functional>
#include <string_view>
#include <utility>

namespace sluice::sidecar {

class HttpExecutor final : public Executor {
public:
    /// `allow_private` says whether the database lets requests go to private addresses now.
    HttpExecutor(Loop &loop, HttpSettings settings, Secrets secrets, std::function<bool()> allow_private)
        : loop_{loop}, client_{loop}, settings_{std::move(settings)}, secrets_{std::move(secrets)},
          allow_private_{std::move(allow_private)}
    {
    }

    std::string_view name() const override { return "http"; }
    Task<Outcome>    run(const Job &job, Control &control) override;

    void configure(HttpSettings settings)
    {
        settings_ = std::move(settings);
    } ///< for attempts that start later

private:
    Loop                 &loop_;
    HttpClient            client_;
    HttpSettings          settings_;
    Secrets               secrets_;
    std::function<bool()> allow_private_;
};

} // namespace sluice::sidecar
