// The fault table row by row, what upstreams say about waits, and the retry decisions of the
// failover scenarios.
#include <catch2/catch.hpp>

#include "pool/retry_policy.hpp"
#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace std::chrono_literals;
using a = fault_action;
using c = fault_class;

namespace {

upstream_result answer(std::uint16_t status, std::string_view code = {}) {
    upstream_result r;
    r.status = status;
    r.code = code;
    return r;
}

upstream_result broken(transport_failure t) {
    upstream_result r;
    r.transport = t;
    return r;
}

retry_decision decide(const upstream_result& r, const exchange_state& x) {
    return would_retry(x, r, classify(r));
}

}  // namespace

TEST_CASE("the default fault table") {
    struct row {
        std::uint16_t status;
        const char* code;
        fault_action action;
        fault_class fault;
        bool after_threshold;
    };
    const row rows[] = {
        {200, "", a::pass, c::none, false},
        {302, "", a::pass, c::none, false},
        {400, "", a::pass, c::request, false},
        {401, "", a::quarantine, c::key, false},
        {402, "", a::ban, c::account, false},
        {429, "insufficient_quota", a::ban, c::account, false},
        {403, "", a::pass, c::request, false},
        {403, "unsupported_country_region_territory", a::pass, c::network, false},
        {404, "", a::pass, c::request, false},
        {404, "model_not_found", a::failover, c::model, false},
        {409, "", a::pass, c::request, false},
        {413, "", a::pass, c::request, false},
        {422, "", a::pass, c::request, false},
        {429, "rate_limit_exceeded", a::cooldown, c::key, false},
        {500, "", a::cooldown, c::upstream, true},
        {501, "", a::pass, c::upstream, false},
        {502, "", a::cooldown, c::upstream, true},
        {503, "", a::cooldown, c::upstream, true},
        {504, "", a::cooldown, c::upstream, true},
        {529, "", a::cooldown, c::upstream, false},
        {400, "context_length_exceeded", a::pass, c::model, false},
        {400, "content_filter", a::pass, c::request, false},
    };
    for (const row& r : rows) {
        INFO(r.status << ' ' << r.code);
        const auto v = classify(answer(r.status, r.code));
        CHECK(v.action == r.action);
        CHECK(v.fault == r.fault);
        CHECK(v.after_threshold == r.after_threshold);
        CHECK(v.success == (r.status < 400));
    }
    CHECK(classify(answer(503)).duration <= 15s);
    CHECK(classify(answer(429)).duration == 60s);
    policy_settings s;
    s.ban_401 = true;
    s.ban_402 = false;
    CHECK(classify(answer(401), {}, s).action == a::ban);
    CHECK(classify(answer(402), {}, s).action == a::quarantine);
    s.automatic = false;
    CHECK(classify(answer(401), {}, s).action == a::failover);
}

TEST_CASE("a group's rules come first") {
    fault_rule rule;
    rule.status_from = 400;
    rule.status_to = 499;
    rule.message = "*no CREDIT*";
    rule.action = a::cooldown;
    rule.fault = c::account;
    rule.duration = 9s;
    auto r = answer(403);
    r.message = "there is No credit left";
    auto v = classify(r, std::span(&rule, 1));
    CHECK(v.action == a::cooldown);
    CHECK(v.duration == 9s);
    r.message = "forbidden";
    CHECK(classify(r, std::span(&rule, 1)).action == a::pass);
}

TEST_CASE("waits that upstreams tell") {
    const wall_time now{std::chrono::seconds(784111777)};  // Sun, 06 Nov 1994 08:49:37 GMT
    CHECK(parse_wait("6ms", now) == 6ms);
    CHECK(parse_wait("1m2s", now) == 62s);
    CHECK(parse_wait("1.5s", now) == 1500ms);
    CHECK(parse_wait(" 30 ", now) == 30s);
    CHECK(parse_wait("1h", now) == 1h);
    CHECK(parse_wait("Sun, 06 Nov 1994 08:49:47 GMT", now) == 10s);
    CHECK(parse_wait("Sun, 06 Nov 1994 08:40:00 GMT", now) == 0s);
    CHECK(parse_wait("1994-11-06T08:49:40.5Z", now) == 3s);
    CHECK(parse_wait("1994-11-06T09:49:40+01:00", now) == 3s);
    CHECK(parse_wait("99999999999", now) == std::chrono::days(31));
    for (const char* bad : {"", "-1", "soon", "1x", "5 6", "1s2", "nan",
                            "Sun, 06 Foo 1994 08:49:47 GMT", "1994-13-06T08:49:40Z", "."}) {
        INFO(bad);
        CHECK_FALSE(parse_wait(bad, now).has_value());
    }
    limit_hints h;
    CHECK(read_limit_header(h, "retry-after-ms", "250", now));
    CHECK(read_limit_header(h, "retry-after", "1", now));
    CHECK(h.retry_after == 250ms);
    CHECK(read_limit_header(h, "x-ratelimit-remaining-tokens", "7", now));
    CHECK(read_limit_header(h, "anthropic-ratelimit-requests-remaining", "0", now));
    CHECK(read_limit_header(h, "anthropic-ratelimit-requests-reset", "1994-11-06T08:49:57Z", now));
    CHECK_FALSE(read_limit_header(h, "x-ratelimit-limit-tokens", "7", now));
    CHECK_FALSE(read_limit_header(h, "x-ratelimit-remaining-tokens", "x", now));
    CHECK(h.remaining_requests == 0);
    CHECK(h.reset_requests == 20s);
    auto r = answer(429);
    r.hints.remaining_requests = 0;
    r.hints.remaining_tokens = 50;
    r.hints.reset_requests = 8s;
    r.hints.reset_tokens = 90s;
    CHECK(classify(r).duration == 8s);
}

