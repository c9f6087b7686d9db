// From the head's credential to the access key.
#include "proxy/identity.hpp"

#include "auth/credential.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {

using net::header_id;

namespace {

// The line of a WebSocket's offer that holds a credential, if one does.
std::string_view offered_credential(const net::http_head& head) noexcept {
    for (const auto& h : head) {
        if (h.id == header_id::other &&
            net::equal_ignoring_case(h.name, "sec-websocket-protocol") &&
            h.value.find(auth::subprotocol_prefix) != std::string_view::npos)
            return h.value;
    }
    return {};
}

}  // namespace

result<caller> identify_caller(worker& w, const snapshot& snap, const net::http_head& head,
                               const net::ip_address& client) {
    if (snap.settings->auth.open) return caller{};
    const std::string_view text = auth::pick_credential({
        .authorization = head.find(header_id::authorization),
        .x_api_key = head.find(header_id::x_api_key),
        .api_key = head.find(header_id::api_key),
        .x_goog_api_key = head.find(header_id::x_goog_api_key),
        .path = head.path(),
        .query = head.query(),
        .subprotocols = head.wants_upgrade() ? offered_credential(head) : std::string_view(),
    });
    auto known = w.authenticator().identify(text, w.wall(), *snap.access_keys);
    if (!known && known.error().code == errc::invalid_api_key && snap.stale) {
        return error(errc::store_unavailable,
                     "This key cannot be checked now because the store is out of reach; try again "
                     "shortly.",
                     error_source::store);
    }
    if (!known) return known.error();
    caller out{.key = *known};
    if (auth::is_leased(*out.key)) {
        out.leased = out.key;
        auto holder = auth::authenticator::holder_of(*out.leased, w.wall(), *snap.access_keys);
        if (!holder) return holder.error();
        out.key = *holder;
    }
    const auth::access_key& key = *out.key;
    if (!key.options) return out;
    if (!auth::may_call_from(key, client)) {
        return error(errc::ip_not_allowed,
                     "This access key may not be used from " + client.to_string() + ".",
                     error_source::downstream);
    }
    if (!auth::may_call_with(key, head.find(header_id::user_agent))) {
        return error(errc::client_not_allowed,
                     "This access key may not be used by this client (by its User-Agent).",
                     error_source::downstream);
    }
    const std::string_view origin = head.find(header_id::origin);
    if (!auth::may_call_from_page(key, origin)) {
        return error(errc::client_not_allowed,
                     "This access key may not be used by pages of this origin.",
                     error_source::downstream);
    }
    if (auth::starts_at_first_use(key)) w.note_first_use(key.id);
    return out;
}

}  // namespace kw::proxy
