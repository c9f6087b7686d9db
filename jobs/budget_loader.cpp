// Sums over the books' buckets of the budget's period.
#include "jobs/budget_loader.hpp"

namespace kw::jobs {

using store::budget_period;
using store::limit_kind;
using store::limit_unit;

result<std::int64_t> budget_loader::used(const std::string& access_key_id,
                                         const store::limit& budget) {
    store::usage_query q;
    q.by = store::dimension::access_key;
    q.subject = access_key_id;
    q.page.limit = 1'000;  // more than the hours of a week
    const auto bounds = store::bounds_of(budget, unix_ms(clock_.wall()));
    // Hours also where the period begins in the middle of a day of UTC; they are kept for a week.
    q.length = budget.period == budget_period::total   ? store::span::all
               : budget.period == budget_period::month ? store::span::day
                                                       : store::span::hour;
    if (budget.period != budget_period::total)
        q.from = wall_time(std::chrono::milliseconds(bounds.begin));
    const auto sums = books_.usage(q);
    if (!sums) return sums.error();
    std::int64_t total = 0;
    for (const store::aggregate& a : sums->items) {
        switch (budget.unit) {
            case limit_unit::requests:
                total += a.requests - a.errors;
                break;
            case limit_unit::tokens:
                total += a.tokens.total();
                break;
            case limit_unit::cost:
                total += a.rated_cost;
                break;
        }
    }
    return total;
}

bool budget_loader::load(const auth::access_key& key) {
    if (!key.limits) return true;
    for (const store::limit& l : key.limits.set->items()) {
        if (l.kind != limit_kind::budget) continue;
        auto name = std::pair(key.id, store::cell_name(l));
        if (loaded_.contains(name)) continue;
        const auto before = used(key.id, l);
        if (!before) return false;
        into_.preload(key.id, l, *before);
        loaded_.insert(std::move(name));
    }
    return true;
}

}  // namespace kw::jobs
