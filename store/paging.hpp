// What both stores do alike: cursors, filters, ranges of buckets, common errors.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/store.hpp"

namespace kw::store {

[[nodiscard]] std::size_t clamped(std::size_t limit) noexcept;

// A cursor of two parts; the second may hold anything.
[[nodiscard]] std::string make_cursor(std::string_view first, std::string_view second);
[[nodiscard]] std::pair<std::string_view, std::string_view> split_cursor(
    std::string_view cursor) noexcept;

[[nodiscard]] std::int64_t nanoseconds_of(wall_time t) noexcept;

// Records before this (time, id) come next: the filter's end, or where the page before stopped.
[[nodiscard]] std::pair<std::int64_t, std::string> time_cursor(const record_filter& filter);
[[nodiscard]] std::pair<std::int64_t, std::string> time_cursor(std::string_view cursor,
                                                               wall_time to);
// All but the time.
[[nodiscard]] bool matches(const record_filter& filter, const ledger_record& r) noexcept;

// Names of the first bucket and of the one behind the last.
[[nodiscard]] std::pair<std::string, std::string> bucket_range(const usage_query& query);

[[nodiscard]] error not_found(std::string_view what, std::string_view id);
[[nodiscard]] error conflict(std::string_view kind, std::string_view id);

}  // namespace kw::store
