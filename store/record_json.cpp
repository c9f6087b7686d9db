// Ledger records as JSON.
#include "store/record_json.hpp"

#include <cstddef>

namespace kw::store {

std::string_view to_string(usage_outcome outcome) noexcept {
    constexpr std::string_view names[] = {"exact", "estimated", "none"};
    return names[static_cast<std::size_t>(outcome)];
}

std::string_view to_string(exchange_end end) noexcept {
    constexpr std::string_view names[] = {"completed", "client_closed", "upstream_cut", "refused",
                                          "failed"};
    return names[static_cast<std::size_t>(end)];
}

template <class Text>
void write_facts(json_writer& w, const basic_ledger_record<Text>& r) {
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
        .field("end", to_string(r.end))
        .field("error_code", r.error_code)
        .field("usage", to_string(r.outcome))
        .field("operator_cost", r.operator_cost);
}

template void write_facts(json_writer&, const ledger_record&);
template void write_facts(json_writer&, const ledger_record_view&);

void write_classes(json_writer& w, const token_counts& t) {
    w.field("input", t.input)
        .field("output", t.output)
        .field("reasoning", t.reasoning)
        .field("cached_read", t.cached_read)
        .field("cache_write_5m", t.cache_write_5m)
        .field("cache_write_1h", t.cache_write_1h)
        .field("audio_in", t.audio_in)
        .field("audio_out", t.audio_out)
        .field("image_in", t.image_in)
        .field("image_out", t.image_out);
}

}  // namespace kw::store
