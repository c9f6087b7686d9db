// Usage events.
#include "store/redis/usage_event.hpp"

#include "core/json_writer.hpp"
#include "store/paging.hpp"

namespace kw::store::redis {
namespace {

constexpr std::string_view outcome_names[] = {"exact", "estimated", "none"};
constexpr std::string_view end_names[] = {"completed", "client_closed", "upstream_cut", "refused",
                                          "failed"};

void write_cost(json_writer& w, std::string_view name, const std::optional<nanodollars>& cost) {
    w.key(name);
    if (cost)
        w.value(*cost);
    else
        w.null();
}

}  // namespace

std::string usage_event(const ledger_record& r) {
    std::string out;
    out.reserve(1024);
    json_writer w(out);
    w.begin_object();
    w.key("v").raw(usage_event_version);
    w.field("id", r.id)
        .field("started_ms", unix_ms(r.started))
        .field("duration_us", r.total_us)
        .field("access_key", r.access_key_id)
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
        .field("usage", outcome_names[static_cast<std::size_t>(r.outcome)])
        .field("operator_cost", r.operator_cost);
    const auto& t = r.tokens;
    w.key("tokens").begin_object();
    w.field("input", t.input)
        .field("output", t.output)
        .field("reasoning", t.reasoning)
        .field("cached_read", t.cached_read)
        .field("cache_write_5m", t.cache_write_5m)
        .field("cache_write_1h", t.cache_write_1h)
        .field("audio_in", t.audio_in)
        .field("audio_out", t.audio_out)
        .field("image_in", t.image_in)
        .field("image_out", t.image_out)
        .end_object();
    write_cost(w, "cost_nanodollars", r.cost);
    write_cost(w, "rated_cost_nanodollars", r.rated_cost);
    w.end_object();
    return out;
}

}  // namespace kw::store::redis
