// Every list of the API, as the OpenAPI document tells of them: all are paged, filtered, sorted and
// searched alike, and a new one that is not fails here.
#include <functional>
#include <set>

#include "admin/lease_desk.hpp"
#include "auth/admin_account.hpp"
#include "auth/authenticator.hpp"
#include "auth/waiting_lines.hpp"
#include "tests/support/batch_bytes.hpp"
#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using test::fixture;
using namespace std::chrono_literals;
namespace json = boost::json;

namespace {

// Something of each kind, at least three, so that an order can be seen.
struct filled : fixture {
    std::map<std::string, pool::key_ptr> keys;
    std::map<std::string, pool::group_ptr> groups;
    std::vector<store::record> books;
    lease_desk desk{{.store = *store,
                     .audit = audit,
                     .states = states,
                     .clock = clock,
                     .pepper = pepper,
                     .keys = keys,
                     .groups = groups,
                     .settings = [this] { return settings; },
                     .books =
                         [this] {
                             std::vector<const store::record*> out;
                             for (const auto& r : books)
                                 out.push_back(&r);
                             return out;
                         },
                     .changed = [] {}}};
    auth::waiting_lines lines{registry};
    std::vector<auth::waiting_lines::place> waiting;

    filled() {
        for (const char* id : {"b", "a", "c"}) {
            const std::string name(id);
            add_group(name);
            for (int i = 0; i < 2; ++i)
                add_key("sk-" + name + "-0000000000000000" + std::to_string(i), name);
            call("POST", "/admin/access-keys", R"({"name":")" + name + R"("})", 201);
            call("POST", "/admin/tokens", R"({"name":")" + name + R"(","role":"viewer"})", 201);
            call("PUT", "/admin/config",
                 R"({"pool.retry_max":)" + std::to_string(waiting.size()) + "}");
            auth::admin_account account;
            account.id = auth::admin_id(name);
            account.name = name;
            REQUIRE(store->put(auth::to_record(account)).has_value());
            lend(name);
            book(name);
            auto wrong = request("GET", "/admin/stats");
            wrong.source = "192.0.2.1" + std::to_string(waiting.size());
            wrong.admin_key = secret("wrong");
            handle(wrong);
            waiting.push_back(*lines.enter(name, 10, 10, lines.mark(name), mono_time(), [] {}));
            call("POST", "/admin/notifications",
                 R"({"id":"ch_)" + name + R"(","type":"slack","url":"https://hooks.example/)" +
                     name + R"("})",
                 201);
            tests.earlier.push_back({.id = "task_of_" + name, .started = clock.wall()});
            clock.advance(1s);
        }
        auto with_all = services();
        with_all.lines = &lines;
        with_all.leases = &desk;
        whole = std::make_unique<admin_api>(
            with_all, *auth::admin_guard::make(secret(test::admin_secret), true), random_source(3));
        auto wrong = request("GET", "/admin/stats");
        wrong.admin_key = secret("wrong");
        for (const char* source : {"192.0.2.9", "192.0.2.7", "192.0.2.8"}) {
            wrong.source = source;
            whole->handle(wrong, [](const net::control_response&) {});
            clock.advance(1s);
        }
    }
    void lend(const std::string& name) {
        pool::upstream_key k;
        k.id = "uk_" + name;
        k.group_id = "a";
        k.value = secret("value-of-" + name);
        keys["uk_" + name] = std::make_shared<const pool::upstream_key>(std::move(k));
        pool::group g;
        g.id = "a";
        groups["a"] = std::make_shared<const pool::group>(g);
        auth::access_key holder;
        holder.id = "holder_" + name;
        holder.options.edit().permissions = {"lease"};
        REQUIRE(desk.allocate(holder, "", 600s).has_value());
        books = store->list(pool::lease_book_kind, {})->items;
    }
    void book(const std::string& name) {
        store::ledger_record r;
        r.id = "req_" + name;
        r.started = clock.wall();
        r.access_key_id = "ak_" + name;
        r.upstream_key_id = "uk_" + name;
        r.model_asked = r.model_served = "model-" + name;
        r.outcome = store::usage_outcome::exact;
        r.tokens.input = name[0];
        r.cost = 1'000'000 * name[0];
        r.status = static_cast<std::uint16_t>(100 + name[0]);
        store::ledger_batch batch;
        batch.journal = "j" + name;
        batch.shard = store::shard_of(r.access_key_id);
        batch.number = 1;
        store::test::batch_bytes bytes;
        bytes.add(batch, r);
        REQUIRE(store->apply(std::span(&batch, 1)).has_value());
    }
    json::value get(const std::string& target, int status = 200) {
        json::value out;
        whole->handle(request("GET", target), [&](const net::control_response& answer) {
            INFO(target << " -> " << answer.status << ' ' << answer.body);
            REQUIRE(answer.status == status);
            out = json::parse(answer.body);
        });
        return status == 200 ? out.at("data") : out.at("message");
    }
    std::unique_ptr<admin_api> whole;
};

