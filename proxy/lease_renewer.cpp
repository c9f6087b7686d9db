// One renewal for all leases of the worker, three times in a lease's life.
#include "proxy/lease_renewer.hpp"

#include <vector>

namespace kw::proxy {

lease_renewer::lease_renewer(net::loop& on, store::admission& with) : loop_(on), admission_(with) {
    root_.start("leases", rounds());
}

net::task<void> lease_renewer::rounds() {
    net::waiter w(loop_);
    std::vector<store::lease_ref> all;
    for (;;) {
        co_await net::sleep_until(w, loop_.now() + lease_ttl / 3);
        if (running_.empty()) continue;
        all.clear();
        for (const kept_lease& lease : running_)
            all.push_back({lease.of_.access_key_id, lease.of_.ledger_id});
        admission_.renew(all, lease_ttl);
    }
}

}  // namespace kw::proxy
