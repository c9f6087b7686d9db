// What the holder of an access key may ask about it under /v1/keywheel: a request's books.
#pragma once

#include "net/control_port.hpp"

namespace kw::store {
class store;
}

namespace kw::admin {

// GET /v1/keywheel/requests/{id}: tokens and cost of one of this access key's requests (of any, on
// an open proxy). 404 for all others, and for one whose record has not reached the store yet, a
// quarter of a second after its end. The caller's access key was checked by the worker and stands
// in the request. Control thread; blocks on the store.
[[nodiscard]] net::control_response answer_holder(const net::control_request& request,
                                                  store::store& from);

}  // namespace kw::admin
