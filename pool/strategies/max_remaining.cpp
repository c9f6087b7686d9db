// Max-remaining: most left by the upstream's own headers, else by what it told when asked, else by
// the configured quota, less the estimates in flight; then longest idle, then id. What is not known
// ranks by the setting.
#include <algorithm>

#include "pool/strategies/all.hpp"

namespace kw::pool::strategies {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

class max_remaining final : public strategy {
  public:
    explicit max_remaining(unknown_quota unknown) : unknown_(unknown) {}

    void prepare(const choice& c) override {
        if (unknown_ == unknown_quota::prefer) assumed_ = std::numeric_limits<double>::max();
        if (unknown_ == unknown_quota::avoid) assumed_ = std::numeric_limits<double>::lowest();
        if (unknown_ != unknown_quota::median) return;
        double known[choice::max_candidates];
        std::size_t n = 0;
        for (const candidate& k : c.candidates) {
            const auto left = remaining(k, c.now);
            if (left != unknown_amount && n < choice::max_candidates) {
                known[n++] = static_cast<double>(left);
            }
        }
        std::sort(known, known + n);
        assumed_ = n == 0 ? 0 : (known[(n - 1) / 2] + known[n / 2]) / 2;
    }

    const candidate* choose(const choice& c) override {
        struct rank {
            double left;
            std::int64_t last;
        };
        return best_of(
            c,
            [&](const candidate& k) {
                const auto left = remaining(k, c.now);
                const bool known = left != unknown_amount;
                double amount = known ? static_cast<double>(left) : assumed_;
                if (known || unknown_ == unknown_quota::median) {
                    amount -= static_cast<double>(k.state->estimate_in_flight.load(relaxed));
                    // What is overdrawn is worth less with less weight, not more.
                    amount *= static_cast<double>(amount > 0 ? k.weight : k.inv_weight);
                }
                return rank{amount, k.state->last_used.load(relaxed)};
            },
            [](const rank& a, const rank& b) {
                return a.left != b.left ? a.left > b.left : a.last < b.last;
            });
    }

  private:
    static std::int64_t remaining(const candidate& k, std::int64_t now) noexcept {
        const key_state& s = *k.state;
        if (s.header_reset.load(relaxed) > now) return s.header_remaining.load(relaxed);
        return s.quota_left.load(relaxed);
    }

    unknown_quota unknown_;
    double assumed_ = 0;
};

}  // namespace

std::unique_ptr<strategy> make_max_remaining(const strategy_settings& s) {
    return std::make_unique<max_remaining>(s.unknown);
}

}  // namespace kw::pool::strategies
