// The ready index against a naive model of it, and what the model does not show: queues, sizes, leases.

#include <map>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/lane_tree.hpp"
#include "core/ready_index.hpp"

#include "core_random.hpp"
#include "core_ready_model.hpp"

namespace {

using namespace sluice::core;
using sluice::test::BlockMemory;
using sluice::test::Random;
using sluice::test::ReadyModel;

void agrees_with_the_model(std::size_t bytes, int episodes, int steps)
{
    Random random;
    SCOPED_TRACE(random.seed());
    std::int64_t spills = 0;
    for (int episode = 0; episode < episodes; ++episode) {
        SCOPED_TRACE(episode);
        ReadyModel model{
            bytes, [&random](int n) { return static_cast<int>(random.bits() % static_cast<unsigned>(n)); }};
        for (int step = 0; step < steps; ++step)
            ASSERT_NO_THROW(model.step()) << "step " << step;
        ASSERT_NO_THROW(model.drain());
        spills += model.index().spills();
    }
    EXPECT_EQ(spills > 0, bytes == ReadyIndex::least_bytes()) << "only the tiny block runs full";
}

TEST(ReadyIndex, AgreesWithTheModelInATinyBlock)
{
    agrees_with_the_model(ReadyIndex::least_bytes(), 600, 3000);
}

TEST(ReadyIndex, AgreesWithTheModelWithRoomForAll)
{
    agrees_with_the_model(std::size_t{4} * 1024 * 1024, 120, 3000);
}

TEST(ReadyIndex, PlacesOfABlockOfAnySizeFitIntoIt)
{
    for (std::size_t bytes = ReadyIndex::least_bytes(); bytes <= std::size_t{4} * 1024 * 1024;
         bytes += bytes / 100 + 1) {
        BlockMemory      memory{bytes};
        const ReadyIndex index = ReadyIndex::create(memory.get(), bytes, 1);
        ASSERT_GT(index.entries_room(), 100) << bytes << " bytes";
        ASSERT_LT(index.entries_room(), static_cast<std::int64_t>(bytes / 32)) << bytes << " bytes";
    }
}

TEST(ReadyIndex, MakesEachQueueOnceAndKeepsItsPlace)
{
    const std::size_t bytes = ReadyIndex::least_bytes();
    BlockMemory       memory{bytes};
    ReadyIndex        index = ReadyIndex::create(memory.get(), bytes, 1);
    EXPECT_EQ(index.find_queue(1), nowhere);

    std::map<std::int32_t, QueueRef> made;
    for (int i = 0; i < index.queue_room(); ++i) {
        const std::int32_t id  = i % 2 == 0 ? i : -i;
        const QueueRef     ref = index.make_queue(id);
        ASSERT_EQ(ref, static_cast<QueueRef>(i));
        made[id] = ref;
    }
    EXPECT_EQ(index.make_queue(1'000'000), nowhere);
    EXPECT_EQ(index.find_queue(1'000'000), nowhere);
    EXPECT_EQ(index.queue_count(), index.queue_room());

    const ReadyIndex seen = ReadyIndex::open(memory.get());
    for (const auto &[id, ref] : made) {
        EXPECT_EQ(seen.find_queue(id), ref);
        EXPECT_EQ(seen.queue_id(ref), id);
        EXPECT_EQ(index.make_queue(id), ref);
    }
}

TEST(ReadyIndex, TwoWhoMakeTheSameQueuesMakeThemOnce)
{
    for (int round = 0; round < 200; ++round) {
        const std::size_t     bytes = ReadyIndex::least_bytes();
        BlockMemory           memory{bytes};
        ReadyIndex            index = ReadyIndex::create(memory.get(), bytes, 1);
        const int             ids   = index.queue_room();
        std::vector<QueueRef> up(static_cast<std::size_t>(ids));
        std::vector<QueueRef> down(static_cast<std::size_t>(ids));
        std::thread           other{[&] {
            for (int id = ids; id-- > 0;)
                down[static_cast<std::size_t>(id)] = index.make_queue(id);
        }};
        for (int id = 0; id < ids; ++id)
            up[static_cast<std::size_t>(id)] = index.make_queue(id);
        other.join();
        ASSERT_EQ(up, down);
        ASSERT_EQ(std::set<QueueRef>(up.begin(), up.end()).size(), up.size());
        ASSERT_EQ(index.queue_count(), ids);
    }
}

TEST(ReadyIndex, CountersAreOfAQueueAndOutliveItsRuns)
{
    using sluice::core::Count;
    const std::size_t bytes = ReadyIndex::least_bytes();
    BlockMemory       memory{bytes};
    ReadyIndex        index = ReadyIndex::create(memory.get(), bytes, 1);
    const QueueRef    one = index.make_queue(1), other = index.make_queue(2);
    index.counts(one).add(Count::claimed, 3);
    index.counts(one).add(Count::claimed, 4);
    index.counts(one).add(Count::stale, 1);
    index.clear(one);
    index.forget_limits(one);
    EXPECT_EQ(index.counts(one).get(Count::claimed), 7);
    EXPECT_EQ(index.counts(one).get(Count::stale), 1);
    EXPECT_EQ(index.counts(one).get(Count::waited), 0);
    EXPECT_EQ(index.counts(other).get(Count::claimed), 0);
    index.counts(one).reset();
    EXPECT_EQ(index.counts(one).get(Count::claimed), 0);
}

TEST(ReadyIndex, TakesNothingWhileLimitsAreNotKnown)
{
    const std::size_t bytes = ReadyIndex::least_bytes();
    BlockMemory       memory{bytes};
    ReadyIndex        index = ReadyIndex::create(memory.get(), bytes, 1);
    const QueueRef    queue = index.make_queue(1);
    Ready             taken{};
    EXPECT_EQ(index.push(queue, {0, {2, 10, 1}, Executor::sql}), Pushed::stored);
    EXPECT_EQ(index.pop(queue, mask_of(Executor::sql), 1, {}, &taken).taken, 0);
    EXPECT_TRUE(index.has_work(queue, mask_of(Executor::sql)));
    index.set_limits(queue, {});
    EXPECT_EQ(index.pop(queue, mask_of(Executor::sql), 1, {}, &taken).taken, 1);
    EXPECT_EQ(taken.place.run_id, 1);
}

TEST(ReadyIndex, WithoutAnyRoomEveryShelfStillGetsOneRunAtATime)
{
    const std::size_t bytes = ReadyIndex::least_bytes();
    BlockMemory       memory{bytes};
    ReadyIndex        index = ReadyIndex::create(memory.get(), bytes, 1);
    const QueueRef    full  = index.make_queue(1);
    const QueueRef    queue = index.make_queue(2);
    index.set_limits(full, {.paused = true}); // nobody will ever make room
    index.set_limits(queue, {});
    std::int64_t id = 0;
    while (index.push(full, {0, {2, 0, ++id}, Executor::sql}) == Pushed::stored)
        continue;
    ASSERT_EQ(index.entries_used(), index.entries_room());

    for (const std::int64_t lane : {1, 2})
        for (std::int64_t run = 1; run <= 20; ++run)
            EXPECT_EQ(index.push(queue, {lane, {2, run, run}, Executor::sql}), Pushed::beyond);
    std::map<std::int64_t, std::int64_t> last;
    for (int step = 0; step < 200 && last[1] + last[2] < 40; ++step) {
        Ready           taken[5];
        const PopResult result = index.pop(queue, mask_of(Executor::sql), 5, {}, taken);
        for (int i = 0; i < result.taken; ++i)
            ASSERT_EQ(taken[i].place.run_id, ++last[taken[i].lane]);
        if (!result.needs_refill)
            continue;
        std::int64_t run = result.refill.from.run_id;
        ASSERT_TRUE(index.refill(queue, result.refill, {2, run, run}));
        ++run;
        ASSERT_FALSE(index.refill(queue, result.refill, {2, run, run}));
        index.end_refill(queue, result.refill, run > 20 ? no_place : Place{2, run, run});
    }
    EXPECT_EQ(last[1], 20);
    EXPECT_EQ(last[2], 20);
}

TEST(ReadyIndex, LanesChosenToCollideStayReachable)
{
    const std::size_t bytes = std::size_t{4} * 1024 * 1024;
    BlockMemory       memory{bytes};
    ReadyIndex        index = ReadyIndex::create(memory.get(), bytes, 0);
    const QueueRef    queue = index.make_queue(1);

    // Inverts the mixing, to get numbers whose mixed bits agree in all low bits but one: the deepest tree there can be.
    const auto invert = [](std::uint64_t bits) {
        bits = (bits ^ (bits >> 31) ^ (bits >> 62)) * 0x319642b2d24d8ec3ULL;
        bits = (bits ^ (bits >> 27) ^ (bits >> 54)) * 0x96de1b173f119089ULL;
        bits = bits ^ (bits >> 30) ^ (bits >> 60);
        return static_cast<std::int64_t>(bits - 0x9e3779b97f4a7c15ULL);
    };
    std::vector<std::int64_t> lanes{invert(0)};
    for (int bit = 63; bit >= 0; --bit)
        lanes.push_back(invert(1ULL << bit));
    ASSERT_EQ(mix(static_cast<std::uint64_t>(lanes.back())), 1U);
    for (const std::int64_t lane : lanes)
        ASSERT_TRUE(index.take_slot(queue, lane));
    for (const std::int64_t lane : lanes)
        ASSERT_TRUE(index.take_slot(queue, lane));
    EXPECT_EQ(index.stats(queue).lanes, 65);
    int seen = 0;
    index.each_lane(
        queue, [](void *context, std::int64_t, std::int32_t held) { *static_cast<int *>(context) += held; },
        &seen);
    EXPECT_EQ(seen, 130);
    for (const std::int64_t lane : lanes) {
        index.give_slot(queue, lane);
        index.give_slot(queue, lane);
    }
    EXPECT_EQ(index.stats(queue).lanes, 0);
    EXPECT_EQ(index.lanes_used(), 0);
}

TEST(ReadyIndex, LeasesAgreeWithAMap)
{
    Random random;
    SCOPED_TRACE(random.seed());
    const std::size_t bytes = ReadyIndex::least_bytes();
    BlockMemory       memory{bytes};
    ReadyIndex        index = ReadyIndex::create(memory.get(), bytes, 3);
    const int         room  = index.lease_room();

    struct Known {
        LeaseRef      ref;
        std::uint64_t worker;
    };
    std::map<Token, Known> known;
    bool                   was_full = false;
    int                    promised = 0;
    for (int step = 0; step < 100'000; ++step) {
        const Token    token  = make_token(random.between(0, 200), 1);
        const auto     found  = known.find(token);
        const LeaseRef ref    = index.find_lease(token);
        const auto     worker = static_cast<std::uint64_t>(random.between(0, 5));
        ASSERT_EQ(ref, found == known.end() ? nowhere : found->second.ref);
        if (random.between(0, 9) == 0) {
            const int wanted = static_cast<int>(random.between(0, 5));
            const int left   = room - promised - static_cast<int>(known.size());
            ASSERT_EQ(index.promise_leases(wanted), std::min(wanted, left));
            promised += std::min(wanted, left);
        } else if (promised > 0 && random.between(0, 4) == 0) {
            const int broken = static_cast<int>(random.between(1, promised));
            index.break_lease_promises(broken);
            promised -= broken;
        } else if (ref == nowhere) {
            Lease lease{};
            lease.token           = token;
            lease.worker          = worker;
            const bool     redeem = promised > 0 && random.between(0, 1) == 0;
            const LeaseRef add    = redeem ? index.add_promised_lease(lease) : index.add_lease(lease);
            if (redeem) {
                ASSERT_NE(add, nowhere);
                known[token] = {add, worker};
                --promised;
            } else if (known.size() + static_cast<std::size_t>(promised) == static_cast<std::size_t>(room)) {
                ASSERT_EQ(add, nowhere);
                was_full = true;
            } else {
                ASSERT_NE(add, nowhere);
                known[token] = {add, worker};
            }
        } else if (random.between(0, 2) == 0) {
            index.set_worker(ref, worker);
            found->second.worker = worker;
        } else if (random.between(0, 3) == 0) {
            index.drop_lease(ref);
            known.erase(found);
        } else {
            ASSERT_EQ(index.lease(ref)->token, token);
            ASSERT_EQ(index.lease(ref)->worker, found->second.worker);
        }
        ASSERT_EQ(index.lease_count(), static_cast<int>(known.size()));
        ASSERT_EQ(index.lease_room(), room - promised - static_cast<int>(known.size()));

        if (step % 100 != 0)
            continue;
        std::set<LeaseRef> all;
        std::set<LeaseRef> of_worker;
        std::set<LeaseRef> seen;
        for (const auto &[t, lease] : known) {
            all.insert(lease.ref);
            if (lease.worker == worker)
                of_worker.insert(lease.ref);
        }
        for (LeaseRef next = index.next_lease(nowhere); next != nowhere; next = index.next_lease(next))
            ASSERT_TRUE(seen.insert(next).second);
        ASSERT_EQ(seen, all);
        seen.clear();
        for (LeaseRef next = index.first_lease_of(worker); next != nowhere; next = index.next_lease_of(next))
            ASSERT_TRUE(seen.insert(next).second);
        ASSERT_EQ(seen, of_worker);
    }
    EXPECT_TRUE(was_full);
}

/// Deadlines in a naive way.
struct NaiveDeadlines {
    std::map<Token, std::int64_t> of;

