// When the next exchange starts, with a clock that the test moves.
#include "work/pace.hpp"

#include <gtest/gtest.h>

namespace sluice::sidecar {
namespace {

using std::chrono::milliseconds;

constexpr Duration window = milliseconds{2};

Instant at(int millis)
{
    return Instant{std::chrono::seconds{100} + milliseconds{millis}};
}

/// A pace after an exchange that was answered at `millis` and left nothing to claim.
Pace answered_at(int millis)
{
    Pace pace{window};
    pace.ask();
    pace.started();
    pace.answered(at(millis));
    pace.claimed(10, 3);
    return pace;
}

TEST(SidecarPace, without_a_reason_there_is_no_exchange)
{
    const Pace pace = answered_at(0);
    EXPECT_TRUE(pace.is_quiet());
    EXPECT_EQ(pace.next(at(1000), 5), std::nullopt);
}

TEST(SidecarPace, the_first_exchange_starts_at_once)
{
    Pace pace{window};
    EXPECT_EQ(pace.next(at(0), 0), std::nullopt);
    pace.ended();
    EXPECT_EQ(pace.next(at(0), 5), at(0));
}

TEST(SidecarPace, one_exchange_is_in_flight)
{
    Pace pace{window};
    pace.ask();
    pace.started();
    EXPECT_FALSE(pace.is_quiet());
    EXPECT_EQ(pace.next(at(0), 0), std::nullopt);
    pace.ended();
    pace.ask();
    EXPECT_EQ(pace.next(at(50), 0), std::nullopt);
    pace.answered(at(60));
    EXPECT_EQ(pace.next(at(60), 0), at(60));
}

TEST(SidecarPace, what_happens_in_flight_is_not_forgotten)
{
    Pace pace = answered_at(0);
    pace.ask();
    pace.started();
    pace.ended();
    pace.answered(at(10));
    EXPECT_FALSE(pace.is_quiet());
    EXPECT_EQ(pace.next(at(10), 4), at(12));
    pace.started();
    pace.answered(at(20));
    EXPECT_TRUE(pace.is_quiet());
}

TEST(SidecarPace, an_end_on_a_calm_system_is_sent_at_once)
{
    Pace pace = answered_at(0);
    pace.ended();
    EXPECT_EQ(pace.next(at(2), 9), at(2));
    EXPECT_EQ(pace.next(at(500), 9), at(500));
}

TEST(SidecarPace, ends_soon_after_an_answer_share_an_exchange)
{
    Pace pace = answered_at(0);
    pace.ended();
    EXPECT_EQ(pace.next(at(0), 9), at(2));
    pace.ended();
    EXPECT_EQ(pace.next(at(1), 8), at(2)) << "a later end does not move the exchange";
}

TEST(SidecarPace, the_last_end_waits_for_nobody)
{
    Pace pace = answered_at(0);
    pace.ended();
    EXPECT_EQ(pace.next(at(1), 1), at(2));
    EXPECT_EQ(pace.next(at(1), 0), at(1));
}

TEST(SidecarPace, what_cannot_wait_takes_the_ends_along)
{
    Pace pace = answered_at(0);
    pace.ended();
    pace.ask();
    EXPECT_EQ(pace.next(at(1), 9), at(1));
}

TEST(SidecarPace, without_a_window_nothing_is_gathered)
{
    Pace pace = answered_at(0);
    pace.set_window(Duration::zero());
    pace.ended();
    EXPECT_EQ(pace.next(at(0), 9), at(0));
}

TEST(SidecarPace, a_freed_place_asks_for_nothing_while_the_waiter_watches)
{
    Pace pace = answered_at(0);
    pace.place_freed(true);
    EXPECT_TRUE(pace.is_quiet());
    pace.place_freed(false);
    EXPECT_EQ(pace.next(at(5), 9), at(5));
}

TEST(SidecarPace, a_freed_place_is_filled_when_the_last_claim_left_something)
{
    for (const auto &[wanted, got] : {std::pair<std::size_t, std::size_t>{4, 4}, {0, 0}}) {
        Pace pace{window};
        pace.ask();
        pace.started();
        pace.answered(at(0));
        pace.claimed(wanted, got); // one that wanted nothing has not learned that there is nothing
        pace.place_freed(true);
        EXPECT_EQ(pace.next(at(0), 3), at(2)) << wanted;
    }
}

TEST(SidecarPace, after_a_lost_connection_a_freed_place_is_filled)
{
    Pace pace = answered_at(0);
    pace.ask();
    pace.started();
    pace.lost();
    EXPECT_TRUE(pace.is_quiet());
    pace.place_freed(true);
    EXPECT_EQ(pace.next(at(5), 0), at(5));
}

} // namespace
} // namespace sluice::sidecar
