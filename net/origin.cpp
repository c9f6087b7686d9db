// IPv6 by its network.
#include "net/origin.hpp"

#include <algorithm>

namespace kw::net {

std::string origin_of(const ip_address& a) {
    if (a.is_v4()) return a.to_string();
    auto bytes = a.bytes();
    // Global unicast (RFC 4291, 2.5.4) is given out by networks; a translator's addresses, those of
    // a link, or a cluster's own are many parties' in one.
    if ((bytes[0] & 0xE0U) != 0x20U) return a.to_string();
    std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
    return ip_address::v6(bytes).to_string() + "/64";
}

std::string origin_of(std::string_view address) {
    const auto parsed = ip_address::parse(address);
    return parsed ? origin_of(*parsed) : std::string(address);
}

}  // namespace kw::net
