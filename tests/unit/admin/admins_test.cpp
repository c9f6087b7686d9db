// Admins, sessions, tokens, roles and the audit trail, with a clock of the test's own.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using namespace std::chrono_literals;
using test::fixture;

namespace {

constexpr const char* password = "canary password of ada";

std::string header(const net::control_response& r, std::string_view name) {
    for (const auto& [n, value] : r.headers)
        if (n == name) return value;
    return {};
}

boost::json::value json_of(const net::control_response& r) {
    return boost::json::parse(r.body);
}

struct admins : fixture {
    std::string make(const std::string& name, const std::string& role) {
        return text(
            call("POST", "/admin/admins",
                 R"({"name":")" + name + R"(","email":")" + name + R"(@example.com","role":")" +
                     role + R"(","password":")" + password + "\"}",
                 201),
            "id");
    }
    net::control_request bare(std::string_view method, std::string_view target,
                              std::string_view body = {}) {
        auto r = request(method, target, body);
        r.admin_key = secret();
        r.host = "kw.example";
        return r;
    }
    net::control_response log_in(const std::string& name, const std::string& word,
                                 bool cookie = false) {
        return send(bare("POST", "/admin/login",
                         R"({"name":")" + name + R"(","password":")" + word + R"(","cookie":)" +
                             (cookie ? "true" : "false") + "}"));
    }
    secret token_of(const std::string& name) {
        const auto out = log_in(name, password);
        REQUIRE(out.status == 200);
        return secret(text(json_of(out).at("data"), "token"));
    }
    int status(std::string_view method, std::string_view target, const secret& bearer,
               std::string_view body = {}) {
        auto r = bare(method, target, body);
        r.bearer = bearer;
        return send(r).status;
    }
    // What the newest entry of the trail says.
    boost::json::object last_entry(const std::string& query = "") {
        const auto all = call("GET", "/admin/audit?limit=1" + query).at("entries").as_array();
        REQUIRE(all.size() == 1);
        return all[0].at("entry").as_object();
    }
};

}  // namespace

TEST_CASE("an admin logs in, works and logs out", "[admin]") {
    admins f;
    const auto id = f.make("ada", "operator");
    CHECK(f.refused("POST", "/admin/admins",
                    R"({"name":"ADA","role":"viewer","password":"another password"})", 409)
              .find("that name") != std::string::npos);
    const auto text = f.token_of("ada");
    CHECK(f.status("GET", "/admin/stats", text) == 200);
    CHECK(f.status("GET", "/admin/admins", text) == 403);
    CHECK(f.log_in("ADA@example.com", password).status == 200);
    CHECK(f.call("GET", "/admin/admins/" + id).at("sessions").as_array().size() == 2);
    CHECK(f.status("POST", "/admin/logout", text) == 200);
    CHECK(f.status("GET", "/admin/stats", text) == 401);
    // Its true lifetime, used or not.
    const auto again = f.token_of("ada");
    for (int i = 0; i < 12; ++i) {
        CHECK(f.status("GET", "/admin/me", again) == 200);
        f.clock.advance(1h);
    }
    CHECK(f.status("GET", "/admin/me", again) == 401);
}

TEST_CASE("what ends sessions", "[admin]") {
    admins f;
    const auto id = f.make("ada", "viewer");
    auto text = f.token_of("ada");
    f.call("PUT", "/admin/admins/" + id, R"({"disabled":true})");
    CHECK(f.status("GET", "/admin/me", text) == 401);
    CHECK(f.log_in("ada", password).status == 401);
    f.call("PUT", "/admin/admins/" + id, R"({"disabled":false})");
    CHECK(f.status("GET", "/admin/me", text) == 401);  // it does not come back
    text = f.token_of("ada");
    f.call("PUT", "/admin/admins/" + id, R"({"password":"another long password"})");
    CHECK(f.status("GET", "/admin/me", text) == 401);
    CHECK(f.log_in("ada", password).status == 401);
    CHECK(f.log_in("ada", "another long password").status == 200);
    f.call("PUT", "/admin/admins/" + id, std::string(R"({"password":")") + password + "\"}");
    text = f.token_of("ada");
    const auto other = f.token_of("ada");
    CHECK(f.status("PUT", "/admin/me/password", text,
                   R"({"current":"wrong","password":"my own new password"})") == 400);
    CHECK(f.status("PUT", "/admin/me/password", text,
                   std::string(R"({"current":")") + password +
                       R"(","password":"my own new password"})") == 200);
    CHECK(f.status("GET", "/admin/me", text) == 200);
    CHECK(f.status("GET", "/admin/me", other) == 401);
    f.call("DELETE", "/admin/admins/" + id);
    CHECK(f.status("GET", "/admin/me", text) == 401);
    f.call("GET", "/admin/admins/" + id, {}, 404);
}

