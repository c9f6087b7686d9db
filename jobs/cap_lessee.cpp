// How much of each cap to hold: a fair part in peace, all that is free when short of it, and no
// more than what is in use when others are short.
#include "jobs/cap_lessee.hpp"

#include <algorithm>
#include <limits>

namespace kw::jobs {
namespace {

using namespace std::chrono_literals;
using store::cap_unit;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto remembers_shortage = 2s;
constexpr auto asks_again = 500ms;
// What a replica keeps at hand of an amount in peace, as a part of its fair part. A process that is
// killed takes it along: of a day that is for long, so it is less.
constexpr std::int64_t at_hand_of_minute = 2;
constexpr std::int64_t at_hand_of_day = 16;
constexpr auto turn = 10s;         // of the seats of a cap that is smaller than the replicas
constexpr auto looks_again = 60s;  // at what is free, should the board go away
constexpr auto alone_every = 65s;  // the board counts up to so much as a minute

constexpr std::array bits{pool::cap_short::permits, pool::cap_short::requests,
                          pool::cap_short::minute_tokens, pool::cap_short::day_tokens};

std::int64_t cap_of(const pool::key_caps& c, cap_unit unit) noexcept {
    switch (unit) {
        case cap_unit::concurrent:
            return c.concurrency;
        case cap_unit::requests_a_minute:
            return c.rpm;
        case cap_unit::tokens_a_minute:
            return c.tpm;
        case cap_unit::tokens_a_day:
            return c.tokens_per_day;
    }
    return 0;
}

std::atomic<std::int64_t>& left_of(pool::key_state& s, cap_unit unit) noexcept {
    if (unit == cap_unit::requests_a_minute) return s.requests_left;
    return unit == cap_unit::tokens_a_minute ? s.minute_tokens_left : s.day_tokens_left;
}

}  // namespace

cap_lessee::cap_lessee(store::cap_board& board, pool::state_table& states,
                       const clock_source& clock, random_source& random, day_tokens spent_today,
                       lessee_options options)
    : board_(board),
      states_(states),
      clock_(clock),
      spent_today_(std::move(spent_today)),
      options_(options),
      replica_(make_id("run_", clock.wall(), random)) {}

void cap_lessee::begin_keys() {
    ++seen_;
}

void cap_lessee::see_key(const std::string& id, const pool::key_caps& caps) {
    if (caps == pool::key_caps{}) return;
    const auto slot = states_.find(id);
    if (!slot) return;
    entry& e = keys_[id];
    e.seen = seen_;
    if (e.slot == *slot && e.caps == caps) return;
    if (!(e.slot == *slot)) e = {.slot = *slot, .caps = {}, .seen = seen_, .shares = {}};
    e.caps = caps;
    set_caps(e);
}

void cap_lessee::end_keys() {
    // What a key that is gone held stays held until this process ends: its id does not come back.
    std::erase_if(keys_, [this](const auto& k) { return k.second.seen != seen_; });
    order_.clear();
    for (const auto& [id, e] : keys_)
        order_.push_back(id);
}

void cap_lessee::set_caps(entry& e) {
    pool::key_state* s = states_.get(e.slot);
    if (s == nullptr) return;
    for (std::size_t i = 0; i < store::cap_units; ++i) {
        const auto unit = static_cast<cap_unit>(i);
        share& of = e.shares[i];
        const auto cap = cap_of(e.caps, unit);
        const auto before = std::exchange(of.cap, cap);
        of.asked = false;
        of.next_ask = {};
        if (unit == cap_unit::concurrent) {
            if (cap == 0)
                s->permits.store(std::numeric_limits<std::int32_t>::max());
            else if (before == 0)
                s->permits.store(0);
        } else if (cap == 0) {
            left_of(*s, unit).store(pool::no_cap, relaxed);
            of.held = 0;
        } else if (before == 0) {
            left_of(*s, unit).store(0, relaxed);
        }
    }
}

// Whole parts first; the rest in turn, so that not the same replica has the most of every key. Of
// a cap below the number of replicas the turn goes round with time too: nobody is left out for
// long.
std::int64_t cap_lessee::fair_part(const std::string& id, std::int64_t cap) const {
    const auto n = static_cast<std::int64_t>(std::max(replicas_, 1U));
    auto at = static_cast<std::int64_t>(std::hash<std::string>{}(id) % 1024) + rank_;
    if (cap < n) at += clock_.wall().time_since_epoch() / turn;
    return cap / n + (at % n < cap % n ? 1 : 0);
}

void cap_lessee::consider(const std::string& id, entry& e, std::vector<store::cap_ask>& asks) {
    pool::key_state* s = states_.get(e.slot);
    if (s == nullptr) return;
    const auto now = clock_.mono();
    const auto lacking = s->short_of.load(relaxed) == 0 ? 0 : s->short_of.exchange(0, relaxed);
    for (std::size_t i = 0; i < store::cap_units; ++i) {
        share& of = e.shares[i];
        if (of.cap == 0) continue;
        if ((lacking & bits[i]) != 0) of.short_at = now;
        of.short_of = of.short_at != mono_time{} && now - of.short_at < remembers_shortage;
        if (i == 0)
            consider_permits(id, e, *s, asks);
        else
            consider_amount(id, e, *s, static_cast<cap_unit>(i), asks);
        of.contested = false;
    }
}

void cap_lessee::consider_permits(const std::string& id, entry& e, pool::key_state& s,
                                  std::vector<store::cap_ask>& asks) {
    share& of = e.shares[0];
    const auto fair = fair_part(id, of.cap);
    const auto flying = std::int64_t{s.in_flight.load(relaxed)};
    auto target = of.short_of ? of.cap : std::max(fair, std::min(flying, of.held));
    if (of.contested)
        target =
            of.short_of ? fair + of.free : std::min(fair, flying + (of.cap < replicas_ ? 0 : 1));
    of.target = target = std::clamp<std::int64_t>(target, 0, of.cap);
    // Taken away first; then what is in flight can only shrink.
    const auto permits = std::min<std::int64_t>(s.permits.load(relaxed), target);
    s.permits.store(static_cast<std::int32_t>(permits), std::memory_order_seq_cst);
    const auto in_use = std::int64_t{s.in_flight.load(std::memory_order_seq_cst)};
    const auto want = std::max(target, in_use);
    const bool more = want > of.held && (of.short_of || clock_.mono() >= of.next_ask);
    if (of.asked && !more && want >= of.held && permits == std::min(target, of.held)) return;
    asks.push_back({.key = id,
                    .unit = cap_unit::concurrent,
                    .cap = of.cap,
                    .used = 0,
                    .want = want,
                    .in_use = in_use,
                    .short_of = of.short_of,
                    .day_start = 0});
}

void cap_lessee::consider_amount(const std::string& id, entry& e, pool::key_state& s, cap_unit unit,
                                 std::vector<store::cap_ask>& asks) {
    share& of = e.shares[static_cast<std::size_t>(unit)];
    const auto left = left_of(s, unit).load(relaxed);
    const bool tokens = unit != cap_unit::requests_a_minute;
    // Estimates in flight were taken off what is left, but are not used yet.
    const auto flying = tokens ? std::int64_t{s.estimate_in_flight.load(relaxed)} : 0;
    const auto used = of.held - left - flying;
    const auto n = static_cast<std::int64_t>(std::max(replicas_, 1U));
    const auto at_hand = unit == cap_unit::tokens_a_day ? at_hand_of_day : at_hand_of_minute;
    of.pace = std::max<std::int64_t>({used, of.pace - of.pace / 4 - 1, 0});
    auto spare = std::max<std::int64_t>({2 * of.pace, of.cap / (at_hand * n), 1});
    if (of.contested && !of.short_of) spare = std::min(spare, 2 * of.pace);
    if (of.short_of) spare = std::max(spare, (of.contested ? of.free / n : of.free) + left);
    const auto outstanding = of.held - used;
    const auto want = flying + spare;
    const bool more = want > outstanding && (of.short_of || clock_.mono() >= of.next_ask);
    const bool stale = clock_.mono() >= of.next_look;
    if (of.asked && used == 0 && !more && !stale && want >= outstanding / 2 &&
        !(of.contested && want < outstanding))
        return;
    asks.push_back({.key = id,
                    .unit = unit,
                    .cap = of.cap,
                    .used = used,
                    .want = want,
                    .in_use = flying,
                    .short_of = of.short_of,
                    .day_start = 0});
    if (unit == cap_unit::tokens_a_day && !of.asked) asks.back().day_start = spent_today_(id);
}

void cap_lessee::take(const store::cap_ask& ask, const store::cap_answer& answer) {
    const auto at = keys_.find(ask.key);
    pool::key_state* s = at == keys_.end() ? nullptr : states_.get(at->second.slot);
    if (s == nullptr) return;
    share& of = at->second.shares[static_cast<std::size_t>(ask.unit)];
    if (of.cap != ask.cap) return;
    of.asked = true;
    of.free = answer.free;
    of.next_look = clock_.mono() + looks_again;
    if (answer.held < ask.want) of.next_ask = clock_.mono() + asks_again;
    if (ask.unit == cap_unit::concurrent) {
        of.held = answer.held;
        // What is only held because it is in use is not used again.
        s->permits.store(static_cast<std::int32_t>(std::min(answer.held, of.target)),
                         std::memory_order_seq_cst);
    } else {
        left_of(*s, ask.unit).fetch_add(answer.held - (of.held - ask.used), relaxed);
        of.held = answer.held;
        const auto bit = bits[static_cast<std::size_t>(ask.unit)];
        if (ask.want > ask.in_use && answer.held <= ask.in_use)
            s->drained.fetch_or(bit, relaxed);
        else
            s->drained.fetch_and(~bit, relaxed);
    }
}

bool cap_lessee::ask(std::vector<store::cap_ask> asks) {
    const auto sent = clock_.mono();
    auto got = board_.ask(replica_, options_.lease, asks);
    if (!got || got->items.size() != asks.size()) return false;
    for (std::size_t i = 0; i < asks.size(); ++i)
        take(asks[i], got->items[i]);
    if (!asks.empty()) states_.bump_epoch();
    last_answer_ = sent;
    replicas_ = std::max(got->replicas, 1U);
    rank_ = got->rank;
    contested_ = std::move(got->contested);
    if (got->joined && known_) {
        // Given up meanwhile: all is asked for anew.
        for (auto& [id, e] : keys_)
            for (share& of : e.shares)
                of.asked = false;
    }
    known_ = true;
    return true;
}

// Without the board what is held of `concurrent` goes on: nobody else can get it. Of a minute each
// replica takes its part when the last one known to the board is over; of a day once, its part of
// what was free.
void cap_lessee::go_on_alone() {
    const auto now = clock_.mono();
    if (!known_ || now - last_answer_ < options_.lease) return;
    const std::int64_t n = std::max(replicas_, 1U);
    for (auto& [id, e] : keys_) {
        pool::key_state* s = states_.get(e.slot);
        if (s == nullptr) continue;
        for (std::size_t i = 1; i < store::cap_units; ++i) {
            const auto unit = static_cast<cap_unit>(i);
            share& of = e.shares[i];
            const bool daily = unit == cap_unit::tokens_a_day;
            if (of.cap == 0 || !of.asked || now < of.next_alone) continue;
            const bool first = of.next_alone < last_answer_;
            of.next_alone = (first ? last_answer_ : now) + alone_every;
            if (daily != first) continue;
            auto& left = left_of(*s, unit);
            const auto part = daily ? of.free / n : std::max(of.cap / n - left.load(relaxed), 0L);
            of.held += part;
            left.fetch_add(part, relaxed);
            s->drained.fetch_and(~bits[i], relaxed);
        }
    }
    states_.bump_epoch();
}

void cap_lessee::round() {
    if (keys_.empty()) return;
    for (const auto& [id, unit] : contested_)
        if (const auto at = keys_.find(id); at != keys_.end())
            at->second.shares[static_cast<std::size_t>(unit)].contested = true;
    std::vector<store::cap_ask> asks;
    const auto most = options_.in_one_ask * options_.asks_in_a_round;
    for (std::size_t i = 0; i < order_.size(); ++i) {
        const auto& id = order_[(from_ + i) % order_.size()];
        if (asks.size() >= most) {
            from_ = (from_ + i) % order_.size();
            break;
        }
        consider(id, keys_.at(id), asks);
    }
    for (std::size_t i = 0; i == 0 || i < asks.size(); i += options_.in_one_ask) {
        const auto end = std::min(i + options_.in_one_ask, asks.size());
        if (ask({asks.begin() + static_cast<std::ptrdiff_t>(i),
                 asks.begin() + static_cast<std::ptrdiff_t>(end)}))
            continue;
        go_on_alone();
        return;
    }
}

void cap_lessee::leave() {
    if (known_ && !keys_.empty()) board_.leave(replica_);
}

}  // namespace kw::jobs
