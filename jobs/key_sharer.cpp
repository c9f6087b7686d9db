// Rounds of telling and reading; every counter is compared with what the store has of it.
#include "jobs/key_sharer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/log.hpp"

namespace kw::jobs {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr auto relaxed = std::memory_order_relaxed;

store::key_sums counted(const pool::key_state& s) noexcept {
    return {static_cast<std::int64_t>(s.uses.load(relaxed)),
            static_cast<std::int64_t>(s.successes.load(relaxed)),
            static_cast<std::int64_t>(s.failures.load(relaxed)), s.tokens.load(relaxed)};
}

// Of all that a telling is made of, but for what the headers told.
std::uint64_t print_of(const pool::key_state& s) noexcept {
    std::uint64_t print = 0;
    const auto mix = [&print](auto value) {
        print = (print ^ static_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15U;
        print ^= print >> 29U;
    };
    mix(s.gate.load(relaxed));
    mix(s.blocked_until.load(relaxed));
    mix(s.uses.load(relaxed));
    mix(s.successes.load(relaxed));
    mix(s.failures.load(relaxed));
    mix(s.tokens.load(relaxed));
    mix(s.level.load(relaxed));
    return print | 1U;
}

store::key_sums minus(const store::key_sums& a, const store::key_sums& b) noexcept {
    return {a.uses - b.uses, a.successes - b.successes, a.failures - b.failures,
            a.tokens - b.tokens};
}

void add_to(store::key_sums& a, const store::key_sums& b) noexcept {
    a.uses += b.uses;
    a.successes += b.successes;
    a.failures += b.failures;
    a.tokens += b.tokens;
}

// A store that lost something may say less than before: a counter does not fall below zero.
template <class T>
void shift(std::atomic<T>& counter, std::int64_t by) noexcept {
    if (by == 0) return;
    const auto now = static_cast<std::int64_t>(counter.load(relaxed));
    counter.fetch_add(static_cast<T>(std::max(by, -now)), relaxed);
}

// The local rate after others' outcomes: each weighs about a hundredth, as our own do.
void merge_outcomes(pool::key_state& s, std::int64_t good, std::int64_t bad) noexcept {
    const auto n = good + bad;
    if (good < 0 || bad < 0 || n == 0) return;
    const auto weight = 1.0F - std::pow(0.99F, static_cast<float>(std::min<std::int64_t>(n, 1000)));
    const auto share = static_cast<float>(good) / static_cast<float>(n);
    const float rate = s.success.load(relaxed);
    s.success.store(rate + weight * (share - rate), relaxed);
}

std::int32_t weight_of(pool::key_status s) noexcept {
    switch (s) {
        case pool::key_status::cooling:
            return 1;
        case pool::key_status::quarantined:
            return 2;
        case pool::key_status::banned:
            return 3;
        default:
            return 0;
    }
}

milliseconds left_of(std::int64_t until, mono_time now) noexcept {
    return std::chrono::ceil<milliseconds>(
        std::chrono::nanoseconds(std::max<std::int64_t>(until - pool::mono_ns(now), 0)));
}

}  // namespace

key_sharer::key_sharer(store::key_board& store, pool::state_table& states, pool::health& health,
                       const clock_source& clock, random_source& random, key_exists exists,
                       sharing_options options)
    : store_(store),
      states_(states),
      health_(health),
      clock_(clock),
      exists_(std::move(exists)),
      options_(options),
      replica_(make_id("run_", clock.wall(), random)) {}

key_sharer::entry* key_sharer::find(pool::slot_id slot) {
    if (slot.index >= entries_.size()) return nullptr;
    entry& e = entries_[slot.index];
    if (!(e.slot == slot) || e.id.empty()) return nullptr;
    quiet_[slot.index].print = 0;  // whoever asks for it may change it
    return &e;
}

void key_sharer::decided(pool::slot_id slot) {
    if (find(slot) == nullptr) look();
    if (entry* e = find(slot)) e->decided = true;
}

// Brings the entries in line with the slots.
void key_sharer::look() {
    const auto wall = clock_.wall();
    states_.roll_windows(wall);
    const auto day = std::chrono::floor<std::chrono::days>(wall).time_since_epoch().count();
    const auto changes = states_.changes();
    if (day == day_ && changes == slots_seen_) return;
    day_ = day;
    slots_seen_ = changes;
    ++rounds_;
    std::vector<std::pair<pool::slot_id, const pool::key_state*>> fresh;
    states_.for_each([&](pool::slot_id slot, const pool::key_state& s) {
        if (slot.index >= entries_.size()) {
            entries_.resize(slot.index + 1);
            quiet_.resize(slot.index + 1);
        }
        entry& e = entries_[slot.index];
        if (e.id.empty() || !(e.slot == slot)) {
            fresh.emplace_back(slot, &s);
            return;
        }
        e.seen = rounds_;
        if (e.day == day_) return;
        e.day = day_;
        e.day_uses = e.day_tokens = e.start_uses = e.start_tokens = 0;
    });
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        entry& e = entries_[i];
        if (e.id.empty() || e.seen == rounds_) continue;
        if (!exists_(e.id)) gone_.push_back(std::move(e.id));
        e = {};
        quiet_[i] = {};
    }
    for (const auto& [slot, s] : fresh)
        begin(entries_[slot.index], slot, *s);
    reread_ = reread_ || !fresh.empty();
}

