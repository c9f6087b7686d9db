// One renewal for all leases of the worker, three times in a lease's life.
#include "proxy/lease_renewer.hpp"

#include <vector>

namespace kw::proxy {

lease_renewer::lease_renewer(net::loop& on, store::admission& with) : loop_(on), admission_(with) {
    root_.start("leases", rounds());
}

void lease_renewer::add(const store::lease_ref& lease) {
    running_.insert_or_assign(lease.ledger_id, lease.access_key_id);
}

void lease_renewer::remove(const std::string& ledger_id) noexcept {
    running_.erase(ledger_id);
}

net::task<void> lease_renewer::rounds() {
    net::waiter w(loop_);
    std::vector<store::lease_ref> all;
    for (;;) {
        co_await net::sleep_until(w, loop_.now() + lease_ttl / 3);
        if (running_.empty()) continue;
        all.clear();
        all.reserve(running_.size());
        for (const auto& [ledger_id, access_key_id] : running_)
            all.push_back({access_key_id, ledger_id});
        admission_.renew(all, lease_ttl);
    }
}

}  // namespace kw::proxy