    std::set<Token> late(std::int64_t as_of) const
    {
        std::set<Token> late;
        for (const auto &[token, deadline] : of)
            if (deadline < as_of)
                late.insert(token);
        return late;
    }

    std::int64_t next(std::int64_t as_of) const
    {
        std::int64_t next = INT64_MAX;
        for (const auto &[token, deadline] : of)
            if (deadline >= as_of)
                next = std::min(next, deadline);
        return next;
    }
};

std::set<Token> late_leases(const ReadyIndex &index, std::int64_t as_of)
{
    std::set<Token> late;
    index.each_late(
        as_of,
        [](void *context, const Lease &lease) {
            EXPECT_TRUE(static_cast<std::set<Token> *>(context)->insert(lease.token).second);
        },
        &late);
    return late;
}

TEST(ReadyIndex, DeadlinesAgreeWithAMap)
{
    Random random;
    SCOPED_TRACE(random.seed());
    const std::size_t bytes = std::size_t{64} * 1024;
    BlockMemory       memory{bytes};
    ReadyIndex        index = ReadyIndex::create(memory.get(), bytes, 4);
    NaiveDeadlines    known;
    std::int64_t      now = 0;
    constexpr int     all = 1'000'000;
    for (int step = 0; step < 2'000'000; ++step) {
        // Mostly as leases go: a period from now on; also earlier than it was, and equal ones.
        now += random.between(0, 2);
        const Token    token    = make_token(random.between(0, 120), 1);
        const LeaseRef ref      = index.find_lease(token);
        const auto     deadline = now + (random.between(0, 7) == 0 ? random.between(-50, 50) : 100);
        const auto     what     = random.between(0, 99);
        if (ref == nowhere) {
            Lease lease{};
            lease.token    = token;
            lease.deadline = deadline;
            if (index.add_lease(lease) != nowhere)
                known.of[token] = deadline;
        } else if (what < 25) {
            index.drop_lease(ref);
            known.of.erase(token);
        } else {
            index.set_deadline(ref, deadline);
            known.of[token] = deadline;
        }
        if (what == 99) {
            const int most = static_cast<int>(random.between(0, 10));
            while (!index.correct_deadlines(now, most + 1))
                continue;
        }
        if (what == 98) {
            ASSERT_LE(index.next_deadline(now, static_cast<int>(random.between(0, 10))), known.next(now));
        }
        if (what == 97 || what == 99) {
            ASSERT_EQ(late_leases(index, now), known.late(now));
            ASSERT_EQ(index.next_deadline(now, all), known.next(now));
        }
    }
}

} // namespace
