// Use over time, by upstream key and in short; the clean-up; caches; the request log as a table.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/support/batch_bytes.hpp"
#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using test::fixture;
namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

struct booked : fixture {
    std::uint64_t number = 0;

    store::ledger_record& next(std::chrono::seconds after) {
        store::ledger_record r;
        r.id = "req_" + std::to_string(number);
        r.started = clock.wall() + after;
        r.access_key_id = "ak1";
        r.upstream_key_id = "uk1";
        r.group_id = "default";
        r.provider = "openai";
        r.model_asked = r.model_served = "gpt-1";
        r.tokens.input = 10;
        r.tokens.output = 5;
        r.outcome = store::usage_outcome::exact;
        r.cost = r.rated_cost = 1'500'000'000;
        r.status = 200;
        pending = r;
        return pending;
    }
    void book() {
        store::ledger_batch batch;
        batch.journal = "j";
        batch.shard = store::shard_of(pending.access_key_id);
        batch.after = numbers[batch.shard];
        batch.number = ++numbers[batch.shard];
        store::test::batch_bytes bytes;
        bytes.add(batch, pending);
        REQUIRE(store->apply(std::span(&batch, 1)).has_value());
        ++number;
    }
    store::ledger_record pending;
    std::map<std::size_t, std::uint64_t> numbers;
};

std::int64_t total_tokens(const json::value& sums) {
    return sums.at("tokens").at("total").as_int64();
}

}  // namespace

TEST_CASE("a trend has a point for every bucket", "[admin]") {
    booked f;  // it is midnight
    f.next(-90min);
    f.book();
    f.next(-5h);
    f.book();
    f.next(-5h).model_served = "gpt-2";
    f.book();
    f.next(-40h);
    f.book();
    const auto hours = f.call("GET", "/admin/stats/trend");
    CHECK(fixture::text(hours, "span") == "hour");
    CHECK(hours.at("totals").at("requests").as_int64() == 3);
    const auto& points = hours.at("trend").as_array();
    REQUIRE(points.size() == 24);
    CHECK(fixture::text(points[0], "bucket") == "2025-12-31T01");
    CHECK(fixture::text(points[23], "bucket") == "2026-01-01T00");
    CHECK(points[21].at("requests").as_int64() == 1);
    CHECK(points[18].at("requests").as_int64() == 2);
    CHECK(points[20].at("requests").as_int64() == 0);
    CHECK(points[20].at("cost").at("nanodollars").as_int64() == 0);
    const auto days = f.call("GET", "/admin/stats/trend?span=day");
    REQUIRE(days.at("trend").as_array().size() == 30);
    CHECK(days.at("trend").at(28).at("requests").as_int64() == 3);
    CHECK(days.at("trend").at(27).at("requests").as_int64() == 1);
    const auto model = f.call(
        "GET", "/admin/stats/trend?model=gpt-2&from=2025-12-31T18:30:00Z&to=2025-12-31T20:00:00Z");
    REQUIRE(model.at("trend").as_array().size() == 2);
    CHECK(fixture::text(model, "from") == "2025-12-31T18:00:00Z");
    CHECK(model.at("trend").at(1).at("requests").as_int64() == 1);

    f.refused("GET", "/admin/stats/trend?span=month", {});
    f.refused("GET", "/admin/stats/trend?model=a&group=b", {});
    f.refused("GET", "/admin/stats/trend?from=2026-01-02&to=2026-01-01", {});
    CHECK(f.refused("GET", "/admin/stats/trend?from=2020-01-01", {}).find("\"from\"") !=
          std::string::npos);
    CHECK(f.refused("GET", "/admin/stats/trend?unknown=1", {}).find("unknown") !=
          std::string::npos);
}

TEST_CASE("what each upstream key has used, most first", "[admin]") {
    booked f;
    f.add_group("g");
    const auto idle = f.add_key("sk-idle-0001", "g");
    const auto busy = f.add_key("sk-busy-0001", "g");
    const auto other = f.add_key("sk-other-0001");
    f.next(1h).upstream_key_id = busy;
    f.book();
    f.next(2h).upstream_key_id = busy;
    f.book();
    f.next(-1h).upstream_key_id = idle;  // last month
    f.book();
    const auto month = f.call("GET", "/admin/token/usage?poolGroup=g&forceRefresh=true");
    REQUIRE(month.at("usage").as_array().size() == 2);
    CHECK(fixture::text(month.at("usage").at(0), "id") == busy);
    CHECK(total_tokens(month.at("usage").at(0)) == 30);
    CHECK(total_tokens(month.at("usage").at(1)) == 0);
    CHECK(total_tokens(month.at("totals")) == 30);
    CHECK(month.at("usage").at(0).at("quota_tokens").is_null());
    const auto ever = f.call("GET", "/admin/token/usage?period=all&limit=1");
    CHECK(total_tokens(ever.at("totals")) == 45);
    CHECK(ever.at("usage").as_array().size() == 1);
    CHECK(ever.at("pagination").at("total").as_int64() == 3);
    f.refused("GET", "/admin/token/usage?period=year", {});
    f.refused("GET", "/admin/token/usage?forceRefresh=maybe", {});

    const auto brief = f.call("GET", "/admin/token/summary");
    CHECK(total_tokens(brief.at("today")) == 30);
    CHECK(total_tokens(brief.at("month")) == 30);
    CHECK(total_tokens(brief.at("all")) == 45);
    REQUIRE(brief.at("top_models").as_array().size() == 1);
    CHECK(fixture::text(brief.at("top_models").at(0), "subject") == "gpt-1");
    CHECK(fixture::text(brief.at("top_upstream_keys").at(0), "subject") == busy);
    f.refused("GET", "/admin/token/summary?x=1", {});
    CHECK(f.seen.find("sk-busy") == std::string::npos);
}

