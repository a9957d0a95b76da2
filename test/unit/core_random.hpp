// Random values for property tests.  Each test begins with a seed of its own, printed when the test fails; put it into
// SLUICE_TEST_SEED to see the same values again.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace sluice::test {

class Random {
public:
    Random() : seed_(seed_from_environment()), engine_(seed_) {}

    std::string seed() const { return "SLUICE_TEST_SEED=" + std::to_string(seed_); }

    std::uint64_t bits() { return engine_(); }

    /// Both ends included.
    std::int64_t between(std::int64_t low, std::int64_t high)
    {
        return std::uniform_int_distribution<std::int64_t>{low, high}(engine_);
    }

    double real(double low, double high)
    {
        return std::uniform_real_distribution<double>{low, high}(engine_);
    }

    /// Text over an alphabet, of any length up to `longest`.
    std::string text(const std::string &alphabet, std::int64_t longest)
    {
        std::string made;
        for (std::int64_t left = between(0, longest); left > 0; --left)
            made += alphabet[static_cast<std::size_t>(
                between(0, static_cast<std::int64_t>(alphabet.size()) - 1))];
        return made;
    }

private:
    static std::uint64_t seed_from_environment()
    {
        const char *const wanted = std::getenv("SLUICE_TEST_SEED");
        return wanted == nullptr ? std::random_device{}() : std::strtoull(wanted, nullptr, 10);
    }

    std::uint64_t   seed_;
    std::mt19937_64 engine_;
};

} // namespace sluice::test
