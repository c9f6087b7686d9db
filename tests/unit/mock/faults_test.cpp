// Every fault, by header, model, rule and account; and what the books say of each.
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <chrono>

#include "mock/behaviour.hpp"
#include "mock/mock_upstream.hpp"
#include "tests/unit/mock/client.hpp"

using kw::mock::mock_options;
using kw::mock::mock_upstream;
using kw::mock::test::client;
using kw::mock::test::reply;
namespace bj = boost::json;

namespace {

struct fixture {
    explicit fixture(mock_options o = {}) : up(std::move(o)), port(up.start()) {}
    mock_upstream up;
    std::uint16_t port;

    reply chat(std::string_view model, bool stream = false, std::string_view headers = {}) {
        client c(port);
        return c.post("/v1/chat/completions", body(model, stream), headers);
    }
    // A streamed chat with a fault by header.
    reply fault(std::string_view text, bool stream = true) {
        return chat("mock-tokens-20", stream, "x-mock-fault: " + std::string(text) + "\r\n");
    }
    static std::string body(std::string_view model, bool stream) {
        return "{\"model\":\"" + std::string(model) +
               "\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":" +
               (stream ? "true,\"stream_options\":{\"include_usage\":true}}" : "false}");
    }
    bj::value books() {
        client c(port);
        return bj::parse(c.request("GET", "/__books").body);
    }
    bj::value last_entry() { return books().at("entries").as_array().back(); }
    // Until no exchange is under way: an end seen by the client is booked a moment later.
    bj::value settled_books(std::size_t entries) {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (true) {
            auto b = books();
            const bool done = b.at("active") == 0 && b.at("entries").as_array().size() >= entries;
            if (done || std::chrono::steady_clock::now() > limit) return b;
        }
    }
    reply control(std::string_view json) {
        client c(port);
        return c.post("/__control", json);
    }
};

std::size_t count(std::string_view in, std::string_view what) {
    std::size_t n = 0;
    for (std::size_t i = 0; (i = in.find(what, i)) != std::string_view::npos; i += what.size())
        ++n;
    return n;
}

std::string code_of(const reply& r) {
    const auto json = bj::parse(r.body);
    const auto& code = json.at("error").at("code");
    return code.is_string() ? std::string(code.as_string()) : std::string();
}

}  // namespace

