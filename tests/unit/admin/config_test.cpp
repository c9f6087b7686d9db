// Settings by the API: names in common use, revisions, versions that come and go.
#include "config/stored.hpp"
#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin::test;

namespace {

config::settings_version stored(fixture& f) {
    return *config::version_from_json(f.store->get(config::stored_kind, config::stored_id)->json);
}

}  // namespace

TEST_CASE("names in common use are settings like others") {
    fixture f;
    f.call("PUT", "/admin/config",
           R"({"algorithm":"random","retry":{"enabled":false,"max":1},)"
           R"("autoBan":{"enabled":true,"ban_401":true,"ban_402":false,"threshold":5},)"
           R"("performance":{"concurrentLimit":50,"requestTimeoutMs":1500}})");
    const config::stored_settings want = {
        {"pool.strategy", {"random"}},     {"pool.retry", {"false"}},
        {"pool.retry_max", {"1"}},         {"pool.auto_ban", {"true"}},
        {"pool.ban_401", {"true"}},        {"pool.ban_402", {"false"}},
        {"pool.error_threshold", {"5"}},   {"server.max_exchanges", {"50"}},
        {"pool.probe_timeout", {"1500ms"}}};
    CHECK(stored(f).values == want);
    CHECK(f.refused("PUT", "/admin/config", R"({"autoBan":{"ban_403":true}})").find("ban_403") !=
          std::string::npos);
    CHECK(f.refused("PUT", "/admin/config", R"({"retry":{"max":1},"pool.retry_max":2})")
              .find("twice") != std::string::npos);
    CHECK(stored(f).number == 1);
}

TEST_CASE("tiers by their common names") {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"enabled":true})", "auto-fallback"},
        {R"({"enabled":false})", "strict"},
        {R"({"autoFallback":true})", "auto-fallback"},
        {R"({"autoFallback":false})", "strict"},
        {R"({"strictMode":true})", "strict"},
        {R"({"strictMode":false})", "auto-fallback"},
        {R"({"enabled":true,"autoFallback":true,"strictMode":false})", "auto-fallback"},
        {R"({"strictMode":false,"enabled":true,"autoFallback":false})", "strict"},
        {R"({"enabled":false,"autoFallback":true,"strictMode":false})", "strict"},
    };
    fixture f;
    for (const auto& [given, word] : cases) {
        INFO(given);
        f.call("PUT", "/admin/config", std::string(R"({"multiTier":)") + given + "}");
        CHECK(stored(f).values.at("pool.multi_tier") == std::vector<std::string>{word});
    }
    for (const char* wrong : {R"({"strictMode":true,"autoFallback":true})", R"({"mood":true})",
                              R"({"enabled":1})", "7"})
        CHECK(f.refused("PUT", "/admin/config", std::string(R"({"multiTier":)") + wrong + "}")
                  .find("multiTier") != std::string::npos);
}

TEST_CASE("what does not change makes no version, and null forgets") {
    fixture f;
    f.call("PUT", "/admin/config", R"({"pool.retry_max":2,"log":{"level":"debug"}})");
    f.call("PUT", "/admin/config", R"({"pool.retry_max":"2"})");
    CHECK(stored(f).number == 1);
    f.call("PUT", "/admin/config", R"({"pool.retry_max":null})");
    CHECK(stored(f).values == config::stored_settings{{"log.level", {"debug"}}});
    CHECK(stored(f).number == 2);
    CHECK(f.changes > 0);
}

TEST_CASE("a second writer is told the revision that stands") {
    fixture f;
    const auto revision =
        f.call("PUT", "/admin/config", R"({"pool.retry_max":2})").at("revision").as_int64();
    const auto late = std::to_string(revision - 1);
    for (const auto& [method, path] :
         {std::pair("PUT", "/admin/config"), std::pair("POST", "/admin/config/reset"),
          std::pair("POST", "/admin/config/versions/0/rollback")}) {
        const auto refused = f.call(method, path, R"({"revision":)" + late + "}", 409);
        CHECK(refused.at("data").at("revision").as_int64() == revision);
    }
    CHECK(stored(f).number == 1);
    f.call("POST", "/admin/config/versions/0/rollback",
           R"({"revision":)" + std::to_string(revision) + "}");
    CHECK(stored(f).values.empty());
}

TEST_CASE("old versions go, and one that is gone is no way back") {
    fixture f;
    for (int n = 0; n < 205; ++n)
        f.call("PUT", "/admin/config", R"({"pool.retry_max":)" + std::to_string(n % 20) + "}");
    const auto listed = f.call("GET", "/admin/config/versions?limit=1000");
    CHECK(listed.at("pagination").at("total").as_int64() == 200);
    CHECK(listed.at("versions").at(0).at("version").as_int64() == 205);
    CHECK(listed.at("versions").at(199).at("version").as_int64() == 6);
    f.call("POST", "/admin/config/versions/5/rollback", "{}", 404);
    f.call("GET", "/admin/config/versions/5", "", 404);
    // The oldest has lost the one before it: it tells no changes rather than wrong ones.
    CHECK(f.call("GET", "/admin/config/versions/6").at("changes").as_array().empty());
    f.call("POST", "/admin/config/versions/6/rollback");
    CHECK(stored(f).values.at("pool.retry_max") == std::vector<std::string>{"5"});
}

TEST_CASE("a record that cannot be read is replaced by the next change") {
    fixture f;
    f.call("PUT", "/admin/config", R"({"pool.retry_max":1})");
    f.call("PUT", "/admin/config", R"({"pool.retry_max":2})");
    auto record = *f.store->get(config::stored_kind, config::stored_id);
    record.json = R"({"shape":"of the future"})";
    REQUIRE(f.store->put(record).has_value());
    CHECK(f.call("GET", "/admin/config").at("version").as_int64() == 2);
    f.call("PUT", "/admin/config", R"({"pool.retry_max":7})");
    CHECK(stored(f).number == 3);
    CHECK(stored(f).values.at("pool.retry_max") == std::vector<std::string>{"7"});
}
