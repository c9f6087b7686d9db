// Walks the tiers for a model and takes a key by the group's strategy.
#include "pool/selector.hpp"

#include <algorithm>
#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <stdexcept>
#include <string>

#include "pool/strategy.hpp"

namespace kw::pool {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::int64_t refresh_every = 50'000'000;  // ns
constexpr std::size_t max_models = 1024;            // remembered per worker
constexpr std::size_t max_races = 8;                // lost to other workers, per pick
constexpr std::size_t wide_sample = 768;            // keys looked at when many are out

struct text_hash {
    using is_transparent = void;
    using is_avalanching = void;
    std::size_t operator()(std::string_view s) const noexcept {
        return boost::hash<std::string_view>{}(s);
    }
};

// A worker's own side of a lane.
struct worker_lane {
    const lane* shared = nullptr;
    std::unique_ptr<strategy> how;
    std::vector<candidate> sample;  // used above 64 keys
    std::int64_t refreshed = 0;
    bool fresh = false;
    bool any_tested = false;
    // No key was eligible at this epoch, and none becomes so by time before `none_until`.
    std::int64_t none_until = 0;
    std::uint64_t none_epoch = 0;
};

struct step {
    const group_view* tier = nullptr;
    worker_lane* lane = nullptr;
};

}  // namespace

void throw_exception_from_error(const refusal& r, const boost::source_location&) {
    throw std::logic_error("no key picked: " + std::string(to_string(r.code)));
}

struct selector::impl {
    state_table& states;
    random_source random;
    std::uint64_t version = 0;
    std::int64_t last_tick = 0;
    std::int64_t pace_window = 0;  // of the key that take() took last
    boost::unordered_flat_map<std::string, std::vector<step>, text_hash, std::equal_to<>> plans;
    std::vector<std::unique_ptr<worker_lane>> lanes;

    impl(state_table& s, random_source r) : states(s), random(r) {}

    const std::vector<step>& plan_for(const pool_view& view, std::string_view model) {
        if (version != view.version()) {
            plans.clear();
            lanes.clear();
            version = view.version();
        }
        if (const auto at = plans.find(model); at != plans.end()) return at->second;
        if (plans.size() >= max_models) plans.clear();
        std::vector<step> steps;
        for (const auto& g : view.groups()) {
            const lane* shared = g->lane_for(model);
            if (shared == nullptr) continue;
            const auto known = std::find_if(lanes.begin(), lanes.end(),
                                            [&](const auto& l) { return l->shared == shared; });
            if (known != lanes.end()) {
                steps.push_back({g.get(), known->get()});
                continue;
            }
            auto l = std::make_unique<worker_lane>();
            l->shared = shared;
            l->how = strategies::make(g->settings().strategy, g->settings().settings);
            if (!l->how) l->how = strategies::make("round-robin", g->settings().settings);
            l->sample.reserve(choice::sample_size);
            steps.push_back({g.get(), l.get()});
            lanes.push_back(std::move(l));
        }
        return plans.emplace(std::string(model), std::move(steps)).first->second;
    }

    // All keys up to 64; above, 48 eligible ones: one from each of 48 stretches of the id order,
    // or, when many are out, a fair sample of all that are eligible.
    void refresh(worker_lane& l, choice& c) {
        const auto& keys = l.shared->keys;
        l.refreshed = c.now;
        l.fresh = true;
        if (keys.size() <= choice::max_candidates) {
            c.candidates = keys;
        } else {
            const auto tried = std::exchange(c.tried, {});
            draw_sample(l, c);
            c.tried = tried;
            c.candidates = l.sample;
        }
        l.any_tested = false;
        for (const candidate& k : c.candidates) {
            if (k.state->tested() && k.state->blocked_until.load(relaxed) <= c.now) {
                l.any_tested = true;
                break;
            }
        }
        l.how->prepare(c);
    }