TEST_CASE("names of faults and models are read as written") {
    kw::mock::behaviour b;
    REQUIRE(kw::mock::parse_faults("status;429, retry_after;2,once", b));
    CHECK(b.status == 429);
    CHECK(b.first_n == 1);
    CHECK(b.headers.at(0).second == "2");
    CHECK_FALSE(kw::mock::parse_faults("nonsense", b));

    kw::mock::behaviour m;
    REQUIRE(kw::mock::parse_model("openai/mock-pace-200-tokens-60-cut-40-t99", m));
    CHECK(m.pace_ms == 200);
    CHECK(m.tokens == 60);
    CHECK(m.cut_after == 40);
    CHECK_FALSE(kw::mock::parse_model("gpt-4o", m));
    CHECK_FALSE(kw::mock::parse_model("s17", m));
    CHECK_FALSE(kw::mock::parse_model("s01x", m));

    kw::mock::behaviour s15;
    REQUIRE(kw::mock::parse_model("s15-12000", s15));
    CHECK(s15.for_ms == 12'000);
    CHECK(s15.status == 503);
    kw::mock::behaviour fallback;
    REQUIRE(kw::mock::parse_model("s14-fallback", fallback));
    CHECK(fallback.refuse_prefill);
    CHECK(fallback.cut_after == -1);
}

TEST_CASE("statuses come with the provider's error bodies and waits") {
    fixture f;
    for (const int status :
         {400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529}) {
        const auto r = f.chat("mock-status-" + std::to_string(status), true);
        CHECK(r.status == status);
        CHECK(bj::parse(r.body).at("error").at("message").is_string());
    }
    CHECK(code_of(f.fault("quota")) == "insufficient_quota");
    CHECK(code_of(f.fault("invalid_key")) == "invalid_api_key");
    CHECK(code_of(f.fault("deactivated")) == "account_deactivated");
    CHECK(code_of(f.fault("context_length")) == "context_length_exceeded");
    CHECK(code_of(f.fault("model_missing")) == "model_not_found");
    CHECK(code_of(f.fault("content_filter_400")) == "content_filter");
    CHECK(f.fault("status;429,retry_after;2").headers.at("retry-after") == "2");
    CHECK(f.fault("status;429,retry_after_ms;150").headers.at("retry-after-ms") == "150");
    CHECK(f.fault("status;429,retry_after_date;60").headers.at("retry-after").ends_with(" GMT"));
    CHECK(f.fault("status;429,reset_after;1m2s").headers.at("x-ratelimit-reset-requests") ==
          "1m2s");
    CHECK(f.fault("status;500,should_retry;false").headers.at("x-should-retry") == "false");
    CHECK(f.fault("html;502").headers.at("content-type") == "text/html");
    CHECK(f.fault("no_such_fault").status == 400);
    const auto b = f.settled_books(0);
    CHECK(b.at("total").at("output_tokens") == 0);
    CHECK(b.at("total").at("refused") == b.at("total").at("requests"));
}

TEST_CASE("streams are cut, and billed up to the cut") {
    fixture f;
    auto r = f.fault("cut;8");
    CHECK(r.status == 200);
    CHECK_FALSE(r.complete);
    CHECK_FALSE(r.reset);
    CHECK(count(r.body, "\"content\":\" ") == 8);
    auto e = f.settled_books(1).at("entries").at(0);
    CHECK(e.at("outcome") == "cut");
    CHECK(e.at("output_tokens") == 8);

    r = f.fault("cut_reset;8");
    CHECK(r.reset);
    r = f.fault("cut_clean;8");
    CHECK(r.complete);
    CHECK(count(r.body, "[DONE]") == 0);
    CHECK_FALSE(f.fault("cut;8", false).complete);

    CHECK_FALSE(f.fault("reset").any);
    CHECK(f.fault("reset").reset);
    CHECK_FALSE(f.fault("close").any);
    CHECK(f.fault("close_at;300").raw.size() == 300);
    CHECK_FALSE(f.fault("reset_at;300").complete);
}

TEST_CASE("streams with odd contents") {
    fixture f;
    auto r = f.fault("bad_json;10");
    CHECK(r.complete);
    CHECK(count(r.body, "chatcmpl-broken") == 1);
    CHECK(count(r.body, "\"content\":\" ") == 20);
    r = f.fault("no_done");
    CHECK(r.complete);
    CHECK(count(r.body, "[DONE]") == 0);
    CHECK(count(r.body, "completion_tokens\":20") == 1);
    CHECK(count(f.fault("no_usage").body, "\"usage\"") == 0);
    r = f.fault("usage_last");
    CHECK(count(r.body, "\"choices\":[]") == 0);
    CHECK(count(r.body, "\"completion_tokens\":20") == 1);
    r = f.fault("error_event;5");
    CHECK(r.complete);
    CHECK(count(r.body, "data: {\"error\"") == 1);
    r = f.fault("content_filter");
    CHECK(count(r.body, "\"finish_reason\":\"content_filter\"") == 1);
    CHECK(count(f.fault("crlf").body, "\r\n\r\n") == count(f.fault("tokens;20").body, "\n\n"));
    CHECK(
        f.fault("bom").body.starts_with("\xEF\xBB\xBF"
                                        "data: "));
    CHECK(count(f.fault("comments").body, ": ping\n\n") == 4);
    CHECK(f.fault("huge_event;100000").body.size() > 100'000);
    CHECK(f.fault("slices;7").complete);
    CHECK(f.fault("conn_close").headers.at("connection") == "close");
}

TEST_CASE("silence and stalls keep the connection; a client that leaves is booked as aborted") {
    fixture f;
    {
        client c(f.port);
        const auto body = fixture::body("mock-tokens-20-hang-3", true);
        REQUIRE(
            c.send("POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer "
                   "k\r\nContent-Type: "
                   "application/json\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body));
        std::string got;
        while (count(got, "\"content\":\" ") < 3)
            got += c.read_some();
    }
    auto e = f.settled_books(1).at("entries").at(0);
    CHECK(e.at("outcome") == "aborted");
    CHECK(e.at("output_tokens") == 3);
    {
        client c(f.port);
        REQUIRE(
            c.send("GET /v1/models HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer k\r\nx-mock-fault: "
                   "silent\r\n\r\n"));
        while (f.books().at("active") != 1) {
        }
    }
    e = f.settled_books(2).at("entries").at(1);
    CHECK(e.at("outcome") == "aborted");
    CHECK(e.at("input_tokens") == 0);
    CHECK(f.fault("stall;5;30").complete);
    CHECK(f.fault("first;30").complete);
    CHECK(f.fault("delay;30,pace;1").complete);
}

TEST_CASE("answers that are not HTTP") {
    fixture f;
    for (const std::string kind :
         {"two_lengths", "cl_te", "bad_chunk", "obs_fold", "nul", "big_header", "bad_status",
          "no_colon", "bare_lf", "http2", "te_identity", "neg_length", "garbage"}) {
        client c(f.port);
        REQUIRE(
            c.send("GET /v1/models HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer k\r\nx-mock-fault: "
                   "malformed;" +
                   kind + "\r\n\r\n"));
        std::string all;
        for (std::string got; !(got = c.read_some()).empty();)
            all += got;
        INFO(kind);
        CHECK(all.size() > 20);
        if (kind == "big_header") CHECK(all.size() > 100'000);
        if (kind == "cl_te")
            CHECK(count(all, "transfer-encoding") + count(all, "content-length") == 2);
        if (kind == "nul") CHECK(all.find('\0') != std::string::npos);
    }
    for (const std::string kind : {"endless_headers", "endless_1xx"}) {
        client c(f.port);
        REQUIRE(c.send(
            "GET /v1/models HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer k\r\nx-mock-fault: " +
            kind + "\r\n\r\n"));
        std::size_t total = 0;
        while (total < 1'000'000) {
            const auto got = c.read_some();
            REQUIRE_FALSE(got.empty());
            total += got.size();
        }
    }
}

TEST_CASE("big answers, unread uploads and early refusals") {
    fixture f;
    client c(f.port);
    CHECK(c.request("GET", "/v1/models", {}, "x-mock-fault: big;5000000\r\n").body.size() ==
          5'000'000);
    client early(f.port);
    REQUIRE(
        early.send("POST /v1/files HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer k\r\nx-mock-fault: "
                   "early;413\r\n"
                   "Content-Length: 1000000000\r\n\r\nabc"));
    CHECK(early.read().status == 413);
    {
        client deaf(f.port);
        REQUIRE(
            deaf.send("POST /v1/files HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer "
                      "k\r\nx-mock-fault: stop_reading;3\r\n"
                      "Content-Length: 1000000000\r\n\r\nabc"));
        while (f.books().at("active") != 1) {
        }
    }
    CHECK(f.settled_books(3).at("entries").at(2).at("outcome") == "aborted");
}

TEST_CASE("once, times, every and for are counted by model") {
    fixture f;
    CHECK(f.chat("s03").status == 500);
    CHECK(f.chat("s03").status == 200);
    CHECK(f.chat("s03-other").status == 500);
    CHECK(f.chat("mock-status-503-times-2").status == 503);
    CHECK(f.chat("mock-status-503-times-2").status == 503);
    CHECK(f.chat("mock-status-503-times-2").status == 200);
    CHECK(f.chat("mock-status-503-every-2").status == 200);
    CHECK(f.chat("mock-status-503-every-2").status == 503);
    CHECK(f.chat("mock-status-503-for-0").status == 200);
    CHECK(f.chat("mock-status-503-for-60000").status == 503);
    CHECK(f.control(R"({"reset":true})").status == 200);
    CHECK(f.chat("s03").status == 500);
}

TEST_CASE("the sixteen scenarios and their fallbacks") {
    fixture f;
    CHECK(f.chat("s01", true).headers.at("retry-after") == "2");
    CHECK(f.chat("s01", true).status == 200);
    CHECK(f.chat("s02", true).status == 429);
    CHECK_FALSE(f.chat("s02", true).headers.contains("retry-after"));
    CHECK(f.chat("s04", true).status == 503);
    CHECK(f.chat("s05", true).reset);
    CHECK(f.chat("s05", true).complete);
    auto r = f.chat("s08", true);
    CHECK_FALSE(r.complete);
    CHECK(count(r.body, "\"content\":\" ") == 40);
    CHECK(count(f.chat("s10", true).body, "chatcmpl-broken") == 1);
    CHECK(count(f.chat("s11", true).body, "[DONE]") == 0);
    CHECK(code_of(f.chat("s12", true)) == "context_length_exceeded");
    CHECK(count(f.chat("s13", true).body, "content_filter") == 1);
    CHECK_FALSE(f.chat("s14", true).complete);
    client c(f.port);
    CHECK(c.post("/v1/chat/completions",
                 R"({"model":"s14-fallback","messages":[{"role":"assistant","content":"a"}]})")
              .status == 400);
    CHECK(f.chat("s14-fallback", true).complete);
    CHECK(f.chat("s15", true).status == 503);
    CHECK(f.chat("s16", true).status == 503);
    r = f.chat("s16-fallback", true);
    CHECK(count(r.body, "\"completion_tokens\":60") == 1);
    CHECK(count(r.body, "\"model\":\"s16-fallback\"") > 60);
}

TEST_CASE("rules and accounts of the control call") {
    fixture f;
    CHECK(f.control(R"({"fault":"status;503","key":"sk-a","count":1})").body == R"({"rule":1})");
    CHECK(f.chat("m", false, "Authorization: Bearer sk-b\r\n").status == 200);
    CHECK(f.chat("m", false, "Authorization: Bearer sk-a\r\n").status == 503);
    CHECK(f.chat("m", false, "Authorization: Bearer sk-a\r\n").status == 200);
    f.control(R"({"fault":"status;500","model":"m2","path":"/v1/chat"})");
    CHECK(f.chat("m2").status == 500);
    CHECK(f.chat("m").status == 200);
    f.control(R"({"remove":2})");
    CHECK(f.chat("m2").status == 200);
    CHECK(f.control(R"({"fault":"nonsense"})").status == 400);
    CHECK(f.control("[]").status == 400);

    const auto as = [&](std::string_view key) {
        return f.chat("m", false, "Authorization: Bearer " + std::string(key) + "\r\n");
    };
    const auto set = [&](const std::string& behaviour) {
        CHECK(f.control("{\"key\":\"sk-k\",\"behaviour\":\"" + behaviour + "\"}").status == 200);
    };
    set("insufficient_quota");
    CHECK(code_of(as("sk-k")) == "insufficient_quota");
    CHECK(as("sk-j").status == 200);
    set("billing");
    CHECK(as("sk-k").status == 402);
    set("invalid");
    CHECK(as("sk-k").status == 401);
    set("forbidden");
    CHECK(as("sk-k").status == 403);
    set("down");
    CHECK(as("sk-k").status == 503);
    set("overloaded");
    CHECK(as("sk-k").status == 529);
    set("status:418");
    CHECK(as("sk-k").status == 418);
    set("rpm:2");
    CHECK(as("sk-k").headers.at("x-ratelimit-remaining-requests") == "1");
    CHECK(as("sk-k").headers.at("x-ratelimit-remaining-requests") == "0");
    const auto limited = as("sk-k");
    CHECK(limited.status == 429);
    CHECK(code_of(limited) == "rate_limit_exceeded");
    CHECK(limited.headers.contains("retry-after"));
    set("ok");
    CHECK(as("sk-k").status == 200);
    f.control(R"({"key":"sk-k","quota_tokens":100})");
    CHECK(as("sk-k").status == 200);
    f.settled_books(0);
    CHECK(code_of(as("sk-k")) == "insufficient_quota");
    client c(f.port);
    c.post("/__books/reset", "{}");
    CHECK(f.books().at("total").at("requests") == 0);
}

TEST_CASE("TLS handshakes and accepting can be disturbed") {
    mock_options o;
    o.self_signed = true;
    fixture f(std::move(o));
    client control(f.port, true);
    REQUIRE(control.good());
    control.post("/__control", R"({"tls":"reset"})");
    CHECK_FALSE(client(f.port, true).good());
    control.post("/__control", R"({"tls":"slow;30"})");
    CHECK(client(f.port, true).good());
    control.post("/__control", R"({"tls":"ok","accept":false})");
    CHECK_FALSE(client(f.port, true).good());
    control.post("/__control", R"({"accept":true})");
    CHECK(client(f.port, true).good());
}
