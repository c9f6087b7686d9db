// What this process keeps at hand of what lies elsewhere, and how well that serves.
#include "admin/handlers.hpp"
#include "auth/key_book.hpp"
#include "config/settings.hpp"
#include "core/json_writer.hpp"
#include "core/metrics.hpp"
#include "usage/prices.hpp"

namespace kw::admin {

// The tables of records are whole copies, kept level by the change feed: nothing misses in them, so
// they have no hits and misses to tell.
result<reply> show_caches(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    std::string data;
    json_writer w(data);
    w.begin_object().key("caches").begin_array();
    const auto write = [&w](std::string_view name, std::string_view what,
                            std::optional<std::size_t> entries, std::optional<std::size_t> bound,
                            std::optional<std::int64_t> hits, std::optional<std::int64_t> misses) {
        const auto number = [&w](std::string_view key, const auto& value) {
            w.key(key);
            if (value) {
                w.value(*value);
            } else {
                w.null();
            }
        };
        w.begin_object().field("name", name).field("what", what);
        number("entries", entries);
        number("bound", bound);
        number("hits", hits);
        number("misses", misses);
        w.end_object();
    };
    write("access_keys", "verified by their hashes; all of the store's",
          c.services.access_keys.all().size(), {}, {}, {});
    write("upstream_keys", "opened secrets; all of the store's", c.records.keys().size(), {}, {},
          {});
    const auto prices = c.services.prices ? c.services.prices() : usage::price_table::builtin();
    write("prices", "models with a price", prices->size(), {}, {}, {});
    const auto connections = [&](std::string_view kind) {
        return c.services.registry
            .counter("keywheel_upstream_connections_total", "Upstream connections used, by kind.",
                     {{"kind", kind}})
            .value();
    };
    const std::size_t each = c.services.settings()->upstream.max_idle_connections;
    write("upstream_connections", "idle ones, per worker and host", {}, each, connections("reused"),
          connections("new"));
    w.end_array().end_object();
    return answer(data);
}

}  // namespace kw::admin
