// The retry decision.
#include "pool/retry_policy.hpp"

#include <algorithm>

namespace kw::pool {
namespace {

// Nothing of the request can have reached the upstream.
bool never_connected(transport_failure t) noexcept {
    switch (t) {
        case transport_failure::dns:
        case transport_failure::connect:
        case transport_failure::connect_timeout:
        case transport_failure::tls:
        case transport_failure::tls_timeout:
        case transport_failure::egress_proxy:
            return true;
        default:
            return false;
    }
}

}  // namespace

retry_decision would_retry(const exchange_state& x, const upstream_result& r, const verdict& v,
                           const retry_settings& s) {
    const retry_decision give_up;
    if (x.bytes_sent_downstream || v.success) return give_up;
    if (!x.body_replayable && !never_connected(r.transport)) return give_up;
    // That we kept a connection is no concern of the client's: also where retries are off.
    if (r.transport == transport_failure::stale_connection) {
        return {retry_step::fresh_connection, {}};
    }
    if (!s.enabled) return give_up;
    if (x.tries_in_all >= s.tries_in_all) return give_up;
    if (v.retry && x.tries_on_model <= s.retries_per_model) {
        if (x.other_key_available) return {retry_step::other_key, {}};
        // A key at fault is asked again only when its upstream said when.
        const bool blamed = v.fault == fault_class::key || v.fault == fault_class::account;
        const bool told = v.retry_after.has_value();
        if ((told && v.action == fault_action::cooldown) ||
            (!told && !blamed && v.fault != fault_class::model && x.same_key_usable)) {
            const auto doublings = std::min(x.tries_on_model - 1, 8);
            const nanoseconds wait =
                told ? *v.retry_after : s.plain_wait * (std::int64_t{1} << std::max(doublings, 0));
            if (wait <= s.longest_wait && wait < x.time_left) {
                return {retry_step::same_key_after, wait};
            }
        }
    }
    if (v.fallback && x.fallback_available) return {retry_step::fallback_model, {}};
    return give_up;
}

}  // namespace kw::pool
