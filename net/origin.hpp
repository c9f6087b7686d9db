// Who an address stands for, where wrong credentials are counted.
#pragma once

#include <string>
#include <string_view>

#include "net/address.hpp"

namespace kw::net {

// "192.0.2.1", "2001:db8:0:1::/64": whoever has one IPv6 address has the whole network of 64 bits.
[[nodiscard]] std::string origin_of(const ip_address& a);
// Text that is no address stays as it is.
[[nodiscard]] std::string origin_of(std::string_view address);

}  // namespace kw::net
