// Base URLs, and hosts in all their spellings.
#include <catch2/catch.hpp>

#include "config/base_url.hpp"

using namespace kw::config;

TEST_CASE("base URLs are brought into one form") {
    const std::pair<const char*, const char*> samples[] = {
        {"https://api.openai.com/v1", "https://api.openai.com/v1"},
        {"HTTPS://API.OpenAI.com:443/v1///", "https://api.openai.com/v1"},
        {"http://h", "http://h/v1"},
        {"http://h/", "http://h/v1"},
        {"http://h:8080/a/b/", "http://h:8080/a/b"},
        {"https://[2001:DB8::1]:80/x", "https://[2001:db8::1]:80/x"},
    };
    for (const auto& [text, normal] : samples) {
        INFO(text);
        CHECK(parse_base_url(text).value().to_string() == normal);
    }
}

TEST_CASE("what is no base URL") {
    for (const char* text : {"",
                             "h",
                             "//h",
                             "ftp://h",
                             "http://",
                             "http:///v1",
                             "http://:80",
                             "http://h:0",
                             "http://h:65536",
                             "http://h:",
                             "http://h:x",
                             "http://u:p@h",
                             "http://h?x=1",
                             "http://h#f",
                             "http://h /v1",
                             "http://h\r\nX: y",
                             "http://[::1",
                             "http://[::1]x",
                             "http://[x]",
                             "http://a%62/",
                             "http://a\\b",
                             "http://."}) {
        INFO(text);
        CHECK_FALSE(parse_base_url(text).has_value());
    }
}

TEST_CASE("link-local and metadata hosts in every spelling") {
    for (const char* host :
         {"169.254.169.254", "169.254.0.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
          "169.254.43518", "::ffff:169.254.169.254", "fe80::1", "febf::1", "fd00:ec2::254",
          "100.100.100.200", "metadata.google.internal", "METADATA.google.internal.", "metadata"}) {
        INFO(host);
        CHECK(is_link_local(host));
    }
    for (const char* host : {"169.253.1.1", "10.0.0.1", "127.0.0.1", "fec0::1", "api.openai.com",
                             "fd00:ec2::255", "169.254.example.com"}) {
        INFO(host);
        CHECK_FALSE(is_link_local(host));
    }
}

TEST_CASE("loopback") {
    for (const char* host : {"localhost", "a.localhost", "127.0.0.1", "127.1", "::1", "0x7f000001",
                             "::ffff:127.0.0.1", "LOCALHOST."}) {
        INFO(host);
        CHECK(is_loopback(host));
    }
    CHECK_FALSE(is_loopback("0.0.0.0"));
    CHECK_FALSE(is_loopback("localhost.example.com"));
}

TEST_CASE("networks") {
    for (const char* text :
         {"10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::1", "10.0.0.1/32"}) {
        INFO(text);
        CHECK(is_network(text));
    }
    for (const char* text :
         {"", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "x", "10.0.0.0/", "10.0.0.0/-1", "::/129"}) {
        INFO(text);
        CHECK_FALSE(is_network(text));
    }
}
