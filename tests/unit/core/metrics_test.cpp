// Counting from many threads, and the text that Prometheus reads.
#include <catch2/catch.hpp>

#include <array>
#include <limits>
#include <stdexcept>
#include <thread>

#include "core/metrics.hpp"

using namespace kw;

TEST_CASE("counts of many threads add up, also with fewer cells than threads") {
    metrics::registry r(2);
    auto& c = r.counter("kw_c_total", "c");
    auto& g = r.gauge("kw_g", "g");
    constexpr std::array<double, 2> bounds = {0.1, 1.0};
    auto& h = r.histogram("kw_h_seconds", "h", bounds);
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 8; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 1000; ++i) {
                    c.add();
                    g.add(i % 2 == 0 ? 3 : -2);
                    h.observe(0.5);
                }
            });
        }
    }
    CHECK(c.value() == 8000);
    CHECK(g.value() == 4000);
    const auto totals = h.read();
    CHECK(totals.count == 8000);
    CHECK(totals.buckets == std::vector<std::uint64_t>{0, 8000, 0});
    CHECK(totals.sum_seconds == Approx(4000));
}

TEST_CASE("the exposition format") {
    metrics::registry r(4);
    r.counter("kw_requests_total", "Requests.", {{"endpoint", "chat"}, {"status", "200"}}).add(3);
    r.counter("kw_requests_total", "Requests.", {{"endpoint", "a\"b\\c\nd"}, {"status", "500"}})
        .add();
    r.counter("kw_cost_dollars_total", "Cost\nin \\ dollars.", {}, metrics::scale::nano)
        .add(1'000'000'001);
    r.gauge("kw_workers", "Workers.").set(1.5);
    constexpr std::array<double, 2> bounds = {0.005, 1};
    auto& h = r.histogram("kw_wait_seconds", "Wait.", bounds, {{"kind", "x"}});
    h.observe(0.005);  // bounds are inclusive
    h.observe(0.25);
    h.observe(7);
    h.observe(-1);
    h.observe(std::numeric_limits<double>::quiet_NaN());
    CHECK(r.render() == R"(# HELP kw_cost_dollars_total Cost\nin \\ dollars.
# TYPE kw_cost_dollars_total counter
kw_cost_dollars_total 1.000000001
# HELP kw_requests_total Requests.
# TYPE kw_requests_total counter
kw_requests_total{endpoint="a\"b\\c\nd",status="500"} 1
kw_requests_total{endpoint="chat",status="200"} 3
# HELP kw_wait_seconds Wait.
# TYPE kw_wait_seconds histogram
kw_wait_seconds_bucket{kind="x",le="0.005"} 3
kw_wait_seconds_bucket{kind="x",le="1"} 4
kw_wait_seconds_bucket{kind="x",le="+Inf"} 5
kw_wait_seconds_sum{kind="x"} 7.255
kw_wait_seconds_count{kind="x"} 5
# HELP kw_workers Workers.
# TYPE kw_workers gauge
kw_workers 1.5
)");
}

TEST_CASE("the same labels give the same child") {
    metrics::registry r(1);
    CHECK(&r.counter("a_total", "a", {{"x", "1"}}) == &r.counter("a_total", "a", {{"x", "1"}}));
    CHECK(&r.counter("a_total", "a", {{"x", "1"}}) != &r.counter("a_total", "a", {{"x", "2"}}));
}

TEST_CASE("label sets are bounded") {
    metrics::registry r(1, 3);
    for (int i = 0; i < 100; ++i) {
        r.counter("a_total", "a", {{"model", std::to_string(i)}, {"k", "v"}}).add();
    }
    CHECK(r.counter("a_total", "a", {{"model", "2"}, {"k", "v"}}).value() == 1);
    CHECK(r.counter("a_total", "a", {{"model", "77"}, {"k", "v"}}).value() == 97);
    CHECK(r.render().find(R"(a_total{model="other",k="other"} 97)") != std::string::npos);
}

TEST_CASE("misuse is a programming error") {
    metrics::registry r(1);
    r.counter("a_total", "a");
    CHECK_THROWS_AS(r.gauge("a_total", "a"), std::logic_error);
    CHECK_THROWS_AS(r.counter("a b", "a"), std::logic_error);
    CHECK_THROWS_AS(r.counter("1a", "a"), std::logic_error);
    CHECK_THROWS_AS(r.counter("b_total", "b", {{"le", "1"}}), std::logic_error);
    CHECK_THROWS_AS(r.counter("b_total", "b", {{"a:b", "1"}}), std::logic_error);
}

TEST_CASE("gauges are refreshed before they are shown") {
    metrics::registry r(1);
    int renders = 0;
    r.before_render([&] { r.gauge("kw_n", "n").set(++renders); });
    CHECK(r.render().ends_with("kw_n 1\n"));
    CHECK(r.render().ends_with("kw_n 2\n"));
}