TEST_CASE("a clean-up removes what retention keeps no longer, and nothing else", "[admin]") {
    booked f;
    f.next(-31 * 24h);
    f.book();
    f.next(-24h);
    f.book();
    const auto done = f.call("POST", "/admin/token/cleanup");
    CHECK(done.at("complete").as_bool());
    CHECK(done.at("removed").as_int64() >= 1);
    f.call("GET", "/admin/requests/req_0", {}, 404);
    f.call("GET", "/admin/requests/req_1");
    CHECK(f.call("GET", "/admin/usage?span=all").at("totals").at("requests").as_int64() == 2);
    CHECK(f.call("POST", "/admin/token/cleanup", "{}").at("removed").as_int64() == 0);
    CHECK(f.refused("POST", "/admin/token/cleanup", R"({"all":true})").find("\"all\"") !=
          std::string::npos);
}

TEST_CASE("caches are told of", "[admin]") {
    booked f;
    f.add_key("sk-one-0001");
    f.registry
        .counter("keywheel_upstream_connections_total", "Upstream connections used, by kind.",
                 {{"kind", "reused"}})
        .add(3);
    std::map<std::string, json::value> by_name;
    const auto all = f.call("GET", "/admin/cache/stats");
    for (const auto& cache : all.at("caches").as_array())
        by_name[fixture::text(cache, "name")] = cache;
    CHECK(by_name.at("upstream_keys").at("entries").as_int64() == 1);
    CHECK(by_name.at("access_keys").at("entries").as_int64() == 0);
    CHECK(by_name.at("prices").at("entries").as_int64() > 10);
    CHECK(by_name.at("upstream_connections").at("hits").as_int64() == 3);
    CHECK(by_name.at("upstream_connections").at("misses").as_int64() == 0);
    CHECK(by_name.at("upstream_connections").at("bound").as_int64() == 64);
}

TEST_CASE("the request log as a table", "[admin]") {
    booked f;
    auto& r = f.next(0s);
    r.model_asked = "=HYPERLINK(\"http://a\")";
    r.model_served = "a,b";
    r.cost = std::nullopt;
    f.book();
    f.next(1s).status = 429;
    f.book();
    f.next(2s);
    f.book();
    const auto got = f.send(f.request("GET", "/admin/requests?format=csv&limit=2"));
    CHECK(got.status == 200);
    CHECK(got.content_type == "text/csv; charset=utf-8");
    CHECK(std::ranges::count(got.body, '\n') == 3);
    CHECK(got.body.starts_with("id,started,access_key,"));
    CHECK(got.body.find("\r\nreq_2,2026-01-01T00:00:02Z,ak1,uk1,default,openai,") !=
          std::string::npos);
    std::string next;
    for (const auto& [name, value] : got.headers)
        if (name == "x-keywheel-next") next = value;
    REQUIRE(!next.empty());
    std::string escaped;
    for (const char ch : next)
        escaped += ch == '|' ? std::string("%7C") : std::string(1, ch);
    const auto rest = f.send(f.request("GET", "/admin/requests?format=csv&cursor=" + escaped));
    CHECK(std::ranges::count(rest.body, '\n') == 2);
    CHECK(rest.body.find(R"x(,"'=HYPERLINK(""http://a"")","a,b",200,)x") != std::string::npos);
    CHECK(rest.body.find(",10,5,0,0,,1.5,false,") != std::string::npos);
    for (const auto& [name, value] : rest.headers)
        CHECK(name != "x-keywheel-next");

    CHECK(f.call("GET", "/admin/requests?status=429").at("requests").as_array().size() == 1);
    const auto one = f.call("GET", "/admin/requests?request_id=req_1");
    REQUIRE(one.at("requests").as_array().size() == 1);
    CHECK(fixture::text(one.at("requests").at(0), "id") == "req_1");
    CHECK(f.call("GET", "/admin/requests?request_id=req_1&status=200")
              .at("requests")
              .as_array()
              .empty());
    CHECK(f.call("GET", "/admin/requests?request_id=none").at("requests").as_array().empty());
    f.refused("GET", "/admin/requests?format=xml", {});
    f.refused("GET", "/admin/requests?format=csv&limit=10001", {});
    f.refused("GET", "/admin/requests?limit=1001", {});
}
