// Settings: layers, units, and what is said about mistakes.
#include "config.hpp"
#include "units.hpp"

#include <gtest/gtest.h>

namespace sluice::sidecar {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string problem_of(const std::string &toml)
{
    try {
        make_config({parse_toml(toml, "test.toml")});
    } catch (const ConfigError &error) {
        return error.what();
    }
    return {};
}

TEST(SidecarConfig, later_layers_win)
{
    const RawValues file = parse_toml("[worker]\ncapacity = 3\nqueues = [\"a\", \"b\"]\n", "test.toml");
    const RawValues environment{{"worker.capacity", std::string{"4"}}, {"log.level", std::string{"warn"}}};
    const RawValues flags{{"worker.capacity", std::string{"5"}}};
    const Config    config = make_config({file, environment, flags});
    EXPECT_EQ(config.capacity, 5);
    EXPECT_EQ(config.queues, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(config.log_level, log::Level::warn);
}

TEST(SidecarConfig, mistakes_name_the_setting)
{
    struct Case {
        const char *what;
        const char *toml;
        const char *said;
    };
    const Case cases[] = {
        {"an unknown setting names the nearest", "[worker]\ncapcity = 3",
         "worker.capcity; did you mean worker.capacity?"},
        {"an unknown section names the sections", "[wroker]\ncapacity = 3", "unknown section [wroker]"},
        {"a setting outside its section", "capacity = 3", "unknown setting capacity"},
        {"a number that is too large", "[worker]\ncapacity = 100000",
         "worker.capacity must be a whole number"},
        {"a text for a number", "[worker]\ncapacity = \"many\"", "worker.capacity must be a whole number"},
        {"a duration without sense", "[process]\ngrace = \"soon\"", "process.grace must be a duration"},
        {"a grace that nobody waits for", "[process]\ngrace = \"61m\"", "process.grace must be at most 1h"},
        {"a relative directory", "[process]\ndirectories = [\"bin\"]",
         "process.directories must hold absolute"},
        {"an executor that does not exist", "[worker]\nexecutors = [\"perl\"]",
         "names the executor \"perl\""},
        {"a list of numbers", "[worker]\nqueues = [1]", "worker.queues must be a list of texts"},
        {"a broken file says where", "[worker\n", "test.toml line 1"},
        {"a broken connection string keeps its secret", "[database]\nurl = \"password=geheim host\"",
         "database.url it is neither"},
    };
    for (const Case &c : cases)
        EXPECT_NE(problem_of(c.toml).find(c.said), std::string::npos) << c.what << ": " << problem_of(c.toml);
    EXPECT_EQ(problem_of("[database]\nurl = \"password=geheim host\"").find("geheim"), std::string::npos);
}

TEST(SidecarConfig, what_is_shown_is_a_file_without_secrets)
{
    const RawValues flags{
        {"database.url", std::string{"postgres://me:geheim@db.example/app?sslmode=require"}},
        {"worker.heartbeat", std::string{"2s"}}};
    const std::string shown = show_config(make_config({flags}));
    EXPECT_EQ(shown.find("geheim"), std::string::npos);
    EXPECT_NE(shown.find("host=db.example"), std::string::npos);
    const Config again = make_config({parse_toml(shown, "shown")});
    EXPECT_EQ(show_config(again), shown);
    EXPECT_EQ(again.heartbeat, Duration{seconds{2}});
}

TEST(SidecarConfig, names_of_variables)
{
    EXPECT_EQ(environment_name("worker.drain_timeout"), "SLUICE_WORKER_DRAIN_TIMEOUT");
}

TEST(SidecarUnits, durations)
{
    struct Case {
        const char             *text;
        std::optional<Duration> expected;
    };
    const Case cases[] = {
        {"30s", seconds{30}},         {"30", seconds{30}},          {"1m30s", seconds{90}},
        {"500ms", milliseconds{500}}, {"1.5s", milliseconds{1500}}, {"2 h", seconds{7200}},
        {"0s", seconds{0}},           {"", std::nullopt},           {"s", std::nullopt},
        {"-1s", std::nullopt},        {"5 parsecs", std::nullopt},  {"1m30", std::nullopt},
    };
    for (const Case &c : cases)
        EXPECT_EQ(parse_duration(c.text), c.expected) << c.text;
}

TEST(SidecarUnits, sizes)
{
    EXPECT_EQ(parse_size("10MiB"), std::size_t{10} << 20);
    EXPECT_EQ(parse_size("10 kB"), std::size_t{10'000});
    EXPECT_EQ(parse_size("17"), std::size_t{17});
    EXPECT_EQ(parse_size("ten"), std::nullopt);
    EXPECT_EQ(show_size(std::size_t{1} << 20), "1MiB");
    EXPECT_EQ(show_size(1000), "1000B");
}

} // namespace
} // namespace sluice::sidecar
