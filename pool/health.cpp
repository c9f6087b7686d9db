// Key states under verdicts, probes and the guard of hosts.
#include "pool/health.hpp"

#include <algorithm>
#include <deque>
#include <mutex>
#include <unordered_map>

namespace kw::pool {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::int64_t decay_every = 60'000'000'000;  // ns
// A full limit is back in parts, long before its reset time: do not rest longer than this unless
// the upstream really refuses.
constexpr nanoseconds longest_precaution = std::chrono::seconds(10);
constexpr std::int64_t tokens_per_request = 1000;  // where only a number of requests is told

void count_outcome(key_state& s, bool good) noexcept {
    (good ? s.successes : s.failures).fetch_add(1, relaxed);
    // Ten outcomes' worth of start value, then a memory of about a hundred. A lost update between
    // two threads costs one sample.
    const auto n = s.outcomes.load(relaxed);
    if (n < 1000) s.outcomes.store(n + 1, relaxed);
    const float share = std::max(0.01F, 1.0F / (static_cast<float>(n) + 11.0F));
    const float rate = s.success.load(relaxed);
    s.success.store(rate + share * ((good ? 1.0F : 0.0F) - rate), relaxed);
}

std::int64_t grown(nanoseconds base, std::uint32_t level, nanoseconds longest) noexcept {
    const auto most = std::max(longest, base).count();
    const auto shift = std::min(level, 16U);
    return base.count() > (most >> shift) ? most : base.count() << shift;
}

bool serving(key_status s) noexcept {
    return s == key_status::active || s == key_status::cooling;
}

}  // namespace

struct health::impl {
    // A key that waits for a test.
    struct watch {
        slot_id slot;
        std::int64_t next = 0;
        std::int64_t pause = 0;
        std::int64_t outstanding_until = 0;  // 0: no test is running
        std::int64_t ban_at = 0;             // 0: no ban is withheld
        std::uint16_t status = 0;
    };
    struct failure {
        slot_id slot;
        block_reason kind;
        std::int64_t at;
    };
    struct host {
        std::deque<failure> recent;
        bool open = false;
        std::int64_t until = 0;
        std::uint32_t level = 0;
    };

    state_table& states;
    health_settings set;
    std::atomic<bool> pacing;  // as in `set`, for those without the lock
    mutable std::mutex mutex;
    std::deque<health_event> events;
    std::uint64_t dropped = 0;
    std::unordered_map<std::uint32_t, watch> watched;  // by slot index
    std::unordered_map<std::uint32_t, host> hosts;
    std::int64_t decayed = 0;

    impl(state_table& t, health_settings s) : states(t), set(s), pacing(s.pacing) {}

    void emit(health_event e) {
        if (events.size() >= set.max_events) {
            events.pop_front();
            ++dropped;
        }
        events.push_back(std::move(e));
    }

    void change(slot_id slot, key_state& s, key_status to, block_reason reason, std::int64_t until,
                std::uint16_t status, std::int64_t now, wall_time wall, bool firm = false) {
        const auto from = s.status();
        s.set_gate(to, reason, until);
        if (to == key_status::active) states.bump_epoch();
        health_event e;
        e.slot = slot;
        e.key_id = states.key_id(slot);
        e.from = from;
        e.to = to;
        e.reason = reason;
        e.status = status;
        e.firm = firm;
        if (until != forever && until > now) e.until = wall + nanoseconds(until - now);
        emit(std::move(e));
    }

    void await_test(slot_id slot, std::int64_t now, nanoseconds pause, std::uint16_t status) {
        watch w;
        w.slot = slot;
        w.pause = pause.count();
        w.next = now + w.pause;
        w.status = status;
        watched[slot.index] = w;
    }

    void announce(host& h, std::uint32_t index, health_event::kind_t kind) {
        h.open = kind == health_event::kind_t::breaker_opened;
        health_event e;
        e.kind = kind;
        e.host = states.host_name(index);
        emit(std::move(e));
    }

    // All keys of the host rest, those that were blamed by mistake among them.
    void rest_host(host& h, std::uint32_t index, std::int64_t now, wall_time wall) {
        h.until = now + grown(set.breaker_pause, h.level++, set.longest_breaker_pause);
        for (const auto& f : h.recent) {
            key_state* s = states.get(f.slot);
            watched.erase(f.slot.index);
            if (s == nullptr || s->status() == key_status::disabled ||
                s->reason() == block_reason::breaker) {
                continue;
            }
            s->level.store(0, relaxed);
            change(f.slot, *s, key_status::cooling, block_reason::breaker, h.until, 0, now, wall);
        }
        h.recent.clear();
        states.for_each([&](slot_id, key_state& s) {
            if (s.host.load(relaxed) != index || !serving(s.status())) return;
            if (s.reason() == block_reason::rate_limit && s.blocked_until.load(relaxed) > h.until) {
                return;
            }
            s.set_gate(key_status::cooling, block_reason::breaker, h.until);
        });
    }

