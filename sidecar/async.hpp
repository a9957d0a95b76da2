// The few Asio names that the sidecar uses, taken from narrow headers because the umbrella header doubles the
// compile time of every file.  Everything runs on one thread: nothing here needs a lock.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <ctime>

namespace sluice::sidecar {

namespace asio = boost::asio;

template <typename T = void>
using Task = asio::awaitable<T>;

inline constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

/// Monotonic and running on while the machine sleeps, because leases in the database do not sleep either.
struct BootClock {
    using duration                  = std::chrono::nanoseconds;
    using rep                       = duration::rep;
    using period                    = duration::period;
    using time_point                = std::chrono::time_point<BootClock>;
    static constexpr bool is_steady = true;

    static time_point now() noexcept
    {
        timespec at{};
        ::clock_gettime(CLOCK_BOOTTIME, &at);
        return time_point{std::chrono::seconds{at.tv_sec} + std::chrono::nanoseconds{at.tv_nsec}};
    }
};

using Duration = BootClock::duration;
using Instant  = BootClock::time_point;
using Timer    = asio::basic_waitable_timer<BootClock>;

inline Duration duration_of(double seconds)
{
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>{seconds});
}

/// A flag that one coroutine waits for; seeing it clears it.
class Event {
public:
    explicit Event(asio::io_context &io) : timer_{io} {}

    void set()
    {
        set_ = true;
        timer_.cancel();
    }

    Task<bool> wait_until(Instant limit) ///< false: the limit came first
    {
        if (!set_) {
            timer_.expires_at(limit);
            co_await timer_.async_wait(as_result);
        }
        const bool was_set = set_;
        set_               = false;
        co_return was_set;
    }

    Task<bool> wait_for(Duration limit) { return wait_until(BootClock::now() + limit); }

    Task<> wait()
    {
        // GCC 12 miscompiles a co_await in the condition of a loop.
        for (;;) {
            const bool was_set = co_await wait_until(Instant::max());
            if (was_set)
                co_return;
        }
    }

private:
    Timer timer_;
    bool  set_ = false;
};

} // namespace sluice::sidecar