    // Into the sample, which stays a fair one of all `seen` that are eligible.
    void offer(worker_lane& l, const choice& c, const candidate& one, std::size_t& seen) {
        if (!c.eligible(one)) return;
        ++seen;
        if (l.sample.size() < choice::sample_size) {
            l.sample.push_back(one);
        } else if (const auto at = random.below(seen); at < choice::sample_size) {
            l.sample[at] = one;
        }
    }

    void draw_sample(worker_lane& l, const choice& c) {
        const auto& keys = l.shared->keys;
        const std::size_t n = keys.size();
        l.sample.clear();
        for (std::size_t i = 0; i < choice::sample_size; ++i) {
            const std::size_t from = i * n / choice::sample_size;
            const std::size_t to = (i + 1) * n / choice::sample_size;
            const std::size_t at = from + random.below(to - from);
            for (std::size_t k = 0; k < std::min<std::size_t>(to - from, 4); ++k) {
                const candidate& one = keys[from + (at - from + k) % (to - from)];
                if (!c.eligible(one)) continue;
                l.sample.push_back(one);
                break;
            }
        }
        if (l.sample.size() == choice::sample_size) return;
        // Many are out: one from each of many more stretches. Looking at all of a large pool is
        // left for when hardly any is eligible.
        std::size_t seen = 0;
        l.sample.clear();
        if (n >= 4 * wide_sample) {
            for (std::size_t i = 0; i < wide_sample; ++i) {
                const std::size_t from = i * n / wide_sample;
                const std::size_t to = (i + 1) * n / wide_sample;
                offer(l, c, keys[from + random.below(to - from)], seen);
            }
        }
        if (l.sample.size() < choice::sample_size / 2) {
            seen = 0;
            l.sample.clear();
            for (const candidate& one : keys)
                offer(l, c, one, seen);
        }
        // Ties go by id, so the sample stays in id order.
        std::sort(l.sample.begin(), l.sample.end(),
                  [](const candidate& a, const candidate& b) { return a.member < b.member; });
    }

    // Takes the key unless another worker took its last place.
    bool take(const choice& c, const candidate& k, std::int32_t estimate) noexcept {
        pace_window = 0;
        const auto before = k.state->in_flight.fetch_add(1, std::memory_order_seq_cst);
        const bool one_only = k.state->status() != key_status::active;
        if ((one_only && before > 0) || k.state->blocked_until.load(relaxed) > c.now ||
            (k.state->paced() && !k.state->take_pace(c.now, estimate, pace_window)) ||
            (k.capped && !k.state->take_caps(before, estimate))) {
            k.state->in_flight.fetch_sub(1, relaxed);
            return false;
        }
        return true;
    }

    static void book(const candidate& k, std::int32_t estimate, std::int64_t tick) noexcept {
        key_state& s = *k.state;
        s.last_used.store(tick, relaxed);
        s.rank_uses.fetch_add(1, relaxed);
        s.uses.fetch_add(1, relaxed);
        if (estimate != 0) {
            s.rank_tokens.fetch_add(estimate, relaxed);
            s.estimate_in_flight.fetch_add(estimate, relaxed);
        }
    }

    const candidate* choose(worker_lane& l, choice& c) {
        c.all = l.shared;
        c.random = &random;
        c.candidates = l.shared->keys.size() <= choice::max_candidates
                           ? std::span<const candidate>(l.shared->keys)
                           : std::span<const candidate>(l.sample);
        bool refreshed = false;
        if (!l.fresh || c.now - l.refreshed >= refresh_every || c.now < l.refreshed) {
            refresh(l, c);
            refreshed = true;
        }
        c.probation = l.any_tested;
        const candidate* k = l.how->choose(c);
        if (k == nullptr && !refreshed) {
            refresh(l, c);
            c.probation = l.any_tested;
            k = l.how->choose(c);
        }
        if (k == nullptr && c.probation) {
            c.probation = false;
            if (c.candidates.size() != l.shared->keys.size()) refresh(l, c);
            c.probation = false;
            k = l.how->choose(c);
        }
        return k;
    }