    void close_host(std::uint32_t index, std::int64_t) {
        host& h = hosts[index];
        h.level = 0;
        h.recent.clear();
        states.for_each([&](slot_id, key_state& s) {
            if (s.host.load(relaxed) == index && s.reason() == block_reason::breaker) {
                s.set_gate(key_status::active, block_reason::none, 0);
            }
        });
        states.bump_epoch();
        announce(h, index, health_event::kind_t::breaker_closed);
    }

    // Whether the failure is the host's: then its breaker has taken care of the key.
    bool guard(slot_id slot, key_state& s, block_reason kind, std::int64_t now, wall_time wall) {
        const auto index = s.host.load(relaxed);
        host& h = hosts[index];
        if (h.open) {
            // A trial after the pause failed: all rest again, for longer.
            h.recent.push_back({slot, kind, now});
            if (now >= h.until) {
                rest_host(h, index, now, wall);
            } else {
                h.recent.clear();
                change(slot, s, key_status::cooling, block_reason::breaker, h.until, 0, now, wall);
            }
            return true;
        }
        while (!h.recent.empty() && now - h.recent.front().at > set.guard_window.count()) {
            h.recent.pop_front();
        }
        if (std::none_of(h.recent.begin(), h.recent.end(),
                         [&](const failure& f) { return f.slot == slot && f.kind == kind; })) {
            h.recent.push_back({slot, kind, now});
        }
        std::size_t alike = 0;
        std::size_t out = 0;  // alike, and no longer counted among the serving
        for (const auto& f : h.recent) {
            if (f.kind != kind) continue;
            const key_state* other = states.get(f.slot);
            if (other == nullptr) continue;
            ++alike;
            if (!serving(other->status())) ++out;
        }
        if (alike < set.guard_keys) return false;
        std::size_t total = out;
        states.for_each([&](slot_id, const key_state& k) {
            if (k.host.load(relaxed) == index && serving(k.status())) ++total;
        });
        if (alike * 2 <= total) return false;
        announce(h, index, health_event::kind_t::breaker_opened);
        rest_host(h, index, now, wall);
        return true;
    }

    std::size_t keys_of_host(std::uint32_t index) const {
        std::size_t n = 0;
        states.for_each([&](slot_id, const key_state& k) {
            if (k.host.load(relaxed) == index && serving(k.status())) ++n;
        });
        return n;
    }

    void cool(slot_id slot, key_state& s, const verdict& v, std::int64_t now, wall_time wall) {
        const auto until = s.blocked_until.load(relaxed);
        const bool resting = until > now;
        const auto before = s.status();
        if (!serving(before)) return;
        if (v.after_threshold) {
            if (resting) return;  // an exchange that began before the rest
            const auto start = s.failure_window_start.load(relaxed);
            auto count = s.consecutive_failures.load(relaxed);
            if (count == 0 || now - start > set.window.count()) {
                count = 0;
                s.failure_window_start.store(now, relaxed);
            }
            s.consecutive_failures.store(++count, relaxed);
            if (before == key_status::active && count < set.threshold) return;
            s.consecutive_failures.store(0, relaxed);
        }
        const auto reason = v.rate_limited      ? block_reason::rate_limit
                            : v.after_threshold ? block_reason::upstream_fault
                                                : block_reason::overload;
        std::int64_t length = v.duration.count();
        if (!v.exact_duration) {
            if (resting) return;
            length = grown(v.duration, s.level.load(relaxed),
                           v.rate_limited      ? set.longest_rate_limit_cooldown
                           : v.after_threshold ? set.longest_upstream_cooldown
                                               : set.longest_overload_cooldown);
        }
        if (resting && now + length <= until) return;
        if (!resting) s.level.store(std::min(s.level.load(relaxed) + 1, 16U), relaxed);
        if (reason == block_reason::upstream_fault && guard(slot, s, reason, now, wall)) return;
        change(slot, s, key_status::cooling, reason, now + length, v.status, now, wall);
    }

