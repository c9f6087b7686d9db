// What the holder of an access key with the permission `lease` may ask: an upstream key for a time,
// and to give it back.
#pragma once

#include "admin/lease_desk.hpp"
#include "auth/access_key.hpp"
#include "net/control_port.hpp"

namespace kw::admin {

// POST /api-keys/allocate {group?, ttl_s?} and POST /release {lease_id | key}. `key` is of who asks
// and has been checked; null: nobody in particular. Control thread; blocks for as long as the
// store's calls do.
[[nodiscard]] net::control_response answer_lease_call(const net::control_request& request,
                                                      const auth::access_key* key,
                                                      lease_desk& desk);

}  // namespace kw::admin
