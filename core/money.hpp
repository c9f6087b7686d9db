// Money: integer nano-dollars (1e-9 USD). Never floating point, never rounded but once a record.
#pragma once

#include <cstdint>
#include <string>

namespace kw {

using nanodollars = std::int64_t;

inline constexpr nanodollars one_dollar = 1'000'000'000;

// "1.234567890" without trailing zeros ("0.5", "12"), for headers and tables.
[[nodiscard]] std::string format_dollars(nanodollars amount);

}  // namespace kw