    void exclude(slot_id slot, key_state& s, const verdict& v, std::int64_t now, wall_time wall) {
        if (!serving(s.status())) return;
        const auto reason =
            v.fault == fault_class::account ? block_reason::quota : block_reason::credential;
        if (s.reason() == block_reason::breaker && s.blocked_until.load(relaxed) > now) return;
        const auto company = keys_of_host(s.host.load(relaxed));
        if (guard(slot, s, reason, now, wall)) return;
        const bool ban = v.action == fault_action::ban;
        const bool withheld = ban && company >= set.guard_keys;
        change(slot, s, ban && !withheld ? key_status::banned : key_status::quarantined, reason,
               forever, v.status, now, wall);
        await_test(slot, now, ban ? set.first_retest : set.first_probe, v.status);
        // The ban stands only when no breaker opens meanwhile.
        if (withheld) watched[slot.index].ban_at = now + set.guard_window.count();
    }
};

health::health(state_table& states, health_settings settings)
    : impl_(std::make_unique<impl>(states, settings)) {}

void health::set_settings(const health_settings& settings) {
    const std::lock_guard lock(impl_->mutex);
    impl_->set = settings;
    impl_->pacing.store(settings.pacing, relaxed);
}
health::~health() = default;

void health::on_success(slot_id slot, mono_time now_at, wall_time wall) {
    impl& m = *impl_;
    key_state* s = m.states.get(slot);
    if (s == nullptr) return;
    count_outcome(*s, true);
    if (s->consecutive_failures.load(relaxed) != 0) s->consecutive_failures.store(0, relaxed);
    if (!s->tested()) s->gate.fetch_or(0x100U, relaxed);
    if (s->status() == key_status::active) {
        if (s->level.load(relaxed) != 0) s->level.store(0, relaxed);
        return;
    }
    const std::lock_guard lock(m.mutex);
    if (s->status() != key_status::cooling) return;
    const auto now = mono_ns(now_at);
    const auto reason = s->reason();
    // An answer to an exchange that began before the limit was hit says nothing about the limit.
    if (reason == block_reason::rate_limit && s->blocked_until.load(relaxed) > now) return;
    s->level.store(0, relaxed);
    m.change(slot, *s, key_status::active, block_reason::none, 0, 0, now, wall);
    const auto index = s->host.load(relaxed);
    if (reason == block_reason::breaker) {
        if (const auto h = m.hosts.find(index); h != m.hosts.end() && h->second.open) {
            m.close_host(index, now);
        }
    }
}

void health::apply(slot_id slot, const verdict& v, mono_time now_at, wall_time wall) {
    if (v.success) return on_success(slot, now_at, wall);
    impl& m = *impl_;
    key_state* s = m.states.get(slot);
    if (s == nullptr) return;
    const bool own = v.fault == fault_class::key || v.fault == fault_class::account ||
                     v.fault == fault_class::upstream;
    if (!own) return;
    count_outcome(*s, false);
    if (v.action == fault_action::pass || v.action == fault_action::failover) return;
    const std::lock_guard lock(m.mutex);
    const auto now = mono_ns(now_at);
    if (v.action == fault_action::cooldown) {
        m.cool(slot, *s, v, now, wall);
    } else {
        m.exclude(slot, *s, v, now, wall);
    }
}

namespace {

// Beyond these a key is far from its limits and nobody counts.
constexpr std::int64_t near_requests = 256;
constexpr std::int64_t near_tokens = 1'000'000;
// Of a limit for a longer time the next answer tells again.
constexpr nanoseconds longest_pace = std::chrono::minutes(2);

// One window of the upstream's: within it what is left only falls, whatever the order in which
// answers come. What was sent in it has been taken off already; `unknown` is what was sent before
// it was known and may not be in what is told. True: a window begins.
bool pace_one(std::atomic<std::int64_t>& end, std::atomic<std::int64_t>& left, std::int64_t told,
              std::int64_t unknown, std::optional<nanoseconds> reset, std::int64_t now) noexcept {
    const auto told_end =
        now + std::min(reset.value_or(std::chrono::minutes(1)), longest_pace).count();
    const auto known_end = end.load(relaxed);
    if (known_end <= now) {
        left.store(told - unknown, relaxed);
        end.store(told_end, relaxed);
        return true;
    }
    if (told_end < known_end) end.store(told_end, relaxed);
    auto known = left.load(relaxed);
    while (told < known && !left.compare_exchange_weak(known, told, relaxed)) {
    }
    return false;
}

void pace(key_state& s, const limit_hints& hints, std::int64_t now) noexcept {
    const std::int64_t flying = std::max(s.in_flight.load(relaxed), 1);
    // Beside the answered one itself. Nobody counted before the first answer of all.
    const auto unknown =
        s.paced() ? std::min(flying, s.pace_unknown.load(relaxed)) - 1 : flying - 1;
    const auto others = std::max<std::int64_t>(unknown, 0);
    bool near = false;
    bool begins = false;
    if (hints.remaining_requests) {
        near = *hints.remaining_requests - others <= near_requests;
        begins = pace_one(s.pace_requests_end, s.pace_requests, *hints.remaining_requests, others,
                          hints.reset_requests, now);
    }
    if (hints.remaining_tokens) {
        const auto estimates = s.estimate_in_flight.load(relaxed) * others / flying;
        near = near || *hints.remaining_tokens - estimates <= near_tokens;
        begins = pace_one(s.pace_tokens_end, s.pace_tokens, *hints.remaining_tokens, estimates,
                          hints.reset_tokens, now) ||
                 begins;
    }
    if (begins) s.pace_unknown.store(0, relaxed);
    constexpr std::uint32_t paced = 0x1000000U;
    if (near)
        s.gate.fetch_or(paced, relaxed);
    else
        s.gate.fetch_and(~paced, relaxed);
}

}  // namespace

