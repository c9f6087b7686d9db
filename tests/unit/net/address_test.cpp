// Addresses, networks, host:port texts and the client behind proxies.
#include "net/address.hpp"

#include <catch2/catch.hpp>

using namespace kw;
using namespace kw::net;

namespace {

ip_address ip(std::string_view text) {
    const auto a = ip_address::parse(text);
    REQUIRE(a.has_value());
    return *a;
}

std::string behind(std::string_view peer, const std::vector<std::string>& trusted,
                   const std::vector<std::string_view>& values) {
    const auto set = cidr_set::parse(trusted);
    REQUIRE(set.has_value());
    return client_behind(ip(peer), *set, values).to_string();
}

}  // namespace

TEST_CASE("addresses parse and print in one form", "[net][address]") {
    CHECK(ip("10.0.0.1").to_string() == "10.0.0.1");
    CHECK(ip("2001:DB8:0:0::1").to_string() == "2001:db8::1");
    CHECK(ip("::ffff:10.0.0.1") == ip("10.0.0.1"));
    CHECK(ip("10.0.0.1").is_v4());
    CHECK_FALSE(ip("::1").is_v4());
    CHECK(ip("127.3.2.1").is_loopback());
    CHECK(ip("::1").is_loopback());
    CHECK_FALSE(ip("::2").is_loopback());
    CHECK(socket_address{ip("::1"), 80}.to_string() == "[::1]:80");
    for (const char* bad : {"", "10.0.0", "10.0.0.256", "10.0.0.01", " 10.0.0.1", "1.2.3.4:80",
                            "[::1]", "::g", "localhost", "0x7f.0.0.1", "fe80::1%eth0"})
        CHECK_FALSE(ip_address::parse(bad).has_value());
    CHECK_FALSE(ip_address::parse(std::string_view("10.0.0.1\0", 9)).has_value());
}

TEST_CASE("networks hold what their prefix says", "[net][address]") {
    CHECK(cidr::parse("10.0.0.0/8")->contains(ip("10.255.1.2")));
    CHECK_FALSE(cidr::parse("10.0.0.0/8")->contains(ip("11.0.0.0")));
    CHECK(cidr::parse("10.0.0.0/8")->contains(ip("::ffff:10.1.1.1")));
    CHECK(cidr::parse("192.168.4.0/22")->contains(ip("192.168.7.255")));
    CHECK_FALSE(cidr::parse("192.168.4.0/22")->contains(ip("192.168.8.0")));
    CHECK(cidr::parse("0.0.0.0/0")->contains(ip("1.2.3.4")));
    CHECK_FALSE(cidr::parse("0.0.0.0/0")->contains(ip("2001:db8::1")));
    CHECK(cidr::parse("::/0")->contains(ip("1.2.3.4")));
    CHECK(cidr::parse("2001:db8::/33")->contains(ip("2001:db8:7fff::1")));
    CHECK_FALSE(cidr::parse("2001:db8::/33")->contains(ip("2001:db8:8000::1")));
    CHECK(cidr::parse("::1")->contains(ip("::1")));
    CHECK(cidr::parse("10.0.0.0/8")->to_string() == "10.0.0.0/8");
    for (const char* bad : {"10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/08",
                            "10.0.0.0/-1", "10.0.0.0/8/8", "/8"})
        CHECK_FALSE(cidr::parse(bad).has_value());
    const auto r = cidr_set::parse(std::vector<std::string>{"10.0.0.0/8", "nonsense"});
    REQUIRE_FALSE(r.has_value());
    CHECK(r.error().context.find("nonsense") != std::string::npos);
}

TEST_CASE("the client is the first untrusted from the right", "[net][address]") {
    // Nobody is trusted, or the peer is not: what it says does not count.
    CHECK(behind("203.0.113.9", {}, {"1.1.1.1"}) == "203.0.113.9");
    CHECK(behind("203.0.113.9", {"10.0.0.0/8"}, {"1.1.1.1"}) == "203.0.113.9");
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"1.1.1.1"}) == "1.1.1.1");
    // What the client itself put to the left is not believed.
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"6.6.6.6, 1.1.1.1, 10.0.0.2"}) == "1.1.1.1");
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"6.6.6.6", "1.1.1.1", "10.0.0.2"}) == "1.1.1.1");
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"10.0.0.3,10.0.0.2"}) == "10.0.0.3");
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {}) == "10.0.0.1");
    // Nonsense ends the walk.
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"1.1.1.1, unknown, 10.0.0.2"}) == "10.0.0.2");
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {""}) == "10.0.0.1");
    // Ports, brackets, quotes.
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"1.1.1.1:5000"}) == "1.1.1.1");
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"\"[2001:db8::1]:5000\""}) == "2001:db8::1");
    CHECK(behind("10.0.0.1", {"10.0.0.0/8"}, {"2001:db8::1"}) == "2001:db8::1");
}

TEST_CASE("host and port are split strictly", "[net][address]") {
    CHECK(split_host_port("a.b:80")->host == "a.b");
    CHECK(split_host_port("a.b:80")->port == 80);
    CHECK(split_host_port("a.b", 443)->port == 443);
    CHECK(split_host_port("[::1]:8080")->host == "::1");
    CHECK(split_host_port("[::1]", 80)->port == 80);
    for (const char* bad : {"", ":80", "a:", "a:0", "a:65536", "a:08", "a:+1", "::1:80", "[::1",
                            "[::1]80", "[a]:80", "a:80:80", "[]:80", "a"})
        CHECK_FALSE(split_host_port(bad).has_value());
    CHECK(join_host_port("::1", 80) == "[::1]:80");
    CHECK(join_host_port("a", 80) == "a:80");
}
