// libpq parses; it also knows which of its options are secrets (their display character is '*').
#include "pg/conninfo.hpp"

#include <libpq-fe.h>

#include <memory>
#include <string_view>

namespace sluice::sidecar {

namespace {

struct Free {
    void operator()(PQconninfoOption *options) const { PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, Free>;

bool is_conninfo(const std::string &text)
{
    return text.find('=') != std::string::npos || text.starts_with("postgres://") ||
           text.starts_with("postgresql://");
}

std::string quoted(std::string_view value)
{
    if (!value.empty() && value.find_first_of(" '\\") == std::string_view::npos)
        return std::string{value};
    std::string text = "'";
    for (const char c : value) {
        if (c == '\'' || c == '\\')
            text += '\\';
        text += c;
    }
    return text + "'";
}

} // namespace

std::string conninfo_problem(const std::string &conninfo)
{
    if (!is_conninfo(conninfo))
        return {};
    char                                             *message = nullptr;
    const Options                                     options{PQconninfoParse(conninfo.c_str(), &message)};
    const std::unique_ptr<char, decltype(&PQfreemem)> owned{message, PQfreemem};
    if (options)
        return {};
    // libpq's message quotes the offending part, which may be a password.
    return "it is neither a connection string nor a URL that libpq understands";
}

std::string conninfo_without_secrets(const std::string &conninfo)
{
    if (!is_conninfo(conninfo))
        return conninfo;
    const Options options{PQconninfoParse(conninfo.c_str(), nullptr)};
    if (!options)
        return "(not understood)";
    std::string shown;
    for (const PQconninfoOption *option = options.get(); option->keyword != nullptr; ++option) {
        const bool secret = option->dispchar[0] == '*';
        if (secret || option->val == nullptr)
            continue;
        if (!shown.empty())
            shown += ' ';
        shown += std::string{option->keyword} + "=" + quoted(option->val);
    }
    return shown;
}

} // namespace sluice::sidecar
