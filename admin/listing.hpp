// What all lists of the API take alike: a search, an order, a place. A list names its columns; the
// words that `sort` takes are in the table of parameters.
#pragma once

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admin/fields.hpp"
#include "auth/role.hpp"
#include "store/paging.hpp"

namespace kw::admin {

struct list_query {
    std::string text;  // of `q`, in lower case
    sort_order order;
    page_place at;
    // Whether one of these holds the text, in whichever case.
    [[nodiscard]] bool finds(std::initializer_list<std::string_view> texts) const noexcept;
};
// `order` is that of a call that names none, as "-created".
[[nodiscard]] list_query read_list(query_fields& q, std::string_view order);

// The filter `role`.
[[nodiscard]] std::optional<auth::role> read_role(query_fields& q);

// What rows can be sorted by; `of` takes a row. The first of a list tells its rows apart.
template <class Of>
struct column {
    std::string_view name;
    Of of;
};
template <class Of>
column(std::string_view, Of) -> column<Of>;

// A time that may be missing comes after all others.
[[nodiscard]] inline wall_time or_never(const std::optional<wall_time>& t) noexcept {
    return t.value_or(wall_time::max());
}

// As far as the first `needed` rows.
template <class Row, class Id, class... Columns>
void sort_rows(std::vector<Row>& rows, const sort_order& order, std::size_t needed,
               const column<Id>& id, const Columns&... others) {
    const auto sort_by = [&](const auto& by) {
        if (order.by != by.name) return false;
        const auto before = [&](const Row& a, const Row& b) {
            const auto& x = std::invoke(by.of, a);
            const auto& y = std::invoke(by.of, b);
            if (x < y || y < x) return x < y;
            return std::invoke(id.of, a) < std::invoke(id.of, b);
        };
        const auto in_order = [&](const Row& a, const Row& b) {
            return order.descending ? before(b, a) : before(a, b);
        };
        if (std::ranges::is_sorted(rows, in_order)) return true;
        if (needed < rows.size() / 8)
            std::ranges::partial_sort(rows, rows.begin() + static_cast<std::ptrdiff_t>(needed),
                                      in_order);
        else
            std::ranges::sort(rows, in_order);
        return true;
    };
    (void)(sort_by(id) || ... || sort_by(others));
}

// The rows of the page, in the order asked for.
template <class Row, class... Columns>
[[nodiscard]] std::span<const Row> page_of(std::vector<Row>& rows, const list_query& q,
                                           const Columns&... columns) {
    const auto first = std::min(rows.size(), q.at.first());
    const auto last = std::min(rows.size(), first + q.at.limit);
    sort_rows(rows, q.order, last, columns...);
    return {rows.data() + first, last - first};
}

// A log is read newest first, from a cursor on. Another order holds for all that is asked for, so
// that must not be too much.
struct log_query {
    std::string text;
    sort_order order;
    std::size_t limit = 20;
    std::string cursor;
    [[nodiscard]] bool finds(std::initializer_list<std::string_view> texts) const noexcept;
};
[[nodiscard]] log_query read_log(query_fields& q, std::string_view order, std::size_t limit,
                                 std::size_t most);

inline constexpr std::size_t max_log_scan = 20'000;  // entries that one call looks at

// Where a sorted page begins; errc::invalid_argument: a cursor of another order.
[[nodiscard]] result<std::size_t> sorted_place(const log_query& q);
[[nodiscard]] std::string sorted_cursor(std::size_t place);
[[nodiscard]] error too_many_to_sort();

// `read` is a page of the store, newest first; `time` is the column of its order, `sifted` whether
// `wanted` leaves any out.
template <class Item, class Read, class Wanted, class Id, class Time, class... Columns>
[[nodiscard]] result<store::page<Item>> log_page(const log_query& q, bool sifted, const Read& read,
                                                 const Wanted& wanted, const column<Id>& id,
                                                 const column<Time>& time,
                                                 const Columns&... others) {
    const bool natural = q.order.by == time.name && q.order.descending;
    const auto first = natural ? result<std::size_t>(0) : sorted_place(q);
    if (!first) return first.error();
    store::page_request at;
    at.limit = !natural ? 1'000
               : sifted ? std::clamp<std::size_t>(q.limit * 4, 100, 1'000)
                        : q.limit;
    if (natural) at.cursor = q.cursor;
    store::page<Item> out;
    for (std::size_t scanned = 0;;) {
        auto page = read(at);
        if (!page) return page.error();
        for (auto& item : page->items) {
            if (!wanted(item)) continue;
            const bool ends_page = &item == &page->items.back();
            out.items.push_back(std::move(item));
            if (!natural || out.items.size() < q.limit) continue;
            const auto& last = out.items.back();
            out.next = ends_page
                           ? page->next
                           : store::make_cursor(
                                 std::to_string(store::nanoseconds_of(std::invoke(time.of, last))),
                                 std::invoke(id.of, last));
            return out;
        }
        scanned += page->items.size();
        const bool stopped = page->items.size() < at.limit;  // the store has looked far enough
        out.next = std::move(page->next);
        if (out.next.empty() || stopped || scanned >= max_log_scan) break;
        at.cursor = out.next;
    }
    if (natural) return out;
    if (!out.next.empty()) return too_many_to_sort();
    const auto last = std::min(out.items.size(), *first + q.limit);
    sort_rows(out.items, q.order, last, id, time, others...);
    if (last < out.items.size()) out.next = sorted_cursor(last);
    out.items.resize(last);
    out.items.erase(out.items.begin(),
                    out.items.begin() + static_cast<std::ptrdiff_t>(std::min(*first, last)));
    return out;
}

// "pagination": {limit, next}
void write_next(json_writer& w, std::size_t limit, std::string_view next);

}  // namespace kw::admin
