// Logging facade: named events with typed fields, written as one JSON line or one text line each.
// Only core/log.cpp knows the library behind it. Any thread may log; lines are written by a thread
// of their own at most some 20 ms later, warnings at once. What waits is bounded: a line for which
// there is no room is dropped and counted.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "core/error.hpp"

namespace kw::log {

enum class level : std::uint8_t { trace, debug, info, warn, error, off };

struct field {
    std::string_view name;
    std::variant<std::int64_t, double, bool, std::string_view> value;

    field(std::string_view n, std::string_view v) : name(n), value(v) {}
    field(std::string_view n, const char* v) : name(n), value(std::string_view(v)) {}
    field(std::string_view n, const std::string& v) : name(n), value(std::string_view(v)) {}
    field(std::string_view n, bool v) : name(n), value(v) {}
    field(std::string_view n, double v) : name(n), value(v) {}
    template <class Int>
        requires std::is_integral_v<Int>
    field(std::string_view n, Int v) : name(n), value(static_cast<std::int64_t>(v)) {}
};

struct options {
    level min = level::info;
    bool json = true;
    std::string file;  // empty: standard output
    // 0: the file as named. Otherwise a file a day with the date in its name ("keywheel.log" is
    // keywheel_2026-01-31.log), of which so many are kept; the day changes at local midnight.
    std::uint16_t keep_days = 0;
};

// Call once before threads start; again only while no other thread logs (tests). Until the first
// call everything is dropped. Throws std::runtime_error if the file cannot be opened.
void start(const options& opts);
// Writes what is queued and stops the writer; what is logged afterwards is dropped.
void stop();
// Lines lost to a full buffer or a failing sink since the start.
[[nodiscard]] std::uint64_t dropped() noexcept;
void set_level(level min) noexcept;
[[nodiscard]] bool enabled(level lvl) noexcept;
// errc::invalid_argument names the accepted words.
[[nodiscard]] result<level> parse_level(std::string_view name);

// event and the fields' names are fixed words ("request.done"); values are escaped here.
void event(level lvl, std::string_view event, std::initializer_list<field> fields = {});

}  // namespace kw::log
