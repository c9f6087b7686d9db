// Heads in the log: what may be read there and what may not.
#include "proxy/head_log.hpp"

#include <catch2/catch.hpp>

using namespace kw::proxy;

TEST_CASE("a request's head shows names, harmless values, no query", "[proxy]") {
    const std::string text =
        "POST /v1/chat/completions?key=sk-canary HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
        "sk-canary\r\nX-Api-Key: sk-canary\r\nCookie: sk-canary\r\nX-Mine: sk-canary\r\n"
        "Content-Type: application/json\r\nX-Stainless-Lang: js\r\nContent-Length: 0\r\n\r\n";
    kw::net::http_head head;
    REQUIRE(head.parse_request(text) == kw::net::parse_status::done);
    CHECK(describe_request(head) ==
          "POST /v1/chat/completions?*** Host: a, Authorization: ***, X-Api-Key: ***, Cookie: ***, "
          "X-Mine: ***, Content-Type: application/json, X-Stainless-Lang: js, Content-Length: 0");
}

TEST_CASE("an answer's head", "[proxy]") {
    const std::string text =
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nSet-Cookie: canary\r\n"
        "x-ratelimit-remaining-tokens: 5\r\nContent-Length: 0\r\n\r\n";
    kw::net::http_head head;
    REQUIRE(head.parse_response(text, false) == kw::net::parse_status::done);
    CHECK(describe_response(head) ==
          "429 Too Many Requests Retry-After: 3, Set-Cookie: ***, x-ratelimit-remaining-tokens: 5, "
          "Content-Length: 0");
}
