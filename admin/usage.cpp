// The books: aggregates by subject and time, and single requests.
#include <algorithm>

#include "admin/handlers.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_cells = 100'000;  // that one question may cover

constexpr std::string_view outcome_names[] = {"exact", "estimated", "none"};
constexpr std::string_view end_names[] = {"completed", "client_closed", "upstream_cut", "refused",
                                          "failed"};
constexpr std::string_view dimension_names[] = {"all",   "access_key", "upstream_key",
                                                "group", "provider",   "model"};
constexpr std::string_view span_names[] = {"hour", "day", "month", "all"};

void write_sums(json_writer& w, const store::aggregate& a) {
    w.field("requests", a.requests)
        .field("errors", a.errors)
        .field("estimated", a.estimated)
        .field("unpriced", a.unpriced);
    write_tokens(w, "tokens", a.tokens);
    write_money(w, "cost", a.cost);
    write_money(w, "rated_cost", a.rated_cost);
    w.key("estimated_part")
        .begin_object()
        .field("input", a.estimated_input)
        .field("output", a.estimated_output);
    write_money(w, "cost", a.estimated_cost);
    w.end_object();
}

void add(store::aggregate& sum, const store::aggregate& a) {
    sum.requests += a.requests;
    sum.errors += a.errors;
    sum.estimated += a.estimated;
    sum.unpriced += a.unpriced;
    for (const auto field :
         {&store::token_counts::input, &store::token_counts::output,
          &store::token_counts::reasoning, &store::token_counts::cached_read,
          &store::token_counts::cache_write_5m, &store::token_counts::cache_write_1h,
          &store::token_counts::audio_in, &store::token_counts::audio_out,
          &store::token_counts::image_in, &store::token_counts::image_out})
        sum.tokens.*field += a.tokens.*field;
    sum.cost += a.cost;
    sum.rated_cost += a.rated_cost;
    sum.estimated_input += a.estimated_input;
    sum.estimated_output += a.estimated_output;
    sum.estimated_cost += a.estimated_cost;
}

// What a person calls the subject; "" where there is no better word.
std::string name_of(const call& c, store::dimension by, const std::string& subject) {
    if (by == store::dimension::access_key) {
        if (const auto* key = c.records.access_key(subject)) return key->name;
    } else if (by == store::dimension::upstream_key) {
        if (const auto* key = c.records.key(subject)) return key->key.alias;
    }
    return {};
}

void write_record(json_writer& w, const store::ledger_record& r) {
    w.begin_object().field("id", r.id);
    write_time(w, "started", r.started);
    w.field("access_key", r.access_key_id)
        .field("upstream_key", r.upstream_key_id)
        .field("group", r.group_id)
        .field("provider", r.provider)
        .field("endpoint", r.endpoint)
        .field("model_asked", r.model_asked)
        .field("model_served", r.model_served)
        .field("service_tier", r.service_tier)
        .field("status", r.status)
        .field("attempts", r.attempts)
        .field("stream", r.stream)
        .field("end", end_names[static_cast<std::size_t>(r.end)])
        .field("error_code", r.error_code)
        .field("usage", outcome_names[static_cast<std::size_t>(r.outcome)]);
    write_tokens(w, "tokens", r.tokens);
    write_money(w, "cost", r.cost);
    write_money(w, "rated_cost", r.rated_cost);
    w.field("operator_cost", r.operator_cost)
        .field("first_byte_us", r.first_byte_us)
        .field("total_us", r.total_us)
        .field("overhead_us", r.overhead_us)
        .field("bytes_in", r.bytes_in)
        .field("bytes_out", r.bytes_out)
        .end_object();
}

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
    const auto at = q.place();
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
        add(sum, cell);
    std::string data;
    json_writer w(data);
    w.begin_object()
        .field("by", dimension_names[static_cast<std::size_t>(ask.by)])
        .field("span", span_names[static_cast<std::size_t>(ask.length)]);
    w.key("totals").begin_object();
    write_sums(w, sum);
    w.end_object().key("usage").begin_array();
    for (auto i = at.first(); i < std::min(cells.size(), at.first() + at.limit); ++i) {
        const auto& cell = cells[i];
        w.begin_object().field("bucket", cell.bucket).field("subject", cell.subject);
        w.field("name", name_of(c, ask.by, cell.subject));
        write_sums(w, cell);
        w.end_object();
    }
    w.end_array();
    write_pagination(w, at, cells.size());
    w.end_object();
    return answer(data);
}

result<reply> list_requests(call& c) {
    auto q = c.query();
    store::record_filter filter;
    filter.access_key_id = q.text("access_key");
    filter.upstream_key_id = q.text("upstream_key");
    filter.model = q.text("model");
    filter.status_from = static_cast<std::uint16_t>(q.number("status_from", 0, 0, 999));
    filter.status_to = static_cast<std::uint16_t>(q.number("status_to", 999, 0, 999));
    filter.from = q.time("from").value_or(wall_time{});
    filter.to = q.time("to").value_or(wall_time::max());
    filter.page.limit = q.number("limit", 20, 1, 1'000);
    filter.page.cursor = q.text("cursor").value_or("");
    if (const auto ok = q.finish(); !ok) return ok.error();

    const auto page = c.services.store.list_records(filter);
    if (!page) return page.error();
    std::string data;
    json_writer w(data);
    w.begin_object().key("requests").begin_array();
    for (const auto& r : page->items)
        write_record(w, r);
    w.end_array().key("pagination").begin_object().field("limit", filter.page.limit).key("next");
    if (page->next.empty()) {
        w.null();
    } else {
        w.value(page->next);
    }
    w.end_object().end_object();
    return answer(data);
}

result<reply> show_request(call& c) {
    const auto record = c.services.store.find_record(c.id);
    if (!record) return record.error();
    std::string data;
    json_writer w(data);
    write_record(w, *record);
    return answer(data);
}

}  // namespace kw::admin
