// Nano-dollars and decimal text.
#include "core/money.hpp"

#include <algorithm>
#include <limits>

namespace kw {
namespace {

constexpr bool is_digit(char ch) noexcept {
    return ch >= '0' && ch <= '9';
}

}  // namespace

std::string format_dollars(nanodollars amount) {
    // Unsigned, so that the smallest amount has a magnitude too.
    const bool negative = amount < 0;
    const auto magnitude =
        negative ? 0 - static_cast<std::uint64_t>(amount) : static_cast<std::uint64_t>(amount);
    constexpr auto unit = static_cast<std::uint64_t>(one_dollar);
    std::string text = (negative ? "-" : "") + std::to_string(magnitude / unit);
    if (auto rest = magnitude % unit; rest != 0) {
        std::string digits = std::to_string(rest + unit);  // a leading 1 keeps the zeros
        digits[0] = '.';
        digits.erase(digits.find_last_not_of('0') + 1);
        text += digits;
    }
    return text;
}

std::optional<std::int64_t> parse_scaled_decimal(std::string_view text, int scale,
                                                 bool exact) noexcept {
    constexpr std::size_t max_digits = 40;
    constexpr int max_exponent = 100;
    char digits[max_digits];
    std::size_t count = 0;
    std::size_t i = 0;
    int point = scale;  // the value is digits × 10^point
    bool any = false;
    const auto digit = [&](char c) {
        any = true;
        if (count == 0 && c == '0') return true;
        if (count == max_digits) return false;
        digits[count++] = c;
        return true;
    };
    for (; i < text.size() && is_digit(text[i]); ++i)
        if (!digit(text[i])) return std::nullopt;
    if (i < text.size() && text[i] == '.') {
        const std::size_t start = ++i;
        for (; i < text.size() && is_digit(text[i]); ++i, --point)
            if (!digit(text[i])) return std::nullopt;
        if (i == start) return std::nullopt;
    }
    if (!any) return std::nullopt;
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        const bool minus = ++i < text.size() && text[i] == '-';
        if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
        int exponent = 0;
        const std::size_t start = i;
        for (; i < text.size() && is_digit(text[i]); ++i)
            exponent = std::min(exponent * 10 + (text[i] - '0'), max_exponent);
        if (i == start) return std::nullopt;
        point += minus ? -exponent : exponent;
    }
    if (i != text.size()) return std::nullopt;

    while (count > 0 && digits[count - 1] == '0')
        --count, ++point;
    if (count == 0) return 0;
    bool round_up = false;
    if (point < 0) {
        if (exact) return std::nullopt;
        const auto drop = static_cast<std::size_t>(-point);
        if (drop > count) return 0;
        round_up = digits[count - drop] >= '5';
        count -= drop;
        point = 0;
    }
    std::int64_t value = 0;
    for (std::size_t d = 0; d < count; ++d)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digits[d] - '0', &value))
            return std::nullopt;
    for (; point > 0; --point)
        if (__builtin_mul_overflow(value, 10, &value)) return std::nullopt;
    if (round_up && __builtin_add_overflow(value, 1, &value)) return std::nullopt;
    return value;
}

}  // namespace kw
