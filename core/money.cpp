// Nano-dollars as decimal text.
#include "core/money.hpp"

namespace kw {

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

}  // namespace kw
