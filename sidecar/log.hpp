// What sluiced says on stderr: one JSON object a line for machines, plain text for people.  Payloads, outputs and
// secrets never go in here.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace sluice::sidecar::log {

enum class Level { debug, info, warn, error };
enum class Format { json, text };

struct Field {
    template <typename T>
    requires std::integral<T> Field(std::string_view name_, T number)
        : name{name_}, value{static_cast<std::int64_t>(number)}
    {
    }
    Field(std::string_view name_, bool flag) : name{name_}, value{flag} {}
    Field(std::string_view name_, double number) : name{name_}, value{number} {}
    Field(std::string_view name_, std::string_view text) : name{name_}, value{std::string{text}} {}
    Field(std::string_view name_, const std::string &text) : name{name_}, value{text} {}
    Field(std::string_view name_, const char *text) : name{name_}, value{std::string{text}} {}

    std::string_view                                      name;
    std::variant<std::string, std::int64_t, double, bool> value;
};

using Fields = std::initializer_list<Field>;

void open(Level level, Format format);
void set_level(Level level);

void write(Level level, std::string_view message, Fields fields);

inline void debug(std::string_view message, Fields fields = {})
{
    write(Level::debug, message, fields);
}
inline void info(std::string_view message, Fields fields = {})
{
    write(Level::info, message, fields);
}
inline void warn(std::string_view message, Fields fields = {})
{
    write(Level::warn, message, fields);
}
inline void error(std::string_view message, Fields fields = {})
{
    write(Level::error, message, fields);
}

} // namespace sluice::sidecar::log
