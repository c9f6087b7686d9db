// The one check in front of all routes, and the table of routes.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "admin/query_params.hpp"
#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using test::fixture;

namespace {

std::string concrete(std::string_view pattern) {
    std::string path(pattern);
    if (const auto at = path.find("{id}"); at != std::string::npos) path.replace(at, 4, "x1");
    return path;
}

std::string header(const net::control_response& r, std::string_view name) {
    for (const auto& [n, value] : r.headers) {
        if (n == name) return value;
    }
    return {};
}

}  // namespace

TEST_CASE("no route answers without the admin secret", "[admin]") {
    fixture f;
    REQUIRE(admin_api::routes().size() > 20);
    for (const auto& route : admin_api::routes()) {
        auto r = fixture::request(route.method, concrete(route.path), "{}");
        r.admin_key = secret();
        INFO(route.method << ' ' << route.path);
        const auto out = f.handle(r);
        if (route.open) {
            CHECK(out.status == 400);  // it is how one gets in
            continue;
        }
        CHECK(out.status == 401);
        CHECK(out.body.find("missing_admin_key") != std::string::npos);
    }
    // Nor does it say which paths there are.
    auto r = fixture::request("GET", "/admin/nothing");
    r.admin_key = secret();
    CHECK(f.handle(r).status == 401);
}

TEST_CASE("wrong secrets are refused, then made to wait", "[admin]") {
    fixture f;
    auto r = fixture::request("GET", "/admin/stats");
    r.admin_key = secret("not-the-admin-secret");
    CHECK(f.handle(r).status == 401);
    net::control_response last;
    for (int i = 0; i < 20 && last.status != 429; ++i)
        last = f.handle(r);
    REQUIRE(last.status == 429);
    CHECK(std::stoi(header(last, "Retry-After")) >= 1);
    // The right one from there has to wait too; from elsewhere it does not.
    CHECK(f.handle(fixture::request("GET", "/admin/stats")).status == 429);
    auto other = fixture::request("GET", "/admin/stats");
    other.source = "192.0.2.2";
    CHECK(f.handle(other).status == 200);
}

TEST_CASE("only wrong credentials are suspicious", "[admin]") {
    fixture f;
    const auto noticed = [&f] {
        std::uint64_t count = 0;
        for (const auto& item : f.noticed.take())
            if (item.is == incidents::what::refused_credential) count += item.count;
        return count;
    };
    const std::string ended = "kws-adm_1-" + std::string(43, 'x');
    auto r = fixture::request("POST", "/admin/access-keys", "{}");
    r.admin_key = secret();
    CHECK(f.handle(r).status == 401);  // none
    r.session = secret(ended);         // a browser sends it by itself
    CHECK(f.handle(r).status == 401);
    r.session = secret("anything");
    CHECK(f.handle(r).status == 401);
    CHECK(noticed() == 0);

    r.session = secret();
    r.source = "192.0.2.7";
    r.bearer = secret("kwt-anything");
    CHECK(f.handle(r).status == 401);
    CHECK(noticed() == 1);
    r.bearer = secret(ended);
    CHECK(f.handle(r).status == 401);
    CHECK(noticed() == 1);
    r.bearer = secret();
    r.admin_key = secret("not-the-admin-secret");
    CHECK(f.handle(r).status == 401);
    CHECK(noticed() == 1);
    // What has to wait is not looked at.
    int status = 401;
    for (int i = 0; i < 40 && status == 401; ++i)
        status = f.handle(r).status;
    CHECK(status == 429);
    static_cast<void>(noticed());
    CHECK(f.handle(r).status == 429);
    CHECK(noticed() == 0);
}

TEST_CASE("whoever has an IPv6 network guesses as one", "[admin]") {
    fixture f;
    auto r = fixture::request("GET", "/admin/stats");
    r.admin_key = secret("not-the-admin-secret");
    int status = 401;
    for (int i = 0; i < 40 && status == 401; ++i) {
        r.source = "2001:db8::" + std::to_string(i + 1);
        status = f.handle(r).status;
    }
    CHECK(status == 429);
    const auto noticed = f.noticed.take();
    REQUIRE(noticed.size() == 1);
    CHECK(noticed[0].subject == "2001:db8::/64");
}

TEST_CASE("without an admin secret the API is off and says how to turn it on", "[admin]") {
    fixture f;
    f.api.set_guard(*auth::admin_guard::make(secret(), true));
    const auto out = f.handle(fixture::request("GET", "/admin/stats"));
    CHECK(out.status == 403);
    CHECK(out.body.find("ADMIN_ACCESS_KEY") != std::string::npos);
}

TEST_CASE("unknown paths, other methods, huge bodies", "[admin]") {
    fixture f;
    f.call("GET", "/admin", {}, 404);
    f.call("GET", "/admin/nothing", {}, 404);
    f.call("GET", "/admin/keys/a/b/c", {}, 404);
    f.call("GET", "/admin/keys/none", {}, 404);
    const auto out = f.send(fixture::request("POST", "/admin/keys/x"));
    CHECK(out.status == 405);
    CHECK(header(out, "Allow") == "GET, PUT, DELETE");
    f.call("POST", "/admin/keys", std::string(admin_api::max_body + 1, ' '), 413);
    for (const auto* body : {"[", "[]", "{\"key\":", "\"x\""})
        CHECK(f.refused("POST", "/admin/keys", body).find("JSON object") != std::string::npos);
}