TEST_CASE("a cookie vouches for a change only with its token, from our own page", "[admin]") {
    admins f;
    f.make("ada", "operator");
    auto r = f.bare("POST", "/admin/login",
                    std::string(R"({"name":"ada","password":")") + password + "\"}");
    r.secure = true;
    const auto out = f.send(r);
    REQUIRE(out.status == 200);
    const auto cookie = header(out, "Set-Cookie");
    for (const auto* word : {"; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/admin"})
        CHECK(cookie.find(word) != std::string::npos);
    CHECK_FALSE(json_of(out).at("data").as_object().contains("token"));
    const auto csrf = fixture::text(json_of(out).at("data"), "csrf_token");
    const auto from = cookie.find('=') + 1;
    const secret session(cookie.substr(from, cookie.find(';') - from));

    const auto change = [&](const std::string& token, const std::string& origin) {
        auto q = f.bare("POST", "/admin/keys", R"({"key":"sk-canary-upstream-00000000001"})");
        q.session = session;
        q.csrf = token;
        q.origin = origin;
        return f.send(q).status;
    };
    auto read = f.bare("GET", "/admin/me");
    read.session = session;
    read.origin = "https://evil.example";
    CHECK(fixture::text(json_of(f.send(read)).at("data"), "csrf_token") == csrf);
    CHECK(change("", "") == 403);
    CHECK(change(csrf + "x", "") == 403);
    CHECK(change(csrf, "https://evil.example") == 403);
    CHECK(change(csrf, "null") == 403);
    CHECK(change(csrf, "https://kw.example") == 201);
    CHECK(change(csrf, "") == 409);  // let in: the key is there already
    // A foreign page cannot log somebody in either.
    r.origin = "https://evil.example";
    CHECK(f.send(r).status == 403);
    // A cookie that is no session is refused and is no guess.
    for (int i = 0; i < 20; ++i) {
        auto old = f.bare("GET", "/admin/me");
        old.session = secret("kws-gone");
        CHECK(f.send(old).status == 401);
    }
    // Nor is any of this a wrong credential.
    CHECK(f.noticed.take().empty());
}

TEST_CASE("pages of other hosts are let in by name, without cookies", "[admin]") {
    admins f;
    f.settings->admin.allow_origins = {"https://ops.example"};
    auto r = f.bare("OPTIONS", "/admin/keys");
    r.origin = "https://ops.example";
    const auto out = f.send(r);
    CHECK(out.status == 204);
    CHECK(header(out, "Access-Control-Allow-Origin") == "https://ops.example");
    CHECK(header(out, "Access-Control-Allow-Credentials").empty());
    r.origin = "https://evil.example";
    CHECK(f.send(r).status == 401);
    auto get = fixture::request("GET", "/admin/stats");
    get.origin = "https://ops.example";
    CHECK(header(f.send(get), "Access-Control-Allow-Origin") == "https://ops.example");
    get.origin = "https://evil.example";
    CHECK(header(f.send(get), "Access-Control-Allow-Origin").empty());
}

TEST_CASE("logins are slowed down by address and by name", "[admin]") {
    admins f;
    f.make("ada", "owner");
    const auto unknown = f.log_in("nobody", "some password here");
    const auto wrong = f.log_in("ada", "some password here");
    CHECK(unknown.status == 401);
    CHECK(unknown.body == wrong.body);
    net::control_response last;
    int tries = 2;
    for (; tries < 20 && last.status != 429; ++tries)
        last = f.log_in("ada", "some password here");
    CHECK(tries == 6);
    CHECK(std::stoi(header(last, "Retry-After")) >= 1);
    CHECK(f.log_in("ada", password).status == 429);
    // Elsewhere the name alone counts.
    auto other = f.bare("POST", "/admin/login",
                        std::string(R"({"name":"ada","password":")") + password + "\"}");
    other.source = "192.0.2.99";
    CHECK(f.send(other).status == 200);
    f.clock.advance(1h);
    CHECK(f.log_in("ada", password).status == 200);
    // Many addresses, one name.
    int refused = 0;
    for (int i = 0; i < 30; ++i) {
        auto r = f.bare("POST", "/admin/login", R"({"name":"ada","password":"wrong"})");
        r.source = "198.51.100." + std::to_string(i);
        refused += f.send(r).status == 429 ? 1 : 0;
    }
    CHECK(refused == 20);
    f.clock.advance(61s);
    CHECK(f.log_in("ada", password).status == 200);
    const auto rows = f.call("GET", "/admin/refusals?limit=1000").at("refusals").as_array();
    CHECK(rows.size() > 30);
    CHECK(f.registry.render().find("keywheel_admin_refused_total{reason=\"login\"}") !=
          std::string::npos);
}

