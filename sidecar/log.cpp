// The lines themselves.  spdlog is seen by this file alone, because its headers cost seconds in every other one.
#include "log.hpp"

#include "json_text.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <ctime>

namespace sluice::sidecar::log {

namespace {

Format format = Format::json;

spdlog::logger &logger()
{
    static const auto instance = [] {
        auto made = spdlog::stderr_color_st("sluiced");
        made->set_pattern("%v");
        made->flush_on(spdlog::level::trace);
        return made;
    }();
    return *instance;
}

spdlog::level::level_enum level_of(Level level)
{
    switch (level) {
    case Level::debug:
        return spdlog::level::debug;
    case Level::info:
        return spdlog::level::info;
    case Level::warn:
        return spdlog::level::warn;
    case Level::error:
        return spdlog::level::err;
    }
    return spdlog::level::info;
}

std::string_view name_of(Level level)
{
    constexpr std::string_view names[] = {"debug", "info", "warn", "error"};
    return names[static_cast<std::size_t>(level)];
}

std::string now_utc()
{
    const auto        now     = std::chrono::system_clock::now();
    const auto        since   = now.time_since_epoch();
    const auto        millis  = std::chrono::duration_cast<std::chrono::milliseconds>(since).count() % 1000;
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    std::tm           parts{};
    ::gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, millis);
}

std::string value_text(const Field &field)
{
    if (const auto *text = std::get_if<std::string>(&field.value))
        return json_quote(*text);
    if (const auto *number = std::get_if<std::int64_t>(&field.value))
        return std::to_string(*number);
    if (const auto *real = std::get_if<double>(&field.value))
        return fmt::format("{:.6g}", *real);
    return std::get<bool>(field.value) ? "true" : "false";
}

} // namespace

void open(Level level, Format chosen)
{
    format = chosen;
    set_level(level);
}

void set_level(Level level)
{
    logger().set_level(level_of(level));
}

void write(Level level, std::string_view message, Fields fields)
{
    const auto spd_level = level_of(level);
    if (!logger().should_log(spd_level))
        return;

    std::string line;
    if (format == Format::json) {
        line = "{\"ts\":\"" + now_utc() + "\",\"level\":\"" + std::string{name_of(level)} +
               "\",\"msg\":" + json_quote(message);
        for (const Field &field : fields)
            line += "," + json_quote(field.name) + ":" + value_text(field);
        line += "}";
    } else {
        line = now_utc() + " " + std::string{name_of(level)} + "  " + std::string{message};
        for (const Field &field : fields)
            line += "  " + std::string{field.name} + "=" + value_text(field);
    }
    logger().log(spd_level, spdlog::string_view_t{line.data(), line.size()});
}

} // namespace sluice::sidecar::log