TEST_CASE("what nobody asked for is refused by name", "[admin]") {
    fixture f;
    f.add_group("g");
    const auto id = f.add_key("sk-canary-upstream-00000000001");
    const auto admin = fixture::text(
        f.call("POST", "/admin/admins",
               R"({"name":"a","role":"viewer","password":"correct horse battery"})", 201),
        "id");
    const auto ak =
        fixture::text(f.call("POST", "/admin/access-keys", R"({"name":"n"})", 201), "id");
    f.call("POST", "/admin/notifications",
           R"({"id":"hook","type":"webhook","url":"https://hooks.example/x","key":"canary-key"})",
           201);
    for (const auto& route : admin_api::routes()) {
        std::string path(route.path);
        const auto at = path.find("{id}");
        if (at != std::string::npos)
            path.replace(at, 4,
                         path.find("notifications") != std::string::npos ? "hook"
                         : path.find("access-keys") != std::string::npos ? ak
                         : path.find("admins") != std::string::npos      ? admin
                         : path.find("pool-groups") != std::string::npos ? "g"
                                                                         : id);
        if (route.method == "DELETE") continue;  // takes neither
        if (route.method == "GET") {
            if (at != std::string::npos) continue;
            CHECK(f.refused("GET", path + "?surprise=1", {}).find("\"surprise\"") !=
                  std::string::npos);
        } else {
            const auto why = f.refused(route.method, path, R"({"surprise":1})");
            INFO(route.method << ' ' << path << ' ' << why);
            // A batch wants its keys first.
            CHECK((why.find("surprise") != std::string::npos ||
                   why.find("is missing") != std::string::npos));
        }
    }
    CHECK(f.refused("GET", "/admin/keys?page=0", {}).find("\"page\"") != std::string::npos);
    CHECK(f.refused("GET", "/admin/keys?page=1&page=2", {}).find("twice") != std::string::npos);
    CHECK(f.refused("GET", "/admin/usage?by=moon", {}).find("upstream_key") != std::string::npos);
    CHECK(f.refused("GET", "/admin/usage?from=yesterday", {}).find("RFC 3339") !=
          std::string::npos);
}

TEST_CASE("what is documented of a query is read, and nothing else", "[admin]") {
    fixture f;
    const auto document =
        boost::json::parse(f.send(fixture::request("GET", "/admin/openapi.json")).body);
    std::size_t seen = 0;
    for (const auto& route : admin_api::routes()) {
        if (route.open) continue;
        const std::string path = concrete(route.path);
        INFO(route.method << ' ' << path);
        // Read without a parameter, a handler asks for all that it knows.
        if (route.method == "GET")
            CHECK(f.send(fixture::request("GET", path)).body.find("table of parameters") ==
                  std::string::npos);
        const auto unknown = f.send(fixture::request(route.method, path + "?surprise=1", "{}"));
        CHECK(unknown.status == 400);
        CHECK(unknown.body.find("\\\"surprise\\\" is unknown") != std::string::npos);

        std::string method(route.method);
        std::ranges::transform(method, method.begin(), [](char c) { return c | 0x20; });
        const auto& operation = document.at("paths").at(route.path).at(method).as_object();
        const auto params = query_params(route.method, route.path);
        const auto* listed = operation.if_contains("parameters");
        REQUIRE((listed == nullptr ? 0 : listed->as_array().size()) == params.size());
        for (std::size_t i = 0; i < params.size(); ++i) {
            const auto& p = params[i];
            INFO(p.name);
            CHECK(listed->at(i).at("name").as_string() == std::string(p.name));
            const auto value = p.is == param_type::number ? std::string("1")
                               : p.is == param_type::time ? std::string("2026-01-01")
                               : p.is == param_type::word
                                   ? std::string(p.words.substr(0, p.words.find(',')))
                                   : std::string("x");
            const auto out = f.send(
                fixture::request(route.method, path + "?" + std::string(p.name) + "=" + value));
            CHECK(out.body.find("is unknown") == std::string::npos);
            // A word of the list is one that the handler takes.
            if (p.is == param_type::word && route.method == "GET") CHECK(out.status == 200);
            ++seen;
        }
    }
    CHECK(seen > 60);
}

TEST_CASE("the documentation lists the routes", "[admin]") {
    const auto path = std::filesystem::path(__FILE__).parent_path() / "../../../docs/admin-api.md";
    std::ifstream in(path);
    REQUIRE(in.good());
    std::vector<std::string> rows;
    for (std::string line; std::getline(in, line);) {
        if (line.find("` | `/admin/") != std::string::npos) rows.push_back(line);
    }
    std::vector<std::string> expected;
    for (const auto& r : admin_api::routes()) {
        std::ostringstream row;
        row << "| `" << r.method << "` | `" << r.path << "` | " << to_string(r.least) << " | "
            << r.summary << " |";
        expected.push_back(row.str());
    }
    CHECK(rows == expected);
}

TEST_CASE("metrics need no secret", "[admin]") {
    fixture f;
    f.registry.counter("kw_test_total", "help").add(3);
    auto r = fixture::request("GET", "/metrics");
    r.admin_key = secret();
    const auto out = f.handle(r);
    CHECK(out.status == 200);
    CHECK(out.content_type.starts_with("text/plain; version=0.0.4"));
    CHECK(out.body.find("kw_test_total 3") != std::string::npos);
    CHECK(f.handle(fixture::request("POST", "/metrics")).status == 405);
}
