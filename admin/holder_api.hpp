// What the holder of an access key may ask about it under /v1/keywheel, with that key alone.
#pragma once

#include "auth/access_key.hpp"
#include "net/control_port.hpp"

namespace kw::store {
class admission;
class store;
}  // namespace kw::store

namespace kw::admin {

// All of it outlives the call.
struct holder_services {
    store::store& store;
    store::admission& admission;
    // Of who asks and has been checked; null with an empty id in the request: open to all.
    const auth::access_key* key = nullptr;
};

// An error in the shape of the API that the holders' clients speak.
[[nodiscard]] net::control_response refuse_holder(std::uint16_t status, std::string_view code,
                                                  std::string_view message);

// GET /v1/keywheel/me (the key, what is left of its limits) and /v1/keywheel/requests/{id} (what
// one request was and cost). Control thread; blocks for as long as the store's calls do.
[[nodiscard]] net::control_response answer_holder(const net::control_request& request,
                                                  const holder_services& with);

}  // namespace kw::admin
