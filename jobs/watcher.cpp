// Thresholds.
#include "jobs/watcher.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace kw::jobs {
namespace {

using namespace std::chrono_literals;
using config::notice_kind;

constexpr auto cpu_window = 1min;
constexpr auto access_window = 1min;
constexpr auto sample_interval = 1s;
constexpr std::size_t max_crossings = 10'000;

}  // namespace

double quantile(std::span<const std::uint64_t> buckets, std::span<const double> bounds,
                double share) noexcept {
    std::uint64_t all = 0;
    for (const auto b : buckets)
        all += b;
    if (all == 0) return 0;
    const double wanted = share * static_cast<double>(all);
    double below = 0;
    for (std::size_t i = 0; i < buckets.size() && i < bounds.size(); ++i) {
        const auto here = static_cast<double>(buckets[i]);
        if (below + here >= wanted && here > 0) {
            const double low = i == 0 ? 0 : bounds[i - 1];
            return low + (bounds[i] - low) * (wanted - below) / here;
        }
        below += here;
    }
    return bounds.empty() ? 0 : bounds.back();
}

void watcher::raise(bool now, notice n, std::string subject) {
    crossed about{n.kind, subject.empty() ? n.subject : std::move(subject), n.shared};
    const bool news = now ? raised_.insert(about).second : raised_.erase(about) > 0;
    if (!news) return;
    if (crossings_.size() < max_crossings) crossings_.push_back({std::move(about), now});
    if (now) tell_(std::move(n));
}

template <class Gone>
void watcher::forget(notice_kind kind, std::string_view prefix, const Gone& gone) {
    auto at = raised_.lower_bound({kind, std::string(prefix), false});
    while (at != raised_.end() && at->kind == kind && at->subject.starts_with(prefix)) {
        if (!gone(at->subject)) {
            ++at;
            continue;
        }
        if (crossings_.size() < max_crossings) crossings_.push_back({*at, false});
        at = raised_.erase(at);
    }
}

// What is no more is not low any more.
void watcher::clear_missing(notice_kind kind, const std::set<std::string>& seen) {
    forget(kind, {}, [&](const std::string& subject) { return !seen.contains(subject); });
}

void watcher::look(const readings& now, const config::notification_settings& by) {
    std::set<std::string> seen;
    for (const auto& g : now.groups) {
        seen.insert(g.id);
        raise(by.pool_low > 0 && g.total > 0 && g.usable * 100 < g.total * by.pool_low,
              {notice_kind::pool_low, g.id,
               fmt::format("{} of {} upstream keys of the group can be used", g.usable, g.total),
               true});
    }
    clear_missing(notice_kind::pool_low, seen);
    seen.clear();
    for (const auto& q : now.quotas) {
        seen.insert(q.key);
        raise(
            by.quota_low > 0 && q.allowance > 0 && q.remaining * 100 < q.allowance * by.quota_low,
            {notice_kind::quota_low, q.key,
             fmt::format("{:.4g} of {:.4g} are left of the key's quota", q.remaining, q.allowance),
             true});
    }
    clear_missing(notice_kind::quota_low, seen);
    look_at_rates(now, by);
    const auto wall = clock_.wall();
    raise(by.store_down.count() > 0 && !now.store.up && wall - now.store.since >= by.store_down,
          {notice_kind::store_down, "store", "the store does not answer: " + now.store.reason,
           false});
    raise(by.disk_low > 0 && now.free_disk && *now.free_disk * 100 < by.disk_low,
          {notice_kind::disk_low, "data directory",
           fmt::format("{:.1f} % are free", now.free_disk.value_or(0) * 100), false});
    raise(by.memory > 0 && now.memory && *now.memory * 100 >= by.memory,
          {notice_kind::resources, "memory",
           fmt::format("{:.0f} % of the memory are used", now.memory.value_or(0) * 100), false});
    const auto ends = now.certificate_ends.value_or(wall_time::max());
    const bool ends_soon = by.certificate_expiry.count() > 0 && now.certificate_ends &&
                           ends - wall < by.certificate_expiry;
    raise(ends_soon,
          {notice_kind::certificate_expiry, "listener",
           !ends_soon    ? std::string()
           : ends < wall ? "the listener's certificate has ended"
                         : fmt::format("the listener's certificate ends in {} days",
                                       std::chrono::floor<std::chrono::days>(ends - wall).count()),
           false});
}

