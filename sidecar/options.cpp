// CLI11 is seen by this file alone; the flags come from the table of settings.
#include "options.hpp"

#include <CLI/CLI.hpp>

#include <iostream>

namespace sluice::sidecar {

namespace {

constexpr int usage_error = 2;

} // namespace

std::variant<Options, int> parse_options(int argc, char **argv)
{
    Options                            options;
    bool                               check = false;
    bool                               setup = false;
    std::map<std::string, std::string> values;

    CLI::App app{"sluiced runs the tasks of Sluice and does its timed work.\n"
                 "Each setting can also be given as SLUICE_<SECTION>_<NAME> or in the file.",
                 "sluiced"};
    app.set_version_flag("--version", std::string{"sluiced "} + SLUICE_VERSION);
    app.add_option("--config", options.config_file, "file with settings (TOML)")->envname("SLUICE_CONFIG");
    auto *check_flag = app.add_flag("--check-config", check, "say what the settings amount to, and exit");
    auto *setup_flag = app.add_flag("--setup", setup, "create or migrate the storage, and exit");
    setup_flag->excludes(check_flag);
    app.add_option("--setup-url", options.setup_url,
                   "connection string for --setup, of the extension's owner")
        ->needs(setup_flag);
    for (const Setting &setting : settings())
        if (setting.flag != nullptr)
            app.add_option(std::string{"--"} + setting.flag, values[setting.key], setting.help);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &error) {
        const bool asked_for = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
        app.exit(error, std::cout, std::cerr);
        return asked_for ? 0 : usage_error;
    }

    for (const Setting &setting : settings())
        if (setting.flag != nullptr && app.count(std::string{"--"} + setting.flag) > 0)
            options.flags.insert_or_assign(setting.key, values[setting.key]);
    if (check)
        options.action = Options::Action::check_config;
    if (setup)
        options.action = Options::Action::setup;
    return options;
}

} // namespace sluice::sidecar
