// Upstream keys and groups through the API.
#include <catch2/catch.hpp>

#include "auth/master_key.hpp"
#include "net/connector.hpp"
#include "pool/sealed_proxy.hpp"
#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using test::fixture;
namespace json = boost::json;

namespace {

constexpr const char* canary = "sk-canary-upstream-00000000001";

std::vector<std::string> ids(const json::value& data) {
    std::vector<std::string> out;
    for (const auto& k : data.at("keys").as_array())
        out.emplace_back(k.at("id").as_string());
    return out;
}

}  // namespace

TEST_CASE("a key is made, shown masked, changed, deleted", "[admin]") {
    fixture f;
    const auto made = f.call(
        "POST", "/admin/keys",
        R"({"key":"sk-canary-upstream-00000000001","notes":"n","weight":1.5,"caps":{"concurrency":3}})",
        201);
    const auto id = fixture::text(made, "id");
    CHECK(fixture::text(made, "key") == secret(canary).masked());
    CHECK(fixture::text(made, "group") == "default");
    CHECK(fixture::text(made, "status") == "active");
    CHECK(json::serialize(made.at("weight")) == "1.5E0");
    CHECK(f.stored_key(id).value.reveal() == canary);
    CHECK(f.stored_key(id).caps.concurrency == 3);
    CHECK(f.store->get("group", "default").has_value());
    CHECK(f.changes == 1);

    f.call("PUT", "/admin/keys/" + id, R"({"alias":"first","quota_tokens":5})");
    CHECK(f.stored_key(id).alias == "first");
    CHECK(f.stored_key(id).notes == "n");
    CHECK(f.stored_key(id).quota_tokens == 5);
    CHECK(f.stored_key(id).value.reveal() == canary);
    f.call("PUT", "/admin/keys/" + id,
           R"({"quota_tokens":null,"key":"sk-canary-upstream-00000000002"})");
    CHECK_FALSE(f.stored_key(id).quota_tokens.has_value());
    CHECK(f.stored_key(id).value.reveal() == "sk-canary-upstream-00000000002");
    f.call("PATCH", "/admin/keys/" + id + "/notes", R"({"notes":"other"})");
    CHECK(fixture::text(f.call("GET", "/admin/keys/" + id), "notes") == "other");

    CHECK(f.call("DELETE", "/admin/keys/" + id).at("count").as_int64() == 1);
    f.call("GET", "/admin/keys/" + id, {}, 404);
    CHECK(f.seen.find("sk-canary-upstream") == std::string::npos);
}

