// Access keys: deletion and return, other texts, lists of clients, many at once.
#include "auth/access_key.hpp"

#include <catch2/catch.hpp>

#include "admin/values.hpp"
#include "auth/authenticator.hpp"
#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using test::fixture;
namespace json = boost::json;

namespace {

const std::string path = "/admin/access-keys";

json::value make(fixture& f, const std::string& fields = R"({"name":"ci"})") {
    return f.call("POST", path, fields, 201);
}

auth::access_key stored(fixture& f, const std::string& id) {
    return *auth::access_key_from(*f.store->get("access_key", id));
}

std::size_t listed(fixture& f, const std::string& query) {
    return f.call("GET", path + query).at("access_keys").as_array().size();
}

std::vector<std::string> reasons(const json::value& data) {
    std::vector<std::string> out;
    for (const auto& one : data.at("results").as_array())
        out.push_back(one.at("ok").as_bool() ? "ok" : fixture::text(one, "reason"));
    return out;
}

}  // namespace

TEST_CASE("a deleted access key is restored or purged", "[admin]") {
    fixture f;
    const auto id = fixture::text(make(f), "id");
    make(f);
    f.call("DELETE", path + "/" + id);
    CHECK(stored(f, id).deleted);
    CHECK(f.call("GET", path + "/" + id).at("deleted").as_bool());
    f.call("PUT", path + "/" + id, R"({"name":"x"})", 404);
    f.call("PATCH", path + "/" + id + "/toggle", {}, 404);
    f.call("POST", path + "/" + id + "/regenerate", {}, 404);
    f.call("DELETE", path + "/" + id, {}, 404);
    CHECK(listed(f, "") == 1);
    CHECK(listed(f, "?deleted=true") == 1);
    CHECK(listed(f, "?deleted=any") == 2);
    f.refused("GET", path + "?deleted=perhaps", {});

    CHECK_FALSE(f.call("POST", path + "/" + id + "/restore").at("deleted").as_bool());
    CHECK_FALSE(stored(f, id).deleted);
    CHECK(listed(f, "") == 2);
    f.call("POST", path + "/none/restore", {}, 404);
    f.call("POST", path + "/" + id + "/restore", R"({"revision":1})", 409);

    f.call("DELETE", path + "/" + id);
    f.refused("DELETE", path + "/" + id + "?purge=maybe", {});
    CHECK(f.call("DELETE", path + "/" + id + "?purge=true").at("count").as_int64() == 1);
    CHECK_FALSE(f.store->get("access_key", id).has_value());
    f.call("GET", path + "/" + id, {}, 404);
    f.call("DELETE", path + "/" + id + "?purge=true", {}, 404);
}

TEST_CASE("another text, with time for the one before", "[admin]") {
    fixture f;
    const auto made = make(f);
    const auto id = fixture::text(made, "id");
    const auto first = fixture::text(made, "key");
    const auto regenerate = path + "/" + id + "/regenerate";
    const auto again = f.call("POST", regenerate, R"({"grace_seconds":60})");
    const auto second = fixture::text(again, "key");
    CHECK(second != first);
    CHECK(fixture::text(again, "earlier_key_until") == "2026-01-01T00:01:00Z");
    CHECK(fixture::text(again, "name") == "ci");
    CHECK(fixture::text(again, "masked") == secret(second).masked());

    auth::authenticator door(f.pepper);
    const auto opens = [&](const std::string& text) {
        const auth::key_table table({stored(f, id)});
        return door.identify(text, f.clock.wall(), table).has_value();
    };
    CHECK(opens(first));
    CHECK(opens(second));
    f.clock.advance(std::chrono::seconds(60));
    CHECK_FALSE(opens(first));
    CHECK(opens(second));
    f.seen.clear();
    CHECK(f.call("GET", path + "/" + id).at("earlier_key_until").is_null());
    CHECK(f.seen.find(second) == std::string::npos);

    // At once, and whatever was before is forgotten.
    const auto third = fixture::text(f.call("POST", regenerate), "key");
    CHECK_FALSE(opens(second));
    CHECK(opens(third));
    f.refused("POST", regenerate, R"({"grace_seconds":604801})");
    f.refused("POST", regenerate, R"({"grace_seconds":-1})");
    f.refused("POST", regenerate, R"({"grace":1})");
    f.call("POST", regenerate, R"({"revision":1})", 409);
    CHECK(opens(third));

    auto declared = stored(f, id);
    declared.declared = true;
    REQUIRE(f.store->put(auth::to_record(declared)).has_value());
    CHECK(f.refused("POST", regenerate, {}).find("declared") != std::string::npos);
}

