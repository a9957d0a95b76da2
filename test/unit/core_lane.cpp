// Lanes: a hash of the concurrency key that is stored in rows and may never change.

#include <set>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "core/lane.hpp"

#include "core_random.hpp"

namespace {

using namespace sluice::core;
using namespace std::string_view_literals;
using sluice::test::Random;

TEST(Lane, OfAKeyIsWhatItAlwaysWas)
{
    struct Golden {
        std::string_view key;
        std::int64_t     lane;
    };
    // Computed apart from this code.
    const std::string long_key(512, 'x');
    const Golden      stored[] = {
             {"", -1166397803181037274},          {"a", -9033471704281723301},
             {"b", 7955382828454826704},          {"A", -2732060393200856899},
             {" ", 5756814179432351914},          {"customer-1", -5910645398400610854},
             {"customer-2", 6581445007524616435}, {"tenant/42", -5142297878358218534},
             {"Größe", -1944165567899368538},     {"日本語", -2227847310377299736},
             {"a\0b"sv, -6090848099315675605},    {long_key, 5205244418137805162},
    };
    for (const Golden &golden : stored)
        EXPECT_EQ(lane_of_key(golden.key), golden.lane) << golden.key;
}

TEST(Lane, WithoutAKeyIsZero)
{
    EXPECT_EQ(keyless_lane, 0);
}

TEST(Lane, OfAKeyIsNeverTheKeylessOne)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 100'000; ++i) {
        const std::string key = random.text("abcdefghijklmnopqrstuvwxyz0123456789-/", 40);
        ASSERT_NE(lane_of_key(key), keyless_lane) << key;
    }
}

TEST(Lane, KeysThatDifferGetLanesThatDiffer)
{
    std::set<std::int64_t> lanes;
    for (int i = 0; i < 200'000; ++i)
        ASSERT_TRUE(lanes.insert(lane_of_key("customer-" + std::to_string(i))).second) << i;
}

TEST(Lane, EveryByteOfAKeyCounts)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        std::string key  = random.text("abcdef", 30) + "g";
        const auto  lane = lane_of_key(key);
        key[static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(key.size()) - 1))] ^= 0x40;
        ASSERT_NE(lane_of_key(key), lane) << key;
    }
}

TEST(Lane, LanesOfNumberedKeysAreSpreadEvenly)
{
    constexpr int buckets = 64;
    constexpr int keys    = 64'000;
    int           filled[buckets]{};
    for (int i = 0; i < keys; ++i)
        ++filled[static_cast<std::uint64_t>(lane_of_key(std::to_string(i))) >> 58];
    for (const int n : filled) {
        EXPECT_GT(n, keys / buckets * 8 / 10);
        EXPECT_LT(n, keys / buckets * 12 / 10);
    }
}

} // namespace
