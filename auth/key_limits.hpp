// The limits of an access key as people write them, and what is compiled from that.
//
//     [{"unit": "requests", "per": "60s", "cap": 100},
//      {"unit": "tokens", "per": "1h", "cap": 100000, "window": "fixed"},
//      {"unit": "cost", "per": "month", "cap": "12.50", "utc_offset_minutes": 60},
//      {"unit": "concurrent", "cap": 10}]
//
// `per` is a length (s, m, h, d) for a window, or day, week, month, total for a budget; a cap of
// cost is a text in dollars.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/json_writer.hpp"
#include "store/limits.hpp"

namespace boost::json {
class value;
}

namespace kw::auth {

// A value; the set is shared and immutable. Null: no limits.
struct key_limits {
    std::shared_ptr<const store::limit_set> set;

    [[nodiscard]] explicit operator bool() const noexcept { return set != nullptr; }
    friend bool operator==(const key_limits& a, const key_limits& b) noexcept;
};

// errc::invalid_argument says which entry is wrong and how to write it. An empty list: no limits.
[[nodiscard]] result<key_limits> limits_from_json(const boost::json::value& list);
// One entry as it is read above, without its braces, for those who add what is used.
void write_limit(json_writer& w, const store::limit& l);
// The whole list.
void write_limits(json_writer& w, const key_limits& limits);

}  // namespace kw::auth
