// Calls of OpenSSL, and hexadecimal.
#include "hash.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <stdexcept>

namespace sluice::sidecar {

namespace {

using Digest = std::array<unsigned char, EVP_MAX_MD_SIZE>;

std::string hex(const Digest &digest, unsigned size)
{
    constexpr char digits[] = "0123456789abcdef";
    std::string    text;
    text.reserve(std::size_t{2} * size);
    for (unsigned i = 0; i < size; ++i) {
        text += digits[digest[i] >> 4U];
        text += digits[digest[i] & 0xFU];
    }
    return text;
}

} // namespace

std::string sha256_hex(std::string_view text)
{
    Digest   digest{};
    unsigned size = 0;
    if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
        throw std::runtime_error{"OpenSSL has no SHA-256"};
    return hex(digest, size);
}

std::string hmac_sha256_hex(std::string_view key, std::string_view text)
{
    Digest   digest{};
    unsigned size = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char *>(text.data()), text.size(), digest.data(),
             &size) == nullptr)
        throw std::runtime_error{"OpenSSL has no HMAC-SHA-256"};
    return hex(digest, size);
}

} // namespace sluice::sidecar
