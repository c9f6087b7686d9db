// The interface of a selection strategy, what helps to write one, and the registry. Adding a
// strategy is one file in pool/strategies and one line in registry.cpp.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "pool/pool_view.hpp"

namespace kw::pool {

// One choice: the keys to choose from and what makes a key eligible just now.
struct choice {
    static constexpr std::size_t max_candidates = 64;
    // Enough for a choice near the best; the dearest strategy looks at so many in 200 ns.
    static constexpr std::size_t sample_size = 48;

    const lane* all = nullptr;              // every key of the lane
    std::span<const candidate> candidates;  // all of them up to 64, else a sample
    std::span<const slot_id> tried;         // not again
    std::int64_t now = 0;                   // mono ns
    bool probation = false;  // an untested key with an exchange in flight waits for its result
    random_source* random = nullptr;

    [[nodiscard]] bool eligible(const candidate& c) const noexcept {
        const key_state& s = *c.state;
        if (s.blocked_until.load(std::memory_order_relaxed) > now) return false;
        const auto quota = s.quota_left.load(std::memory_order_relaxed);
        if (quota <= 0 && quota != unknown_amount) return false;
        const auto flying = s.in_flight.load(std::memory_order_relaxed);
        if (s.paced() && s.paced_until(now) != 0) return false;
        if (c.capped) {
            if (const auto lack = s.lacks(flying); lack != 0) {
                c.state->short_of.fetch_or(lack, std::memory_order_relaxed);
                return false;
            }
        }
        if (flying != 0) {
            const auto gate = s.gate.load(std::memory_order_relaxed);
            // A key whose cooldown ended takes one exchange at a time until one succeeds.
            if ((gate & 0xffU) != 0) return false;
            if (probation && (gate & 0x100U) == 0) return false;
        }
        for (const slot_id t : tried) {
            if (t == c.slot) return false;
        }
        return true;
    }
};

// Made per worker and lane: may keep what `prepare` worked out. One thread.
class strategy {
  public:
    virtual ~strategy() = default;
    // Whenever the candidates were refreshed (every 50 ms at most): medians, means.
    virtual void prepare(const choice&) {}
    // The chosen key, or null when none is eligible. Points into c.all->keys or c.candidates.
    [[nodiscard]] virtual const candidate* choose(const choice& c) = 0;
};

// Arg-max over the eligible candidates: `better(a, b)` says whether a's rank beats b's; the first
// of equals (the lower id) stays.
template <class Rank, class Better>
[[nodiscard]] const candidate* best_of(const choice& c, Rank rank, Better better) {
    const candidate* best = nullptr;
    decltype(rank(c.candidates[0])) best_rank{};
    for (const candidate& k : c.candidates) {
        // Few outrank the best so far, so that the longer question is asked seldom.
        const auto r = rank(k);
        if ((best != nullptr && !better(r, best_rank)) || !c.eligible(k)) continue;
        best = &k;
        best_rank = r;
    }
    return best;
}

namespace strategies {

using factory = std::function<std::unique_ptr<strategy>(const strategy_settings&)>;

// Before threads start, or under no concurrent use of a view that names it. Replaces an equal name.
void add(std::string name, factory make);
[[nodiscard]] bool known(std::string_view name);
// Null for an unknown name.
[[nodiscard]] std::unique_ptr<strategy> make(std::string_view name, const strategy_settings& s);
// In alphabetical order.
[[nodiscard]] std::vector<std::string> names();

}  // namespace strategies
}  // namespace kw::pool
