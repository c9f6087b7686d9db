// Waiting, trying and order.
#include "store/redis/held_steps.hpp"

#include <algorithm>
#include <iterator>

namespace kw::store::redis {

bool held_steps::can_hold(const step& s) noexcept {
    return s.is == step_kind::book || s.is == step_kind::settle || s.is == step_kind::release ||
           s.is == step_kind::preload || s.is == step_kind::forget;
}

bool held_steps::must_wait(const step& s) const noexcept {
    const shard& of = shards_[place_of(s)];
    return of.moves() && can_hold(s) && s.turn != of.tried;
}

void held_steps::hold(step s, mono_time now) {
    shard& of = shards_[place_of(s)];
    if (!of.moves() || s.turn == of.tried) {
        if (!of.moves()) ++moving_;
        of.wait = of.moves() ? std::min(2 * of.wait, longest_wait) : first_wait;
        of.until = now + of.wait;
        of.tried = 0;
    }
    s.deadline = mono_time::max();
    const auto behind = std::ranges::upper_bound(of.steps, s.turn, {}, &step::turn);
    of.steps.insert(behind, std::move(s));
    ++count_;
}

void held_steps::taken(const step& s, std::deque<step>& to) {
    shard& of = shards_[place_of(s)];
    if (of.tried == 0 || of.tried != s.turn) return;
    count_ -= of.steps.size();
    --moving_;
    std::move(of.steps.rbegin(), of.steps.rend(), std::front_inserter(to));
    of = {};
}

void held_steps::try_again(mono_time now, std::deque<step>& to) {
    for (shard& of : shards_) {
        if (!of.moves() || of.tried != 0 || now < of.until) continue;
        of.tried = of.steps.front().turn;
        to.push_front(std::move(of.steps.front()));
        of.steps.pop_front();
        --count_;
    }
}

void held_steps::give_back(std::deque<step>& to) {
    for (shard& of : shards_) {
        std::move(of.steps.begin(), of.steps.end(), std::back_inserter(to));
        of = {};
    }
    count_ = moving_ = 0;
}

mono_time held_steps::next_try() const noexcept {
    auto next = mono_time::max();
    for (const shard& of : shards_)
        if (of.moves() && of.tried == 0) next = std::min(next, of.until);
    return next;
}

}  // namespace kw::store::redis
