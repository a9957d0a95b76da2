// Run ids: positive, in order of time, and of a layout that can never change, since they are stored and are the bounds
// of partitions.

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "core/run_id.hpp"

#include "core_random.hpp"

namespace {

using namespace sluice::core;
using sluice::test::Random;

struct Golden {
    std::int64_t unix_ms;
    std::int64_t sequence;
    std::int64_t run_id;
};

// Computed apart from this code.  A change here means that stored ids no longer read as what they were.
constexpr Golden stored[] = {
    {1'735'689'600'000, 0, 0},
    {1'735'689'600'000, 1, 1},
    {1'735'689'600'001, 0, 4'194'304},
    {1'767'225'600'000, 1, 132'271'570'944'000'001},
    {1'790'000'000'123, 4'194'303, 227'794'328'481'693'695},
    {1'790'000'000'123, 4'194'304, 227'794'328'477'499'392},
};

TEST(RunId, IsMadeAsItAlwaysWas)
{
    for (const Golden &id : stored)
        EXPECT_EQ(make_run_id(id.unix_ms, id.sequence), id.run_id) << id.unix_ms << " " << id.sequence;
}

TEST(RunId, IsReadAsItAlwaysWas)
{
    for (const Golden &id : stored)
        EXPECT_EQ(run_id_unix_ms(id.run_id), id.unix_ms);
}

TEST(RunId, ConstantsOfTheLayoutAreFixed)
{
    EXPECT_EQ(run_id_sequence_bits, 22);
    EXPECT_EQ(run_id_sequence_mask, 4'194'303);
    EXPECT_EQ(run_id_epoch_unix_ms, 1'735'689'600'000);
    EXPECT_EQ(run_id_max_ms, 2'199'023'255'551);
}

TEST(RunId, ClockBeforeTheEpochGivesTheFirstMillisecond)
{
    for (const std::int64_t ms :
         {std::int64_t{0}, std::int64_t{-1}, run_id_epoch_unix_ms - 1, std::int64_t{-62'135'596'800'000}}) {
        EXPECT_EQ(make_run_id(ms, 7), 7);
        EXPECT_EQ(run_id_unix_ms(make_run_id(ms, 7)), run_id_epoch_unix_ms);
    }
}

TEST(RunId, ClockBeyondTheLayoutGivesTheLastMillisecond)
{
    const std::int64_t last = run_id_epoch_unix_ms + run_id_max_ms;
    EXPECT_EQ(make_run_id(last, run_id_sequence_mask), std::numeric_limits<std::int64_t>::max());
    EXPECT_EQ(make_run_id(last + 1, 9), 9'223'372'036'850'581'513);
    EXPECT_EQ(make_run_id(1'000'000'000'000'000, 9), 9'223'372'036'850'581'513);
}

TEST(RunId, InstantComesBackFromAnyIdInsideTheLayout)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const std::int64_t ms = run_id_epoch_unix_ms + random.between(0, run_id_max_ms);
        const std::int64_t id = make_run_id(ms, random.between(0, run_id_sequence_mask));
        ASSERT_EQ(run_id_unix_ms(id), ms);
    }
}

TEST(RunId, IsNeverNegativeWhateverTheClockAndTheSequence)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        // Half of the range: a clock further away than 146 million years is not one.
        const auto ms = static_cast<std::int64_t>(random.bits()) / 2;
        ASSERT_GE(make_run_id(ms, static_cast<std::int64_t>(random.bits())), 0) << ms;
    }
}

TEST(RunId, SortsByTimeFirstAndBySequenceInsideAMillisecond)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        // A range of a few milliseconds, so that equal ones are frequent.
        const std::pair<std::int64_t, std::int64_t> a{random.between(0, 3),
                                                      random.between(0, run_id_sequence_mask)};
        const std::pair<std::int64_t, std::int64_t> b{random.between(0, 3),
                                                      random.between(0, run_id_sequence_mask)};
        ASSERT_EQ(a < b, make_run_id(run_id_epoch_unix_ms + a.first, a.second) <
                             make_run_id(run_id_epoch_unix_ms + b.first, b.second));
    }
}

TEST(RunId, OneMillisecondHasAnIdForEachOfFourMillionSequenceValues)
{
    std::vector<std::int64_t> ids;
    ids.reserve(static_cast<std::size_t>(run_id_sequence_mask) + 1);
    for (std::int64_t n = 5; n <= run_id_sequence_mask + 5; ++n) // wraps on the way
        ids.push_back(make_run_id(1'790'000'000'000, n));
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
    EXPECT_EQ(run_id_unix_ms(ids.front()), run_id_unix_ms(ids.back()));
}

TEST(RunId, SmallestIdOfAnInstantBoundsAllIdsOfIt)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const std::int64_t ms    = run_id_epoch_unix_ms + random.between(0, run_id_max_ms - 1);
        const std::int64_t id    = make_run_id(ms, static_cast<std::int64_t>(random.bits()));
        const std::int64_t lower = make_run_id(ms, 0);
        ASSERT_LE(lower, id);
        ASSERT_LT(id, make_run_id(ms + 1, 0));
    }
}

} // namespace
