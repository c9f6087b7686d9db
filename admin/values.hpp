// How values look in the admin API: times, factors, money, tokens, pages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/json_writer.hpp"
#include "core/money.hpp"
#include "store/types.hpp"

namespace boost::json {
class value;
class object;
}  // namespace boost::json

namespace kw::admin {

// RFC 3339, also a date alone (its beginning in UTC). Years 1970 to 2200.
[[nodiscard]] std::optional<wall_time> parse_time(std::string_view text);
// "2026-01-31T12:00:00Z", with milliseconds where there are any.
[[nodiscard]] std::string format_time(wall_time t);

// A factor of up to six decimals, as a number or a text, in millionths.
[[nodiscard]] std::optional<std::int64_t> parse_factor(const boost::json::value& v);
[[nodiscard]] std::string format_factor(std::int64_t ppm);

// {"nanodollars": 1500000000, "dollars": "1.5"}, or null.
void write_money(json_writer& w, std::string_view name, std::optional<nanodollars> amount);
void write_tokens(json_writer& w, std::string_view name, const store::token_counts& t);
void write_time(json_writer& w, std::string_view name, const std::optional<wall_time>& t);
void write_texts(json_writer& w, std::string_view name, const std::vector<std::string>& texts);
void write_value(json_writer& w, const boost::json::value& v);

struct page_place {
    std::size_t page = 1;
    std::size_t limit = 20;
    [[nodiscard]] std::size_t first() const noexcept { return (page - 1) * limit; }
};
// "pagination": {page, limit, total, total_pages}
void write_pagination(json_writer& w, const page_place& at, std::size_t total);

}  // namespace kw::admin
