// Tokens: version-8 UUIDs that lead back to their run.  Workers hold them and rows store them, so their layout can never
// change; what is no token must be told apart from one.

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "core/token.hpp"

#include "core_random.hpp"

namespace {

using namespace sluice::core;
using sluice::test::Random;

std::string text_of(const Token &token)
{
    constexpr char digits[] = "0123456789abcdef";
    std::string    text;
    for (std::size_t i = 0; i < token.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += digits[token[i] >> 4];
        text += digits[token[i] & 0x0FU];
    }
    return text;
}

std::int64_t any_run_id(Random &random)
{
    return static_cast<std::int64_t>(random.bits() >> 1);
}

struct Golden {
    std::int64_t  run_id;
    std::uint64_t random;
    const char   *token;
};

// Computed apart from this code.
constexpr Golden stored[] = {
    {0, 0, "00000000-0000-8000-8000-000000000000"},
    {1, 0, "00000000-0000-8000-8800-000000000000"},
    {0, 0x7ff'ffff'ffff'ffff, "00000000-0000-8000-87ff-ffffffffffff"},
    {INT64_MAX, UINT64_MAX, "ffffffff-ffff-8fff-bfff-ffffffffffff"},
    {132'271'570'944'000'001, 0x0123'4567'89ab'cdef, "03abd896-0000-8000-8923-456789abcdef"},
    {227'794'328'477'499'469, 0xfedc'ba98'7654'3210, "06529378-3d80-8009-aedc-ba9876543210"},
};

TEST(Token, IsMadeAsItAlwaysWas)
{
    for (const Golden &golden : stored)
        EXPECT_EQ(text_of(make_token(golden.run_id, golden.random)), golden.token);
}

TEST(Token, LeadsBackToItsRun)
{
    for (const Golden &golden : stored)
        EXPECT_EQ(token_run_id(make_token(golden.run_id, golden.random)), golden.run_id);

    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const std::int64_t run_id = any_run_id(random);
        ASSERT_EQ(token_run_id(make_token(run_id, random.bits())), run_id);
    }
}

TEST(Token, EachBitOfARunIdComesBack)
{
    for (int bit = 0; bit < 63; ++bit)
        EXPECT_EQ(token_run_id(make_token(std::int64_t{1} << bit, 0)), std::int64_t{1} << bit) << bit;
}

TEST(Token, IsAUuidOfVersionEight)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const Token token = make_token(any_run_id(random), random.bits());
        ASSERT_EQ(token[6] >> 4, 8);
        ASSERT_EQ(token[8] >> 6, 2);
    }
}

TEST(Token, EachOf59RandomBitsMakesAnotherTokenAndNoMoreDo)
{
    const std::int64_t    run_id = 227'794'328'477'499'469;
    std::set<std::string> made{text_of(make_token(run_id, 0))};
    for (int bit = 0; bit < 59; ++bit)
        EXPECT_TRUE(made.insert(text_of(make_token(run_id, std::uint64_t{1} << bit))).second) << bit;
    for (int bit = 59; bit < 64; ++bit)
        EXPECT_FALSE(made.insert(text_of(make_token(run_id, std::uint64_t{1} << bit))).second) << bit;
}

TEST(Token, DiffersForDifferentRunsOfTheSameRandomBits)
{
    Random random;
    SCOPED_TRACE(random.seed());
    std::set<std::string>  tokens;
    std::set<std::int64_t> runs;
    for (int i = 0; i < 20'000; ++i) {
        const std::int64_t run_id = random.between(0, 5'000);
        ASSERT_EQ(runs.insert(run_id).second, tokens.insert(text_of(make_token(run_id, 42))).second);
    }
}

TEST(Token, UuidOfAnotherVersionOrVariantIsNoToken)
{
    for (unsigned version = 0; version < 16; ++version)
        for (unsigned variant = 0; variant < 4; ++variant) {
            Token uuid = make_token(4711, 815);
            uuid[6]    = static_cast<std::uint8_t>((version << 4) | (uuid[6] & 0x0FU));
            uuid[8]    = static_cast<std::uint8_t>((variant << 6) | (uuid[8] & 0x3FU));
            EXPECT_EQ(token_run_id(uuid), version == 8 && variant == 2 ? 4711 : -1)
                << version << " " << variant;
        }
}

TEST(Token, AnyBytesGiveARunIdOrMinusOne)
{
    Random random;
    SCOPED_TRACE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        Token bytes;
        for (std::uint8_t &byte : bytes)
            byte = static_cast<std::uint8_t>(random.bits());
        const std::int64_t run_id = token_run_id(bytes);
        const bool         ours   = bytes[6] >> 4 == 8 && bytes[8] >> 6 == 2;
        ASSERT_EQ(run_id >= 0, ours) << text_of(bytes);
        ASSERT_GE(run_id, -1);
    }
}

} // namespace
