// Weighted-score: success rate, freshness and experience, each with its weight; then id.
//
// Freshness is what spreads picks over equal keys. It grows with idle time up to a limit of 60 s,
// or of a few turns of the pool where traffic is dense: otherwise a difference in the other two
// parts that is worth seconds of idle time would give one key thousands of picks in a row.
#include <algorithm>

#include "pool/strategies/all.hpp"

namespace kw::pool::strategies {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr float full_experience = 100;  // uses in the window
constexpr double turns = 4;             // of the pool, until a key is entirely fresh

class weighted_score final : public strategy {
  public:
    explicit weighted_score(const strategy_settings& s)
        : success_(static_cast<float>(s.success_weight)),
          freshness_(static_cast<float>(s.freshness_weight)),
          experience_(static_cast<float>(s.experience_weight)),
          limit_(static_cast<double>(std::max<std::int64_t>(s.freshness_limit.count(), 1))) {}

    void prepare(const choice& c) override {
        double uses = 0;
        double weight = 0;
        for (const candidate& k : c.candidates) {
            uses += static_cast<double>(k.state->rank_uses.load(relaxed));
            weight += static_cast<double>(k.weight);
        }
        // A sample is this worker's own, so its own picks are what the sample sees.
        const bool whole = c.candidates.size() == c.all->keys.size();
        const double picks = whole ? uses - uses_before_ : picks_;
        if (picks >= 1 && c.now > prepared_) {
            if (!whole && !c.candidates.empty())
                weight *= static_cast<double>(c.all->keys.size()) /
                          static_cast<double>(c.candidates.size());
            const double turn = static_cast<double>(c.now - prepared_) / picks * weight;
            // Follows a burst at once and a lull slowly.
            turn_ = turn_ == 0 ? turn : std::min((turn_ + turn) / 2, 2 * turn);
        }
        uses_before_ = uses;
        picks_ = 0;
        prepared_ = c.now;
        const double until_fresh = turn_ == 0 ? 1e9 : turns * turn_;
        per_ns_ = static_cast<float>(1.0 / std::min(std::max(until_fresh, 1000.0), limit_));
    }

    const candidate* choose(const choice& c) override {
        ++picks_;
        return best_of(
            c,
            [&](const candidate& k) {
                const key_state& s = *k.state;
                const float fresh =
                    std::min(1.0F, static_cast<float>(idle_of(k, c.now)) * k.weight * per_ns_);
                const float experience =
                    std::min(1.0F, static_cast<float>(s.rank_uses.load(relaxed)) / full_experience);
                return success_ * s.success.load(relaxed) + freshness_ * fresh +
                       experience_ * experience;
            },
            [](float a, float b) { return a > b; });
    }

  private:
    static double idle_of(const candidate& k, std::int64_t now) noexcept {
        return static_cast<double>(
            std::max<std::int64_t>(0, now - k.state->last_used.load(relaxed)));
    }

    float success_;
    float freshness_;
    float experience_;
    double limit_;
    double turn_ = 0;  // ns × weight: how long a key of weight 1 waits between picks
    double uses_before_ = 0;
    double picks_ = 0;
    std::int64_t prepared_ = 0;
    float per_ns_ = 1e-9F;
};

}  // namespace

std::unique_ptr<strategy> make_weighted_score(const strategy_settings& s) {
    return std::make_unique<weighted_score>(s);
}

}  // namespace kw::pool::strategies
