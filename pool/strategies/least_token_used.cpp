// Least-token-used: fewest tokens in the window with the estimates in flight, then longest idle,
// then id.
#include "pool/strategies/all.hpp"

namespace kw::pool::strategies {
namespace {

class least_token_used final : public strategy {
  public:
    const candidate* choose(const choice& c) override {
        struct rank {
            double tokens;
            std::int64_t last;
        };
        constexpr auto relaxed = std::memory_order_relaxed;
        return best_of(
            c,
            [](const candidate& k) {
                return rank{static_cast<double>(k.state->rank_tokens.load(relaxed)) *
                                static_cast<double>(k.inv_weight),
                            k.state->last_used.load(relaxed)};
            },
            [](const rank& a, const rank& b) {
                return a.tokens != b.tokens ? a.tokens < b.tokens : a.last < b.last;
            });
    }
};

}  // namespace

std::unique_ptr<strategy> make_least_token_used(const strategy_settings&) {
    return std::make_unique<least_token_used>();
}

}  // namespace kw::pool::strategies
