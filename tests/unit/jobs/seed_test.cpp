// What the configuration declares, compared with the store at each start.
#include "jobs/seed.hpp"

#include <catch2/catch.hpp>

#include "pool/upstream_key.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;

namespace {

struct fixture {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    crypto::sealer sealer{secret(std::string(32, 'm'))};
    secret pepper{std::string(43, 'p')};
    random_source random{1};
    jobs::catalog known{*store, sealer};
    config::settings settings;

    fixture() {
        config::group_settings g;
        g.id = "main";
        g.base_url = "https://a.example/v1";
        settings.groups.push_back(g);
    }
    void declare(const std::vector<std::string>& keys) {
        settings.groups[0].keys.clear();
        for (const auto& k : keys)
            settings.groups[0].keys.emplace_back(k);
    }
    // A start with these settings: what was stored is read, compared, and read again.
    void start() {
        REQUIRE(known.refresh().has_value());
        REQUIRE(jobs::seed(settings, known, {*store, sealer, pepper, clock, random}).has_value());
        REQUIRE(known.refresh().has_value());
    }
    pool::key_ptr key(std::string_view value) const {
        for (const auto& [id, k] : known.keys())
            if (k->value.reveal() == value) return k;
        return nullptr;
    }
};

}  // namespace

TEST_CASE("declared keys are added, kept and disabled, never forgotten") {
    fixture f;
    f.declare({"sk-a", "sk-b"});
    f.start();
    REQUIRE(f.known.groups().count("main") == 1);
    REQUIRE(f.known.keys().size() == 2);
    const std::string b = f.key("sk-b")->id;

    f.declare({"sk-b", "sk-c"});
    f.start();
    REQUIRE(f.known.keys().size() == 3);
    CHECK(f.key("sk-a")->status == pool::admin_status::disabled);
    CHECK(f.key("sk-b")->status == pool::admin_status::enabled);
    CHECK(f.key("sk-b")->id == b);
    CHECK(f.key("sk-c")->status == pool::admin_status::enabled);
}

TEST_CASE("a start that declares what is stored writes nothing") {
    fixture f;
    f.declare({"sk-a", "sk-b"});
    f.settings.auth.access_keys.emplace_back("access-key-of-a-client-0001");
    f.start();
    const auto before = f.known.revision();
    f.start();
    CHECK(f.known.revision() == before);
}

TEST_CASE("no record holds a declared key's text") {
    fixture f;
    f.declare({"sk-canary-of-the-upstream"});
    f.settings.auth.access_keys.emplace_back("canary-of-the-client-0001");
    f.start();
    int records = 0;
    f.known.save().each([&](const store::record& r) {
        INFO(r.kind << ' ' << r.id);
        CHECK(r.json.find("canary") == std::string::npos);
        ++records;
    });
    CHECK(records >= 3);
}

TEST_CASE("access keys are known by their text, and disabled once declared no more") {
    fixture f;
    const secret text("access-key-of-a-client-0001");
    f.settings.auth.access_keys.push_back(text);
    f.start();
    const auto table = f.known.access_keys().table();
    REQUIRE(table != nullptr);
    const auto count = [&] {
        std::size_t enabled = 0;
        for (const auto& key : f.known.access_keys().all())
            if (!key->disabled) ++enabled;
        return enabled;
    };
    CHECK(count() == 1);
    f.settings.auth.access_keys.clear();
    f.start();
    CHECK(count() == 0);
    f.settings.auth.access_keys.push_back(text);
    f.start();
    CHECK(count() == 1);
}

TEST_CASE("a declared access key that was edited keeps the edit until its declaration changes") {
    fixture f;
    auto& declared = f.settings.access_keys.emplace_back();
    declared.name = "by file";
    declared.key = secret("access-key-of-a-client-0001");
    f.start();
    const auto only = [&] {
        REQUIRE(f.known.access_keys().all().size() == 1);
        return **f.known.access_keys().all().begin();
    };
    auto edited = only();
    edited.disabled = true;
    REQUIRE(f.store->put(auth::to_record(edited)).has_value());
    f.start();
    CHECK(only().disabled);
    declared.description = "another";
    f.start();
    CHECK_FALSE(only().disabled);
    CHECK(only().description == "another");
}

