// Amounts of money are texts in dollars, as in the limits themselves.
#include "admin/limit_view.hpp"

#include <future>

#include "core/money.hpp"

namespace kw::admin {

usage_by_key peek_now(store::admission& at, const std::vector<const auth::access_key*>& keys) {
    std::vector<store::usage_question> questions;
    for (const auto* key : keys)
        if (key->limits) questions.push_back({key->id, key->limits.set});
    if (questions.empty()) return {};
    using answers = std::vector<store::usage_answer>;
    // Shared, since an answer may come after the wait is over.
    auto promise = std::make_shared<std::promise<answers>>();
    auto future = promise->get_future();
    at.peek(questions, [promise](answers found) { promise->set_value(std::move(found)); });
    if (future.wait_for(std::chrono::seconds(1)) != std::future_status::ready) return {};
    auto found = future.get();
    usage_by_key out;
    for (std::size_t i = 0; i < std::min(found.size(), questions.size()); ++i)
        out.emplace(questions[i].access_key_id, std::move(found[i]));
    return out;
}

void write_limit_usage(json_writer& w, const auth::key_limits& limits,
                       const store::usage_answer& usage) {
    w.begin_array();
    if (limits) {
        const auto& items = limits.set->items();
        for (std::size_t i = 0; i < items.size(); ++i) {
            const store::limit& l = items[i];
            w.begin_object();
            auth::write_limit(w, l);
            const auto amount = [&](std::string_view name, std::int64_t value) {
                if (l.unit == store::limit_unit::cost)
                    w.field(name, format_dollars(value));
                else
                    w.field(name, value);
            };
            if (i < usage.states.size()) {
                const store::limit_state& s = usage.states[i];
                amount("used", s.used);
                amount("remaining", s.remaining());
                w.field("reset_in_seconds",
                        std::chrono::ceil<std::chrono::seconds>(s.reset_in).count());
            } else {
                w.key("used").null().key("remaining").null().key("reset_in_seconds").null();
            }
            w.end_object();
        }
    }
    w.end_array();
}

}  // namespace kw::admin