// The list in an answer: a member that is an array of objects. Null: there is none.
const json::array* rows_of(const json::value& data) {
    if (!data.is_object()) return nullptr;
    for (const auto& member : data.get_object())
        if (const auto* rows = member.value().if_array();
            rows != nullptr && !rows->empty() && rows->front().is_object())
            return rows;
    return nullptr;
}

// What a row is sorted by; null where it has none.
json::value sorted_by(const json::value& row, const std::string& word) {
    const auto* v = row.as_object().if_contains(word);
    if (v == nullptr) return nullptr;
    if (const auto* o = v->if_object()) {
        for (const char* part : {"total", "nanodollars"})
            if (const auto* inner = o->if_contains(part)) return *inner;
    }
    return *v;
}

bool in_order(const json::value& a, const json::value& b) {
    const auto number = [](const json::value& v) -> std::optional<double> {
        if (v.is_number()) return v.to_number<double>();
        if (!v.is_string()) return std::nullopt;
        const std::string text(v.get_string());
        std::size_t end = 0;
        try {
            const double out = std::stod(text, &end);
            return end == text.size() ? std::optional(out) : std::nullopt;
        } catch (const std::exception&) {
            return std::nullopt;
        }
    };
    if (number(a) && number(b)) return *number(a) <= *number(b);
    REQUIRE((a.is_string() && b.is_string()));
    return a.get_string() <= b.get_string();
}

// A series, and what is always the same handful: arrays of objects, but no lists.
const std::set<std::string> no_lists = {"/admin/stats/trend", "/admin/cache/stats", "/admin/config",
                                        "/admin/master-key", "/admin/token/summary"};

// Some words in a row that `q` must find; the others have an id.
const std::map<std::string, std::string> searched_by = {{"/admin/prices", "model"},
                                                        {"/admin/config/versions", "by"},
                                                        {"/admin/refusals", "source"},
                                                        {"/admin/usage", "subject"}};

}  // namespace

TEST_CASE("every list is paged, filtered, sorted and searched", "[admin]") {
    filled f;
    json::value document;
    f.whole->handle(fixture::request("GET", "/admin/openapi.json"),
                    [&](const net::control_response& r) { document = json::parse(r.body); });
    std::size_t lists = 0;
    std::size_t orders = 0;
    for (const auto& [path_text, operations] : document.at("paths").as_object()) {
        const std::string path(path_text);
        const auto* get = operations.as_object().if_contains("get");
        if (get == nullptr || path.find('{') != std::string::npos || no_lists.contains(path) ||
            get->at("responses").at("2XX").at("$ref") != "#/components/responses/data" ||
            path == "/admin/openapi.json")
            continue;
        INFO(path);
        const std::string ask =
            path + (path == "/admin/usage" ? "?by=access_key&limit=1000" : "?limit=1000");
        bool takes_limit = false;
        std::map<std::string, std::string> params;  // with the pattern of a sort
        if (const auto* listed = get->as_object().if_contains("parameters"))
            for (const auto& p : listed->as_array()) {
                const auto* pattern = p.at("schema").as_object().if_contains("pattern");
                params[std::string(p.at("name").as_string())] =
                    pattern == nullptr ? "" : std::string(pattern->as_string());
            }
        takes_limit = params.contains("limit");
        const auto whole = f.get(takes_limit ? ask : path);
        const auto* rows = rows_of(whole);
        if (rows == nullptr && !takes_limit) continue;
        ++lists;
        REQUIRE(rows != nullptr);
        REQUIRE(rows->size() >= 3);
        for (const char* name : {"q", "sort", "limit"})
            REQUIRE(params.contains(name));
        const bool log = params.contains("cursor");
        REQUIRE(log != params.contains("page"));
        CHECK(params.size() > 4);  // at least one filter of its own
        REQUIRE(whole.as_object().contains("pagination"));

        // An order that there is not.
        CHECK(std::string(f.get(ask + "&sort=moon", 400).as_string()).find("\"sort\"") !=
              std::string::npos);
        const auto& pattern = params["sort"];
        REQUIRE(pattern.starts_with("^-?("));
        std::string words = pattern.substr(4, pattern.size() - 6);
        for (std::size_t end = 0; !words.empty(); words.erase(0, end + 1)) {
            end = std::min(words.find('|'), words.size());
            const auto word = words.substr(0, end);
            INFO(word);
            const auto values = [&](const std::string& order) {
                json::array out;
                const auto data = f.get(ask + "&sort=" + order);
                for (const auto& row : *rows_of(data))
                    if (const auto v = sorted_by(row, word); !v.is_null()) out.push_back(v);
                return out;
            };
            const auto up = values(word);
            auto down = values("-" + word);
            CHECK(std::ranges::is_sorted(
                up, [](const auto& a, const auto& b) { return !in_order(b, a); }));
            std::ranges::reverse(down);
            CHECK(up == down);
            ++orders;

            // Page by page it is the same.
            json::array paged;
            std::string at = log ? "" : "&page=1";
            for (int page = 2; page < 8; ++page) {
                const auto part = f.get(path + "?limit=2&sort=-" + word +
                                        (path == "/admin/usage" ? "&by=access_key" : "") + at);
                const auto* some = rows_of(part);
                if (some == nullptr) break;
                paged.insert(paged.end(), some->begin(), some->end());
                at = "&page=" + std::to_string(page);
                if (!log) continue;
                const auto& next = part.at("pagination").at("next");
                if (next.is_null()) break;
                at = "&cursor=" + std::string(next.as_string());
            }
            const auto all = f.get(ask + "&sort=-" + word);
            const auto& expected = *rows_of(all);
            REQUIRE(paged.size() >= 3);
            REQUIRE(paged.size() <= expected.size());
            for (std::size_t i = 0; i < paged.size(); ++i)
                CHECK(paged[i] == expected[i]);
        }

        // What is nowhere is not found; what a row says is, in whichever case.
        CHECK(rows_of(f.get(ask + "&q=nowhere-to-be-found")) == nullptr);
        const auto by = searched_by.find(path);
        auto text =
            std::string(rows->front().at(by == searched_by.end() ? "id" : by->second).as_string());
        std::ranges::transform(text, text.begin(),
                               [](char c) { return c >= 'a' && c <= 'z' ? c - 32 : c; });
        const auto found = f.get(ask + "&q=" + text);
        REQUIRE(rows_of(found) != nullptr);
        CHECK(rows_of(found)->front() == rows->front());
    }
    CHECK(lists >= 15);
    CHECK(orders > 70);
}

