// quote: a caller's text as it is shown in an error.
#pragma once

#include <string>
#include <string_view>

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// In double quotes, and cut at 64 bytes, but never in the middle of a character of UTF-8.
inline std::string quoted(std::string_view text)
{
    std::size_t shown = 64;
    while (shown < text.size() && shown > 0 && (static_cast<unsigned char>(text[shown]) & 0xC0U) == 0x80U)
        --shown;
    return "\"" + std::string{text.substr(0, shown)} + (text.size() > shown ? "...\"" : "\"");
}

} // namespace sluice::core
