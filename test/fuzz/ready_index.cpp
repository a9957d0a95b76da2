// libFuzzer's bytes as the steps of the ready index's naive model (test/unit/core_ready_model.hpp); where the two differ
// the program ends.  ctest runs it for a short while; for longer, SLUICE_FUZZ_SECONDS=3600 ctest -R fuzz_ready_index.

#include <cstddef>
#include <cstdint>

#include "core/ready_index.hpp"

#include "core_ready_model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size)
{
    using sluice::core::ReadyIndex;

    // Behind the bytes comes a fixed sequence, so that the drain ends whatever they were.
    std::size_t              next   = 0;
    std::uint64_t            filler = 1;
    sluice::test::ReadyModel model{ReadyIndex::least_bytes(), [&](int n) {
                                       if (next < size)
                                           return bytes[next++] % n;
                                       filler = filler * 6364136223846793005ULL + 1442695040888963407ULL;
                                       return static_cast<int>((filler >> 33) % static_cast<unsigned>(n));
                                   }};
    while (next < size)
        model.step();
    model.check_all();
    model.drain();
    return 0;
}
