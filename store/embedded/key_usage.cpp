// Admission of one access key, in memory.
#include "store/embedded/key_usage.hpp"

#include <algorithm>

namespace kw::store::embedded {
namespace {

constexpr std::int64_t clock_was_set_ms = 60'000;
constexpr int sweep_at_once = 64;
constexpr std::size_t max_counters = 64;  // bits of entry::counters
constexpr std::int64_t max_amount = 1'000'000'000'000'000;

std::int64_t amount_of(const amounts& a, limit_unit unit) noexcept {
    const auto n = unit == limit_unit::requests ? a.requests
                   : unit == limit_unit::tokens ? a.tokens
                                                : a.cost;
    return std::clamp<std::int64_t>(n, 0, max_amount);
}

// Little enough is left that requests without a bound run one at a time.
bool near_cap(std::int64_t left, std::int64_t cap, std::int64_t reserved) noexcept {
    return left <= cap / 10 || left <= 10 * reserved;
}

}  // namespace

std::int64_t key_usage::since_last(std::int64_t now) noexcept {
    return now < last_ && last_ - now <= clock_was_set_ms ? last_ : now;
}

limit_counter* key_usage::find(const std::string& name) noexcept {
    for (auto& c : counters_)
        if (c.name() == name) return &c;
    return nullptr;
}

limit_counter& key_usage::counter_of(const limit& l, const std::string& name,
                                     const limit_set& wanted) {
    if (auto* const known = find(name)) return *known;
    if (counters_.size() < max_counters) return counters_.emplace_back(l, name);
    // Left over from limits of earlier: its place is taken, and no reservation lies in it any more.
    const auto old = std::find_if(counters_.begin(), counters_.end(), [&](const auto& c) {
        return std::find(wanted.names().begin(), wanted.names().end(), c.name()) ==
               wanted.names().end();
    });
    const auto bit = std::uint64_t{1} << (old - counters_.begin());
    for (auto& [id, e] : entries_)
        e.counters &= ~bit;
    *old = limit_counter(l, name);
    return *old;
}

std::vector<limit_state> key_usage::states(std::int64_t now, const limit_set& limits) {
    std::vector<limit_state> out;
    out.reserve(limits.items().size());
    for (std::size_t i = 0; i < limits.items().size(); ++i) {
        auto& state = out.emplace_back();
        state.cap = limits.items()[i].cap;
        if (limits.items()[i].kind == limit_kind::concurrency) {
            state.used = leases_;
        } else if (auto* const c = find(limits.names()[i])) {
            state.used = c->used(now);
            state.reset_in = std::chrono::milliseconds(c->reset_in(now));
        }
    }
    return out;
}

admit_answer key_usage::check(std::int64_t now, const admit_request& request) {
    using enum admit_answer::outcome;
    admit_answer out;
    out.is = admitted;
    out.states = states(now, *request.limits);
    const auto& items = request.limits->items();
    for (std::size_t i = 0; i < items.size(); ++i) {
        const auto& state = out.states[i];
        if (state.used < state.cap) continue;
        out.is = refused;
        out.refused_by = i;
        if (auto* const c = find(request.limits->names()[i]))
            out.retry_in = std::chrono::milliseconds(c->retry_in(now, state.cap));
        return out;
    }
    if (request.bounded || unbounded_ == 0) return out;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const auto& state = out.states[i];
        if (items[i].kind != limit_kind::budget || items[i].unit == limit_unit::requests) continue;
        if (!near_cap(state.cap - state.used, state.cap,
                      amount_of(request.reservation, items[i].unit)))
            continue;
        out.is = waits;
        out.refused_by = i;
        return out;
    }
    return out;
}

admit_answer key_usage::admit(std::int64_t now, const admit_request& request, const keeping& keep) {
    if (last_ - now > clock_was_set_ms) {
        for (auto& c : counters_)
            if (c.is_window()) c.clear();
        last_ = now;
    }
    now = since_last(now);
    sweep(now, keep);
    if (find_entry(request.ledger_id, now) != nullptr) {
        admit_answer out;
        out.is = admit_answer::outcome::admitted;
        out.states = states(now, *request.limits);
        return out;
    }
    auto out = check(now, request);
    if (!out.admitted()) return out;
    auto& n = *entries_.try_emplace(request.ledger_id).first;
    auto& e = n.second;
    e = {};
    e.admitted = last_ = now;
    e.bounded = request.bounded;
    e.reserved = request.reservation;
    if (request.limits->counts_only()) {
        e.is = phase::counted;
        forget_at(n, now + keep.settled);
    } else {
        begin(e);
        set_due(n, now + request.lease_ttl.count());
    }
    const auto& items = request.limits->items();
    for (std::size_t i = 0; i < items.size(); ++i) {
        auto& state = out.states[i];
        if (items[i].kind == limit_kind::concurrency) {
            state.used = leases_;
            continue;
        }
        auto& c = counter_of(items[i], request.limits->names()[i], *request.limits);
        c.add(now, amount_of(e.reserved, items[i].unit));
        e.counters |= std::uint64_t{1} << (&c - counters_.data());
        state.used = c.used(now);
        state.reset_in = std::chrono::milliseconds(c.reset_in(now));
    }
    return out;
}