TEST_CASE("a declared group that was edited keeps the edit until its declaration changes") {
    fixture f;
    f.start();
    auto edited = *f.known.groups().at("main");
    edited.name = "by hand";
    REQUIRE(f.store
                ->put({std::string(jobs::group_kind), "main",
                       f.known.find(jobs::group_kind, "main")->revision, pool::to_json(edited)})
                .has_value());
    f.start();
    CHECK(f.known.groups().at("main")->name == "by hand");
    f.settings.groups[0].name = "by file";
    f.start();
    CHECK(f.known.groups().at("main")->name == "by file");
}

TEST_CASE("a declared access key carries all that one of the API may") {
    using namespace std::chrono_literals;
    fixture f;
    config::access_key_settings a;
    a.name = "team";
    a.key = secret("declared-access-key-0001");
    a.owner_name = "Ada";
    a.owner_email = "ada@example.com";
    a.tags = {"t"};
    a.endpoints = {"chat"};
    a.permissions = {"lease"};
    a.clients_allow = {"curl/*"};
    a.ips_allow = {"10.0.0.0/8"};
    a.origins_allow = {"https://app.example.com"};
    a.limits = {"3 requests per 1h"};
    a.upstream_key = "uk_1";
    a.expires_after = 1h;
    a.queue_size = 0;
    a.queue_timeout = 2s;
    f.settings.access_keys.push_back(a);
    f.start();
    REQUIRE(f.known.access_keys().all().size() == 1);
    const auto& key = **f.known.access_keys().all().begin();
    CHECK(key.options->owner_name == "Ada");
    CHECK(key.options->owner_email == "ada@example.com");
    CHECK(key.options->tags == a.tags);
    CHECK(key.options->endpoints == a.endpoints);
    CHECK(key.options->upstream_key == "uk_1");
    CHECK(key.limits.set->items().front().cap == 3);
    CHECK(auth::has_permission(key, "lease"));
    CHECK(auth::may_call_with(key, "curl/8"));
    CHECK_FALSE(auth::may_call_with(key, "wget"));
    CHECK(auth::may_call_from(key, *net::ip_address::parse("10.1.2.3")));
    CHECK_FALSE(auth::may_call_from(key, *net::ip_address::parse("11.1.2.3")));
    CHECK(auth::may_call_from_page(key, "https://app.example.com"));
    CHECK_FALSE(auth::may_call_from_page(key, "https://other.example.com"));
    CHECK(auth::starts_at_first_use(key));
    CHECK(key.options->queue_size == 0);
    CHECK(key.options->queue_timeout == 2s);
}

TEST_CASE("default limits come and go without a change of the records") {
    fixture f;
    config::access_key_settings a;
    a.name = "plain";
    a.key = secret("declared-access-key-0001");
    f.settings.access_keys.push_back(a);
    a.name = "free";
    a.key = secret("declared-access-key-0002");
    a.limits = {"unlimited"};
    f.settings.access_keys.push_back(a);
    f.start();
    const auto limit_of = [&](const char* name) {
        for (const auto& key : f.known.access_keys().all())
            if (key->name == name) return key->limits ? key->limits.set->items().front().cap : 0;
        return std::int64_t{-1};
    };
    const auto revision = f.known.revision();
    CHECK(limit_of("plain") == 0);
    const auto before = f.known.access_keys().table();
    f.settings.limits.default_requests = 7;
    f.known.access_keys().set_default_limits(auth::default_limits(f.settings.limits));
    CHECK(limit_of("plain") == 7);
    CHECK(limit_of("free") == 0);
    CHECK(f.known.access_keys().table() != before);  // the workers' table is made anew
    f.start();
    CHECK(f.known.revision() == revision);
    f.known.access_keys().set_default_limits({});
    CHECK(limit_of("plain") == 0);
}