void key_sharer::begin(entry& e, pool::slot_id slot, const pool::key_state& s) {
    e = {};
    quiet_[slot.index] = {0, slot};
    e.id = states_.key_id(slot);
    e.slot = slot;
    e.seen = rounds_;
    e.day = day_;
    // What it has beyond its own uses is the middle of the others, given by the pool.
    const auto own = counted(s);
    e.start_uses = std::max<std::int64_t>(s.rank_uses.load(relaxed) - own.uses, 0);
    e.start_tokens = std::max<std::int64_t>(
        s.rank_tokens.load(relaxed) - s.estimate_in_flight.load(relaxed) - own.tokens, 0);
    e.day_uses = e.start_uses;
    e.day_tokens = e.start_tokens;
}

key_sharer::telling key_sharer::describe(entry& e, const pool::key_state& s) {
    telling t;
    t.slot = e.slot;
    t.news.id = e.id;
    t.news.add = minus(counted(s), e.shared);
    t.news.day = e.day;
    t.news.start_uses = e.start_uses;
    t.news.start_tokens = e.start_tokens;
    t.news.success_ppm = static_cast<std::int32_t>(std::lround(s.success.load(relaxed) * 1e6F));
    t.found = e.known;
    const auto mine = pool::finding_of(s);
    if (mine && (!(*mine == e.known) || e.decided)) {
        t.found = *mine;
        t.news.finding = {.text = pool::to_text(*mine),
                          .rest = {},
                          .knew = e.knew,
                          .weight = weight_of(mine->status),
                          .firm = e.decided};
    }
    e.decided = false;
    t.left = s.header_remaining.load(relaxed);
    t.reset = s.header_reset.load(relaxed);
    if (t.reset > pool::mono_ns(clock_.mono()) && (t.left != e.left || t.reset != e.reset))
        t.news.headers = {t.left, {}};
    return t;
}

std::vector<key_sharer::telling> key_sharer::gather(bool uses_too) {
    const auto most = options_.in_one_batch * options_.batches_in_a_round;
    std::vector<telling> out;
    for (auto& id : gone_) {
        telling t;
        t.news.id = std::move(id);
        t.news.gone = true;
        out.push_back(std::move(t));
    }
    gone_.clear();
    std::vector<std::size_t> used;
    for (std::size_t i = 0; i < entries_.size() && out.size() < most; ++i) {
        const auto* s = states_.get(quiet_[i].slot);
        if (s == nullptr) continue;
        const auto print = print_of(*s);
        if (print == quiet_[i].print) continue;
        entry& e = entries_[i];
        const auto mine = pool::finding_of(*s);
        if (mine && (!(*mine == e.known) || e.decided)) {
            out.push_back(describe(e, *s));
        } else if (!(counted(*s) == e.shared) || e.start_uses != 0 || e.start_tokens != 0) {
            if (uses_too) used.push_back(i);
        } else {
            quiet_[i].print = print;
        }
    }
    // With more than fits, those that had to wait go first in the next round.
    const auto from = std::lower_bound(used.begin(), used.end(), next_told_);
    std::rotate(used.begin(), from, used.end());
    for (const auto i : used) {
        if (out.size() >= most) break;
        out.push_back(describe(entries_[i], *states_.get(entries_[i].slot)));
        next_told_ = i + 1;
    }
    return out;
}

