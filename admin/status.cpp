// How keywheel is doing: counts, health, and the prices in force.
#include <algorithm>

#include "admin/handlers.hpp"
#include "admin/key_view.hpp"
#include "admin/listing.hpp"
#include "core/json_writer.hpp"
#include "store/journal_shipper.hpp"
#include "store/store.hpp"
#include "usage/prices.hpp"

namespace kw::admin {
namespace {

void write_rates(json_writer& w, const usage::rates& r) {
    const std::pair<std::string_view, std::int64_t> all[] = {
        {"input", r.input},
        {"output", r.output},
        {"cached_read", r.cached_read},
        {"cache_write_5m", r.cache_write_5m},
        {"cache_write_1h", r.cache_write_1h},
        {"reasoning", r.reasoning},
        {"audio_in", r.audio_in},
        {"audio_out", r.audio_out},
        {"image_in", r.image_in},
        {"image_out", r.image_out},
    };
    for (const auto& [name, price] : all) {
        if (price >= 0) w.field(name, format_dollars(price));
    }
}

void write_tier(json_writer& w, std::string_view name, const std::optional<usage::tier_price>& t) {
    if (!t) return;
    w.key(name).begin_object();
    if (t->own) {
        write_rates(w, *t->own);
    } else {
        w.field("factor", format_factor(t->factor_ppm));
    }
    w.end_object();
}

void write_price(json_writer& w, std::string_view model, const usage::model_price& p) {
    w.begin_object().field("model", model);
    write_rates(w, p.base);
    if (p.long_threshold > 0) {
        w.key("long_context").begin_object().field("above", p.long_threshold);
        write_rates(w, p.long_context);
        w.end_object();
    }
    write_tier(w, "batch", p.batch);
    write_tier(w, "flex", p.flex);
    write_tier(w, "priority", p.priority);
    const std::pair<std::string_view, std::int64_t> each[] = {
        {"per_request", p.per_request}, {"per_image", p.per_image},
        {"per_second", p.per_second},   {"per_character", p.per_character},
        {"per_search", p.per_search},
    };
    for (const auto& [name, price] : each) {
        if (price > 0) w.field(name, format_dollars(price));
    }
    w.field("source", p.source).field("as_of", p.as_of).end_object();
}

void write_journal(json_writer& w, const store::shipper_stats& s) {
    w.field("backlog_records", s.backlog_records)
        .field("backlog_bytes", s.backlog_bytes)
        .field("oldest_unconfirmed_ms", s.oldest_unconfirmed.count())
        .field("shipped_records", s.shipped_records)
        .field("store_errors", s.store_errors)
        .field("recovered_starts", s.recovered_starts)
        .field("corrupt_entries", s.corrupt_entries)
        .field("lost_batches", s.lost_batches);
}

}  // namespace

result<reply> show_stats(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    key_counts counts;
    for (const auto& [id, entry] : c.records.keys())
        counts.add(look_at(c.services, entry.key));
    store::usage_query today;
    today.from = std::chrono::floor<std::chrono::days>(c.services.clock.wall());
    const auto used = c.services.store.usage(today);
    if (!used) return used.error();

    std::int64_t access_keys = 0;
    c.records.each_access_key(
        [&](const auth::access_key& key) { access_keys += key.deleted ? 0 : 1; });
    std::string data;
    json_writer w(data);
    w.begin_object();
    counts.write(w);
    w.field("in_flight", counts.in_flight)
        .field("groups", c.records.groups().size())
        .field("access_keys", access_keys);
    store::aggregate sum;
    if (!used->items.empty()) sum = used->items.front();
    w.key("today").begin_object().field("requests", sum.requests).field("errors", sum.errors);
    write_tokens(w, "tokens", sum.tokens);
    write_money(w, "cost", sum.cost);
    w.end_object().end_object();
    return answer(data);
}

// Needs no answer of the store, so that it works while the store is gone.
result<reply> show_health(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    const auto store = c.services.store.health();
    const bool writable = !c.services.journal_healthy || c.services.journal_healthy();
    key_counts counts;
    c.services.states.for_each([&](pool::slot_id, pool::key_state& s) {
        live_key k;
        k.status = s.status();
        counts.add(k);
    });

    std::string data;
    json_writer w(data);
    w.begin_object()
        .field("status", store.up && writable ? "ok" : "degraded")
        .field("version", KEYWHEEL_VERSION)
        .field("workers", c.services.workers);
    w.key("store").begin_object().field("kind", c.services.store.name()).field("up", store.up);
    write_time(w, "since", store.since == wall_time{} ? std::nullopt : std::optional(store.since));
    w.field("latency_us", store.latency.count())
        .field("errors", store.errors)
        .field("reason", store.reason)
        .end_object();
    w.key("journal").begin_object().field("writable", writable);
    if (c.services.shipper) write_journal(w, c.services.shipper());
    w.end_object().key("keys").begin_object();
    counts.write(w);
    w.end_object().end_object();
    return answer(data);
}

result<reply> list_prices(call& c) {
    auto q = c.query();
    const auto source = q.text("source");
    const auto list = read_list(q, "model");
    if (const auto ok = q.finish(); !ok) return ok.error();
    const auto table = c.services.prices ? c.services.prices() : usage::price_table::builtin();
    auto all = table->list();
    using row = decltype(all)::value_type;
    std::erase_if(all, [&](const row& r) {
        return (source && r.second->source != *source) || !list.finds({r.first, r.second->source});
    });
    using text = const std::string&;
    const auto shown =
        page_of(all, list, column{"model", [](const row& r) { return r.first; }},
                column{"input", [](const row& r) { return r.second->base.input; }},
                column{"output", [](const row& r) { return r.second->base.output; }},
                column{"source", [](const row& r) -> text { return r.second->source; }},
                column{"as_of", [](const row& r) -> text { return r.second->as_of; }});
    std::string data;
    json_writer w(data);
    w.begin_object()
        .field("version", table->version())
        .field("unit", "dollars per million tokens; per_… in dollars each");
    w.key("prices").begin_array();
    for (const auto& [model, price] : shown)
        write_price(w, model, *price);
    w.end_array();
    write_pagination(w, list.at, all.size());
    w.end_object();
    return answer(data);
}

}  // namespace kw::admin
