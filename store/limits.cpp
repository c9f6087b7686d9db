// Names, periods and the order of limits.
#include "store/limits.hpp"

#include <algorithm>
#include <tuple>

#include "core/money.hpp"

namespace kw::store {
namespace {

using namespace std::chrono;

std::string duration_text(milliseconds length) {
    if (length % 1'000ms != 0ms) return std::to_string(length.count()) + " ms";
    return std::to_string(length.count() / 1'000) + " s";
}

std::string amount_text(const limit& l) {
    if (l.unit == limit_unit::cost) return format_dollars(l.cap) + " USD";
    return std::to_string(l.cap) + " " + std::string(to_string(l.unit));
}

bool is_window(const limit& l) noexcept {
    return l.kind == limit_kind::sliding || l.kind == limit_kind::fixed;
}

error bad_limit(const limit& l, std::string_view why) {
    return error(errc::invalid_argument, "the limit of " + describe(l) + " " + std::string(why));
}

std::int64_t keep_of(const limit& l) noexcept {
    switch (l.kind) {
        case limit_kind::sliding:
            return part_ms(l.length) * (window_parts + 1);
        case limit_kind::fixed:
            return l.length.count();
        case limit_kind::budget:
            if (l.period == budget_period::day) return milliseconds(days(1)).count();
            if (l.period == budget_period::week) return milliseconds(days(7)).count();
            if (l.period == budget_period::month) return milliseconds(days(31)).count();
            return -1;
        case limit_kind::concurrency:
            break;
    }
    return 0;
}

}  // namespace

std::string_view to_string(limit_kind kind) noexcept {
    constexpr std::string_view names[] = {"budget", "fixed", "sliding", "concurrency"};
    return names[static_cast<std::size_t>(kind)];
}

std::string_view to_string(limit_unit unit) noexcept {
    constexpr std::string_view names[] = {"requests", "tokens", "cost"};
    return names[static_cast<std::size_t>(unit)];
}

std::string_view to_string(budget_period period) noexcept {
    constexpr std::string_view names[] = {"day", "week", "month", "total"};
    return names[static_cast<std::size_t>(period)];
}

std::string describe(const limit& l) {
    if (l.kind == limit_kind::concurrency) return std::to_string(l.cap) + " requests at a time";
    if (is_window(l)) return amount_text(l) + " per " + duration_text(l.length);
    if (l.period == budget_period::total) return amount_text(l) + " in total";
    return amount_text(l) + " a " + std::string(to_string(l.period));
}

std::string cell_name(const limit& l) {
    constexpr std::string_view kinds = "bfsc";
    constexpr std::string_view units = "rtc";
    constexpr std::string_view periods = "dwma";
    std::string out(1, kinds[static_cast<std::size_t>(l.kind)]);
    out += units[static_cast<std::size_t>(l.unit)];
    if (is_window(l)) out += std::to_string(l.length.count());
    if (l.kind == limit_kind::budget) {
        out += periods[static_cast<std::size_t>(l.period)];
        if (l.period != budget_period::total && l.utc_offset.count() != 0)
            out += std::to_string(l.utc_offset.count());
    }
    return out;
}

period_bounds bounds_of(const limit& budget, std::int64_t now_ms) noexcept {
    if (budget.period == budget_period::total) return {};
    const auto local = sys_time<milliseconds>(milliseconds(now_ms)) + budget.utc_offset;
    const auto today = floor<days>(local);
    sys_days begin = today;
    sys_days end = today + days(1);
    if (budget.period == budget_period::week) {
        begin = today - (weekday(today) - Monday);
        end = begin + days(7);
    } else if (budget.period == budget_period::month) {
        const year_month_day date(today);
        const auto month = date.year() / date.month();
        begin = sys_days(month / 1);
        end = sys_days((month + months(1)) / 1);
    }
    const auto in_utc = [&](sys_days day) {
        return milliseconds(sys_time<milliseconds>(day).time_since_epoch() - budget.utc_offset)
            .count();
    };
    return {in_utc(begin), in_utc(end)};
}

result<std::shared_ptr<const limit_set>> limit_set::make(std::vector<limit> limits) {
    for (const auto& l : limits) {
        if (l.cap < 1) return bad_limit(l, "must be at least 1");
        if (is_window(l) && (l.length < min_window || l.length > max_window))
            return bad_limit(l, "must be of 1 s to 400 days");
        if (abs(l.utc_offset) > hours(14)) return bad_limit(l, "has no such time zone");
    }
    const auto order = [](const limit& l) {
        return std::tuple(l.kind, l.unit, l.length, l.period, l.utc_offset, l.cap);
    };
    std::sort(limits.begin(), limits.end(),
              [&](const limit& a, const limit& b) { return order(a) < order(b); });
    const std::shared_ptr<limit_set> out(new limit_set);
    for (auto& l : limits) {
        auto name = cell_name(l);
        const auto same = std::find(out->names_.begin(), out->names_.end(), name);
        if (same != out->names_.end()) {
            auto& kept = out->items_[static_cast<std::size_t>(same - out->names_.begin())];
            kept.cap = std::min(kept.cap, l.cap);
            continue;
        }
        const auto keep = keep_of(l);
        out->keep_ms_ = keep < 0 || out->keep_ms_ < 0 ? -1 : std::max(out->keep_ms_, keep);
        out->counts_only_ = out->counts_only_ && l.unit == limit_unit::requests &&
                            l.kind != limit_kind::concurrency;
        out->names_.push_back(std::move(name));
        out->items_.push_back(l);
    }
    if (out->items_.size() > max_limits)
        return error(errc::invalid_argument,
                     "an access key has at most " + std::to_string(max_limits) + " limits");
    return std::shared_ptr<const limit_set>(out);
}

std::shared_ptr<const limit_set> limit_set::with_caps(const std::vector<std::int64_t>& caps) const {
    const std::shared_ptr<limit_set> out(new limit_set(*this));
    for (std::size_t i = 0; i < caps.size() && i < items_.size(); ++i)
        out->items_[i].cap = caps[i];
    return out;
}

}  // namespace kw::store
