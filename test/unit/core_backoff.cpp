// Backoff: the delay between attempts, for every policy, attempt and spread inside its bounds.

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/backoff.hpp"

#include "core_random.hpp"

namespace {

using namespace sluice::core;
using sluice::test::Random;

TEST(Backoff, DefaultsAreThreeAttemptsWorthOfSeconds)
{
    constexpr Backoff policy;
    EXPECT_EQ(policy.factor, 2.0);
    EXPECT_EQ(policy.min_delay, 1.0);
    EXPECT_EQ(policy.max_delay, 60.0);
}

TEST(Backoff, GrowsByTheFactorUpToTheMost)
{
    struct Row {
        Backoff policy;
        int     attempt;
        double  spread;
        double  seconds;
    };
    constexpr Row rows[] = {
        {{2, 1, 60}, 1, 1, 1},     {{2, 1, 60}, 2, 1, 2},      {{2, 1, 60}, 6, 1, 32},
        {{2, 1, 60}, 7, 1, 60},    {{2, 1, 60}, 1, 1.5, 1.5},  {{2, 1, 60}, 6, 1.99, 60},
        {{1, 5, 60}, 1, 1, 5},     {{1, 5, 60}, 200, 1, 5},    {{3, 0.5, 10}, 3, 1, 4.5},
        {{2, 0, 60}, 5, 1.7, 0},   {{2, 5, 5}, 1, 1, 5},       {{2, 5, 5}, 1, 1.5, 5},
        {{10, 1, 1e9}, 4, 1, 1e3}, {{1.5, 2, 100}, 3, 1, 4.5}, {{2, 0, 0}, 9, 1.5, 0},
    };
    for (const Row &row : rows)
        EXPECT_DOUBLE_EQ(backoff_delay(row.policy, row.attempt, row.spread), row.seconds)
            << row.policy.factor << " " << row.policy.min_delay << " " << row.attempt;
}

TEST(Backoff, AttemptBeforeTheFirstCountsAsTheFirst)
{
    for (const int attempt : {0, -1, std::numeric_limits<int>::min()})
        EXPECT_EQ(backoff_delay({2, 1, 60}, attempt, 1), 1);
}

TEST(Backoff, OverflowGivesTheMostAndNeverInfinity)
{
    EXPECT_EQ(backoff_delay({1000, 1, 60}, 250, 1.5), 60);
    EXPECT_EQ(backoff_delay({1000, 1, 3.2e8}, std::numeric_limits<int>::max(), 1.5), 3.2e8);
}

TEST(Backoff, WithoutADelayIsWithoutADelayAtEveryAttempt)
{
    for (const int attempt : {1, 2, 100, 250, std::numeric_limits<int>::max()})
        EXPECT_EQ(backoff_delay({1000, 0, 60}, attempt, 1.5), 0) << attempt;
}

TEST(Backoff, IsTheFormulaForEveryPolicy)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 50'000; ++i) {
        const Backoff policy{random.real(1, 10), random.real(0, 100), random.real(100, 10'000)};
        const int     attempt = static_cast<int>(random.between(1, 250));
        const double  spread  = random.real(1, 2);
        double        model   = spread * policy.min_delay;
        for (int n = 1; n < attempt; ++n)
            model *= policy.factor;
        model = std::min(policy.max_delay, model);
        ASSERT_NEAR(backoff_delay(policy, attempt, spread), model, 1e-6 * policy.max_delay);
    }
}

TEST(Backoff, StaysBetweenNothingAndTheMostAndNeverShrinksWithAttempts)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const Backoff policy{random.real(1, 1000), random.real(0, 100), random.real(100, 1e8)};
        const int     attempt = static_cast<int>(random.between(1, 250));
        const double  spread  = random.real(1, 2);
        const double  delay   = backoff_delay(policy, attempt, spread);
        ASSERT_GE(delay, 0);
        ASSERT_LE(delay, policy.max_delay);
        ASSERT_LE(delay, backoff_delay(policy, attempt + 1, spread));
    }
}

TEST(Backoff, RandomizedDelayIsAtLeastThePlainOneAndLessThanTwiceIt)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const Backoff policy{random.real(1, 3), random.real(0.001, 10), 1e30};
        const int     attempt = static_cast<int>(random.between(1, 20));
        const double  plain   = backoff_delay(policy, attempt, 1);
        const double  delay   = backoff_delay(policy, attempt, random.real(1, std::nextafter(2, 1)));
        ASSERT_GE(delay, plain);
        ASSERT_LE(delay, 2 * plain);
    }
}

} // namespace