TEST_CASE("logins that are compared at the same time count beforehand", "[admin]") {
    admins f;
    std::vector<std::function<void()>> waiting;
    auto services = f.services();
    services.aside = [&](std::function<void()> work, std::function<void()> then) {
        if (waiting.size() >= 100) return false;
        waiting.push_back([work = std::move(work), then = std::move(then)] {
            work();
            then();
        });
        return true;
    };
    admin_api api(services, *auth::admin_guard::make(secret(test::admin_secret), true),
                  random_source(3));
    int answers = 0;
    int waits = 0;
    for (int i = 0; i < 20; ++i) {
        api.handle(f.bare("POST", "/admin/login", R"({"name":"ada","password":"wrong"})"),
                   [&](net::control_response r) {
                       ++answers;
                       waits += r.status == 429 ? 1 : 0;
                   });
    }
    CHECK(waiting.size() == 5);
    CHECK(waits == 15);
    for (const auto& one : waiting)
        one();
    CHECK(answers == 20);
    // A helper that is busy: told so, and not compared.
    services.aside = [](const auto&, const auto&) { return false; };
    admin_api busy(services, *auth::admin_guard::make(secret(test::admin_secret), true),
                   random_source(4));
    // Which does not count as a guess.
    for (int i = 0; i < 50; ++i)
        busy.handle(f.bare("POST", "/admin/login", R"({"name":"ada","password":"wrong"})"),
                    [&](const net::control_response& r) {
                        CHECK(r.status == 429);
                        CHECK(r.body.find("busy") != std::string::npos);
                    });
}

TEST_CASE("each role is held to its routes", "[admin]") {
    admins f;
    std::map<auth::role, secret> by_role;
    for (const auto role : {auth::role::viewer, auth::role::operator_, auth::role::owner})
        by_role[role] = secret(fixture::text(
            f.call("POST", "/admin/tokens",
                   R"({"name":"t","role":")" + std::string(to_string(role)) + "\"}", 201),
            "token"));
    for (const auto& route : admin_api::routes()) {
        if (route.open) continue;
        std::string path(route.path);
        if (const auto at = path.find("{id}"); at != std::string::npos) path.replace(at, 4, "x1");
        for (const auto& [role, token] : by_role) {
            INFO(route.method << ' ' << path << ' ' << to_string(role));
            auto r = f.bare(route.method, path, R"({"surprise":1})");
            r.bearer = token;
            const auto out = f.handle(r);
            if (role < route.least) {
                CHECK(out.status == 403);
                CHECK(out.body.find("role " + std::string(to_string(route.least))) !=
                      std::string::npos);
            } else {
                CHECK(out.status != 403);
                CHECK(out.status != 401);
            }
        }
    }
    CHECK(f.noticed.take().empty());  // all of them were who they said
}

