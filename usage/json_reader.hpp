// Walks strict JSON (RFC 8259) byte by byte without building anything.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <string_view>

#include "usage/scan_bytes.hpp"

namespace kw::usage {

inline constexpr std::size_t max_depth = 512;

constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

constexpr int hex_digit(char c) noexcept {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Every function leaves p behind what it read and returns false on broken text.
struct json_reader {
    const char* p;
    const char* end;

    [[nodiscard]] bool at(char c) const noexcept { return p != end && *p == c; }
    void blanks() noexcept { p = skip_blanks(p, end); }
    bool take(char c) noexcept {
        if (!at(c)) return false;
        ++p;
        return true;
    }

    bool string(std::string_view& raw) noexcept {
        if (!take('"')) return false;
        const char* const start = p;
        for (;;) {
            p = find_string_stop(p, end);
            if (p == end) return false;
            if (*p == '"') {
                raw = {start, static_cast<std::size_t>(p - start)};
                ++p;
                return true;
            }
            if (*p != '\\' || end - p < 2) return false;
            switch (p[1]) {
                case '"':
                case '\\':
                case '/':
                case 'b':
                case 'f':
                case 'n':
                case 'r':
                case 't':
                    p += 2;
                    break;
                case 'u':
                    if (end - p < 6 ||
                        !std::all_of(p + 2, p + 6, [](char c) { return hex_digit(c) >= 0; }))
                        return false;
                    p += 6;
                    break;
                default:
                    return false;
            }
        }
    }

    bool digits() noexcept {
        if (p == end || !is_digit(*p)) return false;
        while (p != end && is_digit(*p))
            ++p;
        return true;
    }
    bool number() noexcept {
        if (at('-')) ++p;
        if (at('0'))
            ++p;
        else if (!digits())
            return false;
        if (at('.')) {
            ++p;
            if (!digits()) return false;
        }
        if (at('e') || at('E')) {
            ++p;
            if (at('+') || at('-')) ++p;
            if (!digits()) return false;
        }
        return true;
    }
    bool word(std::string_view w) noexcept {
        if (static_cast<std::size_t>(end - p) < w.size() || std::string_view(p, w.size()) != w)
            return false;
        p += w.size();
        return true;
    }
    bool scalar() noexcept {
        switch (*p) {
            case '"': {
                std::string_view ignored;
                return string(ignored);
            }
            case 't':
                return word("true");
            case 'f':
                return word("false");
            case 'n':
                return word("null");
            default:
                return number();
        }
    }

    bool member_name() noexcept {
        std::string_view name;
        if (!string(name)) return false;
        blanks();
        if (!take(':')) return false;
        blanks();
        return true;
    }

    // Any value, without recursion: one bit a level tells object from array.
    bool value(std::size_t depth) noexcept {
        std::bitset<max_depth> is_object;
        const std::size_t base = depth;
        for (;;) {
            if (p == end) return false;
            bool opened = false;
            if (*p == '{' || *p == '[') {
                const bool object = *p++ == '{';
                if (depth >= max_depth) return false;
                blanks();
                if (take(object ? '}' : ']')) {
                    // empty: done with this value
                } else {
                    is_object[depth++] = object;
                    if (object && !member_name()) return false;
                    opened = true;
                }
            } else if (!scalar()) {
                return false;
            }
            if (opened) continue;
            for (;;) {
                if (depth == base) return true;
                const bool object = is_object[depth - 1];
                blanks();
                if (p == end) return false;
                if (*p == ',') {
                    ++p;
                    blanks();
                    if (object && !member_name()) return false;
                    break;
                }
                if (*p != (object ? '}' : ']')) return false;
                ++p;
                --depth;
            }
        }
    }

    // An object whose members are given to each(name as written); each reads the value.
    template <class Each>
    bool members(bool& empty, Each&& each) {
        empty = false;
        if (!take('{')) return false;
        blanks();
        if (at('}')) {
            empty = true;
            ++p;
            return true;
        }
        for (;;) {
            std::string_view name;
            if (!string(name)) return false;
            blanks();
            if (!take(':')) return false;
            blanks();
            if (!each(name)) return false;
            blanks();
            if (take('}')) return true;
            if (!take(',')) return false;
            blanks();
        }
    }
};

}  // namespace kw::usage
