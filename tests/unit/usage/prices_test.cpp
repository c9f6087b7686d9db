// Costs to the last nano-dollar, look-up rules, importers, endpoints, estimates, the ledger codec.
#include "usage/prices.hpp"

#include <catch2/catch.hpp>

#include "store/ledger_codec.hpp"
#include "usage/endpoint.hpp"
#include "usage/estimate.hpp"

using namespace kw::usage;

namespace {

quantities q(std::int64_t in, std::int64_t out, std::int64_t cached = 0) {
    quantities x;
    x.tokens.input = in;
    x.tokens.output = out;
    x.tokens.cached_read = cached;
    return x;
}

}  // namespace

TEST_CASE("golden costs of the built-in table") {
    const auto t = price_table::builtin();
    CHECK(t->size() > 60);
    CHECK(t->version().size() == 12);
    CHECK(t->cost("openai", "gpt-4o-2024-08-06", "", q(1000, 500, 400), "").cost == 7'000'000);
    CHECK(t->cost("openai", "gpt-4o-mini", "", q(1, 0), "").cost == 150);
    CHECK(t->cost("openai", "gpt-4o-mini", "", q(1, 0), "batch").cost == 75);
    CHECK(t->cost("openai", "gpt-5", "", q(3, 0), "priority").cost == 7'500);
    CHECK(t->cost("google", "models/gemini-2.5-pro", "", q(200'001, 0), "").cost == 500'002'500);
    CHECK(t->cost("google", "gemini-2.5-pro", "", q(200'000, 0), "").cost == 250'000'000);
    quantities cached = q(1'000'000, 0);
    cached.tokens.cache_write_5m = 100'000;
    cached.tokens.cache_write_1h = 200'000;
    cached.tokens.cached_read = 300'000;
    // 0.1 M × 1.25 + 0.2 M × 2 + 0.3 M × 0.10 + 0.4 M × 1
    CHECK(t->cost("anthropic", "claude-haiku-4-5-20251001", "", cached, "").cost == 955'000'000);
    quantities seconds;
    seconds.duration_ms = 1500;
    CHECK(t->cost("openai", "whisper-1", "", seconds, "").cost == 150'000);
    for (const auto& [name, price] : t->list()) {
        INFO(name);
        CHECK_FALSE(price->source.empty());
        CHECK(price->as_of.size() >= 7);
    }
}

TEST_CASE("an unknown model has no cost, unless there is a default") {
    const auto t = price_table::builtin();
    CHECK_FALSE(t->cost("openai", "gpt-4o-like", "gpt-99", q(1, 1), "").cost);
    CHECK(t->cost("openai", "some-name", "gpt-4o", q(1'000, 0), "").cost == 2'500'000);
    price_table_builder b;
    b.add_builtin();
    model_price p;
    p.base.input = 1'000'000'000;
    b.set_default(p);
    const auto u = b.build();
    CHECK(u->cost("openai", "x", "y", q(1'000, 0), "").cost == 1'000'000);
    CHECK(u->cost("openai", "x", "gpt-4o", q(1'000, 0), "").cost == 2'500'000);
    CHECK(u->version() != t->version());
}

TEST_CASE("a million additions do not drift") {
    model_price p;
    p.base.input = 333'333;  // a third of a nano-dollar a token
    kw::nanodollars sum = 0;
    for (int i = 0; i < 1'000'000; ++i)
        sum += *price_of(p, q(3, 0), "").cost;
    CHECK(sum == 1'000'000);
    CHECK(price_of(p, q(3'000'000, 0), "").cost == 999'999);
}

TEST_CASE("multipliers act on the exact amount, rounded once") {
    model_price p;
    p.base.input = 1'000'000;  // one nano-dollar a token
    const charge c = price_of(p, q(1, 0), "", {1'500'000, 1'000'000});
    CHECK(c.cost == 1);
    CHECK(c.rated == 2);
    p.base.input = 499'999;
    CHECK(price_of(p, q(1, 0), "", {1'500'000, 1'500'000}).cost == 0);
    CHECK(price_of(p, q(1, 0), "", {1'500'000, 1'500'000}).rated == 1);
    p.base.input = 600'000'000'000;
    CHECK(price_of(p, q(10'000'000, 0), "", {1'234'567, 999'999}).rated == 7'407'394'592'598);
    CHECK_FALSE(price_of(p, q(std::int64_t{1} << 62, 0), "").cost);
}

TEST_CASE("our own format is strict") {
    price_table_builder b;
    CHECK(
        b.add(
             R"({"format":"keywheel-prices-1","models":{"m":{"input":1.25,"aliases":["n"],"flex":{"factor":"0.5"}}}})")
            .value() == 1);
    for (const char* bad :
         {R"({"format":"keywheel-prices-1","models":{"m":{"inptu":"1"}}})",
          R"({"format":"keywheel-prices-1","models":{"m":{"input":"1","input":"2"}}})",
          R"({"format":"keywheel-prices-1","models":{"m":{"input":"-1"}}})",
          R"({"format":"keywheel-prices-1","models":{"m":{"input":"1.0000000001"}}})",
          R"({"format":"keywheel-prices-1","models":{"m":{"input":"1","aliases":["m"]}}})",
          R"({"format":"keywheel-prices-1","models":{"m":{"input":true}}})",
          R"({"format":"keywheel-prices-1","models":{"m":{"input":"1"}})",
          R"({"format":"keywheel-prices-1","models":{"m":{"long_context":{"input":"1"}}}})"}) {
        INFO(bad);
        CHECK(b.add_own(bad).has_error());
    }
    const auto t = b.build();
    CHECK(t->size() == 2);
    CHECK(t->find("", "n")->base.input == 1'250'000'000);
    CHECK(t->cost("", "n", "", q(1'000, 0), "flex").cost == 625'000);
}

TEST_CASE("LiteLLM's cost map") {
    price_table_builder b;
    const auto taken = b.add(R"({
      "sample_spec": {"input_cost_per_token": 0},
      "gpt-x": {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07,
                "cache_read_input_token_cost": 7.5e-8, "output_cost_per_token_batches": 3e-07,
                "litellm_provider": "openai", "supports_vision": true, "mode": "chat"},
      "gemini/pro": {"input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
                     "input_cost_per_token_above_200k_tokens": 2.5e-06},
      "none": {"mode": "chat"}})");
    REQUIRE(taken.has_value());
    CHECK(*taken == 2);
    const auto t = b.build();
    CHECK(t->cost("openai", "gpt-x", "", q(1'000, 1'000), "").cost == 750'000);
    CHECK(t->cost("openai", "gpt-x", "", q(0, 1'000), "batch").cost == 300'000);
    CHECK(t->cost("gemini", "pro", "", q(300'000, 1), "").cost == 750'010'000);
    CHECK_FALSE(t->find("", "none"));
    CHECK(b.add_litellm("{").has_error());
}

TEST_CASE("endpoints") {
    CHECK(classify("POST", "/v1/chat/completions").family == "chat");
    CHECK(classify("POST", "/v1/chat/completions").chat_stream);
    CHECK(classify("GET", "/v1/chat/completions/id").billable == false);
    CHECK(classify("POST", "/v1/audio/transcriptions").model_in == model_place::multipart);
    CHECK(classify("POST", "/v1/messages").dialect == dialect::anthropic);
    CHECK(classify("POST", "/v1/uploads/u/parts").body_streams);
    CHECK(classify("GET", "/v1/models").lists_models);
    CHECK(classify("GET", "/whatever").family == "other");
    CHECK(classify("POST", "/v1beta/models/g-2:countTokens").billable == false);
    CHECK(classify("POST", "/v1beta/openai/chat/completions").family == "chat");
    const std::string_view path = "/v1/models/gemini-2.5-pro:streamGenerateContent";
    CHECK(classify("POST", path).dialect == dialect::gemini);
    CHECK(model_in_path(path) == "gemini-2.5-pro");
    CHECK(replace_model_in_path(path, "a/b") == "/v1/models/a%2Fb:streamGenerateContent");
    CHECK(model_in_path("/v1/models/ft%3Agpt-4o:org") == "ft:gpt-4o:org");
    CHECK(model_in_path("/openai/deployments/d1/chat/completions") == "d1");
}

TEST_CASE("what is booked") {
    using kw::store::usage_outcome;
    scan_result s;
    s.output_chars = 10;
    const settled cut = settle(s, 400, true, true);
    CHECK(cut.outcome == usage_outcome::estimated);
    CHECK(cut.tokens.input == 100);
    CHECK(cut.tokens.output == 3);
    CHECK(settle(s, 400, false, true).outcome == usage_outcome::none);
    CHECK(settle(s, 400, true, false).outcome == usage_outcome::none);
    s.found = true;
    CHECK(settle(s, 400, true, true).outcome == usage_outcome::exact);
    CHECK(estimate_tokens(INT64_MAX) == max_estimated_tokens);
}

TEST_CASE("ledger records survive the journal, garbage does not harm") {
    kw::store::ledger_record r;
    r.id = "req_1";
    r.started = kw::wall_time(std::chrono::nanoseconds(1'767'225'600'123'456'789));
    r.model_asked = std::string(5000, 'm');
    r.tokens.input = INT64_MAX;
    r.tokens.image_out = INT64_MIN;
    r.outcome = kw::store::usage_outcome::exact;
    r.end = kw::store::exchange_end::upstream_cut;
    r.cost = 9'007'199'254'740'993;
    r.status = 200;
    r.stream = true;
    r.total_us = -1;
    std::string bytes;
    kw::store::encode(r, bytes);
    CHECK(bytes.size() <= kw::store::max_encoded_record);
    const auto back = kw::store::decode(bytes);
    REQUIRE(back);
    CHECK(back->started == r.started);
    CHECK(back->tokens == r.tokens);
    CHECK(back->cost == r.cost);
    CHECK_FALSE(back->rated_cost);
    CHECK(back->model_asked == std::string(256, 'm'));
    CHECK(back->end == r.end);
    CHECK(back->total_us == -1);
    for (std::size_t n = 0; n < bytes.size(); ++n)
        CHECK_FALSE(kw::store::decode(std::string(bytes.data(), n)));
    CHECK_FALSE(kw::store::decode(bytes + "x"));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        std::string wrong = bytes;
        wrong[i] = static_cast<char>(wrong[i] ^ 0xFF);
        (void)kw::store::decode(wrong);
    }
}
