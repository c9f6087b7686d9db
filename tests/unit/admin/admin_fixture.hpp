// An admin API over an embedded store in a folder of its own, and a caller for it.
#pragma once

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "admin/admin_api.hpp"
#include "admin/trail.hpp"
#include "auth/key_book.hpp"
#include "config/settings.hpp"
#include "core/crypto.hpp"
#include "core/incidents.hpp"
#include "core/metrics.hpp"
#include "pool/health.hpp"
#include "pool/key_state.hpp"
#include "pool/key_test.hpp"
#include "pool/upstream_key.hpp"
#include "store/journal_shipper.hpp"
#include "store/store.hpp"
#include "tests/unit/admin/fake_config.hpp"
#include "tests/unit/store/temp_folder.hpp"
#include "usage/prices.hpp"

namespace kw::admin::test {

inline constexpr const char* admin_secret = "canary-admin-secret-0001";

// Answers when the test says so.
struct fake_tests final : pool::key_tests {
    std::string asked;
    std::function<void(const pool::key_test&)> done;
    std::vector<std::string> ids;
    pool::test_progress progress{.id = "task_1"};

    void test(std::string key_id, std::function<void(const pool::key_test&)> then) override {
        asked = std::move(key_id);
        done = std::move(then);
    }
    pool::test_progress test_all(std::vector<std::string> key_ids) override {
        ids = std::move(key_ids);
        progress.total = ids.size();
        return progress;
    }
    std::vector<pool::test_progress> earlier;
    [[nodiscard]] std::vector<pool::test_progress> tasks() const override {
        auto all = earlier;
        all.push_back(progress);
        return all;
    }
    [[nodiscard]] std::optional<pool::test_progress> task(std::string_view id) const override {
        return id == progress.id ? std::optional(progress) : std::nullopt;
    }
};

struct fixture {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    crypto::sealer sealer{secret(std::string(32, 'm'))};
    secret pepper{std::string(43, 'p')};
    pool::state_table states;
    pool::health health{states};
    metrics::registry registry{1};
    std::shared_ptr<config::settings> settings = std::make_shared<config::settings>();
    std::vector<std::shared_ptr<const pool::group>> declared;
    int changes = 0;
    fake_tests tests;
    fake_config config;
    incidents noticed;
    trail audit{*store, clock, random_source(2)};
    auth::key_book access_keys;
    std::uint64_t level = 0;  // of access_keys
    admin_api api{services(), *auth::admin_guard::make(secret(admin_secret), true),
                  random_source(1)};
    std::string seen;  // every answer's body, for the search for canaries

    admin_services services() {
        return {.store = audit,
                .access_keys = access_keys,
                .follow = [this] { return follow(); },
                .sealer = sealer,
                .pepper = pepper,
                .states = states,
                .health = health,
                .registry = registry,
                .clock = clock,
                .tests = tests,
                .aside = {},
                .changed = [this] { ++changes; },
                .settings = [this] { return settings; },
                .prices = [] { return usage::price_table::builtin(); },
                .shipper = [] { return store::shipper_stats{.backlog_records = 7}; },
                .journal_healthy = [] { return true; },
                .declared_groups = [this] { return declared; },
                .workers = 2,
                .config = &config,
                .noticed = &noticed};
    }
    std::uint64_t follow() {
        access_keys.set_default_limits(auth::default_limits(settings->limits));
        const auto news = *store->changes_since(level);
        if (news.reset) access_keys.clear();
        for (const store::change& c : news.items) {
            if (c.after.kind != auth::access_key_kind) continue;
            if (c.erased)
                access_keys.drop(c.after.id);
            else
                REQUIRE(access_keys.take(c.after).has_value());
        }
        REQUIRE_FALSE(news.more);
        return level = news.revision;
    }
    static net::control_request request(std::string_view method, std::string_view target,
                                        std::string_view body = {}) {
        net::control_request r;
        const auto mark = std::min(target.find('?'), target.size());
        r.method = method;
        r.path = target.substr(0, mark);
        r.query = target.substr(std::min(mark + 1, target.size()));
        r.body = body;
        r.source = "192.0.2.1";
        r.admin_key = secret(admin_secret);
        return r;
    }
    // Of a route that answers at once.
    net::control_response handle(const net::control_request& r) {
        std::optional<net::control_response> out;
        api.handle(r, [&out](net::control_response answer) {
            CHECK(!out);
            out = std::move(answer);
        });
        REQUIRE(out);
        return std::move(*out);
    }
    net::control_response send(const net::control_request& r) {
        auto out = handle(r);
        seen += out.body;
        return out;
    }
    // With the admin secret; `data` of an answer of this status.
    boost::json::value call(std::string_view method, std::string_view target,
                            std::string_view body = {}, int status = 200) {
        const auto out = send(request(method, target, body));
        INFO(method << ' ' << target << ' ' << body << " -> " << out.status << ' ' << out.body);
        REQUIRE(out.status == status);
        boost::system::error_code failed;
        auto v = boost::json::parse(out.body, failed);
        REQUIRE(!failed);
        CHECK(v.at("success").as_bool() == (status < 400));
        if (status >= 400) return v;
        return v.at("data");
    }
    // The message of a refusal.
    std::string refused(std::string_view method, std::string_view target, std::string_view body,
                        int status = 400) {
        return text(call(method, target, body, status), "message");
    }
    static std::string text(const boost::json::value& v, const char* name) {
        return std::string(v.at(name).as_string());
    }
    std::string add_key(const std::string& value, const std::string& group = "default") {
        return text(call("POST", "/admin/keys",
                         R"({"key":")" + value + R"(","poolGroup":")" + group + "\"}", 201),
                    "id");
    }
    void add_group(const std::string& id, const std::string& url = "https://a.example/v1") {
        call("POST", "/admin/pool-groups", R"({"id":")" + id + R"(","base_url":")" + url + "\"}",
             201);
    }
    pool::upstream_key stored_key(const std::string& id) {
        return *pool::key_from_json(store->get("upstream_key", id)->json, sealer);
    }
};

}  // namespace kw::admin::test