void watcher::look_at_rates(const readings& now, const config::notification_settings& by) {
    const auto mono = clock_.mono();
    if (samples_.empty() || mono - samples_.back().at >= sample_interval)
        samples_.push_back(
            {mono, now.requests, now.errors, now.first_tokens.buckets, now.cpu_time});
    const auto longest = std::max<std::chrono::nanoseconds>(by.window, cpu_window);
    while (samples_.size() > 1 && mono - samples_[1].at >= longest)
        samples_.pop_front();
    // The latest sample that is old enough, else the first one.
    const auto before = [&](std::chrono::nanoseconds age) -> const sample& {
        const auto at = std::ranges::upper_bound(samples_, mono - age, {}, &sample::at);
        return at == samples_.begin() ? *at : *std::prev(at);
    };
    const sample& then = before(by.window);
    const auto requests = now.requests - then.requests;
    const auto errors = now.errors - then.errors;
    // What was told before a restart holds until there is enough to judge by.
    const bool judges = requests >= by.min_requests || mono - then.at >= by.window;
    if (judges)
        raise(by.error_rate > 0 && requests >= by.min_requests &&
                  errors * 100 > requests * by.error_rate,
              {notice_kind::error_rate, "requests",
               fmt::format("{} of {} requests ended in an error of the server", errors, requests),
               false});
    auto buckets = now.first_tokens.buckets;
    std::uint64_t observed = 0;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        if (i < then.first_tokens.size()) buckets[i] -= then.first_tokens[i];
        observed += buckets[i];
    }
    const double slowest = quantile(buckets, now.first_token_bounds, 0.99);
    const double most = std::chrono::duration<double>(by.latency).count();
    if (judges)
        raise(most > 0 && observed >= by.min_requests && slowest > most,
              {notice_kind::latency, "first token",
               fmt::format("one request in a hundred waits {:.3g} s or longer for its first token",
                           slowest),
               false});
    const sample& minute = before(cpu_window);
    const double length = std::chrono::duration<double>(mono - minute.at).count();
    const double used = std::chrono::duration<double>(now.cpu_time - minute.cpu_time).count();
    const double share = length > 0 ? used / (length * std::max(now.cpus, 0.01)) : 0;
    if (mono - minute.at >= cpu_window)
        raise(by.cpu > 0 && share * 100 >= by.cpu,
              {notice_kind::resources, "cpu",
               fmt::format("{:.0f} % of the CPU were used for a minute", share * 100), false});
}

void watcher::notice_all(const std::vector<incidents::item>& all,
                         const config::notification_settings& by) {
    const auto now = clock_.mono();
    std::erase_if(sources_, [&](const auto& s) { return now - s.second.since >= access_window; });
    for (const auto& item : all) {
        if (item.is == incidents::what::unknown_model) {
            tell_({notice_kind::unknown_model, item.subject,
                   "no group serves this model, which a client asks for", true, item.count});
        } else if (item.is == incidents::what::refused_credential && by.suspicious_access > 0) {
            auto& s = sources_[item.subject];
            if (s.refused == 0) s.since = now;
            s.refused += item.count;
            if (s.told || s.refused < by.suspicious_access) continue;
            s.told = true;
            tell_({notice_kind::suspicious_access, item.subject,
                   fmt::format("{} wrong credentials within a minute", s.refused), true});
        }
    }
}

bool watcher::look_at_budgets(const std::string& key_id, const std::string& name,
                              std::span<const store::limit> limits,
                              std::span<const store::limit_state> states,
                              const config::notification_settings& by) {
    bool any = false;
    std::set<std::string> cells;
    for (std::size_t i = 0; i < limits.size() && i < states.size(); ++i) {
        const auto& l = limits[i];
        if (l.kind != store::limit_kind::budget || l.cap <= 0) continue;
        const double share = static_cast<double>(states[i].used) / static_cast<double>(l.cap);
        const bool near = by.budget_warning > 0 && share * 100 >= by.budget_warning;
        const auto cell = store::cell_name(l);
        const auto of_budget = key_id + " " + cell;
        const auto period =
            of_budget + " " + std::to_string(store::bounds_of(l, unix_ms(clock_.wall())).begin);
        forget(notice_kind::budget_warning, of_budget + " ",
               [&](const std::string& subject) { return !near || subject != period; });
        if (!near) continue;
        raise(true,
              {notice_kind::budget_warning, of_budget,
               fmt::format("access key {} has used {:.0f} % of its {}", name, share * 100,
                           store::describe(l)),
               true},
              period);
        any = true;
        cells.insert(cell);
        near_[{key_id, cell}] = l.period;
    }
    std::erase_if(near_, [&](const auto& item) {
        return item.first.first == key_id && !cells.contains(item.first.second);
    });
    return any;
}

void watcher::forget_budgets(const std::string& key_id) {
    std::erase_if(near_, [&](const auto& item) { return item.first.first == key_id; });
    forget(notice_kind::budget_warning, key_id + " ", [](const std::string&) { return true; });
}

std::size_t watcher::near_end(store::budget_period period) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(near_, [&](const auto& item) { return item.second == period; }));
}

}  // namespace kw::jobs
