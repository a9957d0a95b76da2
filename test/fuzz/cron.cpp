// libFuzzer's bytes as a cron: it is refused with InvalidValue, or it comes, what next() finds matches, nothing between
// is passed over, and there are words for it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/cron.hpp"
#include "core/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size)
{
    using namespace sluice::core;
    using namespace std::chrono;
    try {
        const Cron cron = Cron::parse({reinterpret_cast<const char *>(bytes), size});
        WallMinute at   = local_days{year{2026} / 2 / 27} + hours{22};
        for (int i = 0; i < 20; ++i) {
            const auto next = cron.next(at);
            if (!next || *next <= at || !cron.matches(*next))
                std::abort();
            for (WallMinute between = std::max(at, *next - minutes{90}) + minutes{1}; between < *next;
                 between += minutes{1})
                if (cron.matches(between))
                    std::abort();
            at = *next;
        }
        if (cron.describe().empty() || cron.describe().size() > 1000)
            std::abort();
    } catch (const InvalidValue &) {
        return -1; // no seed for others
    }
    return 0;
}