void key_usage::begin(entry& e) noexcept {
    e.is = phase::running;
    ++leases_;
    if (!e.bounded) ++unbounded_;
}

void key_usage::end(entry& e, phase next) noexcept {
    if (e.is == phase::running) --leases_;
    const bool open = e.is == phase::running || e.is == phase::released;
    const bool stays_open = next == phase::released;
    if (open && !stays_open && !e.bounded) --unbounded_;
    e.is = next;
}

void key_usage::set_due(node& n, std::int64_t due) {
    auto reminder = due_.extract({n.second.due, &n});
    n.second.due = due;
    if (reminder.empty()) {
        due_.emplace(due, &n);
    } else {
        reminder.value().first = due;
        due_.insert(std::move(reminder));
    }
}

key_usage::node* key_usage::find_entry(const std::string& id, std::int64_t now) noexcept {
    const auto found = entries_.find(id);
    if (found == entries_.end() || (found->second.over() && found->second.due <= now))
        return nullptr;
    return &*found;
}

void key_usage::forget_at(node& n, std::int64_t due) {
    n.second.due = due;
    n.second.turn = ++turns_;
    over_.push_back({due, turns_, &n});
}

void key_usage::settle(std::int64_t now, const std::string& id, const amounts& real,
                       const keeping& keep) {
    now = since_last(now);
    sweep(now, keep);
    auto* const found = find_entry(id, now);
    if (found == nullptr || found->second.is == phase::settled) return;
    auto& e = found->second;
    if (!e.over()) due_.erase({e.due, found});
    end(e, phase::settled);
    for (std::size_t i = 0; i < counters_.size(); ++i) {
        if ((e.counters >> i & 1) == 0) continue;
        const auto unit = counters_[i].unit();
        counters_[i].correct(e.admitted, amount_of(real, unit) - amount_of(e.reserved, unit));
    }
    forget_at(*found, now + keep.settled);
}

void key_usage::release(std::int64_t now, const std::string& id, const keeping& keep) {
    now = since_last(now);
    sweep(now, keep);
    auto* const found = find_entry(id, now);
    if (found == nullptr) return;
    found->second.was_released = true;
    if (found->second.is == phase::running) end(found->second, phase::released);
}

void key_usage::renew(std::int64_t now, const std::string& id, std::int64_t ttl,
                      const keeping& keep) {
    now = since_last(now);
    sweep(now, keep);
    auto* const found = find_entry(id, now);
    if (found == nullptr) return;
    auto& e = found->second;
    const bool lapsed = e.is == phase::expired && !e.was_released;
    if (lapsed) begin(e);
    if (e.is == phase::running) set_due(*found, now + ttl);
    if (e.is == phase::counted) forget_at(*found, now + keep.settled);
}

usage_answer key_usage::peek(std::int64_t now, const limit_set& limits, const keeping& keep) {
    now = since_last(now);
    sweep(now, keep);
    return {true, states(now, limits), leases_};
}

void key_usage::preload(std::int64_t now, const limit& budget, std::int64_t used) {
    if (budget.kind != limit_kind::budget) return;
    now = since_last(now);
    const auto name = cell_name(budget);
    auto* const known = find(name);
    if (known != nullptr && !known->counts(now)) {
        known->preload(now, used);
    } else if (known == nullptr && counters_.size() < max_counters) {
        counters_.emplace_back(budget, name).preload(now, used);
    }
}

bool key_usage::sweep(std::int64_t now, const keeping& keep) {
    int looked = 0;
    for (; !due_.empty() && due_.begin()->first <= now; ++looked) {
        if (looked == sweep_at_once) return false;
        auto& n = *due_.begin()->second;
        auto& e = n.second;
        if (e.is == phase::running || e.is == phase::released) {
            end(e, phase::expired);
            set_due(n, e.due + keep.expired);
        } else {
            due_.erase(due_.begin());
            e.is = phase::settled;
            forget_at(n, e.due);
        }
    }
    // None is kept for longer than that: what seems to be is from before the clock was set back.
    const auto latest = now + keep.settled + clock_was_set_ms;
    const auto is_due = [&](const ended& e) { return e.due <= now || e.due > latest; };
    for (; !over_.empty() && is_due(over_.front()); ++looked) {
        if (looked == sweep_at_once) return false;
        const auto first = over_.front();
        over_.pop_front();
        const auto& e = first.of->second;
        if (e.over() && e.turn == first.turn) entries_.erase(entries_.find(first.of->first));
    }
    return true;
}

bool key_usage::empty(std::int64_t now) {
    now = since_last(now);
    return entries_.empty() &&
           std::all_of(counters_.begin(), counters_.end(), [&](auto& c) { return c.spent(now); });
}

}  // namespace kw::store::embedded
