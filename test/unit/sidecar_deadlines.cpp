// The ordered set of deadlines, against a naive model.
#include "timer/deadlines.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace sluice::sidecar {
namespace {

Instant at(int millis)
{
    return Instant{std::chrono::milliseconds{millis}};
}

std::vector<std::string> fired(DeadlineSet &set, int millis, std::vector<std::string> &log)
{
    log.clear();
    for (const auto &action : set.take_due(at(millis)))
        action();
    return log;
}

TEST(SidecarDeadlines, come_in_order_of_time_then_of_arming)
{
    DeadlineSet              set;
    std::vector<std::string> log;
    for (const auto &[name, millis] : {std::pair{"late", 30}, {"first", 10}, {"second", 10}, {"never", 99}})
        set.arm(name, at(millis), [&log, said = std::string{name}] { log.push_back(said); });
    EXPECT_EQ(set.next(), at(10));
    EXPECT_EQ(fired(set, 9, log), (std::vector<std::string>{}));
    EXPECT_EQ(fired(set, 30, log), (std::vector<std::string>{"first", "second", "late"}));
    EXPECT_EQ(set.size(), 1U);
}

TEST(SidecarDeadlines, arming_a_name_again_moves_it)
{
    DeadlineSet              set;
    std::vector<std::string> log;
    set.arm("beat", at(10), [&] { log.push_back("old"); });
    set.arm("beat", at(20), [&] { log.push_back("new"); });
    EXPECT_EQ(set.when("beat"), at(20));
    EXPECT_EQ(fired(set, 100, log), (std::vector<std::string>{"new"}));
    EXPECT_FALSE(set.disarm("beat"));
    EXPECT_EQ(set.next(), std::nullopt);
}

TEST(SidecarDeadlines, agrees_with_a_map_searched_from_end_to_end)
{
    std::minstd_rand           random{7};
    DeadlineSet                set;
    std::map<std::string, int> model;
    std::vector<std::string>   log;
    int                        now = 0;
    for (int step = 0; step < 20'000; ++step) {
        const std::string name = "n" + std::to_string(random() % 40);
        switch (random() % 4) {
        case 0:
        case 1: {
            const int when = now + static_cast<int>(random() % 50);
            set.arm(name, at(when), [&log, name] { log.push_back(name); });
            model[name] = when;
            break;
        }
        case 2:
            EXPECT_EQ(set.disarm(name), model.erase(name) == 1);
            break;
        default: {
            now += static_cast<int>(random() % 20);
            std::vector<std::string> expected;
            for (auto entry = model.begin(); entry != model.end();) {
                if (entry->second > now) {
                    ++entry;
                    continue;
                }
                expected.push_back(entry->first);
                entry = model.erase(entry);
            }
            auto seen = fired(set, now, log);
            std::sort(seen.begin(), seen.end());
            ASSERT_EQ(seen, expected);
        }
        }
        const auto soonest = std::min_element(
            model.begin(), model.end(), [](const auto &a, const auto &b) { return a.second < b.second; });
        ASSERT_EQ(set.next(), model.empty() ? std::optional<Instant>{} : at(soonest->second));
    }
}

} // namespace
} // namespace sluice::sidecar