TEST_CASE("error bodies, whole and cut") {
    auto e = read_error_body(
        R"({"error":{"message":"You \"said\" \u00fcber","type":"insufficient_quota","param":null,"code":"insufficient_quota"}})");
    CHECK(e.code == "insufficient_quota");
    CHECK(e.message ==
          "You \"said\" \xc3\xbc"
          "ber");
    e = read_error_body(R"({"type":"error","error":{"type":"overloaded_error","message":"Over)");
    CHECK(e.type == "overloaded_error");
    CHECK(e.message == "Over");
    e = read_error_body(R"([{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}])");
    CHECK(e.type == "RESOURCE_EXHAUSTED");
    e = read_error_body(R"({"error":{"message":"a","details":{"code":"inner"},"code":"outer"}})");
    CHECK(e.code == "outer");
    CHECK(read_error_body("<html>no</html>").code.empty());
    CHECK(read_error_body("").message.empty());
    CHECK(read_error_body("{\"error\":{\"message\":\"" + std::string(9000, 'x')).message.size() ==
          512);
}

TEST_CASE("retry decisions of the failover scenarios") {
    exchange_state x;
    x.fallback_available = true;
    using step = retry_step;
    SECTION("429 with Retry-After: 2") {
        auto r = answer(429);
        r.hints.retry_after = 2s;
        CHECK(decide(r, x) == retry_decision{step::same_key_after, 2s});
        x.other_key_available = true;
        CHECK(decide(r, x).step == step::other_key);
        x.other_key_available = false;
        r.hints.retry_after = 6s;
        CHECK(decide(r, x).step == step::fallback_model);
    }
    SECTION("429 without a wait goes to other keys, then to the fallback") {
        CHECK(decide(answer(429), x).step == step::fallback_model);
        x.other_key_available = true;
        CHECK(decide(answer(429), x).step == step::other_key);
        x.tries_on_model = 4;
        CHECK(decide(answer(429), x).step == step::fallback_model);
        x.tries_in_all = 6;
        CHECK(decide(answer(429), x).step == step::give_up);
    }
    SECTION("500 and 503: four tries, then the fallback") {
        nanoseconds waited{};
        for (std::uint16_t n = 1; n <= 3; ++n) {
            x.tries_on_model = x.tries_in_all = n;
            const auto d = decide(answer(n == 1 ? 500 : 503), x);
            CHECK(d.step == step::same_key_after);
            waited += d.wait;
        }
        CHECK(waited < 3s);
        x.tries_on_model = x.tries_in_all = 4;
        CHECK(decide(answer(503), x).step == step::fallback_model);
        x.same_key_usable = false;
        x.tries_on_model = 1;
        CHECK(decide(answer(503), x).step == step::fallback_model);
        x.fallback_available = false;
        CHECK(decide(answer(503), x).step == step::give_up);
    }
    SECTION("reset before the head") {
        CHECK(decide(broken(transport_failure::reset), x).step == step::same_key_after);
        CHECK(decide(broken(transport_failure::stale_connection), x).step ==
              step::fresh_connection);
        x.body_replayable = false;
        CHECK(decide(broken(transport_failure::reset), x).step == step::give_up);
        CHECK(decide(broken(transport_failure::connect), x).step == step::same_key_after);
    }
    SECTION("silence and a late first token: one try, then the fallback") {
        x.other_key_available = true;
        for (const auto t :
             {transport_failure::first_byte_timeout, transport_failure::first_token_timeout}) {
            CHECK(decide(broken(t), x).step == step::fallback_model);
        }
        x.fallback_available = false;
        CHECK(decide(broken(transport_failure::first_byte_timeout), x).step == step::give_up);
    }
    SECTION("after bytes went out nothing is tried again") {
        x.other_key_available = true;
        x.bytes_sent_downstream = true;
        CHECK(decide(broken(transport_failure::stream_cut), x).step == step::give_up);
        CHECK(decide(broken(transport_failure::idle_timeout), x).step == step::give_up);
    }
    SECTION("context length: one try, then the larger model") {
        const auto r = answer(400, "context_length_exceeded");
        x.other_key_available = true;
        CHECK(decide(r, x).step == step::fallback_model);
        x.fallback_available = false;
        CHECK(decide(r, x).step == step::give_up);
    }
    SECTION("content filter and bad requests: one try, no fallback") {
        x.other_key_available = true;
        CHECK(decide(answer(400, "content_filter"), x).step == step::give_up);
        CHECK(decide(answer(422), x).step == step::give_up);
    }
    SECTION("a key at fault is never asked twice") {
        CHECK(decide(answer(401), x).step == step::fallback_model);
        x.other_key_available = true;
        CHECK(decide(answer(401), x).step == step::other_key);
        CHECK(decide(answer(402), x).step == step::other_key);
    }
    SECTION("limits of time and settings") {
        x.time_left = 100ms;
        x.fallback_available = false;
        CHECK(decide(answer(503), x).step == step::give_up);
        retry_settings off;
        off.enabled = false;
        x.other_key_available = true;
        CHECK(would_retry(x, answer(503), classify(answer(503)), off).step == step::give_up);
        CHECK(decide(answer(200), x).step == step::give_up);
        // That a kept connection was stale is not the client's concern, retries or not.
        const auto stale = broken(transport_failure::stale_connection);
        CHECK(would_retry(x, stale, classify(stale), off).step == step::fresh_connection);
        x.body_replayable = false;
        CHECK(would_retry(x, stale, classify(stale), off).step == step::give_up);
    }
}
