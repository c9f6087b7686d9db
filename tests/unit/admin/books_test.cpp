// Access keys, usage, the request log, health, prices.
#include <catch2/catch.hpp>

#include "admin/values.hpp"
#include "auth/access_key.hpp"
#include "auth/authenticator.hpp"
#include "tests/support/batch_bytes.hpp"
#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using test::fixture;
namespace json = boost::json;

namespace {

// Two exchanges of one access key, an hour apart.
void book(fixture& f) {
    store::test::batch_bytes bytes;
    store::ledger_batch batch;
    batch.journal = "j";
    batch.shard = store::shard_of("ak1");
    batch.number = 1;
    for (int i = 0; i < 2; ++i) {
        store::ledger_record r;
        r.id = "req_" + std::to_string(i);
        r.started = f.clock.wall() + std::chrono::hours(i);
        r.access_key_id = "ak1";
        r.upstream_key_id = "uk1";
        r.provider = "openai";
        r.model_asked = "gpt";
        r.model_served = "gpt-1";
        r.tokens.input = 10;
        r.tokens.cached_read = 4;
        r.tokens.output = 5;
        r.outcome = store::usage_outcome::exact;
        if (i == 0) r.cost = 1'500'000'000;
        if (i == 0) r.rated_cost = 3'000'000'000;
        r.status = i == 0 ? 200 : 502;
        r.end = i == 0 ? store::exchange_end::completed : store::exchange_end::failed;
        bytes.add(batch, r);
    }
    REQUIRE(f.store->apply(std::span(&batch, 1)).has_value());
}

}  // namespace

TEST_CASE("an access key's text is shown once and opens the door", "[admin]") {
    fixture f;
    f.settings->auth.max_lifetime = {};
    f.add_group("g");
    const auto made = f.call("POST", "/admin/access-keys",
                             R"({"name":"ci","expires_at":"2026-02-01T02:00:00+02:00",
                                 "models_allow":["gpt-*"],"group":"g","multiplier":0.5})",
                             201);
    const auto id = fixture::text(made, "id");
    const auto text = fixture::text(made, "key");
    CHECK(text.starts_with("sk-kw-"));
    CHECK(fixture::text(made, "expires_at") == "2026-02-01T00:00:00Z");
    auto key = *auth::access_key_from(*f.store->get("access_key", id));
    CHECK(key.hash == auth::hash_key_text(secret(text), f.pepper));
    CHECK(key.multiplier_ppm == 500'000);
    CHECK(key.options->group == "g");

    f.seen.clear();
    f.call("PUT", "/admin/access-keys/" + id,
           R"({"expires_at":null,"models_allow":null,"tags":["t"]})");
    key = *auth::access_key_from(*f.store->get("access_key", id));
    CHECK_FALSE(key.expires_at.has_value());
    CHECK(key.options->models_allow.empty());
    CHECK(key.options->tags == std::vector<std::string>{"t"});
    CHECK(key.name == "ci");
    CHECK(f.call("PATCH", "/admin/access-keys/" + id + "/toggle").at("disabled").as_bool());
    CHECK_FALSE(f.call("PATCH", "/admin/access-keys/" + id + "/toggle", R"({"disabled":false})")
                    .at("disabled")
                    .as_bool());
    CHECK(f.call("GET", "/admin/access-keys?q=ci").at("access_keys").as_array().size() == 1);
    CHECK(f.call("GET", "/admin/access-keys?disabled=true").at("access_keys").as_array().empty());
    f.call("GET", "/admin/access-keys/" + id);
    const auto stale =
        f.call("PUT", "/admin/access-keys/" + id, R"({"name":"x","revision":1})", 409);
    CHECK(stale.at("data").at("revision").as_int64() > 1);

    CHECK(f.refused("POST", "/admin/access-keys", "{}").find("\"name\"") != std::string::npos);
    f.refused("POST", "/admin/access-keys", R"({"name":"x","expires_at":"soon"})");
    f.refused("POST", "/admin/access-keys", R"({"name":"x","multiplier":-1})");
    f.refused("POST", "/admin/access-keys", R"({"name":"x","group":"none"})");
    f.refused("PUT", "/admin/access-keys/" + id, R"({"disabled":"no"})");
    f.refused("PUT", "/admin/access-keys/" + id, R"({"hash":"00"})");
    CHECK(f.call("DELETE", "/admin/pool-groups/g").at("bound_access_keys").as_int64() == 1);
    f.call("DELETE", "/admin/access-keys/" + id + "?purge=true");
    f.call("GET", "/admin/access-keys/" + id, {}, 404);
    CHECK(f.seen.find(text) == std::string::npos);
    CHECK(f.seen.find(crypto::to_hex(key.hash)) == std::string::npos);
}

