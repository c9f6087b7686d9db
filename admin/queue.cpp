// The lines of requests that wait for a slot of their access key, as this process has them.
#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "auth/waiting_lines.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

struct row {
    std::string id;
    std::string name;
    auth::line_stats stats;
};

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
    const auto list = read_list(q, "id");
    if (const auto ok = q.finish(); !ok) return ok.error();
    const auto* lines = c.services.lines;
    std::vector<row> found;
    if (lines != nullptr) {
        for (auto& [id, stats] : lines->by_key()) {
            if (only && id != *only) continue;
            const auto* key = c.records.access_key(id);
            row r{std::move(id), key != nullptr ? key->name : std::string(), stats};
            if (list.finds({r.id, r.name})) found.push_back(std::move(r));
        }
    }
    const auto count = [](std::uint64_t auth::line_stats::* of) {
        return [of](const row& r) { return r.stats.*of; };
    };
    using stats = auth::line_stats;
    const auto shown = page_of(
        found, list, column{"id", &row::id}, column{"name", &row::name},
        column{"waiting", count(&stats::waiting)}, column{"entered", count(&stats::entered)},
        column{"success", count(&stats::success)}, column{"timeout", count(&stats::timeout)},
        column{"refused", count(&stats::refused)}, column{"rejected", count(&stats::rejected)});
    std::string data;
    json_writer w(data);
    w.begin_object().key("total").begin_object();
    write_stats(w, lines != nullptr ? lines->total() : auth::line_stats{});
    w.end_object().key("access_keys").begin_array();
    for (const auto& r : shown) {
        w.begin_object().field("id", r.id).field("name", r.name);
        write_stats(w, r.stats);
        w.end_object();
    }
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

}  // namespace kw::admin
