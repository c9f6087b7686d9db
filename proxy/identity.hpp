// Who is calling: the credential found in a request's head and looked up in the worker's snapshot.
#pragma once

#include "auth/access_key.hpp"
#include "core/error.hpp"
#include "net/address.hpp"
#include "net/http_head.hpp"
#include "proxy/snapshot.hpp"

namespace kw::proxy {

class worker;

struct caller {
    // By whose rules and limits the request goes, and to whom it is booked; null on an open proxy.
    const auth::access_key* key = nullptr;
    // The key that was sent, where a lease of `key` handed it out; null otherwise.
    const auth::access_key* leased = nullptr;

    [[nodiscard]] explicit operator bool() const noexcept { return key != nullptr; }
    [[nodiscard]] const auth::access_key* operator->() const noexcept { return key; }
};

// Errors: those of auth::authenticator, client_not_allowed and ip_not_allowed by the key's lists,
// and store_unavailable for a key that is unknown while the store cannot be asked. The keys live as
// long as the snapshot.
[[nodiscard]] result<caller> identify_caller(worker& w, const snapshot& snap,
                                             const net::http_head& head,
                                             const net::ip_address& client);

}  // namespace kw::proxy