TEST_CASE("tokens are bound to routes and time, and are revoked", "[admin]") {
    admins f;
    const auto made = f.call(
        "POST", "/admin/tokens",
        R"({"name":"ci","role":"owner","routes":["/admin/keys"],"expires_at":"2026-01-02"})", 201);
    const secret text(fixture::text(made, "token"));
    CHECK(f.status("GET", "/admin/keys", text) == 200);
    CHECK(f.status("GET", "/admin/keys/none", text) == 404);
    CHECK(f.status("GET", "/admin/stats", text) == 403);
    CHECK(f.status("POST", "/admin/tokens", text, R"({"name":"x","role":"owner"})") == 403);
    CHECK(f.status("GET", "/admin/keys", secret(std::string(text.reveal()) + "x")) == 401);
    f.clock.advance(25h);
    CHECK(f.status("GET", "/admin/keys", text) == 401);
    f.clock.advance(1h);  // its guesses are forgotten
    // Not even one that is bound to them makes tokens or admins.
    const secret bound(fixture::text(
        f.call("POST", "/admin/tokens",
               R"({"name":"b","role":"owner","routes":["/admin/tokens","/admin/admins"]})", 201),
        "token"));
    CHECK(f.status("POST", "/admin/tokens", bound, R"({"name":"x","role":"owner"})") == 403);
    CHECK(f.status("GET", "/admin/admins", bound) == 403);
    const auto free = f.call("POST", "/admin/tokens", R"({"name":"f","role":"viewer"})", 201);
    const secret free_text(fixture::text(free, "token"));
    CHECK(f.status("GET", "/admin/stats", free_text) == 200);
    f.call("DELETE", "/admin/tokens/" + fixture::text(free, "id"));
    CHECK(f.status("GET", "/admin/stats", free_text) == 401);
    for (const auto* bad :
         {R"({"role":"viewer"})", R"({"name":"x"})", R"({"name":"x","role":"king"})",
          R"({"name":"x","role":"viewer","routes":["/nowhere"]})",
          R"({"name":"x","role":"viewer","routes":[""]})",
          R"({"name":"x","role":"viewer","expires_at":"2020-01-01"})"})
        f.refused("POST", "/admin/tokens", bad);
    // Kept as hashes; the listing masks.
    const auto listed = boost::json::serialize(f.call("GET", "/admin/tokens?limit=100"));
    CHECK(listed.find(std::string(bound.reveal())) == std::string::npos);
    CHECK(f.store->list("admin_token", {})
              ->items.front()
              .json.find(std::string(bound.reveal().substr(20))) == std::string::npos);
}

TEST_CASE("each change leaves its entry, without secrets", "[admin]") {
    admins f;
    f.add_group("g");
    CHECK(f.last_entry().at("subject").at("kind").as_string() == "group");
    const auto id = f.add_key("sk-canary-upstream-00000000001", "g");
    auto entry = f.last_entry("&subject=" + id);
    CHECK(entry.at("operation").as_string() == "create");
    CHECK(entry.at("actor").at("name").as_string() == "admin key");
    CHECK(entry.at("role").as_string() == "owner");
    CHECK(entry.at("source").as_string() == "192.0.2.1");
    CHECK(entry.at("changes").at("sealed").at("after").as_string() == "***");
    CHECK(entry.at("changes").at("group").at("after").as_string() == "g");

    f.make("ada", "operator");
    const auto session = f.token_of("ada");
    CHECK(f.last_entry().at("event").as_string() == "login");
    auto r = f.bare("PATCH", "/admin/keys/" + id + "/notes", R"({"notes":"spare"})");
    r.bearer = session;
    r.request_id = "req_one";
    const auto out = f.send(r);
    CHECK(out.status == 200);
    CHECK(header(out, "x-keywheel-request-id") == "req_one");
    entry = f.last_entry("&request_id=req_one");
    CHECK(entry.at("actor").at("name").as_string() == "ada");
    CHECK(entry.at("actor").at("kind").as_string() == "admin");
    CHECK(entry.at("role").as_string() == "operator");
    CHECK(entry.at("route").as_string() == "/admin/keys/{id}/notes");
    CHECK(entry.at("changes").as_object().size() == 1);
    CHECK(entry.at("changes").at("notes").at("before").as_string().empty());
    CHECK(entry.at("changes").at("notes").at("after").as_string() == "spare");

    f.call("DELETE", "/admin/keys/" + id);
    entry = f.last_entry();
    CHECK(entry.at("operation").as_string() == "delete");
    CHECK(entry.at("changes").at("notes").at("before").as_string() == "spare");
    CHECK(entry.at("changes").at("notes").at("after").is_null());
    // A refused change leaves none.
    f.call("DELETE", "/admin/keys/" + id, {}, 404);
    CHECK(f.last_entry().at("operation").as_string() == "delete");
    // Many in one call: one each.
    f.call("POST", "/admin/keys/batch",
           R"({"keys":["sk-canary-batch-0000001","sk-canary-batch-0000002"],"poolGroup":"g"})");
    CHECK(f.call("GET", "/admin/audit?action=batch").at("entries").as_array().size() == 2);
    // What changes no record, and what shows secrets.
    const auto again = f.add_key("sk-canary-upstream-00000000003", "g");
    f.handle(fixture::request("POST", "/admin/keys/test-all"));
    CHECK(f.last_entry().at("event").as_string() == "call");
    f.handle(fixture::request("GET", "/admin/keys/export"));
    CHECK(f.last_entry().at("event").as_string() == "export");
    // Refused ones once a minute, together.
    f.log_in("ada", "canary wrong password");
    f.log_in("ada", "canary wrong password");
    f.api.tick();
    f.clock.advance(61s);
    f.api.tick();
    CHECK(f.last_entry("&event=refused").at("sources").at("192.0.2.1").as_int64() == 2);

    for (store::audit_query q;;) {
        const auto page = *f.store->list_audit(q);
        for (const auto& e : page.items)
            CHECK(e.json.find("canary") == std::string::npos);
        if (page.next.empty()) break;
        q.page.cursor = page.next;
    }
}

