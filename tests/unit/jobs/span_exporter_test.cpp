// Traces on their way out: the form of OTLP, batches, a collector that refuses, a queue that is
// full.
#include "jobs/span_exporter.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

using namespace kw;
using namespace std::chrono_literals;
namespace json = boost::json;

namespace {

span sample() {
    span s;
    s.trace.fill(0xab);
    s.id.fill(0x01);
    s.parent.fill(0x02);
    s.outgoing = true;
    s.failed = true;
    s.name = "chat m\"x";
    s.start = wall_time(1'700'000'000'000'000'001ns);
    s.end = wall_time(1'700'000'000'000'000'002ns);
    s.set("gen_ai.request.model", "m");
    s.set("gen_ai.usage.input_tokens", 12);
    s.set("error.type", "");
    return s;
}

struct fixture {
    manual_clock clock;
    metrics::registry registry{1};
    span_queue queue;
    config::tracing_settings settings;
    result<int> answer = 200;
    std::vector<net::http_request> sent;
    jobs::span_exporter out{queue,    clock,
                            registry, [this](net::http_request r) { return take(std::move(r)); },
                            "1.0",    "host"};
    fixture() { settings.endpoint = "http://collector:4318/"; }
    net::task<result<int>> take(net::http_request r) {
        sent.push_back(std::move(r));
        co_return answer;
    }
    std::int64_t count(const char* name) { return registry.counter(name, "").value(); }
};

}  // namespace

TEST_CASE("spans are written as OTLP's JSON has them") {
    const auto doc = json::parse(jobs::to_otlp({sample()}, "svc", "1.0", "host"));
    const auto& resource = doc.at_pointer("/resourceSpans/0/resource/attributes/0");
    CHECK(resource.at("key") == "service.name");
    CHECK(resource.at_pointer("/value/stringValue") == "svc");
    const auto& s = doc.at_pointer("/resourceSpans/0/scopeSpans/0/spans/0");
    CHECK(s.at("traceId") == "abababababababababababababababab");
    CHECK(s.at("spanId") == "0101010101010101");
    CHECK(s.at("parentSpanId") == "0202020202020202");
    CHECK(s.at("kind") == 3);
    CHECK(s.at("name") == "chat m\"x");
    CHECK(s.at("startTimeUnixNano") == "1700000000000000001");
    CHECK(s.at("endTimeUnixNano") == "1700000000000000002");
    CHECK(s.at_pointer("/status/code") == 2);
    const auto& attributes = s.at("attributes").as_array();
    REQUIRE(attributes.size() == 2);
    CHECK(attributes[1].at_pointer("/value/intValue") == "12");
}

TEST_CASE("headers and addresses of a collector") {
    const auto h = jobs::parse_otlp_headers(" api-key = a%20b ,x=1=2,");
    REQUIRE(h);
    CHECK(
        (*h == std::vector<std::pair<std::string, std::string>>{{"api-key", "a b"}, {"x", "1=2"}}));
    CHECK_FALSE(jobs::parse_otlp_headers("api-key"));
    CHECK_FALSE(jobs::parse_otlp_headers("=v"));
    CHECK_FALSE(jobs::parse_otlp_headers("a=%zz"));
    config::tracing_settings s;
    CHECK(jobs::traces_url(s).empty());
    s.endpoint = "http://c:4318/";
    CHECK(jobs::traces_url(s) == "http://c:4318/v1/traces");
    s.traces_endpoint = "http://c/own";
    CHECK(jobs::traces_url(s) == "http://c/own");
}

TEST_CASE("spans leave in batches, and what is not taken is counted") {
    fixture f;
    CHECK_FALSE(f.queue.on());
    f.out.round(f.settings);
    CHECK(f.queue.on());
    f.queue.push(std::vector<span>(188, sample()));
    f.out.round(f.settings);
    CHECK(f.sent.empty());                           // not before its time
    f.queue.push(std::vector<span>(512, sample()));  // more than a request takes
    f.settings.headers = secret("api-key=canary");
    f.out.round(f.settings);
    REQUIRE(f.sent.size() == 2);
    CHECK(f.sent[0].url == "http://collector:4318/v1/traces");
    CHECK(f.sent[0].headers[0] == std::pair<std::string, std::string>("api-key", "canary"));
    CHECK(f.count("keywheel_spans_exported_total") == 700);

    // A collector that fails is tried once more, one that refuses is not.
    f.answer = 503;
    f.queue.push({sample()});
    f.clock.advance(f.settings.interval);
    f.out.round(f.settings);
    CHECK(f.sent.size() == 4);
    f.answer = 400;
    f.queue.push({sample()});
    f.clock.advance(f.settings.interval);
    f.out.round(f.settings);
    CHECK(f.sent.size() == 5);
    CHECK(f.count("keywheel_spans_lost_total") == 2);

    // What fills a request waits for its time after one that was not taken.
    f.answer = 200;
    f.queue.push(std::vector<span>(512, sample()));
    f.out.round(f.settings);
    CHECK(f.sent.size() == 5);
    f.clock.advance(f.settings.interval);
    f.out.round(f.settings);
    CHECK(f.sent.size() == 6);

    f.settings.queue_size = 64;
    f.out.round(f.settings);
    f.queue.push(std::vector<span>(100, sample()));
    CHECK(f.queue.dropped() == 36);

    // Turned off: what waits goes nowhere, not to the next endpoint either.
    f.settings.endpoint.clear();
    f.out.flush(f.settings);
    CHECK_FALSE(f.queue.on());
    CHECK(f.queue.empty());
    CHECK(f.out.idle());
    CHECK(f.sent.size() == 6);
    CHECK(f.count("keywheel_spans_lost_total") == 66);
}
