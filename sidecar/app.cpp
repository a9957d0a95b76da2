// Putting the parts together.
#include "app.hpp"

#include "pg/conninfo.hpp"
#include "log.hpp"
#include "notify.hpp"

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <random>
#include <unistd.h>

namespace sluice::sidecar {

namespace {

// A second SIGTERM: children are killed at once, and this is how long we try to say so.
constexpr Duration immediate_limit = std::chrono::seconds{2};

std::string host_name()
{
    char name[256] = {};
    return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

std::string make_name(const std::string &host)
{
    constexpr char     hex[] = "0123456789abcdef";
    std::random_device random;
    std::string        name = host + ":" + std::to_string(::getpid()) + ":";
    for (int i = 0; i < 6; ++i)
        name += hex[random() % 16];
    return name;
}

Config named(Config config, const std::string &host)
{
    if (config.worker_name.empty())
        config.worker_name = make_name(host);
    return config;
}

} // namespace

App::App(Options options, Config config)
    : options_{std::move(options)}, host_{host_name()}, config_{named(std::move(config), host_)},
      sql_{loop_, config_.database_url}, machines_{loop_, config_.machines},
      process_{machines_, config_.process, secrets()}, python_{loop_, machines_, config_.process,
                                                               config_.python, secrets()},
      http_{loop_, config_.http, secrets(), [this] { return worker_.allows_private_targets(); }},
      worker_{loop_, worker_options(), executors()}, task_check_{loop_, task_check_options(), executors()},
      waiter_{loop_, worker_, config_.database_url, config_.worker_name}, leader_{loop_, worker_,
                                                                                  config_.database_url,
                                                                                  config_.worker_name},
      signals_{loop_.io, SIGTERM, SIGINT, SIGHUP}, service_ended_{loop_.io}
{
    sql_.set_capacity(static_cast<std::size_t>(config_.capacity));
}

Worker::Options App::worker_options() const
{
    Worker::Options options;
    options.name          = config_.worker_name;
    options.host          = host_;
    options.conninfo      = config_.database_url;
    options.capacity      = static_cast<std::size_t>(config_.capacity);
    options.queues        = config_.queues;
    options.executors     = config_.executors;
    options.heartbeat     = config_.heartbeat;
    options.batch_window  = config_.batch_window;
    options.max_log_bytes = config_.process.max_log_bytes;
    options.memory        = machines_.memory();
    return options;
}

Worker::Executors App::executors()
{
    return {{"sql", &sql_}, {"process", &process_}, {"python", &python_}, {"http", &http_}};
}

TaskCheck::Options App::task_check_options() const
{
    return {config_.worker_name, config_.database_url, config_.executors, config_.queues};
}

Secrets App::secrets() const
{
    return [this](const std::string &name) { return find_secret(config_.secrets_directory, name); };
}

int App::run()
{
    log::info("starting", {{"version", SLUICE_VERSION},
                           {"worker", config_.worker_name},
                           {"database", conninfo_without_secrets(config_.database_url)},
                           {"capacity", config_.capacity}});
    worker_.on_settled([this] { waiter_.update(); });
    worker_.on_session([this] { task_check_.look(); });
    worker_.on_failed(
        [this](const Job &job, const Outcome &outcome) { task_check_.attempt_failed(job, outcome); });
    worker_.on_ready([this] {
        log::info("ready", {{"worker", config_.worker_name}});
        notify_manager("READY=1");
    });
    wait_for_signal();
    asio::co_spawn(loop_.io, run_parts(), [this](const std::exception_ptr &) { loop_.io.stop(); });
    loop_.io.run();
    log::info("stopped", {{"exit_code", exit_code_}});
    // What could not be ended in time still refers to parts that would be destroyed before it.
    if (worker_.holds_attempts())
        std::_Exit(exit_code_);
    return exit_code_;
}

/// The worker decides when the day is over; the others only help it.
Task<> App::run_parts()
{
    start(waiter_);
    start(task_check_);
    if (config_.leader_enabled)
        start(leader_);
    try {
        co_await worker_.run();
    } catch (const StartupError &error) {
        log::error("cannot start", {{"reason", error.what()}});
        exit_code_ = 1;
    } catch (const std::exception &error) {
        log::error("the worker failed", {{"reason", error.what()}});
        worker_.stop_attempts(StopReason::drained, Force::firm);
        exit_code_ = 1;
    }
    task_check_.stop();
    co_await python_.close();
    leader_.stop();
    waiter_.stop();
    while (services_running_ > 0)
        co_await service_ended_.wait();
    signals_.cancel();
}

void App::start(Service &service)
{
    ++services_running_;
    asio::co_spawn(loop_.io, service.run(), [this, &service](const std::exception_ptr &failure) {
        --services_running_;
        service_ended_.set();
        if (!failure)
            return;
        try {
            std::rethrow_exception(failure);
        } catch (const std::exception &error) {
            log::error("a part of sluiced failed, leaving",
                       {{"part", service.name()}, {"reason", error.what()}});
        }
        exit_code_ = 1;
        worker_.drain(Duration::zero());
    });
}

void App::wait_for_signal()
{
    signals_.async_wait([this](const boost::system::error_code &error, int signal) {
        if (error)
            return;
        wait_for_signal();
        if (signal == SIGHUP)
            reload();
        else
            terminate();
    });
}

void App::terminate()
{
    ++terminations_;
    if (terminations_ == 1) {
        log::info("draining",
                  {{"timeout_ms",
                    std::chrono::duration_cast<std::chrono::milliseconds>(config_.drain_timeout).count()}});
        notify_manager("STOPPING=1");
        return worker_.drain(config_.drain_timeout);
    }
    log::warn("stopping at once");
    worker_.stop_attempts(StopReason::drained, Force::firm);
    loop_.deadlines.arm_in("immediate", immediate_limit, [this] { worker_.stop(); });
}

void App::reload()
{
    if (options_.config_file.empty()) {
        log::info("nothing to reload: there is no file");
        return;
    }
    Config fresh;
    try {
        fresh = make_config({read_config_file(options_.config_file), read_environment(), options_.flags});
    } catch (const ConfigError &error) {
        log::error("the file was not reloaded", {{"reason", error.what()}});
        return;
    }

    std::string restart;
    const auto  keep = [&](const char *key, auto &now, auto &then) {
        if (now != then)
            restart += (restart.empty() ? "" : ", ") + std::string{key};
        then = now;
    };
    if (fresh.worker_name.empty())
        fresh.worker_name = config_.worker_name;
    keep("database.url", config_.database_url, fresh.database_url);
    keep("worker.name", config_.worker_name, fresh.worker_name);
    keep("log.format", config_.log_format, fresh.log_format);
    keep("process.cgroup", config_.machines.cgroup, fresh.machines.cgroup);
    keep("leader.enabled", config_.leader_enabled, fresh.leader_enabled);

    config_ = std::move(fresh);
    log::set_level(config_.log_level);
    sql_.set_capacity(static_cast<std::size_t>(config_.capacity));
    machines_.configure(config_.machines);
    process_.configure(config_.process);
    python_.configure(config_.process, config_.python);
    http_.configure(config_.http);
    worker_.configure(worker_options());
    task_check_.configure(task_check_options());
    log::info("reloaded", {{"capacity", config_.capacity}});
    if (!restart.empty())
        log::warn("these settings change at the next start only", {{"settings", restart}});
}

int run_setup(const std::string &conninfo)
{
    Loop loop;
    int  exit_code = 1;
    asio::co_spawn(
        loop.io,
        [](Loop &on, std::string target, int &code) -> Task<> {
            Connection connection{on, "setup"};
            try {
                co_await connection.connect(target);
                const Result result = co_await connection.exec(calls::setup);
                for (int row = 0; row < result.rows(); ++row)
                    std::cout << result.text(row, "report") << '\n';
                code = 0;
            } catch (const Failure &failure) {
                log::error("setup failed", {{"sqlstate", failure.sqlstate()},
                                            {"reason", failure.message()},
                                            {"detail", failure.detail()},
                                            {"hint", failure.hint()}});
            }
        }(loop, conninfo, exit_code),
        [&loop](const std::exception_ptr &) { loop.io.stop(); });
    loop.io.run();
    return exit_code;
}

} // namespace sluice::sidecar
