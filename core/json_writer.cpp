// JSON text: escaping, and the writer's commas.
#include "core/json_writer.hpp"

#include <array>
#include <cmath>

namespace kw {

namespace {

// What stands for itself in a string, by byte.
constexpr auto plain = [] {
    std::array<bool, 256> table{};
    for (std::size_t c = 0x20; c < 0x80; ++c)
        table[c] = c != '"' && c != '\\';
    return table;
}();

void append_escape(std::string& out, unsigned char c) {
    constexpr std::string_view hex = "0123456789abcdef";
    switch (c) {
        case '"':
            out += "\\\"";
            break;
        case '\\':
            out += "\\\\";
            break;
        case '\b':
            out += "\\b";
            break;
        case '\f':
            out += "\\f";
            break;
        case '\n':
            out += "\\n";
            break;
        case '\r':
            out += "\\r";
            break;
        case '\t':
            out += "\\t";
            break;
        default:
            out += "\\u00";
            out += hex[c >> 4];
            out += hex[c & 15];
    }
}

struct sequence {
    std::size_t length;
    bool valid;
};

// The UTF-8 sequence at the start of text (not ASCII), by table 3-7 of the Unicode standard. An
// invalid one is as long as its well-formed beginning, at least one byte.
[[nodiscard]] sequence utf8_sequence(std::string_view text) noexcept {
    const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    std::size_t length = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        if (lead == 0xe0) low = 0xa0;   // overlong
        if (lead == 0xed) high = 0x9f;  // surrogates
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        if (lead == 0xf0) low = 0x90;   // overlong
        if (lead == 0xf4) high = 0x8f;  // above U+10FFFF
    } else {
        return {1, false};
    }
    for (std::size_t i = 1; i < length; ++i) {
        if (i >= text.size() || byte(i) < low || byte(i) > high) return {i, false};
        low = 0x80;
        high = 0xbf;
    }
    return {length, true};
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        std::size_t run = 0;
        while (run < text.size() && plain[static_cast<unsigned char>(text[run])])
            ++run;
        out += text.substr(0, run);
        text.remove_prefix(run);
        if (text.empty()) break;
        if (const auto c = static_cast<unsigned char>(text[0]); c < 0x80) {
            append_escape(out, c);
            text.remove_prefix(1);
        } else {
            const auto [length, valid] = utf8_sequence(text);
            out += valid ? text.substr(0, length) : std::string_view("\xef\xbf\xbd");
            text.remove_prefix(length);
        }
    }
    out += '"';
}

json_writer& json_writer::key(std::string_view name) {
    comma();
    append_json_string(out_, name);
    out_ += ':';
    need_comma_ = false;
    return *this;
}

json_writer& json_writer::value(std::string_view text) {
    comma();
    append_json_string(out_, text);
    return *this;
}

// JSON has no infinity and no NaN.
json_writer& json_writer::value(double d) {
    if (!std::isfinite(d)) return null();
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, d).ptr;
    return raw(std::string_view(buffer, static_cast<std::size_t>(end - buffer)));
}

json_writer& json_writer::raw(std::string_view json) {
    comma();
    out_ += json;
    return *this;
}

json_writer& json_writer::open(char c) {
    comma();
    out_ += c;
    need_comma_ = false;
    return *this;
}

json_writer& json_writer::close(char c) {
    out_ += c;
    need_comma_ = true;
    return *this;
}

void json_writer::comma() {
    if (need_comma_) out_ += ',';
    need_comma_ = true;
}

}  // namespace kw