void health::observe_limits(slot_id slot, const limit_hints& hints, mono_time now_at,
                            wall_time wall) {
    impl& m = *impl_;
    key_state* s = m.states.get(slot);
    if (s == nullptr || (!hints.remaining_tokens && !hints.remaining_requests)) return;
    const auto now = mono_ns(now_at);
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    const auto by_requests =
        std::min(hints.remaining_requests.value_or(0), most) * tokens_per_request;
    const auto left = std::min(hints.remaining_tokens.value_or(by_requests), most);
    const auto reset = hints.remaining_tokens ? hints.reset_tokens : hints.reset_requests;
    s->header_remaining.store(static_cast<std::int32_t>(left), relaxed);
    s->header_reset.store(now + reset.value_or(std::chrono::minutes(1)).count(), relaxed);
    if (m.pacing.load(relaxed)) pace(*s, hints, now);
    std::optional<nanoseconds> rest;
    if (hints.remaining_tokens == 0) rest = hints.reset_tokens;
    if (hints.remaining_requests == 0 && hints.reset_requests) {
        rest = std::max(rest.value_or(nanoseconds::zero()), *hints.reset_requests);
    }
    if (!rest || *rest <= nanoseconds::zero()) return;
    const std::lock_guard lock(m.mutex);
    if (s->status() != key_status::active) return;
    m.change(slot, *s, key_status::cooling, block_reason::rate_limit,
             now + std::min(*rest, longest_precaution).count(), 0, now, wall);
}

void health::set_status(slot_id slot, key_status status, mono_time now, wall_time wall) {
    impl& m = *impl_;
    key_state* s = m.states.get(slot);
    if (s == nullptr) return;
    const std::lock_guard lock(m.mutex);
    s->level.store(0, relaxed);
    s->consecutive_failures.store(0, relaxed);
    m.watched.erase(slot.index);
    const bool active = status == key_status::active;
    m.change(slot, *s, status, active ? block_reason::none : block_reason::admin,
             active ? 0 : forever, 0, mono_ns(now), wall, true);
}

bool health::adopt(slot_id slot, const finding& seen, const finding& theirs, bool late,
                   mono_time now_at) {
    impl& m = *impl_;
    key_state* s = m.states.get(slot);
    if (s == nullptr) return false;
    const std::lock_guard lock(m.mutex);
    const auto mine = finding_of(*s);
    if (!mine) return true;
    if (!(*mine == seen)) return false;
    const bool by_breaker = s->reason() == block_reason::breaker;
    if (by_breaker && theirs.status == key_status::active) return true;
    const auto now = mono_ns(now_at);
    auto until = theirs.until;
    if (by_breaker) until = std::max(until, s->blocked_until.load(relaxed));
    s->level.store(theirs.level, relaxed);
    m.watched.erase(slot.index);
    s->set_gate(theirs.status, theirs.reason, until);
    if (theirs.status == key_status::active) {
        s->consecutive_failures.store(0, relaxed);
        m.states.bump_epoch();
    } else if (!serving(theirs.status)) {
        const auto pause =
            theirs.status == key_status::banned ? m.set.first_retest : m.set.first_probe;
        m.await_test(slot, now, pause, 0);
        if (late) m.watched[slot.index].next += pause.count();
    }
    return true;
}