    // Nothing eligible whatever is tried: remember it, so that a flood of requests onto a pool that
    // is out does not walk all its keys each time.
    void remember_none(worker_lane& l, std::uint64_t epoch, std::int64_t now) const {
        std::int64_t earliest = forever;
        for (const candidate& k : l.shared->keys) {
            const auto until = k.state->blocked_until.load(relaxed);
            if (until <= now) return;
            earliest = std::min(earliest, until);
        }
        l.none_epoch = epoch;
        l.none_until = earliest;
    }

    static bool wanted(const step& s, const pick_request& r) noexcept {
        const group& g = s.tier->settings();
        if (!r.bound_group.empty() && g.id != r.bound_group) return false;
        if (!r.only_group.empty() && g.id != r.only_group && g.name != r.only_group) return false;
        return true;
    }
    static const std::string& provider_of(const group& g, const upstream_key& k) noexcept {
        return k.provider.empty() ? g.provider : k.provider;
    }

    // The session's key, if it is of this lane and can serve.
    static const candidate* of_session(const step& s, const pick_request& r, const choice& c) {
        if (r.session_slot == slot_id::none || r.session == session_policy::off) return nullptr;
        if (s.tier->settings().sessions.value_or(r.sessions) < r.session) return nullptr;
        const candidate* k = s.lane->shared->find(r.session_slot);
        return k != nullptr && c.eligible(*k) ? k : nullptr;
    }

    const candidate* try_lane(const step& s, const pick_request& r, bool commit) {
        worker_lane& l = *s.lane;
        const std::int64_t now = mono_ns(r.now);
        const auto epoch = states.epoch();
        if (l.none_epoch == epoch && now < l.none_until) return nullptr;
        std::array<slot_id, max_races + 32> skip;
        std::size_t skipped = 0;
        choice c;
        c.now = now;
        c.tried = r.tried;
        if (const candidate* k = of_session(s, r, c);
            k != nullptr && (!commit || take(c, *k, r.estimated_tokens)))
            return k;
        for (std::size_t races = 0; races < max_races; ++races) {
            const candidate* k = choose(l, c);
            if (k == nullptr) break;
            const bool right_provider =
                r.provider.empty() ||
                provider_of(s.tier->settings(), *s.tier->keys()[k->member].key) == r.provider;
            if (right_provider && (!commit || take(c, *k, r.estimated_tokens))) return k;
            if (skipped == 0) {
                skipped = std::min(r.tried.size(), skip.size() - max_races);
                std::copy_n(r.tried.begin(), skipped, skip.begin());
            }
            skip[skipped++] = k->slot;
            c.tried = {skip.data(), skipped};
        }
        if (r.tried.empty()) remember_none(l, epoch, now);
        return nullptr;
    }

    const candidate* try_bound(const step& s, const pick_request& r, bool commit) {
        choice c;
        c.now = mono_ns(r.now);
        c.tried = r.tried;
        for (const candidate& k : s.lane->shared->keys) {
            if (s.tier->keys()[k.member].key->id != r.bound_key) continue;
            return c.eligible(k) && (!commit || take(c, k, r.estimated_tokens)) ? &k : nullptr;
        }
        return nullptr;
    }

    static bool allowed(const step& s, const pick_request& r, const candidate& k) noexcept {
        if (!r.restricted) return true;
        return std::ranges::any_of(
            r.only, [&](const account_member& m) { return m.tier == s.tier && m.key == k.member; });
    }