bool key_sharer::tell(std::vector<telling> all) {
    for (std::size_t i = 0; i < all.size(); i += options_.in_one_batch) {
        const auto end = std::min(i + options_.in_one_batch, all.size());
        unconfirmed_.assign(
            std::make_move_iterator(all.begin() + static_cast<std::ptrdiff_t>(i)),
            std::make_move_iterator(all.begin() + static_cast<std::ptrdiff_t>(end)));
        ++number_;
        if (send()) continue;
        // What was not even tried is gathered again: nothing of it is noted as told.
        for (auto at = end; at < all.size(); ++at) {
            if (all[at].news.gone) gone_.push_back(std::move(all[at].news.id));
            const auto& f = all[at].news.finding;
            if (entry* e = find(all[at].slot); e != nullptr && f && f->firm) e->decided = true;
        }
        return false;
    }
    return true;
}

// Also of a batch that may have been applied without our knowing it: then this does nothing.
bool key_sharer::send() {
    if (unconfirmed_.empty()) return true;
    const auto now = clock_.mono();
    store::key_batch batch{replica_, number_, {}};
    batch.items.reserve(unconfirmed_.size());
    for (auto& t : unconfirmed_) {
        if (t.news.finding && t.found.status == pool::key_status::cooling)
            t.news.finding->rest = left_of(t.found.until, now);
        if (t.news.headers) t.news.headers->holds = left_of(t.reset, now);
        batch.items.push_back(t.news);
    }
    if (auto done = store_.tell(batch); !done) {
        complain(done.error());
        return false;
    }
    confirm();
    return true;
}

void key_sharer::confirm() {
    for (const auto& t : unconfirmed_) {
        entry* e = find(t.slot);
        if (e == nullptr) continue;
        add_to(e->shared, t.news.add);
        if (t.news.day == e->day) {
            e->day_uses += t.news.add.uses;
            e->day_tokens += t.news.add.tokens;
            e->start_uses = e->start_tokens = 0;
        }
        if (t.news.finding) e->known = t.found;
        if (t.news.headers) {
            e->left = t.left;
            e->reset = t.reset;
        }
    }
    unconfirmed_.clear();
    complained_ = false;
}

bool key_sharer::read() {
    if (reread_) at_ = {};
    for (std::size_t n = 0; n < options_.reads_in_a_round || !joined_ || reread_; ++n) {
        auto got = store_.standings_since(at_, options_.in_one_read);
        if (!got) {
            complain(got.error());
            return false;
        }
        if (got->reset && at_.origin != 0) store_lost_some();
        for (const auto& k : got->items)
            take(k);
        at_ = got->at;
        if (got->more) continue;
        joined_ = true;
        reread_ = false;
        break;
    }
    return true;
}

// Failed over to a server that was behind, or emptied: findings are told again.
void key_sharer::store_lost_some() {
    log::event(log::level::warn, "keys.store_fell_back");
    for (entry& e : entries_) {
        e.known = {};
        e.knew = 0;
        e.left_until = 0;
    }
    for (quiet_mark& q : quiet_)
        q.print = 0;
}