void health::tick(mono_time now_at, wall_time wall) {
    impl& m = *impl_;
    const auto now = mono_ns(now_at);
    const std::lock_guard lock(m.mutex);
    for (auto at = m.watched.begin(); at != m.watched.end();) {
        auto& w = at->second;
        key_state* s = m.states.get(w.slot);
        const auto status = s == nullptr ? key_status::disabled : s->status();
        if (status != key_status::quarantined && status != key_status::banned) {
            at = m.watched.erase(at);
            continue;
        }
        if (w.ban_at != 0 && now >= w.ban_at) {
            w.ban_at = 0;
            m.change(w.slot, *s, key_status::banned, s->reason(), forever, w.status, now, wall);
        }
        ++at;
    }
    const bool decay = m.decayed == 0 || now - m.decayed >= decay_every;
    if (!decay) return;
    m.decayed = now;
    m.states.for_each([&](slot_id, key_state& s) {
        // A bad past is forgotten slowly, so that a key which no strategy picks any more gets
        // another chance.
        const float rate = s.success.load(relaxed);
        s.success.store(rate + 0.1F * (1.0F - rate), relaxed);
    });
}

std::vector<slot_id> health::due_probes(mono_time now_at) {
    impl& m = *impl_;
    const auto now = mono_ns(now_at);
    const std::lock_guard lock(m.mutex);
    std::vector<std::uint32_t> busy;
    const auto host_of_slot = [&](slot_id slot) {
        const key_state* s = m.states.get(slot);
        return s == nullptr ? slot_id::none : s->host.load(relaxed);
    };
    std::vector<impl::watch*> due;
    for (auto& [index, w] : m.watched) {
        if (w.outstanding_until > now) {
            busy.push_back(host_of_slot(w.slot));
        } else if (w.next <= now) {
            due.push_back(&w);
        }
    }
    std::sort(due.begin(), due.end(), [](const impl::watch* a, const impl::watch* b) {
        return std::pair(a->next, a->slot.index) < std::pair(b->next, b->slot.index);
    });
    std::vector<slot_id> out;
    for (auto* w : due) {
        const auto host = host_of_slot(w->slot);
        if (host == slot_id::none || std::find(busy.begin(), busy.end(), host) != busy.end()) {
            continue;
        }
        busy.push_back(host);
        w->outstanding_until = now + m.set.probe_timeout.count();
        out.push_back(w->slot);
    }
    return out;
}

void health::on_probe_result(slot_id slot, probe_outcome outcome, mono_time now_at,
                             wall_time wall) {
    impl& m = *impl_;
    key_state* s = m.states.get(slot);
    if (s == nullptr) return;
    const auto now = mono_ns(now_at);
    const std::lock_guard lock(m.mutex);
    const auto at = m.watched.find(slot.index);
    const bool waited = at != m.watched.end() && at->second.slot == slot;
    if (waited) {
        auto& w = at->second;
        w.outstanding_until = 0;
        if (outcome == probe_outcome::failed) {
            w.pause = std::min(w.pause * 2, m.set.longest_probe_pause.count());
        }
        w.next = now + w.pause;
    }
    if (outcome == probe_outcome::inconclusive || s->reason() == block_reason::admin) return;
    const auto status = s->status();
    if (outcome == probe_outcome::passed) {
        s->gate.fetch_or(0x100U, relaxed);
        if (serving(status)) return;
        m.watched.erase(slot.index);
        s->level.store(0, relaxed);
        s->consecutive_failures.store(0, relaxed);
        m.change(slot, *s, key_status::active, block_reason::none, 0, 0, now, wall, true);
    } else if (serving(status)) {
        m.change(slot, *s, key_status::quarantined, block_reason::credential, forever, 0, now,
                 wall);
        m.await_test(slot, now, m.set.first_probe, 0);
    }
}

bool health::breaker_open(slot_id slot) const {
    const key_state* s = impl_->states.get(slot);
    if (s == nullptr) return false;
    const std::lock_guard lock(impl_->mutex);
    const auto h = impl_->hosts.find(s->host.load(relaxed));
    return h != impl_->hosts.end() && h->second.open;
}

std::vector<health_event> health::drain() {
    const std::lock_guard lock(impl_->mutex);
    std::vector<health_event> out(std::make_move_iterator(impl_->events.begin()),
                                  std::make_move_iterator(impl_->events.end()));
    impl_->events.clear();
    return out;
}

std::uint64_t health::dropped_events() const noexcept {
    const std::lock_guard lock(impl_->mutex);
    return impl_->dropped;
}

}  // namespace kw::pool
