// Round-robin: the ring of ids, one ticket a pick, over all workers. A key that cannot serve lets
// its ticket go, so its neighbour is not served twice in its stead.
#include "pool/strategies/all.hpp"

namespace kw::pool::strategies {
namespace {

class round_robin final : public strategy {
  public:
    const candidate* choose(const choice& c) override {
        const lane& l = *c.all;
        const auto size = l.schedule.size();
        for (std::size_t tries = 0; tries < size; ++tries) {
            const auto ticket = l.cursor->next.fetch_add(1, std::memory_order_relaxed);
            // A worker that still has an older ring may see a ticket before its base.
            const auto since = ticket >= l.base ? ticket - l.base : ticket;
            const candidate& k = l.keys[l.schedule[(l.offset + since) % size]];
            if (c.eligible(k)) return &k;
        }
        return nullptr;
    }
};

}  // namespace

std::unique_ptr<strategy> make_round_robin(const strategy_settings&) {
    return std::make_unique<round_robin>();
}

}  // namespace kw::pool::strategies
