// The strict URL parser and the egress proxy's URL.
#include "net/url.hpp"

#include <catch2/catch.hpp>

#include "net/connector.hpp"

using namespace kw;
using namespace kw::net;

TEST_CASE("URLs give their parts", "[net][url]") {
    const auto u = parse_url("https://API.Example.com/v1/models?limit=1&x=%20");
    REQUIRE(u.has_value());
    CHECK(u->tls);
    CHECK(u->host == "api.example.com");
    CHECK(u->port == 443);
    CHECK(u->target() == "/v1/models?limit=1&x=%20");
    CHECK(u->authority() == "api.example.com");
    const auto v = parse_url("http://[::1]:8080");
    REQUIRE(v.has_value());
    CHECK(v->host == "::1");
    CHECK(v->authority() == "[::1]:8080");
    CHECK(v->target() == "/");
    CHECK(parse_url("http://h?q")->target() == "/?q");
}

TEST_CASE("what is no plain http(s) URL is refused", "[net][url]") {
    for (const char* bad : {"",
                            "ftp://h/",
                            "http:/h",
                            "http://",
                            "http:///x",
                            "http://u:p@h/",
                            "http://h/#f",
                            "http://h:0/",
                            "http://h:99999/",
                            "http://h:/",
                            "http://h/a b",
                            "http://h/%2",
                            "http://h/%zz",
                            "http://h/\r\nX: y",
                            "http://h/\x7f",
                            "http://h_\xc3\xa4/",
                            "http://a..b/",
                            "http://.a/",
                            "http://h/<>",
                            " http://h/",
                            "HTTP://h/",
                            "http://[::1/",
                            "http://h\\x/"})
        CHECK_FALSE(parse_url(bad).has_value());
}

TEST_CASE("percent escapes decode to bytes, never to controls", "[net][url]") {
    CHECK(percent_decode("a%20b%2F") == "a b/");
    CHECK(percent_decode("") == "");
    CHECK_FALSE(percent_decode("%2").has_value());
    CHECK_FALSE(percent_decode("%0d").has_value());
    CHECK_FALSE(percent_decode("%").has_value());
}

TEST_CASE("an egress proxy's URL gives kind, place and login", "[net][url]") {
    const auto p = parse_egress_proxy(secret("http://me:p%40ss@proxy.local:3128/"));
    REQUIRE(p.has_value());
    CHECK(p->type == egress_proxy::kind::http_connect);
    CHECK(p->host == "proxy.local");
    CHECK(p->port == 3128);
    CHECK(p->user == "me");
    CHECK(p->password.reveal() == "p@ss");
    const auto s = parse_egress_proxy(secret("socks5h://[::1]"));
    REQUIRE(s.has_value());
    CHECK(s->type == egress_proxy::kind::socks5);
    CHECK(s->port == 1080);
    CHECK(s->user.empty());
    for (const char* bad : {"https://p:1", "http://p", "p:1", "http://:x@p:1", "http://u:%0a@p:1",
                            "http://p:1/x", "socks5://"}) {
        const auto r = parse_egress_proxy(secret(bad));
        REQUIRE_FALSE(r.has_value());
        CHECK(r.error().code == errc::invalid_argument);
    }
}
