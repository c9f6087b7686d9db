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
    const auto table = f.known.access_keys();
    REQUIRE(table != nullptr);
    const auto count = [&] {
        std::size_t enabled = 0;
        for (const auto& [id, key] : f.known.access_records())
            if (!key.disabled) ++enabled;
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
        REQUIRE(f.known.access_records().size() == 1);
        return f.known.access_records().begin()->second;
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