TEST_CASE("usage by subject and time, with tokens by class and exact money", "[admin]") {
    fixture f;
    book(f);
    const auto all = f.call("GET", "/admin/usage?by=access_key&span=hour");
    REQUIRE(all.at("usage").as_array().size() == 2);
    CHECK(fixture::text(all.at("usage").at(0), "bucket") == "2026-01-01T00");
    CHECK(fixture::text(all.at("usage").at(0), "subject") == "ak1");
    const auto& sums = all.at("totals");
    CHECK(sums.at("requests").as_int64() == 2);
    CHECK(sums.at("errors").as_int64() == 1);
    CHECK(sums.at("unpriced").as_int64() == 1);
    CHECK(sums.at("tokens").at("cached_read").as_int64() == 8);
    CHECK(sums.at("tokens").at("total").as_int64() == 30);
    CHECK(sums.at("cost").at("nanodollars").as_int64() == 1'500'000'000);
    CHECK(fixture::text(sums.at("cost"), "dollars") == "1.5");
    CHECK(fixture::text(sums.at("rated_cost"), "dollars") == "3");
    const auto late =
        f.call("GET", "/admin/usage?by=model&span=hour&from=2026-01-01T01:00:00Z&to=2026-01-02");
    CHECK(late.at("totals").at("requests").as_int64() == 1);
    CHECK(f.call("GET", "/admin/usage?by=access_key&subject=none").at("usage").as_array().empty());
    const auto page = f.call("GET", "/admin/usage?span=hour&limit=1&page=2");
    CHECK(page.at("usage").as_array().size() == 1);
    CHECK(page.at("pagination").at("total_pages").as_int64() == 2);
    CHECK(page.at("totals").at("requests").as_int64() == 2);
    CHECK(f.call("GET", "/admin/stats").at("today").at("requests").as_int64() == 2);
}

TEST_CASE("the request log", "[admin]") {
    fixture f;
    book(f);
    const auto first = f.call("GET", "/admin/requests?limit=1");
    REQUIRE(first.at("requests").as_array().size() == 1);
    CHECK(fixture::text(first.at("requests").at(0), "id") == "req_1");
    const auto next = fixture::text(first.at("pagination"), "next");
    std::string escaped;
    for (const char ch : next)
        escaped += ch == '|' ? std::string("%7C") : std::string(1, ch);
    const auto second = f.call("GET", "/admin/requests?limit=1&cursor=" + escaped);
    CHECK(fixture::text(second.at("requests").at(0), "id") == "req_0");
    CHECK(f.call("GET", "/admin/requests?status_from=500&model=gpt-1")
              .at("requests")
              .as_array()
              .size() == 1);
    const auto one = f.call("GET", "/admin/requests/req_0");
    CHECK(fixture::text(one, "end") == "completed");
    CHECK(fixture::text(one.at("cost"), "dollars") == "1.5");
    CHECK(f.call("GET", "/admin/requests/req_1").at("cost").is_null());
    f.call("GET", "/admin/requests/req_none", {}, 404);
}

TEST_CASE("health and prices", "[admin]") {
    fixture f;
    f.states.acquire("uk1");
    const auto h = f.call("GET", "/admin/health");
    CHECK(fixture::text(h, "status") == "ok");
    CHECK(fixture::text(h.at("store"), "kind") == "embedded");
    CHECK(h.at("journal").at("backlog_records").as_int64() == 7);
    CHECK(h.at("workers").as_int64() == 2);
    CHECK(h.at("keys").at("total").as_int64() == 1);
    const auto prices = f.call("GET", "/admin/prices?q=gpt-4o&limit=1");
    CHECK(fixture::text(prices, "version").size() == 12);
    CHECK(prices.at("prices").as_array().size() == 1);
    CHECK(!fixture::text(prices.at("prices").at(0), "input").empty());
}

TEST_CASE("times", "[admin]") {
    CHECK(format_time(*parse_time("2026-01-31")) == "2026-01-31T00:00:00Z");
    CHECK(format_time(*parse_time("2026-01-31t10:20:30.25z")) == "2026-01-31T10:20:30.250Z");
    CHECK(format_time(*parse_time("2026-01-31T00:30:00-01:15")) == "2026-01-31T01:45:00Z");
    for (const auto* bad :
         {"", "2026", "2026-02-30", "2026-01-31T", "2026-01-31T10:20:30", "2026-01-31T24:00:00Z",
          "2026-01-31T10:20:30.Z", "2026-01-31T10:20:30Zx", "1969-12-31", "2026-1-1", "+026-01-01"})
        CHECK_FALSE(parse_time(bad).has_value());
}
