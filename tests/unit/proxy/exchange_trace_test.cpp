// What an exchange leaves in a trace: whose trace it is, its tries, and what of it is told.
#include "proxy/exchange_trace.hpp"

#include <catch2/catch.hpp>

using namespace kw;
using namespace std::chrono_literals;

namespace {

constexpr auto sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::string text(const span& s, std::string_view name) {
    for (const auto& a : s.attributes) {
        if (a.name != name) continue;
        if (const auto* t = std::get_if<std::string>(&a.value)) return *t;
        return std::to_string(std::get<std::int64_t>(a.value));
    }
    return {};
}

}  // namespace

TEST_CASE("only a whole traceparent counts") {
    const auto p = parse_traceparent(sent);
    REQUIRE(p);
    CHECK(p->sampled);
    CHECK(to_string(*p) == sent);
    CHECK_FALSE(
        parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")->sampled);
    CHECK(parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
    for (const char* wrong : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                              "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                              "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                              "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                              "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                              "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"})
        CHECK_FALSE(parse_traceparent(wrong));
}

TEST_CASE("the client's flag decides, else chance") {
    random_source random(1);
    using proxy::exchange_trace;
    auto p = parse_traceparent(sent);
    CHECK(exchange_trace::wanted(p, 0, random));
    p->sampled = false;
    CHECK_FALSE(exchange_trace::wanted(p, 1'000'000, random));
    CHECK(exchange_trace::wanted({}, 1'000'000, random));
    CHECK_FALSE(exchange_trace::wanted({}, 0, random));
    int taken = 0;
    for (int i = 0; i < 10'000; ++i)
        taken += exchange_trace::wanted({}, 250'000, random) ? 1 : 0;
    CHECK(taken > 2'300);
    CHECK(taken < 2'700);
}

TEST_CASE("each try is a child of the request, and goes on in the upstream's trace") {
    random_source random(1);
    const wall_time start(1'000s);
    proxy::exchange_trace t(parse_traceparent(sent), start, random);
    CHECK(t.upstream_traceparent().empty());
    t.begin_try(
        {.model = "m", .provider = "openai", .group = "g", .key = "k1", .host = "h", .port = 443},
        "chat", start + 1s);
    const auto first = parse_traceparent(t.upstream_traceparent());
    REQUIRE(first);
    t.end_try(429, "", start + 2s);
    t.begin_try(
        {.model = "m", .provider = "gemini", .group = "g", .key = "k2", .host = "h", .port = 443},
        "chat", start + 3s);
    store::ledger_record r;
    r.id = "req_1";
    r.endpoint = "chat";
    r.model_asked = "alias";
    r.model_served = "m-1";
    r.status = 200;
    r.attempts = 2;
    r.tokens.input = 10;
    r.tokens.output = 5;
    r.outcome = store::usage_outcome::exact;
    const auto spans = t.finish(r, "POST", start + 5s);
    REQUIRE(spans.size() == 3);
    const auto& request = spans[2];
    CHECK(request.parent == parse_traceparent(sent)->span);
    CHECK(request.start == start);
    CHECK(request.end == start + 5s);
    CHECK_FALSE(request.outgoing);
    CHECK(text(request, "keywheel.request_id") == "req_1");
    CHECK(text(request, "gen_ai.request.model") == "alias");
    for (const auto& s : spans)
        CHECK(s.trace == parse_traceparent(sent)->trace);
    CHECK(spans[0].id == first->span);
    CHECK(spans[0].parent == request.id);
    CHECK(spans[0].failed);
    CHECK(text(spans[0], "error.type") == "429");
    CHECK(text(spans[0], "gen_ai.usage.input_tokens").empty());
    CHECK_FALSE(spans[1].failed);
    CHECK(spans[1].end == start + 5s);
    CHECK(text(spans[1], "gen_ai.provider.name") == "gcp.gemini");
    CHECK(text(spans[1], "gen_ai.response.model") == "m-1");
    CHECK(text(spans[1], "gen_ai.usage.output_tokens") == "5");

    // Of a client that sent none the upstream is told none.
    proxy::exchange_trace own({}, start, random);
    own.begin_try({}, "chat", start);
    CHECK(own.upstream_traceparent().empty());
    const auto alone = own.finish(r, "POST", start + 1s);
    CHECK(alone.back().parent == span_id{});
    CHECK(alone.back().trace != trace_id{});
}

TEST_CASE("a span stays small whatever a client sends") {
    // "ü" has two bytes: the last one that fits whole begins at an odd place.
    std::string longest = "x";
    while (longest.size() < 1'000'000)
        longest += "\u00fc";
    CHECK(span::cut(longest).size() == span::max_text - 1);
    CHECK(span::cut(longest.substr(1)).size() == span::max_text);
    CHECK(span::cut(std::string(253, 'x') + "\U0001f600" + "x").size() == 253);
    CHECK(span::cut(std::string(252, 'x') + "\U0001f600" + "x").size() == span::max_text);
    CHECK(span::cut(std::string(300, '\x80')).size() == 253);
    CHECK(span::cut("short") == "short");

    random_source random(1);
    proxy::exchange_trace t({}, {}, random);
    t.begin_try({.model = longest,
                 .provider = longest,
                 .group = longest,
                 .key = longest,
                 .host = longest,
                 .port = 1},
                longest, {});
    store::ledger_record r;
    r.endpoint = r.provider = r.model_asked = r.model_served = r.error_code = longest;
    for (const auto& s : t.finish(r, longest, {})) {
        CHECK(s.name.size() <= span::max_text);
        for (const auto& a : s.attributes)
            if (const auto* kept = std::get_if<std::string>(&a.value))
                CHECK(kept->size() <= span::max_text);
    }
}

TEST_CASE("spans leave the queue oldest first, and what does not fit is dropped") {
    span_queue queue;
    queue.set(true, 3);
    std::vector<span> made(4);
    for (std::size_t i = 0; i < made.size(); ++i)
        made[i].name = std::to_string(i);
    queue.push(std::move(made));
    CHECK(queue.dropped() == 1);
    const auto first = queue.take(2);
    REQUIRE(first.size() == 2);
    CHECK(first[0].name == "0");
    CHECK(first[1].name == "1");
    CHECK_FALSE(queue.empty());
    CHECK(queue.take(9).at(0).name == "2");
    CHECK(queue.empty());
}
