// Upstream keys as text, for a backup or another program. The one answer with their secrets, so it
// leaves a line in the log.
#include "admin/handlers.hpp"
#include "admin/key_view.hpp"
#include "core/log.hpp"
#include "pool/upstream_key.hpp"
#include "store/store.hpp"

namespace kw::admin {

result<reply> export_keys(call& c) {
    auto q = c.query();
    const auto word = q.text("status");
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::optional<pool::key_status> wanted;
    if (word && !(wanted = parse_status(*word)))
        return bad_field("status", "must be active, cooling, quarantined, banned or disabled");

    reply out;
    std::size_t count = 0;
    for (store::page_request at{1000, {}};;) {
        const auto page = c.services.store.list(key_kind, at);
        if (!page) return page.error();
        for (const auto& record : page->items) {
            const auto key = pool::key_from_json(record.json, c.services.sealer);
            // One that does not open has no text to export.
            if (!key || key->value.empty()) continue;
            if (wanted && look_at(c.services, *key).status != *wanted) continue;
            out.body.append(key->value.reveal()).push_back('\n');
            ++count;
        }
        if (page->next.empty()) break;
        at.cursor = page->next;
    }
    out.content_type = "text/plain; charset=utf-8";
    out.headers.emplace_back("Content-Disposition",
                             "attachment; filename=\"keywheel-upstream-keys.txt\"");
    log::event(log::level::warn, "admin.keys_exported",
               {{"count", count},
                {"status", word ? std::string_view(*word) : std::string_view("any")},
                {"source", c.request.source},
                {"request_id", c.request.request_id}});
    return out;
}

}  // namespace kw::admin
