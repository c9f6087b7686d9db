// Counting of guesses.
#include "auth/throttle.hpp"

#include <algorithm>

namespace kw::auth {

std::chrono::milliseconds throttle::wait(std::string_view who, mono_time now) {
    const auto known = entries_.find(std::string(who));
    if (known == entries_.end()) return {};
    if (now - known->second.last >= limits_.forget_after) {
        entries_.erase(known);
        return {};
    }
    if (now >= known->second.blocked_until) return {};
    return std::chrono::ceil<std::chrono::milliseconds>(known->second.blocked_until - now);
}

std::chrono::milliseconds throttle::wrong(std::string_view who, mono_time now) {
    auto known = entries_.find(std::string(who));
    if (known == entries_.end()) {
        make_room(now);
        known = entries_.try_emplace(std::string(who)).first;
    }
    entry& e = known->second;
    e.count += e.count < 1'000'000 ? 1U : 0U;
    e.last = now;
    if (e.count < limits_.free_guesses) return {};
    // 1 s after the last free guess, then twice as long each time.
    const std::uint32_t doublings = std::min(e.count - limits_.free_guesses, 16U);
    const auto delay = std::min<std::chrono::milliseconds>(std::chrono::seconds(1U << doublings),
                                                           limits_.longest_delay);
    e.blocked_until = now + delay;
    return delay;
}

void throttle::right(std::string_view who) {
    entries_.erase(std::string(who));
}

void throttle::undo(std::string_view who) {
    const auto known = entries_.find(std::string(who));
    if (known == entries_.end()) return;
    known->second.blocked_until = {};
    if (--known->second.count == 0) entries_.erase(known);
}

void throttle::make_room(mono_time now) {
    if (entries_.size() < limits_.max_entries) return;
    std::erase_if(entries_,
                  [&](const auto& e) { return now - e.second.last >= limits_.forget_after; });
    if (entries_.size() < limits_.max_entries) return;
    entries_.erase(
        std::ranges::min_element(entries_, {}, [](const auto& e) { return e.second.last; }));
}

void refusal_book::note(std::string_view source, std::string_view key, wall_time now) {
    place at(source, key);
    if (entries_.size() >= max_entries && !entries_.contains(at))
        entries_.erase(
            std::ranges::min_element(entries_, {}, [](const auto& e) { return e.second.last; }));
    entry& e = entries_[std::move(at)];
    if (e.count == 0) e.first = now;
    ++e.count;
    e.last = now;
}

}  // namespace kw::auth
