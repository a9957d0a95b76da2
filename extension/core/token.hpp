// token: the proof of a lease, a version-8 UUID (RFC 9562) of the 63-bit run id and 59 random bits.
//
// The run id makes completion a primary-key lookup; the random bits make the token unguessable and different after a
// failover, where attempt numbers and sequences repeat.
//
//   bytes 0-5   run id bits 62..15
//   byte  6     version 8 in the high nibble, run id bits 14..11 in the low
//   byte  7     run id bits 10..3
//   byte  8     variant 0b10, run id bits 2..0, then 3 random bits
//   bytes 9-15  56 random bits
#pragma once

#include <array>
#include <cstdint>

#include "core/pure.hpp" // keep last

namespace sluice::core {

using Token = std::array<std::uint8_t, 16>;

/// `random` gives its low 59 bits.  Precondition: run_id >= 0.
constexpr Token make_token(std::int64_t run_id, std::uint64_t random) noexcept
{
    const auto id = static_cast<std::uint64_t>(run_id);
    Token      token{};
    for (int i = 0; i < 6; ++i)
        token[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(id >> (55 - 8 * i));
    token[6] = static_cast<std::uint8_t>(0x80U | ((id >> 11) & 0x0FU));
    token[7] = static_cast<std::uint8_t>(id >> 3);
    token[8] = static_cast<std::uint8_t>(0x80U | ((id & 0x07U) << 3) | ((random >> 56) & 0x07U));
    for (int i = 0; i < 7; ++i)
        token[static_cast<std::size_t>(9 + i)] = static_cast<std::uint8_t>(random >> (48 - 8 * i));
    return token;
}

/// The run that a token belongs to, or -1 for a UUID that is no token of ours.
constexpr std::int64_t token_run_id(const Token &token) noexcept
{
    if ((token[6] & 0xF0U) != 0x80U || (token[8] & 0xC0U) != 0x80U)
        return -1;

    std::uint64_t id = 0;
    for (int i = 0; i < 6; ++i)
        id |= std::uint64_t{token[static_cast<std::size_t>(i)]} << (55 - 8 * i);
    id |= std::uint64_t{token[6] & 0x0FU} << 11;
    id |= std::uint64_t{token[7]} << 3;
    id |= (std::uint64_t{token[8]} >> 3) & 0x07U;
    return id > static_cast<std::uint64_t>(INT64_MAX) ? -1 : static_cast<std::int64_t>(id);
}

} // namespace sluice::core
