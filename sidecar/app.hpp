// The daemon: makes the parts, starts and stops them in order, and turns signals into what they mean.
#pragma once

#include "config.hpp"
#include "loop.hpp"
#include "options.hpp"
#include "run/http_executor.hpp"
#include "run/machine.hpp"
#include "run/process_executor.hpp"
#include "run/python_executor.hpp"
#include "run/sql_executor.hpp"
#include "timer/leader.hpp"
#include "work/task_check.hpp"
#include "work/waiter.hpp"
#include "work/worker.hpp"

#include <boost/asio/signal_set.hpp>

#include <optional>
#include <string>

namespace sluice::sidecar {

class App {
public:
    App(Options options, Config config);

    int run(); ///< the exit code

private:
    Worker::Options    worker_options() const;
    Worker::Executors  executors();
    TaskCheck::Options task_check_options() const;
    Secrets            secrets() const;
    Task<>             run_parts();
    void               start(Service &service);
    void               wait_for_signal();
    void               terminate();
    void               reload();

    Options          options_;
    std::string      host_;
    Config           config_;
    Loop             loop_;
    SqlExecutor      sql_;
    Machines         machines_;
    ProcessExecutor  process_;
    PythonExecutor   python_;
    HttpExecutor     http_;
    Worker           worker_;
    TaskCheck        task_check_;
    Waiter           waiter_;
    Leader           leader_;
    asio::signal_set signals_;
    int              services_running_ = 0;
    Event            service_ended_;
    int              exit_code_    = 0;
    int              terminations_ = 0;
};

/// Runs setup() on the given database and prints what it says; the exit code.
int run_setup(const std::string &conninfo);

} // namespace sluice::sidecar
