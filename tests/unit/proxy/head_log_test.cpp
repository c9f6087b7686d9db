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

TEST_CASE("a path shows no part that may be a credential", "[proxy]") {
    const auto shown = [](const std::string& path) {
        const std::string text = "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n";
        kw::net::http_head head;
        REQUIRE(head.parse_request(text) == kw::net::parse_status::done);
        const auto line = describe_request(head);
        return line.substr(4, line.find(" Host") - 4);
    };
    CHECK(shown("/v1/files/sk-canary/content") == "/v1/files/***/content");
    CHECK(shown("/v1/sk-canary") == "/v1/***");
    CHECK(shown("/v1/v1:SK-canary/r8_canary/a-word") == "/v1/***/***/a-word");
    CHECK(shown("/v1/0123abcd-0123-4567-89ab-0123456789ab") == "/v1/***");
    CHECK(shown("/api-keys/kw-canary/release") == "/api-keys/***/release");
    CHECK(shown("/v1/%73k-canary/") == "/v1/***/");
    CHECK(shown("/" + std::string(49, '-') + "/v1/models?key=canary") == "/***/v1/models?***");
    const std::string id = "/v1/responses/resp_" + std::string(50, 'a');
    CHECK(shown(id) == id);
    CHECK(shown("/v1/0123456789abcdef0123456789abcdef") == "/v1/***");
    const std::string model = "/v1beta/models/gemini-2.5-flash-preview:streamGenerateContent";
    CHECK(shown(model) == model);
    CHECK(shown("/v1/models/gpt-4o-mini") == "/v1/models/gpt-4o-mini");
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
