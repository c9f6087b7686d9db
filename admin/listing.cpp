// Searches, orders and cursors of lists.
#include "admin/listing.hpp"

#include <charconv>

namespace kw::admin {
namespace {

constexpr char sorted_mark = '@';

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool any_has(std::initializer_list<std::string_view> texts, std::string_view part) noexcept {
    return part.empty() || std::ranges::any_of(texts, [part](std::string_view text) {
               return !std::ranges::search(text, part, {}, lower).empty();
           });
}

std::string search_text(query_fields& q) {
    auto text = q.text("q").value_or("");
    std::ranges::transform(text, text.begin(), lower);
    return text;
}

}  // namespace

bool list_query::finds(std::initializer_list<std::string_view> texts) const noexcept {
    return any_has(texts, text);
}

bool log_query::finds(std::initializer_list<std::string_view> texts) const noexcept {
    return any_has(texts, text);
}

list_query read_list(query_fields& q, std::string_view order) {
    return {.text = search_text(q), .order = q.order(order), .at = q.place()};
}

std::optional<auth::role> read_role(query_fields& q) {
    using enum auth::role;
    constexpr std::optional<auth::role> roles[] = {viewer, operator_, owner, std::nullopt};
    return roles[q.choice("role", {"viewer", "operator", "owner"}, 3)];
}

log_query read_log(query_fields& q, std::string_view order, std::size_t limit, std::size_t most) {
    return {.text = search_text(q),
            .order = q.order(order),
            .limit = q.number("limit", limit, 1, most),
            .cursor = q.text("cursor").value_or("")};
}

result<std::size_t> sorted_place(const log_query& q) {
    if (q.cursor.empty()) return 0;
    std::size_t place = 0;
    const char* end = q.cursor.data() + q.cursor.size();
    const auto [stop, failed] = std::from_chars(q.cursor.data() + 1, end, place);
    if (q.cursor.front() != sorted_mark || failed != std::errc() || stop != end ||
        place > max_log_scan)
        return bad_field("cursor", "is none of this order");
    return place;
}

std::string sorted_cursor(std::size_t place) {
    return sorted_mark + std::to_string(place);
}

error too_many_to_sort() {
    return bad_field("sort", "would have to look at too many entries: name `from` and `to`");
}

void write_next(json_writer& w, std::size_t limit, std::string_view next) {
    w.key("pagination").begin_object().field("limit", limit).key("next");
    if (next.empty())
        w.null();
    else
        w.value(next);
    w.end_object();
}

}  // namespace kw::admin
