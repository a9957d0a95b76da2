// Digests and signatures, by OpenSSL.
#pragma once

#include <string>
#include <string_view>

namespace sluice::sidecar {

/// Both in lower-case hexadecimal.
std::string sha256_hex(std::string_view text);
std::string hmac_sha256_hex(std::string_view key, std::string_view text);

} // namespace sluice::sidecar
