// The data path's metrics: which series an exchange counts in, and that their number has a bound.
#include "proxy/metrics.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace kw;
using namespace kw::proxy;

namespace {

store::ledger_record chat_record() {
    store::ledger_record r;
    r.endpoint = "chat";
    r.status = 200;
    r.group_id = "g";
    r.attempts = 1;
    r.model_asked = "alias";
    r.model_served = "gpt-4o-mini";
    r.tokens.input = 10;
    r.tokens.cached_read = 4;
    r.tokens.output = 7;
    r.total_us = 2'000'000;
    r.overhead_us = 30;
    return r;
}

bool has(const std::string& text, std::string_view line) {
    return ("\n" + text).find("\n" + std::string(line) + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("an exchange counts by endpoint, status, group, key and model", "[proxy][metrics]") {
    metrics::registry registry(1);
    worker_metrics m(registry);
    auto r = chat_record();
    r.cost = 1'500'000;  // nano-dollars
    r.rated_cost = 3'000'000;
    m.count(r, "key-1", 400'000);
    m.count(r, "key-1", 0);
    const std::string text = registry.render();
    CAPTURE(text);
    CHECK(has(text, R"(keywheel_requests_total{endpoint="chat",status="200",group="g"} 2)"));
    CHECK(has(text, R"(keywheel_upstream_key_requests_total{key="key-1",group="g"} 2)"));
    CHECK(has(text, R"(keywheel_tokens_total{model="gpt-4o-mini",class="input"} 20)"));
    CHECK(has(text, R"(keywheel_tokens_total{model="gpt-4o-mini",class="cached_read"} 8)"));
    CHECK(has(text, R"(keywheel_tokens_total{model="gpt-4o-mini",class="output"} 14)"));
    CHECK(has(text, R"(keywheel_cost_dollars_total{model="gpt-4o-mini",kind="real"} 0.003000000)"));
    CHECK(
        has(text, R"(keywheel_cost_dollars_total{model="gpt-4o-mini",kind="rated"} 0.006000000)"));
    CHECK(has(text, "keywheel_time_to_first_token_seconds_count 1"));
    CHECK(has(text, "keywheel_inter_token_seconds_count 1"));
    CHECK(has(text, R"(keywheel_exchanges_total{end="served"} 2)"));
    CHECK(has(text, "keywheel_overhead_seconds_count 2"));
}

TEST_CASE("a refused exchange counts no tokens, key or overhead", "[proxy][metrics]") {
    metrics::registry registry(1);
    worker_metrics m(registry);
    store::ledger_record r;
    r.endpoint = "chat";
    r.status = 401;
    r.model_asked = "made-up";
    m.count(r, "", 0);
    const std::string text = registry.render();
    CHECK(has(text, R"(keywheel_requests_total{endpoint="chat",status="401",group=""} 1)"));
    CHECK(text.find("made-up") == std::string::npos);
    CHECK(text.find("keywheel_upstream_key_requests_total{") == std::string::npos);
    CHECK(has(text, "keywheel_overhead_seconds_count 0"));
}

TEST_CASE("tokens without a price are told apart", "[proxy][metrics]") {
    metrics::registry registry(1);
    worker_metrics m(registry);
    m.count(chat_record(), "key-1", 0);
    const std::string text = registry.render();
    CHECK(has(text, R"(keywheel_unpriced_requests_total{model="gpt-4o-mini"} 1)"));
    CHECK(has(text, R"(keywheel_cost_dollars_total{model="gpt-4o-mini",kind="real"} 0.000000000)"));
}

TEST_CASE("names that clients make up cannot fill the memory", "[proxy][metrics]") {
    metrics::registry registry(1, 100'000);
    worker_metrics m(registry);
    auto r = chat_record();
    for (int i = 0; i < 1500; ++i) {
        r.model_served = "model-" + std::to_string(i);
        m.count(r, "key-1", 0);
    }
    const std::string text = registry.render();
    std::size_t series = 0;
    for (std::size_t at = 0; (at = text.find(",class=\"input\"", at)) != text.npos; ++at)
        ++series;
    CHECK(series == 1001);
    CHECK(has(text, R"(keywheel_tokens_total{model="other",class="input"} 5000)"));
    CHECK(has(text, R"(keywheel_tokens_total{model="model-7",class="input"} 10)"));
}

TEST_CASE("failed tries and refused heads count by kind", "[proxy][metrics]") {
    metrics::registry registry(1);
    worker_metrics m(registry);
    m.count_attempt_failed("reset");
    m.count_attempt_failed("reset");
    m.count_attempt_failed("tls");
    m.count_refused_head(431);
    const std::string text = registry.render();
    CHECK(has(text, R"(keywheel_attempt_failures_total{failure="reset"} 2)"));
    CHECK(has(text, R"(keywheel_attempt_failures_total{failure="tls"} 1)"));
    CHECK(has(text, R"(keywheel_refused_heads_total{status="431"} 1)"));
}
