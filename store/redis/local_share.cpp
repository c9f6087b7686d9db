// The share of the limits that one replica may use by itself.
#include "store/redis/local_share.hpp"

#include <algorithm>

namespace kw::store::redis {
namespace {

constexpr std::size_t max_seen = 200'000;
// After this, leases of before the outage are thought to be over.
constexpr std::int64_t leases_known_ms = 60'000;

// Whether what was used at `seen` still counts at `now`.
bool still_counts(const limit& l, std::int64_t seen, std::int64_t now) noexcept {
    switch (l.kind) {
        case limit_kind::sliding:
            return now - seen < part_ms(l.length) * (window_parts + 1);
        case limit_kind::fixed:
            return now - seen < l.length.count();
        case limit_kind::budget:
            return bounds_of(l, seen).begin == bounds_of(l, now).begin;
        case limit_kind::concurrency:
            break;
    }
    return now - seen < leases_known_ms;
}

// In memory, with the clock as Redis' time: an offset is in it already.
std::shared_ptr<admission> make_engine(admission_options options, const clock_source& clock) {
    options.time_offset = std::chrono::milliseconds(0);
    return make_embedded_admission(options, clock);
}

}  // namespace

local_share::local_share(const admission_options& options, const clock_source& clock)
    : options_(options), clock_(clock), engine_(make_engine(options, clock)) {}

void local_share::set_replicas(std::uint64_t count, std::uint64_t rank) {
    const std::lock_guard lock(mutex_);
    replicas_ = std::max<std::uint64_t>(count, 1);
    rank_ = rank;
}

void local_share::saw(const std::string& access_key_id,
                      const std::shared_ptr<const limit_set>& limits,
                      const std::vector<limit_state>& states) {
    const auto now = unix_ms(clock_.wall());
    const std::lock_guard lock(mutex_);
    if (seen_.size() >= max_seen && !seen_.contains(access_key_id)) seen_.erase(seen_.begin());
    auto& entry = seen_[access_key_id];
    entry.at = now;
    entry.limits = limits;
    entry.used.clear();
    for (const auto& s : states)
        entry.used.push_back(s.used);
}

void local_share::start_anew() {
    auto fresh = make_engine(options_, clock_);
    const std::lock_guard lock(mutex_);
    engine_ = std::move(fresh);
    in_use_ = false;
}

std::shared_ptr<admission> local_share::engine() const {
    const std::lock_guard lock(mutex_);
    return engine_;
}

std::vector<std::int64_t> local_share::caps(const admit_request& request) const {
    const auto now = unix_ms(clock_.wall());
    const auto& items = request.limits->items();
    std::vector<std::int64_t> out;
    const std::lock_guard lock(mutex_);
    const auto known = seen_.find(request.access_key_id);
    for (std::size_t i = 0; i < items.size(); ++i) {
        auto left = items[i].cap;
        if (known != seen_.end() && still_counts(items[i], known->second.at, now)) {
            const auto& names = known->second.limits->names();
            const auto same = std::find(names.begin(), names.end(), request.limits->names()[i]);
            if (same != names.end())
                left -= known->second.used[static_cast<std::size_t>(same - names.begin())];
        }
        left = std::max<std::int64_t>(left, 0);
        const auto among = static_cast<std::int64_t>(replicas_);
        const bool one_more = static_cast<std::int64_t>(rank_) < left % among;
        out.push_back(left / among + (one_more ? 1 : 0));
    }
    return out;
}

admit_answer local_share::admit(const admit_request& request) {
    const auto shares = caps(request);
    auto mine = request;
    mine.limits = request.limits->with_caps(shares);
    admit_answer out;
    engine()->admit(mine, [&](admit_answer answer) { out = std::move(answer); });
    out.local = true;
    if (out.admitted()) in_use_ = true;
    for (std::size_t i = 0; i < out.states.size(); ++i) {
        auto& s = out.states[i];
        const auto left = s.remaining();
        s.cap = request.limits->items()[i].cap;
        s.used = s.cap - std::min(left, s.cap);
    }
    return out;
}

void local_share::settle(const lease_ref& which, const amounts& real) {
    engine()->settle(which, real);
}
void local_share::release(const lease_ref& which) {
    engine()->release(which);
}
void local_share::renew(const std::vector<lease_ref>& which, std::chrono::milliseconds ttl) {
    engine()->renew(which, ttl);
}

usage_answer local_share::peek(const usage_question& question) const {
    usage_answer out;
    const std::lock_guard lock(mutex_);
    const auto known = seen_.find(question.access_key_id);
    if (known == seen_.end() || known->second.limits != question.limits) return out;
    for (std::size_t i = 0; i < known->second.used.size(); ++i)
        out.states.push_back({known->second.used[i], question.limits->items()[i].cap, {}});
    return out;
}

}  // namespace kw::store::redis
