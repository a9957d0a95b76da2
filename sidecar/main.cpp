// sluiced.  Exit codes: 0 clean, 1 wrong configuration or database, 2 wrong usage.
#include "app.hpp"
#include "config.hpp"
#include "log.hpp"
#include "options.hpp"
#include "run/guard.hpp"

#include <iostream>
#include <unistd.h>

int main(int argc, char **argv)
{
    using namespace sluice::sidecar;

    auto parsed = parse_options(argc, argv);
    if (const int *exit_code = std::get_if<int>(&parsed))
        return *exit_code;
    Options options = std::get<Options>(std::move(parsed));

    Config config;
    try {
        std::vector<RawValues> layers;
        if (!options.config_file.empty())
            layers.push_back(read_config_file(options.config_file));
        layers.push_back(read_environment());
        layers.push_back(options.flags);
        config = make_config(layers);
    } catch (const ConfigError &error) {
        std::cerr << "sluiced: " << error.what() << '\n';
        return 1;
    }

    if (options.action == Options::Action::check_config) {
        std::cout << show_config(config);
        return 0;
    }

    const bool text = config.log_format == LogFormat::text ||
                      (config.log_format == LogFormat::automatic && ::isatty(STDERR_FILENO) != 0);
    log::open(config.log_level, text ? log::Format::text : log::Format::json);

    if (options.action == Options::Action::setup)
        return run_setup(options.setup_url.empty() ? config.database_url : options.setup_url);
    start_guard(config.machines.cgroup);
    return App{std::move(options), std::move(config)}.run();
}
