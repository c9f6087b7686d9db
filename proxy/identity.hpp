// Who is calling: the credential found in a request's head and looked up in the worker's snapshot.
#pragma once

#include "auth/access_key.hpp"
#include "core/error.hpp"
#include "net/address.hpp"
#include "net/http_head.hpp"
#include "proxy/snapshot.hpp"

namespace kw::proxy {

class worker;

// Null on an open proxy. Errors: those of auth::authenticator, client_not_allowed and
// ip_not_allowed by the key's lists, and store_unavailable for a key that is unknown while the
// store cannot be asked. The key lives as long as the snapshot.
[[nodiscard]] result<const auth::access_key*> identify_caller(worker& w, const snapshot& snap,
                                                              const net::http_head& head,
                                                              const net::ip_address& client);

}  // namespace kw::proxy
