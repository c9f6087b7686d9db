// Usage events.
#include "store/redis/usage_event.hpp"

#include "core/json_writer.hpp"
#include "store/paging.hpp"
#include "store/record_json.hpp"

namespace kw::store::redis {
namespace {

void write_cost(json_writer& w, std::string_view name, const std::optional<nanodollars>& cost) {
    w.key(name);
    if (cost)
        w.value(*cost);
    else
        w.null();
}

}  // namespace

std::string usage_event(const ledger_record_view& r) {
    std::string out;
    out.reserve(1024);
    json_writer w(out);
    w.begin_object();
    w.key("v").raw(usage_event_version);
    w.field("id", r.id).field("started_ms", unix_ms(r.started)).field("duration_us", r.total_us);
    write_facts(w, r);
    w.key("tokens").begin_object();
    write_classes(w, r.tokens);
    w.end_object();
    write_cost(w, "cost_nanodollars", r.cost);
    write_cost(w, "rated_cost_nanodollars", r.rated_cost);
    w.end_object();
    return out;
}

}  // namespace kw::store::redis