    // The idlest key of an account.
    const candidate* try_only(const step& s, const pick_request& r, bool commit) {
        choice c;
        c.now = mono_ns(r.now);
        const auto rank = [](const candidate& k) {
            return std::pair(k.state->in_flight.load(relaxed), k.state->last_used.load(relaxed));
        };
        std::array<slot_id, max_races + 32> skip;
        std::size_t skipped = std::min(r.tried.size(), skip.size() - max_races);
        std::copy_n(r.tried.begin(), skipped, skip.begin());
        for (std::size_t races = 0; races < max_races; ++races) {
            c.tried = {skip.data(), skipped};
            const candidate* best = nullptr;
            for (const account_member& m : r.only) {
                if (m.tier != s.tier) continue;
                const auto& keys = s.lane->shared->keys;  // in id order, as members are
                const auto k =
                    std::ranges::lower_bound(keys, m.key, std::less<>(), &candidate::member);
                if (k == keys.end() || k->member != m.key || !c.eligible(*k)) continue;
                if (!r.bound_key.empty() && s.tier->keys()[m.key].key->id != r.bound_key) continue;
                if (best == nullptr || rank(*k) < rank(*best)) best = &*k;
            }
            if (best == nullptr || !commit || take(c, *best, r.estimated_tokens)) return best;
            skip[skipped++] = best->slot;
        }
        return nullptr;
    }

    const candidate* try_step(const step& s, const pick_request& r, bool commit) {
        if (r.restricted) return try_only(s, r, commit);
        return r.bound_key.empty() ? try_lane(s, r, commit) : try_bound(s, r, commit);
    }

    // The key that is back soonest of those that only rest; the idler of equals.
    static const candidate* try_resting(const step& s, const pick_request& r, bool commit) {
        const auto rank = [](const candidate& k) {
            return std::pair(k.state->blocked_until.load(relaxed),
                             k.state->in_flight.load(relaxed));
        };
        const candidate* best = nullptr;
        for (const candidate& k : s.lane->shared->keys) {
            const upstream_key& key = *s.tier->keys()[k.member].key;
            const auto quota = k.state->quota_left.load(relaxed);
            if (k.state->status() != key_status::cooling ||
                (k.capped && k.state->lacks(k.state->in_flight.load(relaxed)) != 0) ||
                (quota <= 0 && quota != unknown_amount) ||
                std::ranges::find(r.tried, k.slot) != r.tried.end() || !allowed(s, r, k) ||
                (!r.bound_key.empty() && key.id != r.bound_key) ||
                (!r.provider.empty() && provider_of(s.tier->settings(), key) != r.provider))
                continue;
            if (best == nullptr || rank(k) < rank(*best)) best = &k;
        }
        if (best == nullptr || !commit) return best;
        const auto before = best->state->in_flight.fetch_add(1, std::memory_order_seq_cst);
        if (!best->capped || best->state->take_caps(before, r.estimated_tokens)) return best;
        best->state->in_flight.fetch_sub(1, relaxed);
        return nullptr;
    }

    struct found {
        step at;
        const candidate* key = nullptr;
        bool resting = false;
        std::span<const step> considered;
    };

    found find(const pool_view& view, const pick_request& r, bool commit) {
        found f;
        f.considered = plan_for(view, r.model);
        bool first = true;
        std::int32_t priority = 0;
        for (std::size_t i = 0; i < f.considered.size(); ++i) {
            const step& s = f.considered[i];
            if (!wanted(s, r)) continue;
            if (r.strict && !r.restricted && !first && s.tier->settings().priority != priority) {
                f.considered = f.considered.first(i);
                break;
            }
            first = false;
            priority = s.tier->settings().priority;
            f.key = try_step(s, r, commit);
            if (f.key != nullptr) {
                f.at = s;
                return f;
            }
        }
        if (!r.resting_too) return f;
        for (const step& s : f.considered) {
            if (!wanted(s, r)) continue;
            f.key = try_resting(s, r, commit);
            if (f.key == nullptr) continue;
            f.at = s;
            f.resting = true;
            break;
        }
        return f;
    }

