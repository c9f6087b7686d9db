// Money: integer nano-dollars (1e-9 USD). Never floating point, never rounded but once a record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kw {

using nanodollars = std::int64_t;

inline constexpr nanodollars one_dollar = 1'000'000'000;

// "1.234567890" without trailing zeros ("0.5", "12"), for headers and tables.
[[nodiscard]] std::string format_dollars(nanodollars amount);

// Decimal text ("2.5", "1.5e-07") times 10^scale as an integer, exactly; nullopt if it is no
// number, negative, too large, or (exact) has digits left over. Not exact: rounded half up.
[[nodiscard]] std::optional<std::int64_t> parse_scaled_decimal(std::string_view text, int scale,
                                                               bool exact) noexcept;

}  // namespace kw
