// Random: each eligible key as likely as its weight says.
#include <algorithm>
#include <array>

#include "pool/strategies/all.hpp"

namespace kw::pool::strategies {
namespace {

class random_choice final : public strategy {
  public:
    const candidate* choose(const choice& c) override {
        // Drawing again until an eligible one comes keeps the shares exact; when most keys are
        // out, count what is left instead.
        if (const candidate& first = draw(c); c.eligible(first)) return &first;
        // The states of a large pool are far from the cache: all are fetched at the same time.
        std::array<const candidate*, 7> more{};
        for (auto& k : more) {
            k = &draw(c);
            __builtin_prefetch(k->state);
        }
        for (const candidate* k : more)
            if (c.eligible(*k)) return k;
        double sum = 0;
        const candidate* chosen = nullptr;
        for (const candidate& k : c.candidates) {
            if (!c.eligible(k)) continue;
            sum += static_cast<double>(k.weight);
            if (unit(c) * sum < static_cast<double>(k.weight)) chosen = &k;
        }
        return chosen;
    }

  private:
    static double unit(const choice& c) {
        return static_cast<double>(c.random->next() >> 11U) * 0x1p-53;
    }
    static const candidate& draw(const choice& c) {
        const lane& l = *c.all;
        if (l.weight_sums.empty()) return l.keys[c.random->below(l.keys.size())];
        const auto at = std::upper_bound(l.weight_sums.begin(), l.weight_sums.end(),
                                         unit(c) * l.weight_sums.back());
        const auto i =
            std::min(static_cast<std::size_t>(at - l.weight_sums.begin()), l.keys.size() - 1);
        return l.keys[i];
    }
};

}  // namespace

std::unique_ptr<strategy> make_random(const strategy_settings&) {
    return std::make_unique<random_choice>();
}

}  // namespace kw::pool::strategies