    static std::uint32_t lacking(const candidate& k) noexcept {
        return k.state->lacks(k.state->in_flight.load(relaxed));
    }
    // When it is worth to ask again for a key at its caps. A guess: others give back at any time.
    static std::int64_t back_in(const candidate& k) noexcept {
        const auto lack = lacking(k) & k.state->drained.load(relaxed);
        if ((lack & cap_short::day_tokens) != 0) return 60'000'000'000;
        if (lack != 0) return 5'000'000'000;
        return 250'000'000;
    }

    refusal why_not(const pick_request& r, std::span<const step> steps) const {
        const std::int64_t now = mono_ns(r.now);
        if (steps.empty()) return {errc::model_not_served, {}};
        bool any_group = false;
        bool all_limited = true;
        bool any_capped = false;  // in use up to its caps: it comes back for sure
        std::int64_t earliest = forever;
        for (const step& s : steps) {
            if (!wanted(s, r)) continue;
            any_group = true;
            for (const candidate& k : s.lane->shared->keys) {
                if (!allowed(s, r, k)) continue;
                if (!r.provider.empty() &&
                    provider_of(s.tier->settings(), *s.tier->keys()[k.member].key) != r.provider) {
                    continue;
                }
                const auto status = k.state->status();
                if (status == key_status::banned || status == key_status::disabled) continue;
                const auto until = k.state->blocked_until.load(relaxed);
                const auto paced = k.state->paced() ? k.state->paced_until(now) : 0;
                const bool limited = k.state->reason() == block_reason::rate_limit;
                if (until > now && limited) {
                    earliest = std::min(earliest, std::max(until, paced));
                } else if (until <= now && paced > now) {
                    earliest = std::min(earliest, paced);
                } else if (until <= now && limited && status == key_status::cooling &&
                           k.state->in_flight.load(relaxed) > 0) {
                    // Its limit is over, and the one exchange that shows it is under way.
                    earliest = std::min(earliest, now + 250'000'000);
                } else if (until <= now && k.capped && lacking(k) != 0) {
                    earliest = std::min(earliest, now + back_in(k));
                    any_capped = true;
                } else {
                    all_limited = false;
                }
            }
        }
        if (!r.bound_key.empty() || !r.bound_group.empty()) {
            if (!any_group || !r.bound_key.empty()) return {errc::bound_key_unavailable, {}};
        }
        if (!any_group) return {errc::model_not_served, {}};
        if ((all_limited || any_capped) && earliest != forever) {
            return {errc::upstream_keys_rate_limited, std::chrono::nanoseconds(earliest - now)};
        }
        return {errc::no_upstream_key, {}};
    }
};

selector::selector(state_table& states, random_source random)
    : impl_(std::make_unique<impl>(states, random)) {}
selector::~selector() = default;
selector::selector(selector&&) noexcept = default;
selector& selector::operator=(selector&&) noexcept = default;

pick_result selector::pick(const pool_view& view, const pick_request& request) {
    impl& m = *impl_;
    const auto f = m.find(view, request, true);
    if (f.key == nullptr) return m.why_not(request, f.considered);
    // Strictly growing, so that "longest idle" is clear even among picks of the same instant.
    m.last_tick = std::max(mono_ns(request.now), m.last_tick + 1);
    impl::book(*f.key, request.estimated_tokens, m.last_tick);
    picked p;
    p.member_of = &f.at.tier->keys()[f.key->member];
    p.key = p.member_of->key.get();
    p.tier = f.at.tier;
    p.of = &f.at.tier->settings();
    p.slot = f.key->slot;
    p.resting = f.resting;
    p.use = key_use(*f.key->state, request.estimated_tokens, f.key->capped,
                    f.resting ? 0 : m.pace_window);
    return p;
}

bool selector::can_pick(const pool_view& view, const pick_request& request) {
    return impl_->find(view, request, false).key != nullptr;
}

}  // namespace kw::pool
