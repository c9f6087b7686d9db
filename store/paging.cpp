// Cursors and filters.
#include "store/paging.hpp"

#include <algorithm>
#include <charconv>

namespace kw::store {
namespace {

constexpr std::string_view behind_all = "~";  // above every digit and "all"

bool is_or_any(const std::optional<std::string>& wanted, std::string_view is) noexcept {
    return !wanted || *wanted == is;
}

}  // namespace

std::size_t clamped(std::size_t limit) noexcept {
    return std::clamp<std::size_t>(limit, 1, 10'000);
}

std::string make_cursor(std::string_view first, std::string_view second) {
    std::string out(first);
    out += '|';
    out += second;
    return out;
}

std::pair<std::string_view, std::string_view> split_cursor(std::string_view cursor) noexcept {
    const auto bar = cursor.find('|');
    if (bar == std::string_view::npos) return {};
    return {cursor.substr(0, bar), cursor.substr(bar + 1)};
}

std::int64_t nanoseconds_of(wall_time t) noexcept {
    return t.time_since_epoch().count();
}

std::pair<std::int64_t, std::string> time_cursor(const record_filter& filter) {
    return time_cursor(filter.page.cursor, filter.to);
}

std::pair<std::int64_t, std::string> time_cursor(std::string_view cursor, wall_time to) {
    const auto [time, id] = split_cursor(cursor);
    std::int64_t before = 0;
    if (!time.empty() &&
        std::from_chars(time.data(), time.data() + time.size(), before).ec == std::errc())
        return {before, std::string(id)};
    return {nanoseconds_of(to), std::string()};
}

bool matches(const record_filter& filter, const ledger_record& r) noexcept {
    return is_or_any(filter.access_key_id, r.access_key_id) &&
           is_or_any(filter.upstream_key_id, r.upstream_key_id) &&
           (!filter.model || *filter.model == r.model_asked || *filter.model == r.model_served) &&
           r.status >= filter.status_from && r.status <= filter.status_to;
}

std::pair<std::string, std::string> bucket_range(const usage_query& query) {
    if (query.length == span::all) return {"all", std::string(behind_all)};
    // Buckets that begin in [from, to).
    auto first = bucket_begin(query.length, query.from);
    if (first < query.from) first = bucket_next(query.length, query.from);
    auto last = query.to;
    constexpr auto far = wall_time(std::chrono::hours(24 * 365 * 250));
    if (last > far) return {bucket_name(query.length, first), std::string(behind_all)};
    auto end = bucket_begin(query.length, last);
    if (end < last) end = bucket_next(query.length, last);
    return {bucket_name(query.length, first), bucket_name(query.length, end)};
}

error not_found(std::string_view what, std::string_view id) {
    return error(errc::store_not_found, "no " + std::string(what) + " " + std::string(id),
                 error_source::store);
}

error conflict(std::string_view kind, std::string_view id) {
    return error(
        errc::store_conflict,
        std::string(kind) + " " + std::string(id) + " was changed meanwhile: read it again",
        error_source::store);
}

}  // namespace kw::store