TEST_CASE("clients, addresses and a time that begins with the first use", "[admin]") {
    fixture f;
    const auto made = make(f, R"({"name":"x","clients_allow":["curl/*"],
        "ips_allow":["10.0.0.0/8","::1"],"expires_after_seconds":3600})");
    const auto id = fixture::text(made, "id");
    CHECK(json::serialize(made.at("clients_allow")) == R"(["curl/*"])");
    CHECK(json::serialize(made.at("ips_allow")) == R"(["10.0.0.0/8","::1/128"])");
    CHECK(made.at("expires_after_seconds").as_int64() == 3600);
    CHECK(made.at("expires_at").is_null());
    CHECK(auth::starts_at_first_use(stored(f, id)));
    f.refused("PUT", path + "/" + id, R"({"ips_allow":["10.0.0.1/8"]})");
    f.refused("PUT", path + "/" + id, R"({"ips_allow":["here"]})");
    f.refused("PUT", path + "/" + id, R"({"ips_allow":"::1"})");
    f.refused("PUT", path + "/" + id, R"({"clients_allow":[1]})");
    f.refused("PUT", path + "/" + id, R"({"expires_after_seconds":0})");
    f.refused("PUT", path + "/" + id, R"({"expires_after_seconds":"1h"})");
    f.call("PUT", path + "/" + id,
           R"({"ips_allow":null,"clients_allow":[],"expires_after_seconds":null})");
    CHECK(stored(f, id).options == auth::shared_options{});
}

TEST_CASE("many access keys at once, each with its own result", "[admin]") {
    fixture f;
    const auto batch = path + "/batch";
    const auto made = f.call("POST", batch, R"({"count":3,"name":"team","tags":["t"]})", 201);
    CHECK(made.at("count").as_int64() == 3);
    std::vector<std::string> ids;
    for (const auto& key : made.at("access_keys").as_array()) {
        ids.push_back(fixture::text(key, "id"));
        const auto record = stored(f, ids.back());
        CHECK(record.hash == auth::hash_key_text(secret(fixture::text(key, "key")), f.pepper));
        CHECK(record.name == "team-" + std::to_string(ids.size()));
        CHECK(record.options->tags == std::vector<std::string>{"t"});
    }
    for (const char* wrong :
         {R"({"count":0,"name":"x"})", R"({"count":1001,"name":"x"})", R"({"count":2})",
          R"({"count":2,"name":"x","colour":1})", R"({"count":2,"name":"x","disabled":"no"})"})
        f.refused("POST", batch, wrong);
    CHECK(listed(f, "") == 3);

    const auto named = [&](const std::string& more) {
        return R"({"ids":[")" + ids[0] + R"(","none",")" + ids[1] + "\"]" + more + "}";
    };
    f.call("DELETE", path + "/" + ids[1]);
    const auto changed =
        f.call("PATCH", batch, named(R"(,"changes":{"disabled":true,"ips_allow":["::1"]})"));
    CHECK(changed.at("count").as_int64() == 1);
    CHECK(reasons(changed) == std::vector<std::string>{"ok", "not_found", "not_found"});
    CHECK(stored(f, ids[0]).disabled);
    CHECK_FALSE(stored(f, ids[2]).disabled);
    f.refused("PATCH", batch, named(""));
    f.refused("PATCH", batch, named(R"(,"changes":{"disabled":"no"})"));
    f.refused("PATCH", batch, named(R"(,"changes":{"hash":"00"})"));
    f.refused("PATCH", batch, R"({"ids":[],"changes":{"disabled":true}})");
    f.refused("PATCH", batch, R"({"ids":[1],"changes":{"disabled":true}})");

    CHECK(reasons(f.call("DELETE", batch, named(""))) ==
          std::vector<std::string>{"ok", "not_found", "not_found"});
    CHECK(stored(f, ids[0]).deleted);
    CHECK(reasons(f.call("DELETE", batch, named(R"(,"purge":true)"))) ==
          std::vector<std::string>{"ok", "not_found", "ok"});
    CHECK(listed(f, "?deleted=any") == 1);
    f.refused("DELETE", batch, named(R"(,"purge":1)"));
}

TEST_CASE("access keys live no longer than the settings let them", "[admin]") {
    using namespace std::chrono_literals;
    fixture f;
    f.settings->auth.max_lifetime = std::chrono::days(10);
    const auto time = [&](std::chrono::seconds from_now) {
        return "\"" + admin::format_time(f.clock.wall() + from_now) + "\"";
    };
    const auto made = f.call("POST", path, R"({"name":"a"})", 201);
    CHECK("\"" + fixture::text(made, "expires_at") + "\"" == time(240h));
    const auto one = path + "/" + fixture::text(made, "id");
    f.clock.advance(24h);
    // Another change does not prolong it, and its end may be moved as far as from now.
    CHECK("\"" + fixture::text(f.call("PUT", one, R"({"description":"x"})"), "expires_at") + "\"" ==
          time(216h));
    f.refused("PUT", one, R"({"expires_at":)" + time(241h) + "}");
    f.call("PUT", one, R"({"expires_at":)" + time(239h) + "}");
    CHECK("\"" + fixture::text(f.call("PUT", one, R"({"expires_at":null})"), "expires_at") + "\"" ==
          time(240h));
    f.refused("POST", path, R"({"name":"b","expires_after_seconds":864001})");
    f.refused("POST", path, R"({"name":"b","expires_after_seconds":9223372036854775807})");
    CHECK(f.call("POST", path, R"({"name":"b","expires_after_seconds":864000})", 201)
              .at("expires_at")
              .is_null());
    const auto batch = f.call("POST", path + "/batch", R"({"name":"c","count":2})", 201);
    CHECK("\"" +
              fixture::text(
                  f.call("GET", path + "/" + fixture::text(batch.at("access_keys").at(0), "id")),
                  "expires_at") +
              "\"" ==
          time(240h));
}

TEST_CASE("access keys without limits show those by default", "[admin]") {
    fixture f;
    f.settings->limits.default_requests = 7;
    auto made = f.call("POST", path, R"({"name":"a"})", 201);
    const auto one = path + "/" + fixture::text(made, "id");
    CHECK(fixture::text(made, "limits_from") == "default");
    CHECK(made.at("limits").at(0).at("cap").as_int64() == 7);
    f.settings->limits.default_requests = 8;
    CHECK(f.call("GET", one).at("limits").at(0).at("cap").as_int64() == 8);
    made = f.call("PUT", one, R"({"limits":[]})");
    CHECK(fixture::text(made, "limits_from") == "own");
    CHECK(f.call("GET", one).at("limits").as_array().empty());
    CHECK(fixture::text(f.call("PUT", one, R"({"limits":null})"), "limits_from") == "default");
}

TEST_CASE("access keys in an order", "[admin]") {
    fixture f;
    for (const auto* body :
         {R"({"name":"b","expires_at":"2026-01-03"})", R"({"name":"c","expires_at":"2026-01-02"})",
          R"({"name":"a","expires_after_seconds":60})"}) {
        f.call("POST", "/admin/access-keys", body, 201);
        f.clock.advance(std::chrono::seconds(1));
    }
    const auto names = [&](const std::string& sort) {
        std::string out;
        const auto list = f.call("GET", "/admin/access-keys?sort=" + sort);
        for (const auto& key : list.at("access_keys").as_array())
            out += fixture::text(key, "name");
        return out;
    };
    CHECK(names("name") == "abc");
    CHECK(names("-name") == "cba");
    CHECK(names("created") == "bca");
    CHECK(names("expires_at") == "cba");
    CHECK(f.refused("GET", "/admin/access-keys?sort=size", {}).find("\"sort\"") !=
          std::string::npos);
}

TEST_CASE("no imported access key lives longer than the settings let one", "[admin]") {
    fixture f;
    f.settings->auth.max_lifetime = {};
    const auto make = [&](const std::string& body) {
        return fixture::text(f.call("POST", "/admin/access-keys", body, 201), "id");
    };
    const auto endless = make(R"({"name":"endless"})");
    const auto late = make(R"({"name":"late","expires_at":"2199-01-01"})");
    const auto soon = make(R"({"name":"soon","expires_at":"2026-01-03"})");
    const auto used = make(R"({"name":"used","expires_after_seconds":31536000})");
    const auto document = boost::json::serialize(boost::json::object{
        {"passphrase", "correct horse battery"},
        {"document", f.call("POST", "/admin/export",
                            R"({"mode":"encrypted","passphrase":"correct horse battery"})")}});
    for (const auto& id : {endless, late, soon, used}) {
        f.call("DELETE", "/admin/access-keys/" + id);
        f.call("DELETE", "/admin/access-keys/" + id + "?purge=true");
    }
    f.settings->auth.max_lifetime = std::chrono::hours(240);
    const auto last = f.clock.wall() + f.settings->auth.max_lifetime;
    const auto stored = [&](const std::string& id) {
        return *auth::access_key_from(*f.store->get(auth::access_key_kind, id));
    };
    CHECK(f.call("POST", "/admin/import", document).at("created").as_int64() >= 4);
    CHECK(stored(endless).expires_at == last);
    CHECK(stored(late).expires_at == last);
    CHECK(*stored(soon).expires_at < last);
    CHECK_FALSE(stored(used).expires_at);
    CHECK(stored(used).options->expires_after == std::chrono::hours(240));
    // Once more, later: nothing changes.
    f.clock.advance(std::chrono::hours(1));
    const auto again = f.call("POST", "/admin/import?mode=overwrite", document);
    CHECK(again.at("unchanged").as_int64() >= 4);
    CHECK(stored(endless).expires_at == last);
    // Nor one of many.
    f.call("POST", "/admin/access-keys/batch",
           R"({"name":"b","count":2,"expires_at":"2199-01-01"})", 400);
}
