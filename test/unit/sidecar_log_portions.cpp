// Which lines go with an exchange.
#include "work/log_portions.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace sluice::sidecar {
namespace {

Attempt &add(Running &running, const std::string &token, std::size_t lines, std::size_t bytes)
{
    Job job;
    job.token        = token;
    Attempt &attempt = running.add(std::move(job), Instant{}, AttemptLog::Limits{.bytes = 100 << 20});
    for (std::size_t i = 0; i < lines; ++i)
        attempt.control.log().add("stdout", std::string(bytes, 'x'), Instant{});
    return attempt;
}

/// As if the database had taken them.  How many lines went, and of whom.
std::map<std::string, std::uint64_t> send(LogPortions &portions, Running &running)
{
    std::map<std::string, std::uint64_t> sent;
    for (const auto &[token, mark] : portions.take(running, Instant{}).marks) {
        AttemptLog &log = running.find(token)->control.log();
        sent[token]     = mark;
        log.forget_up_to(mark);
    }
    return sent;
}

TEST(SidecarLogPortions, who_says_little_is_not_behind_who_floods)
{
    Running     running;
    LogPortions portions;
    add(running, "flood", 100'000, 0);
    add(running, "quiet", 1, 10);
    const LogPortions::Taken taken = portions.take(running, Instant{});
    EXPECT_TRUE(taken.unfinished.contains("flood"));
    EXPECT_FALSE(taken.unfinished.contains("quiet"));
    EXPECT_EQ(taken.statements.size(), 2U);
    EXPECT_LT(taken.statements[0].params[1]->size() + taken.statements[1].params[1]->size(), 512U << 10);
    EXPECT_EQ(send(portions, running).at("quiet"), 1U);
}

TEST(SidecarLogPortions, long_lines_are_bounded_by_their_bytes_and_all_get_their_turn)
{
    Running     running;
    LogPortions portions;
    for (int i = 0; i < 100; ++i)
        add(running, "run " + std::to_string(i), 1, 60 << 10);
    std::size_t rounds = 0;
    std::size_t lines  = 0;
    for (auto sent = send(portions, running); !sent.empty(); sent = send(portions, running)) {
        EXPECT_LE(sent.size(), 5U);
        ++rounds;
        lines += sent.size();
    }
    EXPECT_EQ(lines, 100U);
    EXPECT_LE(rounds, 25U);
}

TEST(SidecarLogPortions, nobody_is_passed_over_while_others_go_on_talking)
{
    Running                              running;
    LogPortions                          portions;
    std::map<std::string, std::uint64_t> sent;
    for (int i = 0; i < 20; ++i)
        add(running, "run " + std::to_string(i), 50, 60 << 10);
    for (int round = 0; round < 10; ++round)
        for (const auto &[token, mark] : send(portions, running))
            sent[token] = mark;
    EXPECT_EQ(sent.size(), 20U);
}

TEST(SidecarLogPortions, all_lines_come_in_their_order)
{
    Running       running;
    LogPortions   portions;
    std::uint64_t last = 0;
    add(running, "flood", 50'000, 3);
    for (auto sent = send(portions, running); !sent.empty(); sent = send(portions, running)) {
        EXPECT_GT(sent.at("flood"), last);
        EXPECT_LE(sent.at("flood") - last, 2000U);
        last = sent.at("flood");
    }
    EXPECT_EQ(last, 50'000U);
}

} // namespace
} // namespace sluice::sidecar
