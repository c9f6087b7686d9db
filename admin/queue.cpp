// The lines of requests that wait for a slot of their access key, as this process has them.
#include "admin/handlers.hpp"
#include "auth/waiting_lines.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

void write_stats(json_writer& w, const auth::line_stats& s) {
    w.field("entered", s.entered)
        .field("success", s.success)
        .field("timeout", s.timeout)
        .field("cancelled", s.cancelled)
        .field("refused", s.refused)
        .field("rejected", s.rejected)
        .field("waiting", s.waiting);
    w.key("wait_ms")
        .begin_object()
        .field("p50", s.p50.count())
        .field("p90", s.p90.count())
        .field("p99", s.p99.count())
        .end_object();
}

}  // namespace

result<reply> show_queue(call& c) {
    auto q = c.query();
    const auto only = q.text("access_key");
    const auto at = q.place();
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::string data;
    json_writer w(data);
    w.begin_object().key("total").begin_object();
    const auto* lines = c.services.lines;
    write_stats(w, lines != nullptr ? lines->total() : auth::line_stats{});
    w.end_object().key("access_keys").begin_array();
    std::size_t found = 0;
    if (lines != nullptr) {
        for (const auto& [id, stats] : lines->by_key()) {
            if (only && id != *only) continue;
            const std::size_t index = found++;
            if (index < at.first() || index >= at.first() + at.limit) continue;
            const auto* key = c.records.access_key(id);
            w.begin_object().field("id", id).field("name", key != nullptr ? key->name : "");
            write_stats(w, stats);
            w.end_object();
        }
    }
    w.end_array();
    write_pagination(w, at, found);
    w.end_object();
    return answer(data);
}

}  // namespace kw::admin