TEST_CASE("bad keys are refused without an echo", "[admin]") {
    fixture f;
    f.add_key(canary);
    f.call("POST", "/admin/keys", R"({"key":"sk-canary-upstream-00000000001"})", 409);
    CHECK(f.refused("POST", "/admin/keys", R"({"notes":"x"})").find("\"key\"") !=
          std::string::npos);
    f.refused("POST", "/admin/keys", R"({"key":"canary with blanks"})");
    f.refused("POST", "/admin/keys", R"({"key":"sk-canary-22","alias":"my sk-canary-22"})");
    f.refused("POST", "/admin/keys", R"({"key":"sk-canary-33","poolGroup":"none"})");
    f.refused("POST", "/admin/keys", R"({"key":"sk-canary-33","weight":0})");
    f.refused("POST", "/admin/keys", R"({"key":"sk-canary-33","caps":{"moon":1}})");
    f.refused("POST", "/admin/keys", R"({"key":"sk-canary-33","base_url":"ftp://x"})");
    for (const auto* host : {"169.254.169.254", "[fe80::1]", "metadata.google.internal"}) {
        f.refused("POST", "/admin/keys",
                  std::string(R"({"key":"sk-canary-33","base_url":"http://)") + host + "/v1\"}");
    }
    CHECK(f.seen.find("canary") == std::string::npos);
    f.settings->upstream.allow_link_local = true;
    f.call("POST", "/admin/keys", R"({"key":"sk-canary-33","base_url":"http://169.254.1.1/v1"})",
           201);
}

TEST_CASE("a stale revision is a conflict that tells the stored one", "[admin]") {
    fixture f;
    const auto id = f.add_key(canary);
    const auto first = f.call("GET", "/admin/keys/" + id).at("revision").as_int64();
    f.call("PUT", "/admin/keys/" + id, R"({"alias":"a","revision":)" + std::to_string(first) + "}");
    const auto now = f.call("GET", "/admin/keys/" + id).at("revision").as_int64();
    CHECK(now > first);
    const auto told = f.call("PUT", "/admin/keys/" + id,
                             R"({"alias":"b","revision":)" + std::to_string(first) + "}", 409);
    CHECK(told.at("data").at("revision").as_int64() == now);
    auto r = fixture::request("DELETE", "/admin/keys/" + id);
    r.if_match = '"' + std::to_string(first) + '"';
    CHECK(f.send(r).status == 409);
    r.if_match = "W/\"" + std::to_string(now) + '"';
    CHECK(f.send(r).status == 200);
}

TEST_CASE("states go to the record and to the pool", "[admin]") {
    fixture f;
    const auto id = f.add_key(canary);
    const auto slot = f.states.acquire(id);
    f.health.set_status(slot, pool::key_status::active, f.clock.mono(), f.clock.wall());
    auto& state = *f.states.get(slot);
    state.uses = 4;
    state.tokens = 99;
    const auto toggle = "/admin/keys/" + id + "/toggle";
    CHECK(fixture::text(f.call("PATCH", toggle), "status") == "disabled");
    CHECK(state.status() == pool::key_status::disabled);
    CHECK(f.stored_key(id).status == pool::admin_status::disabled);
    const auto back = f.call("PATCH", toggle);
    CHECK(fixture::text(back, "status") == "active");
    CHECK(state.status() == pool::key_status::active);
    CHECK(back.at("uses").as_int64() == 4);
    CHECK(back.at("tokens").as_int64() == 99);
    f.call("PATCH", toggle, R"({"status":"banned"})");
    CHECK(state.status() == pool::key_status::banned);
    f.refused("PATCH", toggle, R"({"status":"cooling"})");

    // Cooling: the pool's own doing, with its end.
    f.call("PATCH", toggle, R"({"status":"active"})");
    state.set_gate(pool::key_status::cooling, pool::block_reason::rate_limit,
                   pool::mono_ns(f.clock.mono()) + 30'000'000'000);
    const auto cooling = f.call("GET", "/admin/keys/" + id);
    CHECK(fixture::text(cooling, "status") == "cooling");
    CHECK(fixture::text(cooling, "reason") == "rate_limit");
    CHECK(fixture::text(cooling, "until") == "2026-01-01T00:00:30Z");
    CHECK(f.call("GET", "/admin/stats").at("cooling").as_int64() == 1);
}

TEST_CASE("keys are filtered, searched, sorted, paged", "[admin]") {
    fixture f;
    f.add_group("g");
    std::vector<std::string> made;
    for (int i = 0; i < 5; ++i) {
        made.push_back(f.add_key("sk-canary-list-" + std::to_string(i), i < 3 ? "default" : "g"));
        f.clock.advance(std::chrono::seconds(1));
    }
    CHECK(ids(f.call("GET", "/admin/keys")) == made);
    const auto page = f.call("GET", "/admin/keys?sort=-created&page=2&limit=2");
    CHECK(ids(page) == std::vector{made[2], made[1]});
    CHECK(json::serialize(page.at("pagination")) ==
          R"({"page":2,"limit":2,"total":5,"total_pages":3})");
    CHECK(ids(f.call("GET", "/admin/keys?page=9")).empty());
    CHECK(ids(f.call("GET", "/admin/keys?poolGroup=g")) == std::vector{made[3], made[4]});
    f.call("PATCH", "/admin/keys/" + made[4] + "/notes", R"({"notes":"The Ünique one"})");
    CHECK(ids(f.call("GET", "/admin/keys?q=%C3%9Cnique+ONE")) == std::vector{made[4]});
    f.call("PATCH", "/admin/keys/" + made[0] + "/toggle");
    f.call("PATCH", "/admin/keys/" + made[1] + "/toggle", R"({"status":"banned"})");
    CHECK(ids(f.call("GET", "/admin/keys?status=disabled")) == std::vector{made[0]});
    f.refused("GET", "/admin/keys?status=sleepy", {});
    f.refused("GET", "/admin/keys?sort=colour", {});
    CHECK(f.call("DELETE", "/admin/keys/disabled").at("count").as_int64() == 1);
    CHECK(f.call("DELETE", "/admin/keys/banned").at("count").as_int64() == 1);
    CHECK(ids(f.call("GET", "/admin/keys")).size() == 3);
}

TEST_CASE("a batch of 10,000 mixed lines", "[admin]") {
    fixture f;
    f.add_key("sk-canary-batch-0");
    std::string text;
    for (int i = 0; i < 10'000; ++i) {
        if (i % 100 == 99) {
            text += "canary bad line\\r\\n";
        } else {
            text += "sk-canary-batch-" + std::to_string(i % 5'000) + "\\n";
        }
    }
    const auto told = f.call("POST", "/admin/keys/batch", R"({"text":")" + text + "\"}");
    CHECK(told.at("invalid").as_int64() == 100);
    // Those of the second half, and the one that was there.
    CHECK(told.at("duplicate").as_int64() == 4'950 + 1);
    CHECK(told.at("added").as_int64() == 4'949);
    CHECK(told.at("errors").at(1).at("index").as_int64() == 99);
    CHECK(f.call("GET", "/admin/stats").at("total").as_int64() == 4'950);
    CHECK(f.seen.find("canary") == std::string::npos);

    // Another group may have the same key; what is no text is invalid.
    f.add_group("g");
    const auto more = f.call("POST", "/admin/keys/batch",
                             R"({"keys":["sk-canary-batch-0",7,"",""],"poolGroup":"g"})");
    CHECK(more.at("added").as_int64() == 1);
    CHECK(more.at("invalid").as_int64() == 3);
    f.refused("POST", "/admin/keys/batch", R"({"keys":[],"text":""})");
    f.refused("POST", "/admin/keys/batch", R"({"keys":["sk-canary-x-1"],"poolGroup":"none"})");
}

TEST_CASE("a deleted group leaves its keys to default, at the same upstream", "[admin]") {
    fixture f;
    f.add_group("g", "https://other.example/v1/");
    const auto id = f.add_key(canary, "g");
    const auto shown = f.call("GET", "/admin/pool-groups/g");
    CHECK(fixture::text(shown, "base_url") == "https://other.example/v1");
    CHECK(shown.at("total").as_int64() == 1);
    const auto told = f.call("DELETE", "/admin/pool-groups/g");
    CHECK(told.at("deleted").as_bool());
    CHECK(told.at("affected_keys").as_int64() == 1);
    CHECK(f.stored_key(id).group_id == "default");
    CHECK(f.stored_key(id).base_url == "https://other.example/v1");
    CHECK(f.stored_key(id).value.reveal() == canary);
    f.call("GET", "/admin/pool-groups/g", {}, 404);
    f.call("DELETE", "/admin/pool-groups/default", {}, 409);
}

TEST_CASE("groups are made, changed, listed in the order of their tiers", "[admin]") {
    fixture f;
    f.add_group("b");
    f.add_group("a");
    f.call("POST", "/admin/pool-groups", R"({"id":"a","base_url":"https://x.example"})", 409);
    f.refused("POST", "/admin/pool-groups", R"({"id":"bad id","base_url":"https://x.example"})");
    f.refused("POST", "/admin/pool-groups", R"({"id":"c"})");
    const auto changed = f.call(
        "PUT", "/admin/pool-groups/a",
        R"({"priority":3,"strategy":"least-used","multiplier":"1.25","timeouts":{"connect_ms":50},
            "egress_proxy":"http://user:canary-password@proxy.example:3128"})");
    CHECK(changed.at("priority").as_int64() == 3);
    CHECK(changed.at("multiplier").as_double() == 1.25);
    CHECK(fixture::text(changed, "egress_proxy") == "http://***@proxy.example:3128");
    // Who sends back what was shown changes nothing.
    f.call("PUT", "/admin/pool-groups/a",
           R"({"egress_proxy":"http://***@proxy.example:3128","name":"A"})");
    auto record = *f.store->get("group", "a");
    CHECK(record.json.find("canary") == std::string::npos);
    const auto stored = *pool::stored_group(record.json, f.sealer);
    CHECK(stored.egress_proxy == "http://user:canary-password@proxy.example:3128");
    CHECK(stored.multiplier_ppm == 1'250'000);
    CHECK(stored.name == "A");
    CHECK(f.refused("PUT", "/admin/pool-groups/a", R"({"strategy":"guess"})").find("round-robin") !=
          std::string::npos);
    CHECK(
        f.refused("PUT", "/admin/pool-groups/a", R"({"timeouts":{"moon_ms":1}})").find("moon_ms") !=
        std::string::npos);
    f.refused("PUT", "/admin/pool-groups/a", R"({"egress_proxy":"http://169.254.169.254:1"})");
    // No export without passphrase has it; what it has instead means the stored one.
    auto plain = f.call("POST", "/admin/export", R"({"kinds":["group"]})");
    const auto document = boost::json::serialize(boost::json::object{{"document", plain}});
    const auto again = f.call("POST", "/admin/import?mode=overwrite", document);
    CHECK(again.at("unchanged").as_int64() == 2);
    // Another master key takes over: the text is another, the proxy is the same.
    f.sealer.add(secret(std::string(32, 'n')));
    f.sealer.seal_with(crypto::sealer(secret(std::string(32, 'n'))).key_id());
    const auto anew = *auth::sealed_anew(record, f.sealer);
    CHECK(auth::sealed_by(anew) == f.sealer.key_id());
    CHECK(auth::sealed_by(record) != f.sealer.key_id());
    CHECK(pool::stored_group(anew.json, f.sealer)->egress_proxy == stored.egress_proxy);
    // One that does not open is no way around the proxy, and no proxy either.
    const crypto::sealer other(secret(std::string(32, 'x')));
    CHECK_FALSE(net::parse_egress_proxy(secret(pool::stored_group(anew.json, other)->egress_proxy))
                    .has_value());
    const auto all = f.call("GET", "/admin/pool-groups").at("groups").as_array();
    REQUIRE(all.size() == 2);
    CHECK(fixture::text(all[0], "id") == "b");
    CHECK(f.seen.find("canary") == std::string::npos);
}

TEST_CASE("groups that are only declared are shown and left alone", "[admin]") {
    fixture f;
    auto group = std::make_shared<pool::group>();
    group->id = "d";
    f.declared.push_back(group);
    CHECK(f.call("GET", "/admin/pool-groups/d").at("declared").as_bool());
    f.call("PUT", "/admin/pool-groups/d", R"({"name":"x"})", 409);
    f.call("DELETE", "/admin/pool-groups/d", {}, 409);
    f.add_key(canary, "d");
}

TEST_CASE("keys are moved", "[admin]") {
    fixture f;
    f.add_group("g");
    const auto id = f.add_key(canary);
    f.refused("PATCH", "/admin/keys/" + id + "/pool", R"({"poolGroup":"none"})");
    f.refused("PATCH", "/admin/keys/" + id + "/pool", "{}");
    f.call("PATCH", "/admin/keys/" + id + "/pool", R"({"poolGroup":"g"})");
    CHECK(f.stored_key(id).group_id == "g");
    const auto twin = f.add_key(canary);
    f.call("PATCH", "/admin/keys/" + twin + "/pool", R"({"poolGroup":"g"})", 409);
}

TEST_CASE("a secret of another master key survives a change of notes", "[admin]") {
    fixture f;
    const crypto::sealer other(secret(std::string(32, 'x')));
    f.add_group("g");
    pool::upstream_key key;
    key.id = "uk_foreign";
    key.group_id = "g";
    key.value = secret(canary);
    REQUIRE(f.store->put({"upstream_key", key.id, 0, pool::to_json(key, other)}).has_value());
    CHECK(fixture::text(f.call("GET", "/admin/keys/uk_foreign"), "status") == "disabled");
    f.call("PATCH", "/admin/keys/uk_foreign/notes", R"({"notes":"n"})");
    const auto stored = f.store->get("upstream_key", key.id)->json;
    CHECK(pool::key_from_json(stored, other)->value.reveal() == canary);
}
