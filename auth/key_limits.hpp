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
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/json_writer.hpp"
#include "store/limits.hpp"

namespace boost::json {
class value;
}
namespace kw::config {
struct limit_settings;
}

namespace kw::auth {

// A value; the set is shared and immutable. Null: no limits.
struct key_limits {
    std::shared_ptr<const store::limit_set> set;
    bool by_default = false;  // the settings', not the key's own: no part of its record
    bool none = false;        // it is to have none, whatever is the default

    [[nodiscard]] explicit operator bool() const noexcept { return set != nullptr; }
    friend bool operator==(const key_limits& a, const key_limits& b) noexcept;
};

// errc::invalid_argument says which entry is wrong and how to write it. An empty list: no limits.
[[nodiscard]] result<key_limits> limits_from_json(const boost::json::value& list);
// "100 requests per 60s", "100000 tokens per 1h fixed", "12.50 USD per month utc+01:00",
// "10 concurrent"; "unlimited" alone is an empty list. No texts: nothing is said of limits.
// errc::invalid_argument says how to write one, and repeats nothing.
[[nodiscard]] result<key_limits> limits_from_texts(std::span<const std::string> texts);
// Of keys that name none.
[[nodiscard]] key_limits default_limits(const config::limit_settings& settings);
// Gives a key that names no limits the default ones. True: it has others now.
bool apply_default(key_limits& to, const key_limits& fallback);

// One entry as it is read above, without its braces, for those who add what is used.
void write_limit(json_writer& w, const store::limit& l);
// The whole list.
void write_limits(json_writer& w, const key_limits& limits);

}  // namespace kw::auth
