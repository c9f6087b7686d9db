// Tests of keys, their export and the description of the API, as callers see them.
#include <catch2/catch.hpp>
#include <set>

#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using test::fixture;
namespace json = boost::json;

namespace {

json::object data_of(const net::control_response& r) {
    return json::parse(r.body).at("data").as_object();
}

}  // namespace

TEST_CASE("a key's test is answered when its upstream has answered", "[admin]") {
    fixture f;
    const auto id = f.add_key("sk-canary-upstream-00000000001");
    const std::string path = "/admin/keys/" + id + "/test";
    const auto test = [&](const pool::key_test& told) {
        std::optional<net::control_response> out;
        f.api.handle(fixture::request("POST", path),
                     [&](net::control_response r) { out = std::move(r); });
        CHECK_FALSE(out);
        REQUIRE(f.tests.asked == id);
        f.tests.done(told);
        REQUIRE(out);
        CHECK(out->status == 200);
        CHECK(json::parse(out->body).at("success").as_bool());
        return data_of(*out);
    };
    using outcome = pool::probe_outcome;
    auto got = test({outcome::passed, 200, errc::ok, pool::key_status::active});
    CHECK(got.at("success").as_bool());
    CHECK(got.at("status").as_int64() == 200);
    CHECK(got.at("key_status").as_string() == "active");
    got = test({outcome::failed, 401, errc::ok, pool::key_status::quarantined});
    CHECK_FALSE(got.at("success").as_bool());
    CHECK_FALSE(got.at("inconclusive").as_bool());
    CHECK(got.at("key_status").as_string() == "quarantined");
    got = test({outcome::inconclusive, 0, errc::upstream_connect_error, pool::key_status::active});
    CHECK_FALSE(got.at("success").as_bool());
    CHECK(got.at("inconclusive").as_bool());
    CHECK(got.at("status").is_null());
    CHECK(fixture::text(got, "message").find("upstream_connect_error") != std::string::npos);

    f.tests.asked.clear();
    f.call("POST", "/admin/keys/none/test", {}, 404);
    f.call("POST", path, R"({"surprise":1})", 400);
    CHECK(f.tests.asked.empty());
}

TEST_CASE("a test of all keys is a task that is asked for later", "[admin]") {
    fixture f;
    f.add_key("sk-canary-upstream-00000000001");
    f.add_key("sk-canary-upstream-00000000002");
    auto got = f.call("POST", "/admin/keys/test-all", {}, 202);
    CHECK(f.tests.ids.size() == 2);
    CHECK(fixture::text(got, "id") == "task_1");
    CHECK(fixture::text(got, "state") == "running");
    CHECK(got.at("total").as_int64() == 2);
    f.tests.progress.tested = 2;
    f.tests.progress.success = 1;
    f.tests.progress.failed = 1;
    f.tests.progress.banned = 1;
    f.tests.progress.ended = f.clock.wall();
    got = f.call("GET", "/admin/tasks/task_1");
    CHECK(fixture::text(got, "state") == "done");
    CHECK(got.at("tested").as_int64() == 2);
    CHECK(got.at("banned").as_int64() == 1);
    CHECK(got.at("inconclusive").as_int64() == 0);
    f.call("GET", "/admin/tasks/task_2", {}, 404);
}

TEST_CASE("keys are exported as text, by status", "[admin]") {
    fixture f;
    f.add_key("sk-canary-upstream-00000000001");
    const auto id = f.add_key("sk-canary-upstream-00000000002");
    f.call("PATCH", "/admin/keys/" + id + "/toggle", R"({"status":"banned"})");
    const auto get = [&](const std::string& query) {
        auto out = f.handle(fixture::request("GET", "/admin/keys/export" + query));
        REQUIRE(out.status == 200);
        CHECK(out.content_type == "text/plain; charset=utf-8");
        REQUIRE(out.headers.size() == 1);
        CHECK(out.headers[0].first == "Content-Disposition");
        CHECK(out.headers[0].second.starts_with("attachment; "));
        std::set<std::string> lines;
        for (std::size_t at = 0; at < out.body.size();) {
            const auto end = out.body.find('\n', at);
            REQUIRE(end != std::string::npos);
            lines.insert(out.body.substr(at, end - at));
            at = end + 1;
        }
        return lines;
    };
    using lines = std::set<std::string>;
    CHECK(get("") == lines{"sk-canary-upstream-00000000001", "sk-canary-upstream-00000000002"});
    CHECK(get("?status=banned") == lines{"sk-canary-upstream-00000000002"});
    CHECK(get("?status=active") == lines{"sk-canary-upstream-00000000001"});
    CHECK(get("?status=cooling").empty());
    f.call("GET", "/admin/keys/export?status=odd", {}, 400);
}

TEST_CASE("the OpenAPI document has every route and nothing else", "[admin]") {
    fixture f;
    const auto out = f.handle(fixture::request("GET", "/admin/openapi.json"));
    REQUIRE(out.status == 200);
    const auto doc = json::parse(out.body);
    CHECK(doc.at("openapi").as_string() == "3.1.0");
    CHECK(doc.at("security").at(0).as_object().contains("admin_key"));
    const auto& components = doc.at("components");
    CHECK(components.at("securitySchemes").at("admin_key").at("name").as_string() == "x-admin-key");

    std::set<std::pair<std::string, std::string>> expected;
    for (const auto& r : admin_api::routes())
        expected.emplace(r.path, r.method);
    std::set<std::pair<std::string, std::string>> found;
    std::set<std::string> ids;
    for (const auto& [path, item] : doc.at("paths").as_object()) {
        const bool one = path.find("{id}") != json::string_view::npos;
        INFO(std::string(path));
        CHECK(item.as_object().contains("parameters") == one);
        if (one) CHECK(item.at("parameters").at(0).at("name").as_string() == "id");
        for (const auto& [method, operation] : item.as_object()) {
            if (method == "parameters") continue;
            std::string upper(method);
            for (char& c : upper)
                c = static_cast<char>(c - 'a' + 'A');
            found.emplace(path, upper);
            ids.insert(fixture::text(operation, "operationId"));
            CHECK_FALSE(fixture::text(operation, "summary").empty());
            const auto& responses = operation.at("responses").as_object();
            CHECK(responses.contains("401"));
            CHECK(responses.contains("404") == one);
            // Every reference leads somewhere.
            for (const auto& [status, response] : responses) {
                const auto ref = fixture::text(response, "$ref");
                const std::string start = "#/components/responses/";
                REQUIRE(ref.starts_with(start));
                CHECK(components.at("responses").as_object().contains(ref.substr(start.size())));
            }
        }
    }
    CHECK(found == expected);
    CHECK(ids.size() == expected.size());
    CHECK(components.at("schemas").as_object().contains("envelope"));
    CHECK(components.at("schemas").as_object().contains("refusal"));
}
