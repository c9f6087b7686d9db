// Whom an address is counted for.
#include "net/origin.hpp"

#include <catch2/catch.hpp>

using kw::net::origin_of;

TEST_CASE("an IPv6 client is its network of 64 bits, an IPv4 one its address") {
    CHECK(origin_of("2001:db8:0:1::1") == "2001:db8:0:1::/64");
    CHECK(origin_of("2001:db8:0:1:ffff:1:2:3") == origin_of("2001:db8:0:1::1"));
    CHECK(origin_of("2001:db8:0:2::1") != origin_of("2001:db8:0:1::1"));
    CHECK(origin_of("192.0.2.1") == "192.0.2.1");
    CHECK(origin_of("::ffff:192.0.2.1") == "192.0.2.1");
    CHECK(origin_of("::1") == "::1");
    CHECK(origin_of("64:ff9b::192.0.2.1") != origin_of("64:ff9b::192.0.2.2"));
    CHECK(origin_of("fe80::1") == "fe80::1");
    CHECK(origin_of("fd00:1:2:3::4") == "fd00:1:2:3::4");
    CHECK(origin_of("a socket") == "a socket");
}
