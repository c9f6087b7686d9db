// Round-robin: the ring of ids, one ticket a pick, over all workers. A key that cannot serve lets
// its ticket go, so its neighbour is not served twice in its stead.
#include "pool/strategies/all.hpp"

namespace kw::pool::strategies {
namespace {

constexpr std::size_t ahead = 4;

class round_robin final : public strategy {
  public:
    const candidate* choose(const choice& c) override {
        const lane& l = *c.all;
        const auto size = l.schedule.size();
        for (std::size_t tries = 0; tries < size; ++tries) {
            const auto ticket = l.cursor->next.fetch_add(1, std::memory_order_relaxed);
            // A worker that still has an older ring may see a ticket before its base.
            const auto since = ticket >= l.base ? ticket - l.base : ticket;
            const auto at = (l.offset + since) % size;
            const candidate& k = l.keys[l.schedule[at]];
            if (c.eligible(k)) return &k;
            // Where one is out others often are: their states are far apart in a large pool.
            __builtin_prefetch(l.keys[l.schedule[(at + ahead) % size]].state);
        }
        return nullptr;
    }
};

}  // namespace

std::unique_ptr<strategy> make_round_robin(const strategy_settings&) {
    return std::make_unique<round_robin>();
}

}  // namespace kw::pool::strategies
