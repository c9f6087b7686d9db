// Least-used: fewest in flight, then fewest uses in the window, then longest idle, then id.
#include "pool/strategies/all.hpp"

namespace kw::pool::strategies {
namespace {

class least_used final : public strategy {
  public:
    const candidate* choose(const choice& c) override {
        struct rank {
            float in_flight;
            float uses;
            std::int64_t last;
        };
        constexpr auto relaxed = std::memory_order_relaxed;
        return best_of(
            c,
            [](const candidate& k) {
                const key_state& s = *k.state;
                return rank{static_cast<float>(s.in_flight.load(relaxed)) * k.inv_weight,
                            static_cast<float>(s.rank_uses.load(relaxed)) * k.inv_weight,
                            s.last_used.load(relaxed)};
            },
            [](const rank& a, const rank& b) {
                if (a.in_flight != b.in_flight) return a.in_flight < b.in_flight;
                if (a.uses != b.uses) return a.uses < b.uses;
                return a.last < b.last;
            });
    }
};

}  // namespace

std::unique_ptr<strategy> make_least_used(const strategy_settings&) {
    return std::make_unique<least_used>();
}

}  // namespace kw::pool::strategies
