// The books by subject and time.
#include <algorithm>
#include <tuple>

#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "admin/sums.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_cells = 100'000;  // that one question may cover

constexpr std::string_view dimension_names[] = {"all",   "access_key", "upstream_key",
                                                "group", "provider",   "model"};
constexpr std::string_view span_names[] = {"hour", "day", "month", "all"};

}  // namespace

result<reply> show_usage(call& c) {
    auto q = c.query();
    store::usage_query ask;
    ask.by = static_cast<store::dimension>(
        q.choice("by", {std::begin(dimension_names), std::end(dimension_names)}, 0));
    ask.length = static_cast<store::span>(
        q.choice("span", {std::begin(span_names), std::end(span_names)}, 1));
    ask.from = q.time("from").value_or(wall_time{});
    ask.to = q.time("to").value_or(wall_time::max());
    ask.subject = q.text("subject");
    const auto list = read_list(q, "bucket");
    if (const auto ok = q.finish(); !ok) return ok.error();
    ask.page.limit = 10'000;

    std::vector<store::aggregate> cells;
    do {
        auto page = c.services.store.usage(ask);
        if (!page) return page.error();
        std::ranges::move(page->items, std::back_inserter(cells));
        ask.page.cursor = page->next;
        if (cells.size() > max_cells)
            return error(errc::invalid_argument,
                         "too many cells: name a subject, a longer span, or `from` and `to`");
    } while (!ask.page.cursor.empty());

    store::aggregate sum;
    for (const auto& cell : cells)
        add_sums(sum, cell);
    std::erase_if(cells, [&](const store::aggregate& cell) {
        return !list.finds({cell.bucket, cell.subject}) &&
               !list.finds({name_of_subject(c, ask.by, cell.subject)});
    });
    using row = store::aggregate;
    const auto shown = page_of(
        cells, list, column{"bucket", [](const row& r) { return std::tie(r.bucket, r.subject); }},
        column{"subject", [](const row& r) { return std::tie(r.subject, r.bucket); }},
        column{"requests", &row::requests}, column{"errors", &row::errors},
        column{"tokens", [](const row& r) { return r.tokens.total(); }},
        column{"cost", &row::cost});
    std::string data;
    json_writer w(data);
    w.begin_object()
        .field("by", dimension_names[static_cast<std::size_t>(ask.by)])
        .field("span", span_names[static_cast<std::size_t>(ask.length)]);
    w.key("totals").begin_object();
    write_sums(w, sum);
    w.end_object().key("usage").begin_array();
    for (const auto& cell : shown) {
        w.begin_object().field("bucket", cell.bucket).field("subject", cell.subject);
        w.field("name", name_of_subject(c, ask.by, cell.subject));
        write_sums(w, cell);
        w.end_object();
    }
    w.end_array();
    write_pagination(w, list.at, cells.size());
    w.end_object();
    return answer(data);
}

}  // namespace kw::admin