void key_sharer::take(const store::key_standing& k) {
    const auto slot = states_.find(k.id);
    entry* e = slot ? find(*slot) : nullptr;
    pool::key_state* s = slot ? states_.get(*slot) : nullptr;
    if (e == nullptr || s == nullptr) return;  // its record comes later; then all is read again
    const auto others = minus(k.sums, e->shared);
    shift(s->uses, others.uses);
    shift(s->successes, others.successes);
    shift(s->failures, others.failures);
    shift(s->tokens, others.tokens);
    if (s->quota_left.load(relaxed) != pool::unknown_amount)
        s->quota_left.fetch_sub(others.tokens, relaxed);
    if (e->met) {
        merge_outcomes(*s, others.successes, others.failures);
    } else if (others.successes + others.failures > 0) {
        s->success.store(static_cast<float>(std::clamp(k.success_ppm, 0, 1'000'000)) / 1e6F,
                         relaxed);
    }
    if (k.sums.successes > 0) s->gate.fetch_or(0x100U, relaxed);
    e->shared = k.sums;
    e->met = true;
    if (k.day == e->day) {
        shift(s->rank_uses, k.day_uses - e->day_uses);
        shift(s->rank_tokens, k.day_tokens - e->day_tokens);
        e->day_uses = k.day_uses;
        e->day_tokens = k.day_tokens;
        e->start_uses = e->start_tokens = 0;
    }
    const bool told_since =
        s->header_remaining.load(relaxed) != e->left || s->header_reset.load(relaxed) != e->reset;
    if (k.headers && k.headers_by != replica_ && k.headers_until != e->left_until && !told_since) {
        e->left = static_cast<std::int32_t>(
            std::clamp<std::int64_t>(k.headers->left, 0, std::numeric_limits<std::int32_t>::max()));
        e->reset = pool::mono_ns(clock_.mono()) +
                   std::chrono::nanoseconds(std::min<milliseconds>(k.headers->holds, 24h)).count();
        e->left_until = k.headers_until;
        s->header_remaining.store(e->left, relaxed);
        s->header_reset.store(e->reset, relaxed);
    }
    if (k.found > e->knew) take_finding(*e, k);
}

void key_sharer::take_finding(entry& e, const store::key_standing& k) {
    if (k.found_by == replica_) {
        e.knew = k.found;
        return;
    }
    const auto now = clock_.mono();
    std::optional<std::chrono::nanoseconds> rest;
    if (k.rest) rest = std::min<milliseconds>(*k.rest, 31 * 24h);
    const auto theirs = pool::parse_finding(k.finding, rest, now);
    if (!theirs) {
        if (!malformed_)
            log::event(log::level::warn, "keys.finding_not_understood",
                       {{"id", e.id}, {"hint", "replicas of different releases?"}});
        malformed_ = true;
        e.knew = k.found;
        return;
    }
    // What changed here since the last telling is told first; the store decides and says so.
    if (e.decided || !health_.adopt(e.slot, e.known, *theirs, joined_, now)) return;
    e.knew = k.found;
    const auto* s = states_.get(e.slot);
    const auto after = s == nullptr ? std::nullopt : pool::finding_of(*s);
    if (!after) return;
    const bool news = !(*after == e.known);
    // A change of this instant is not yet told: then it is not what the others know.
    e.known = after->status == theirs->status ? *after : *theirs;
    if (news && joined_)
        log::event(log::level::info, "key.state_learned",
                   {{"id", e.id},
                    {"status", pool::to_string(theirs->status)},
                    {"reason", pool::to_string(theirs->reason)}});
}

void key_sharer::complain(const error& why) {
    // That the store is away is said by the store.
    if (why.code != errc::store_unavailable && !complained_)
        log::event(log::level::error, "keys.not_shared", {{"err", why.context}});
    complained_ = why.code != errc::store_unavailable;
}

void key_sharer::round() {
    look();
    // What the others know goes first: then what we found out is told with that knowledge.
    if (!joined_ && unconfirmed_.empty() && !read()) return;
    const auto now = clock_.mono();
    const bool uses_too = now >= next_uses_;
    if (uses_too) next_uses_ = now + options_.uses_every;
    if (!send()) return;
    if (!tell(gather(uses_too))) return;
    if (options_.peers || reread_) static_cast<void>(read());
}

bool key_sharer::flush(std::chrono::milliseconds at_most) {
    const auto until = clock_.mono() + at_most;
    look();
    if (!send()) return false;
    while (clock_.mono() < until) {
        auto left = gather(true);
        if (left.empty()) return true;
        if (!tell(std::move(left))) return false;
    }
    return false;
}

}  // namespace kw::jobs
