// The heads that the proxy writes, and what the providers' dialects put into them.
#include "proxy/message_heads.hpp"

#include <catch2/catch.hpp>

using namespace kw;
using namespace kw::proxy;
using net::framing;

namespace {

struct request {
    explicit request(std::string t) : text(std::move(t)) {
        REQUIRE(head.parse_request(text) == net::parse_status::done);
    }
    std::string text;
    net::http_head head;
};

struct response {
    explicit response(std::string t, bool head_request = false) : text(std::move(t)) {
        REQUIRE(head.parse_response(text, head_request) == net::parse_status::done);
    }
    std::string text;
    net::http_head head;
};

const secret upstream_secret("sk-upstream");

upstream_head plan_for(const request& r) {
    return {.from = r.head,
            .dialect = openai_dialect(),
            .base_path = "/v1",
            .authority = "api.example",
            .target = r.head.target(),
            .key = upstream_secret};
}

std::string written(const upstream_head& plan) {
    std::string out = "kept|";
    append_upstream_head(out, plan);
    REQUIRE(out.starts_with("kept|"));
    return out.substr(5);
}

std::string written(const downstream_head& plan) {
    std::string out;
    append_downstream_head(out, plan);
    return out;
}

bool has_line(std::string_view head, std::string_view line) {
    return head.find("\r\n" + std::string(line) + "\r\n") != head.npos;
}

bool names(std::string_view head, std::string_view name) {
    return head.find("\r\n" + std::string(name) + ":") != head.npos;
}

}  // namespace

TEST_CASE("what passes to the upstream keeps its order, case and bytes", "[proxy][heads]") {
    const request r(
        "POST /v1/chat/completions?a=%20b HTTP/1.1\r\nHost: keywheel\r\n"
        "X-Stainless-Lang: js\r\nOpenAI-Beta: x=1\r\ntraceparent:  00-a-b-01 \r\n"
        "Content-Type: application/json\r\nContent-Length: 5\r\nAccept-Encoding: gzip\r\n"
        "x-stainless-lang: twice\r\n\r\n");
    auto plan = plan_for(r);
    plan.framing = framing::length;
    plan.length = 17;
    CHECK(written(plan) ==
          "POST /v1/chat/completions?a=%20b HTTP/1.1\r\nHost: api.example\r\n"
          "Authorization: Bearer sk-upstream\r\n"
          "X-Stainless-Lang: js\r\nOpenAI-Beta: x=1\r\ntraceparent: 00-a-b-01\r\n"
          "Content-Type: application/json\r\nAccept-Encoding: gzip\r\n"
          "x-stainless-lang: twice\r\nContent-Length: 17\r\n\r\n");
}

TEST_CASE("no credential and nothing about the client reaches an upstream", "[proxy][heads]") {
    const request r(
        "POST /v1/x HTTP/1.1\r\nHost: keywheel\r\nAuthorization: Bearer canary\r\n"
        "x-api-key: canary\r\nApi-Key: canary\r\nX-Goog-Api-Key: canary\r\nx-admin-key: canary\r\n"
        "Proxy-Authorization: canary\r\nCookie: canary\r\nForwarded: for=canary\r\n"
        "X-Forwarded-For: canary\r\nX-Forwarded-Host: canary\r\nX-Forwarded-Proto: canary\r\n"
        "X-Real-IP: canary\r\nOpenAI-Organization: canary\r\nOpenAI-Project: canary\r\n"
        "Expect: 100-continue\r\nConnection: keep-alive, X-Private\r\nX-Private: canary\r\n"
        "Keep-Alive: canary\r\nTE: canary\r\nUpgrade: canary\r\nTransfer-Encoding: chunked\r\n"
        "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.canary\r\n"
        "sec-websocket-key: canary\r\nX-Public: stays\r\n\r\n");
    const std::string head = written(plan_for(r));
    CHECK(head.find("canary") == head.npos);
    CHECK(head.find("Expect") == head.npos);
    CHECK(head.find("Transfer-Encoding") == head.npos);  // framing was none
    CHECK(has_line(head, "X-Public: stays"));

    auto own = plan_for(r);
    own.keep_account_headers = true;
    CHECK(has_line(written(own), "OpenAI-Organization: canary"));
    CHECK(has_line(written(own), "OpenAI-Project: canary"));
}

TEST_CASE("a request's framing is ours", "[proxy][heads]") {
    const request r("POST /v1/files HTTP/1.1\r\nHost: k\r\nContent-Length: 3\r\n\r\n");
    auto plan = plan_for(r);
    plan.framing = framing::chunked;
    plan.identity_encoding = true;
    const std::string head = written(plan);
    CHECK(has_line(head, "Transfer-Encoding: chunked"));
    CHECK(has_line(head, "Accept-Encoding: identity"));
    CHECK_FALSE(names(head, "Content-Length"));
    plan.framing = framing::length;
    plan.length = 0;  // a POST without a body says so
    CHECK(has_line(written(plan), "Content-Length: 0"));
}

