// Cells of the books, added up and written.
#include "admin/sums.hpp"

namespace kw::admin {

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

void add_sums(store::aggregate& sum, const store::aggregate& a) {
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

std::string name_of_subject(const call& c, store::dimension by, const std::string& subject) {
    if (by == store::dimension::access_key) {
        if (const auto* key = c.records.access_key(subject)) return key->name;
    } else if (by == store::dimension::upstream_key) {
        if (const auto* key = c.records.key(subject)) return key->key.alias;
    }
    return {};
}

}  // namespace kw::admin
