// Writes JSON text into a string: what answers, log lines and records are made with.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace kw {

// Escapes by RFC 8259 and replaces invalid UTF-8 by U+FFFD, so that the output is always valid.
void append_json_string(std::string& out, std::string_view text);

// A writer that puts commas itself: w.begin_object().field("a", 1).key("b").begin_array()…
// The caller balances begin and end. Appends to a string the caller owns.
class json_writer {
  public:
    explicit json_writer(std::string& out) noexcept : out_(out) {}

    json_writer& begin_object() { return open('{'); }
    json_writer& end_object() { return close('}'); }
    json_writer& begin_array() { return open('['); }
    json_writer& end_array() { return close(']'); }
    json_writer& key(std::string_view name);

    json_writer& value(std::string_view text);
    json_writer& value(const char* text) { return value(std::string_view(text)); }
    json_writer& value(const std::string& text) { return value(std::string_view(text)); }
    json_writer& value(bool b) { return raw(b ? "true" : "false"); }
    json_writer& value(double d);
    json_writer& null() { return raw("null"); }
    template <class Int>
        requires(std::is_integral_v<Int> && !std::is_same_v<Int, bool>)
    json_writer& value(Int number) {
        char buffer[24];
        const auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
        return raw(std::string_view(buffer, static_cast<std::size_t>(end - buffer)));
    }
    // JSON that is known to be valid.
    json_writer& raw(std::string_view json);

    template <class T>
    json_writer& field(std::string_view name, const T& v) {
        key(name);
        return value(v);
    }

  private:
    json_writer& open(char c);
    json_writer& close(char c);
    void comma();

    std::string& out_;
    bool need_comma_ = false;
};

}  // namespace kw
