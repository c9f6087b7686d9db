// What the admin API has stored: it wins, it is checked like the file, and what cannot be taken at
// a start is left out.
#include "config/stored.hpp"

#include <catch2/catch.hpp>

#include <algorithm>

#include "config/describe.hpp"

using namespace kw;
using namespace kw::config;

namespace {

const environment env = {{"KEY_POOL_RETRY_MAX", "7"}, {"ALLOWED_HOSTS", "from.env"}};

[[nodiscard]] problem bad(const stored_settings& stored) {
    const auto got = load("", env, {}, stored);
    REQUIRE_FALSE(got.has_value());
    REQUIRE(got.error().items.size() == 1);
    return got.error().items.front();
}

}  // namespace

TEST_CASE("what is stored wins over the environment, for itself alone") {
    const auto got = load("", env, {},
                          {{"pool.retry_max", {"2"}},
                           {"server.allowed_hosts", {"a.example", "B.example"}},
                           {"log.level", {"debug"}},
                           {"pool.rate_limit_cooldown", {"90s"}}});
    REQUIRE(got.has_value());
    CHECK(got->values.pool.retry_max == 2);
    CHECK(got->values.server.allowed_hosts == std::vector<std::string>{"a.example", "b.example"});
    CHECK(got->values.log.level == log::level::debug);
    CHECK(got->values.pool.rate_limit_cooldown == std::chrono::seconds(90));
    CHECK(got->origins.at("pool.retry_max").to_string() == "store");
    CHECK(got->left_out.empty());
    const auto rows = describe(*got);
    const auto row_of = [&](std::string_view key) {
        return *std::find_if(rows.begin(), rows.end(), [&](const row& r) { return r.key == key; });
    };
    CHECK(row_of("pool.retry_max").origin == "store");
    CHECK(row_of("pool.retry_total").origin == "default");
}

TEST_CASE("an empty list is stored as one") {
    const auto got = load("", env, {}, {{"server.allowed_hosts", {}}});
    REQUIRE(got.has_value());
    CHECK(got->values.server.allowed_hosts.empty());
}

TEST_CASE("what is stored is checked like the file, and named when it is wrong") {
    CHECK(bad({{"pool.retry_maxx", {"2"}}}).key == "pool.retry_maxx");
    CHECK(bad({{"pool.retry_maxx", {"2"}}}).remedy == "did you mean pool.retry_max?");
    CHECK(bad({{"pool.retry_max", {"99"}}}).reason == "is out of range");
    CHECK(bad({{"pool.retry_max", {"1", "2"}}}).reason == "is not a single value");
    CHECK(bad({{"pool.retry_max", {}}}).reason == "is not a single value");
    CHECK(bad({{"log.level", {"loud"}}}).key == "log.level");
    CHECK(bad({{"pool.error_cooldown_max", {"1s"}}}).key == "pool.error_cooldown_max");
    CHECK(bad({{"auth.admin_key", {"a-secret-that-nobody-knows"}}}).key == "auth.admin_key");
    CHECK(bad({{"upstream.egress_proxy", {"http://u:p@h"}}}).key == "upstream.egress_proxy");
    CHECK(bad({{"store.data_dir", {"/tmp"}}}).key == "store.data_dir");
    CHECK(bad({{"server.workers", {"2"}}}).key == "server.workers");
    CHECK(bad({{"groups", {"x"}}}).key == "groups");
    CHECK(bad({{"pool.retry_max", {"canary"}}}).to_string().find("canary") == std::string::npos);
}

TEST_CASE("a start leaves out what it cannot take, and says so") {
    // Of a newer release, of a wrong value, and one that contradicts what is set here.
    const environment here = {{"KEYWHEEL_POOL_ERROR_COOLDOWN", "20s"},
                              {"KEYWHEEL_POOL_ERROR_COOLDOWN_MAX", "30s"}};
    const auto got = load_over("", here, {},
                               {{"pool.of_the_future", {"1"}},
                                {"pool.retry_max", {"many"}},
                                {"pool.error_cooldown", {"10m"}},
                                {"pool.retry_total", {"9"}}});
    REQUIRE(got.has_value());
    CHECK(got->values.pool.retry_total == 9);
    CHECK(got->values.pool.retry_max == 3);
    CHECK(got->values.pool.error_cooldown == std::chrono::seconds(20));
    auto left = got->left_out;
    std::sort(left.begin(), left.end());
    CHECK(left ==
          std::vector<std::string>{"pool.error_cooldown", "pool.of_the_future", "pool.retry_max"});
    REQUIRE(got->warnings.size() == 3);
    for (const auto& warning : got->warnings) {
        CHECK(warning.find("left out") != std::string::npos);
        CHECK(warning.find("many") == std::string::npos);
    }
}

TEST_CASE("a broken environment is not the fault of what is stored") {
    const auto got =
        load_over("", {{"KEY_POOL_RETRY_MAX", "x"}}, {}, {{"pool.retry_total", {"9"}}});
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error().items[0].key == "pool.retry_max");
}

TEST_CASE("the stored record comes back as it was, also with members of a newer release") {
    settings_version v;
    v.number = 12;
    v.at = wall_time(milliseconds(1'700'000'000'123));
    v.by = "admin from 192.0.2.1";
    v.action = "rollback to 3";
    v.values = {{"pool.strategy", {"random"}}, {"server.allowed_hosts", {"a", "b\"c"}}};
    const auto back = version_from_json(to_json(v));
    REQUIRE(back.has_value());
    CHECK(back->number == 12);
    CHECK(back->at == v.at);
    CHECK(back->by == v.by);
    CHECK(back->action == v.action);
    CHECK(back->values == v.values);
    CHECK(version_from_json(R"({"version":1,"values":{"a.b":["c"]},"mood":{"x":1}})").has_value());
    for (const char* wrong :
         {"", "[]", "{}", R"({"version":-1,"values":{}})", R"({"version":1,"values":{"a":"b"}})",
          R"({"version":1,"values":{"a":[1]}})", R"({"version":1,"values":[]})"})
        CHECK_FALSE(version_from_json(wrong).has_value());
}

TEST_CASE("every setting is listed, and what may be stored is taken as it is listed") {
    const auto loaded = load("", {});
    REQUIRE(loaded.has_value());
    const auto all = list_settings(*loaded);
    std::size_t open = 0;
    stored_settings stored;
    for (const auto& one : all) {
        INFO(one.key);
        CHECK(one.locked == why_not_stored(one.key));
        CHECK_FALSE(one.type.empty());
        if (!one.locked.empty()) continue;
        ++open;
        if (!one.value.empty()) stored[one.key] = value_texts(loaded->values, one.key);
    }
    CHECK(open > 60);
    const auto again = load("", {}, {}, stored);
    REQUIRE(again.has_value());
    CHECK(again->values == loaded->values);
    CHECK(why_not_stored("server") == "is not a known setting");
    CHECK(why_not_stored("server.portt") == "is not a known setting");
}
