// Looks at the tasks that this worker may be handed runs of, so that what is missing here is known before a run has failed
// for it.  What it finds is in the log, and in the database for doctor().
#pragma once

#include "pg/connection.hpp"
#include "log_throttle.hpp"
#include "loop.hpp"
#include "service.hpp"
#include "work/worker.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sidecar {

class TaskCheck final : public Service {
public:
    struct Options {
        std::string              worker;
        std::string              conninfo;
        std::vector<std::string> executors;
        std::vector<std::string> queues; ///< empty: all
    };

    TaskCheck(Loop &loop, Options options, const Worker::Executors &executors);

    std::string_view name() const override { return "task check"; }
    Task<>           run() override;
    void             stop() override;
    Stats            stats() const override { return {{"problems", static_cast<double>(problems_.size())}}; }

    void configure(Options options); ///< worker and conninfo stay

    void look();                                                 ///< at all tasks, as soon as may be
    void attempt_failed(const Job &job, const Outcome &outcome); ///< perhaps for what a look would find

private:
    Task<>                           look_at_all();
    Task<std::optional<std::string>> look_at(Executor &executor, const Job &job);
    std::vector<std::string>         executors() const;
    void                             look_in(Duration delay);

    Loop                              &loop_;
    Options                            options_;
    Worker::Executors                  executors_;
    Connection                         connection_;
    Event                              wake_;
    LogThrottle                        failures_{std::chrono::minutes{1}};
    Control                           *checking_ = nullptr;
    std::map<std::string, std::string> problems_;     ///< task to code, as of the last look
    std::map<std::string, std::string> told_;         ///< task to what the log has said of it
    Instant                            not_before_{}; ///< the next look begins
    std::optional<Instant>             next_;         ///< when it does, if that is known
    bool                               wanted_       = false;
    bool                               soon_         = false;
    bool                               has_reported_ = false; ///< the database may hold a report of ours
    bool                               stopped_      = false;
};

} // namespace sluice::sidecar