TEST_CASE("the audit trail is searched and paged", "[admin]") {
    admins f;
    f.add_group("g");
    for (int i = 0; i < 30; ++i) {
        f.clock.advance(1min);
        f.add_key("sk-canary-upstream-000000000" + std::to_string(10 + i), "g");
    }
    std::set<std::string> seen;
    std::string cursor;
    int pages = 0;
    do {
        const auto page = f.call("GET", "/admin/audit?subject=upstream_key&limit=7" +
                                            (cursor.empty() ? "" : "&cursor=" + cursor));
        for (const auto& e : page.at("entries").as_array())
            seen.insert(fixture::text(e, "id"));
        const auto& next = page.at("pagination").at("next");
        cursor = next.is_null() ? "" : std::string(next.as_string());
        ++pages;
    } while (!cursor.empty());
    CHECK(seen.size() == 30);
    CHECK(pages == 5);
    const auto count = [&](const std::string& query) {
        return f.call("GET", "/admin/audit?limit=1000&" + query).at("entries").as_array().size();
    };
    CHECK(count("actor=admin%20key") == 31);
    CHECK(count("actor=nobody") == 0);
    CHECK(count("action=POST%20/admin/keys") == 30);
    CHECK(count("event=login") == 0);
    CHECK(count("q=\"g\"&event=change") == 31);
    CHECK(count("from=2026-01-01T00:10:30Z&to=2026-01-01T00:20:30Z") == 10);
    CHECK(f.refused("GET", "/admin/audit?surprise=1", {}).find("surprise") != std::string::npos);
}

TEST_CASE("an address that is not allowed reaches nothing", "[admin]") {
    admins f;
    f.settings->admin.allow_ips = {"192.0.2.0/28", "2001:db8::/32"};
    CHECK(f.send(fixture::request("GET", "/admin/stats")).status == 200);
    for (const auto* bad : {"192.0.2.200", "10.0.0.1", "", "nonsense"}) {
        auto r = fixture::request("GET", "/admin/stats");
        r.source = bad;
        CHECK(f.send(r).status == 403);
        auto l = f.bare("POST", "/admin/login", R"({"name":"a","password":"b"})");
        l.source = bad;
        CHECK(f.send(l).status == 403);
    }
    auto r = fixture::request("GET", "/admin/stats");
    r.source = "2001:db8::7";
    CHECK(f.send(r).status == 200);
}

TEST_CASE("a body is asked for only from who may send it", "[admin]") {
    admins f;
    auto r = fixture::request("POST", "/admin/keys");
    r.head_only = true;
    auto out = f.send(r);
    CHECK(out.status == 100);
    CHECK(out.read_up_to == admin_api::max_body);
    r.admin_key = secret();
    CHECK(f.send(r).status == 401);
    auto login = f.bare("POST", "/admin/login");
    login.head_only = true;
    out = f.send(login);
    CHECK(out.status == 100);
    CHECK(out.read_up_to <= 16 * 1024);
    auto missing = fixture::request("POST", "/admin/nothing");
    missing.head_only = true;
    CHECK(f.send(missing).status == 404);
}

TEST_CASE("another admin secret counts at once", "[admin]") {
    admins f;
    f.api.set_guard(*auth::admin_guard::make(secret("another-admin-secret"), true));
    CHECK(f.handle(fixture::request("GET", "/admin/stats")).status == 401);
    auto r = fixture::request("GET", "/admin/stats");
    r.admin_key = secret("another-admin-secret");
    CHECK(f.handle(r).status == 200);
}