TEST_CASE("where each provider wants its key", "[proxy][providers]") {
    const auto credentials = [](std::string_view provider) {
        std::string out;
        provider_by_name(provider).append_credentials(out, upstream_secret);
        return out;
    };
    CHECK(credentials("openai") == "Authorization: Bearer sk-upstream\r\n");
    CHECK(credentials("openai-compatible") == "Authorization: Bearer sk-upstream\r\n");
    CHECK(credentials("anthropic") == "x-api-key: sk-upstream\r\n");
    CHECK(credentials("gemini") == "x-goog-api-key: sk-upstream\r\n");
}

TEST_CASE("a client's path on a provider's base URL", "[proxy][providers]") {
    const auto target = [](std::string_view provider, std::string_view base,
                           std::string_view asked) {
        std::string out;
        provider_by_name(provider).append_target(out, base, asked);
        return out;
    };
    CHECK(target("openai", "/v1", "/v1/models?limit=2") == "/v1/models?limit=2");
    CHECK(target("openai", "", "/v1/models") == "/v1/models");
    CHECK(target("openai", "/api/openai/v4", "/v1/models") == "/api/openai/v4/models");
    CHECK(target("anthropic", "/v1", "/v1/messages") == "/v1/messages");
    CHECK(target("gemini", "", "/v1beta/models/m:generateContent") ==
          "/v1beta/models/m:generateContent");
    CHECK(target("gemini", "/proxy", "/v1/models") == "/proxy/v1/models");
}

TEST_CASE("an answer passes with its headers, hop-by-hop ones aside", "[proxy][heads]") {
    const response r(
        "HTTP/1.1 200 Fine by me\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        "Set-Cookie: a=1\r\nset-cookie: b=2\r\nConnection: close, X-Hop\r\nX-Hop: gone\r\n"
        "Keep-Alive: timeout=5\r\nx-request-id: r1\r\n\r\n");
    CHECK(written(downstream_head{.from = r.head,
                                  .framing = framing::length,
                                  .length = 2,
                                  .own_lines = "x-keywheel-key: a\r\n"}) ==
          "HTTP/1.1 200 Fine by me\r\nContent-Type: application/json\r\nSet-Cookie: a=1\r\n"
          "set-cookie: b=2\r\nx-request-id: r1\r\nx-keywheel-key: a\r\nContent-Length: 2\r\n\r\n");
}

TEST_CASE("framing towards the client is restated", "[proxy][heads]") {
    const response r("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n");
    const std::string chunked =
        written(downstream_head{.from = r.head, .framing = framing::chunked});
    CHECK(has_line(chunked, "Transfer-Encoding: chunked"));
    CHECK_FALSE(names(chunked, "Connection"));
    const std::string closing = written(
        downstream_head{.from = r.head, .framing = framing::until_close, .keep_alive = false});
    CHECK_FALSE(names(closing, "Transfer-Encoding"));
    CHECK_FALSE(names(closing, "Content-Length"));
    CHECK(has_line(closing, "Connection: close"));

    const response no_body("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", true);
    REQUIRE(no_body.head.body() == framing::none);
    CHECK(has_line(
        written(downstream_head{.from = no_body.head, .length = 1234, .state_length = true}),
        "Content-Length: 1234"));
}

TEST_CASE("an event stream tells proxies not to hold it back", "[proxy][heads]") {
    const response r(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: max-age=9\r\n"
        "X-Accel-Buffering: yes\r\nx-should-retry: true\r\n\r\n");
    const std::string head = written(downstream_head{.from = r.head,
                                                     .framing = framing::chunked,
                                                     .event_stream = true,
                                                     .drop_should_retry = true});
    CHECK(has_line(head, "Cache-Control: no-cache"));
    CHECK(has_line(head, "X-Accel-Buffering: no"));
    CHECK(head.find("max-age") == head.npos);
    CHECK(head.find("yes") == head.npos);
    CHECK_FALSE(names(head, "x-should-retry"));
}

TEST_CASE("the group's organisation and project go in place of the client's") {
    const request r(
        "GET /v1/files HTTP/1.1\r\nHost: a\r\nopenai-organization: org-client\r\n"
        "OpenAI-Project: proj-client\r\n\r\n");
    auto plan = plan_for(r);
    std::string head = written(plan);
    CHECK(head.find("client") == head.npos);
    plan.keep_account_headers = true;
    head = written(plan);
    CHECK(has_line(head, "openai-organization: org-client"));
    CHECK(has_line(head, "OpenAI-Project: proj-client"));
    plan.organization = "org-ours";
    head = written(plan);
    CHECK(has_line(head, "OpenAI-Organization: org-ours"));
    CHECK(head.find("org-client") == head.npos);
    CHECK(has_line(head, "OpenAI-Project: proj-client"));
    plan.keep_account_headers = false;
    plan.project = "proj-ours";
    plan.method = "PUT";
    head = written(plan);
    CHECK(head.starts_with("PUT "));
    CHECK(has_line(head, "OpenAI-Project: proj-ours"));
    CHECK(head.find("client") == head.npos);
}
