// Files first: they can be changed while sluiced runs.
#include "secrets.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace sluice::sidecar {

namespace {

bool is_name(const std::string &name)
{
    return !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
    });
}

std::optional<std::string> from_file(const std::string &path)
{
    std::ifstream     file{path};
    std::stringstream text;
    text << file.rdbuf();
    if (!file)
        return std::nullopt;
    std::string secret = text.str();
    while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r'))
        secret.pop_back();
    return secret;
}

} // namespace

std::optional<std::string> find_secret(const std::string &directory, const std::string &name)
{
    if (!is_name(name))
        return std::nullopt;
    if (!directory.empty())
        if (auto secret = from_file(directory + "/" + name))
            return secret;
    std::string variable = "SLUICE_SECRET_";
    for (const char c : name)
        variable += std::isalnum(static_cast<unsigned char>(c)) != 0
                        ? static_cast<char>(std::toupper(static_cast<unsigned char>(c)))
                        : '_';
    const char *value = std::getenv(variable.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>{value};
}

} // namespace sluice::sidecar
