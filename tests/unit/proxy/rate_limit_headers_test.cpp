// What a client is told of its limits.
#include "proxy/rate_limit_headers.hpp"

#include <array>
#include <catch2/catch.hpp>

using namespace kw;
using namespace kw::proxy;
using namespace std::chrono_literals;
using store::limit_kind;
using store::limit_unit;

TEST_CASE("of several limits of a unit the nearest to its end is told", "[proxy][limits]") {
    const std::array limits{
        store::limit{.kind = limit_kind::budget, .unit = limit_unit::requests, .cap = 1000},
        store::limit{.kind = limit_kind::sliding, .unit = limit_unit::requests, .cap = 60},
        store::limit{.kind = limit_kind::sliding, .unit = limit_unit::tokens, .cap = 500},
        store::limit{.kind = limit_kind::concurrency, .unit = limit_unit::requests, .cap = 1},
        store::limit{.kind = limit_kind::budget, .unit = limit_unit::cost, .cap = one_dollar}};
    const std::array states{store::limit_state{.used = 10, .cap = 1000, .reset_in = 90'061s},
                            store::limit_state{.used = 61, .cap = 60, .reset_in = 350ms},
                            store::limit_state{.used = 100, .cap = 500, .reset_in = 3'660s},
                            store::limit_state{.used = 1, .cap = 1},
                            store::limit_state{.used = 1, .cap = one_dollar}};
    CHECK(make_rate_limit_lines(limits, states) ==
          "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 0\r\n"
          "x-ratelimit-reset-requests: 350ms\r\nx-ratelimit-limit-tokens: 500\r\n"
          "x-ratelimit-remaining-tokens: 400\r\nx-ratelimit-reset-tokens: 1h1m0s\r\n");
    CHECK(make_rate_limit_lines({}, {}).empty());
}

TEST_CASE("a refusal names limit, use and return", "[proxy][limits]") {
    const store::limit budget{.kind = limit_kind::budget,
                              .unit = limit_unit::cost,
                              .cap = 5 * one_dollar / 2,
                              .period = store::budget_period::month};
    const std::string text = describe_refusal(
        budget, {.used = 5 * one_dollar / 2 + 1, .cap = budget.cap, .reset_in = 59'001ms});
    CHECK(text.find(store::describe(budget)) != std::string::npos);
    CHECK(text.find("2.500000001 USD of 2.5 USD") != std::string::npos);
    CHECK(text.find("all free again in 1m0s") != std::string::npos);
}
