// The log of effects against a stack of vectors, one for each open nesting level.

#include <vector>

#include <gtest/gtest.h>

#include "core/effect_log.hpp"

#include "core_random.hpp"

namespace {

using sluice::core::EffectLog;
using sluice::test::Random;

struct Effect {
    int level;
    int number;
};

TEST(EffectLog, UndoesAndMergesAsNestedListsDo)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int round = 0; round < 300; ++round) {
        std::vector<Effect>           memory(4);
        EffectLog<Effect>             log;
        std::vector<std::vector<int>> levels(2); // [0] stays empty; the transaction is level 1
        int                           last = 0;
        log.use(memory.data(), memory.size());

        for (int step = 0; step < 300; ++step) {
            const int level = static_cast<int>(levels.size()) - 1;
            switch (random.between(0, 5)) {
            case 0:
            case 1:
            case 2: {
                if (log.size() == log.capacity()) { // moved by its owner
                    memory.resize(memory.size() * 2);
                    log.use(memory.data(), memory.size());
                }
                ++last;
                const std::size_t at = log.add({level, last});
                ASSERT_EQ(log[at].number, last);
                levels.back().push_back(last);
                break;
            }
            case 3:
                levels.emplace_back();
                break;
            case 4: {
                std::vector<int> undone;
                log.abort(level, [&](const Effect &effect) { undone.push_back(effect.number); });
                ASSERT_EQ(undone, std::vector<int>(levels.back().rbegin(), levels.back().rend()));
                levels.back().clear();
                if (level > 1)
                    levels.pop_back();
                break;
            }
            default:
                if (level == 1)
                    break;
                log.merge(level);
                levels[levels.size() - 2].insert(levels[levels.size() - 2].end(), levels.back().begin(),
                                                 levels.back().end());
                levels.pop_back();
            }

            std::size_t at = 0;
            for (std::size_t l = 1; l < levels.size(); ++l)
                for (const int number : levels[l]) {
                    ASSERT_LT(at, log.size());
                    ASSERT_EQ(log[at].number, number);
                    ASSERT_EQ(log[at].level, static_cast<int>(l));
                    ++at;
                }
            ASSERT_EQ(at, log.size());
            ASSERT_EQ(log.empty(), at == 0);
        }
        log.clear();
        ASSERT_TRUE(log.empty());
        ASSERT_EQ(log.capacity(), 0U);
    }
}

TEST(EffectLog, AbortOfALevelTakesDeeperOnesToo)
{
    Effect            memory[4];
    EffectLog<Effect> log;
    log.use(memory, 4);
    for (const int level : {1, 2, 3, 2})
        log.add({level, level});
    int undone = 0;
    log.abort(2, [&](const Effect &) { ++undone; });
    EXPECT_EQ(undone, 3);
    ASSERT_EQ(log.size(), 1U);
    EXPECT_EQ(log[0].level, 1);
}

} // namespace
