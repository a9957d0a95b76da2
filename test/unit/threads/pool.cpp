// Two threads take and give the same few places, under ThreadSanitizer: no place has two holders, and none gets lost.

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "core/pool.hpp"

namespace {

using namespace sluice::core;

struct Node {
    Link link;
    int  holder = 0; // not atomic: two holders at once are a race that the sanitizer sees
};

constexpr std::uint32_t places = 5;
std::atomic<int>        failures{0};

void take_and_give(Pool<Node> pool, int self)
{
    std::vector<std::uint32_t> mine;
    for (int i = 0; i < 100'000; ++i) {
        if (const std::uint32_t place = pool.take(); place != nowhere) {
            failures += pool[place].holder != 0 ? 1 : 0;
            pool[place].holder = self;
            pool[place].link.set(static_cast<std::uint32_t>(i)); // the holder's to use
            mine.push_back(place);
        }
        if (mine.size() > 3 || (i % 3 == 0 && !mine.empty())) {
            failures += pool[mine.back()].holder != self ? 1 : 0;
            pool.give(mine.back());
            mine.pop_back();
        }
    }
    for (const std::uint32_t place : mine)
        pool.give(place);
}

} // namespace

int main()
{
    PoolState state;
    state.room = places;
    std::vector<Node> nodes(places);
    const Pool<Node>  pool{state, nodes.data()};

    std::thread first{take_and_give, pool, 1};
    std::thread second{take_and_give, pool, 2};
    first.join();
    second.join();

    failures += pool.used() != 0 ? 1 : 0;
    for (std::uint32_t i = 0; i < places; ++i)
        failures += pool.take() == nowhere ? 1 : 0;
    failures += pool.take() != nowhere ? 1 : 0;
    if (failures != 0)
        std::printf("%d failures: a place had two holders, or was lost\n", failures.load());
    return failures == 0 ? 0 : 1;
}