TEST_CASE("a log in another order than by time is bounded, and its cursors are its own",
          "[admin]") {
    filled f;
    CHECK(std::string(f.get("/admin/requests?sort=cost&cursor=12|req_a", 400).as_string())
              .find("\"cursor\"") != std::string::npos);
    CHECK(f.get("/admin/requests?sort=cost&cursor=@9").at("requests").as_array().empty());
    f.get("/admin/requests?sort=cost&cursor=@99999999999999999999", 400);
    // More entries than one call looks at.
    std::vector<store::audit_entry> many;
    for (int i = 0; i < 20'001; ++i)
        many.push_back({"aud_" + std::to_string(i), f.clock.wall(), R"({"event":"call"})"});
    REQUIRE(f.store->append_audit(many).has_value());
    CHECK(std::string(f.get("/admin/audit?sort=at", 400).as_string()).find("`from`") !=
          std::string::npos);
    CHECK(f.get("/admin/audit?sort=at&to=2026-01-01").at("pagination").at("next").is_null());
    CHECK(f.get("/admin/audit").at("entries").as_array().size() == 20);
}

TEST_CASE("a template of a notification may hold a token: viewers do not see it", "[admin]") {
    fixture f;
    f.call("POST", "/admin/notifications",
           R"({"id":"ch","type":"webhook","url":"https://hooks.example","body":"canary {{text}}"})",
           201);
    f.call("POST", "/admin/notifications",
           R"({"id":"plain","type":"webhook","url":"https://hooks.example"})", 201);
    const auto seen_by = [&](const char* role, const char* id) {
        const auto made = f.call("POST", "/admin/tokens",
                                 R"({"name":"t","role":")" + std::string(role) + "\"}", 201);
        auto r = fixture::request("GET", "/admin/notifications/" + std::string(id));
        r.admin_key = secret();
        r.bearer = secret(fixture::text(made, "token"));
        const auto shown = f.send(r);
        REQUIRE(shown.status == 200);
        r.path = "/admin/notifications";
        const auto list = f.send(r).body;
        CHECK((list.find("canary") != std::string::npos) == (std::string_view(role) != "viewer"));
        return fixture::text(boost::json::parse(shown.body).at("data"), "body");
    };
    CHECK(seen_by("viewer", "ch") == "***");
    CHECK(seen_by("viewer", "plain").empty());
    CHECK(seen_by("operator", "ch") == "canary {{text}}");
    CHECK(seen_by("owner", "ch") == "canary {{text}}");
}
