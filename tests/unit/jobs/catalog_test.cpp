// What the catalog takes from the change feed, and what it leaves.
#include "jobs/catalog.hpp"

#include <catch2/catch.hpp>

#include "auth/admin_account.hpp"
#include "config/channel.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;

TEST_CASE("accounts of admins bring about no snapshot and are not saved", "[jobs]") {
    const store::test::temp_folder folder;
    const manual_clock clock;
    const auto store = *store::open_embedded({folder.path, {}}, clock);
    const crypto::sealer sealer{secret(std::string(32, 'm'))};
    jobs::catalog catalog(*store, sealer);
    REQUIRE(store->put({"setting", "a", 0, "{}"}).has_value());
    CHECK(*catalog.refresh());
    auth::admin_account a;
    a.id = auth::admin_id("ada");
    a.name = "ada";
    REQUIRE(store->put(auth::to_record(a)).has_value());
    auth::admin_token t;
    t.id = "tok_1";
    REQUIRE(store->put(auth::to_record(t)).has_value());
    CHECK_FALSE(*catalog.refresh());
    REQUIRE(store->erase(auth::admin_kind, a.id, 0).has_value());
    CHECK_FALSE(*catalog.refresh());
    REQUIRE(store->put({"setting", "b", 0, "{}"}).has_value());
    CHECK(*catalog.refresh());
    jobs::catalog fresh(*store, sealer);
    CHECK(*fresh.refresh());
    int settings = 0;
    fresh.save().each([&](const store::record& r) {
        CHECK(r.kind == "setting");
        ++settings;
    });
    CHECK(settings == 2);
}

TEST_CASE("a receiver of notifications is saved, though workers need no snapshot of it", "[jobs]") {
    const store::test::temp_folder folder;
    const manual_clock clock;
    const auto store = *store::open_embedded({folder.path, {}}, clock);
    const crypto::sealer sealer{secret(std::string(32, 'm'))};
    jobs::catalog catalog(*store, sealer);
    REQUIRE(store->put({"setting", "a", 0, "{}"}).has_value());
    REQUIRE(catalog.refresh().has_value());
    CHECK(catalog.take_unsaved());
    REQUIRE(store->put({std::string(config::channel_record), "c", 0, "{}"}).has_value());
    CHECK_FALSE(*catalog.refresh());
    CHECK(catalog.take_unsaved());
    CHECK_FALSE(catalog.take_unsaved());
    REQUIRE(store->put({std::string(pool::quota_kind), "q", 0, "{}"}).has_value());
    CHECK_FALSE(*catalog.refresh());
    CHECK_FALSE(catalog.take_unsaved());  // told again soon enough
}

TEST_CASE("what is saved comes back whole, access keys of one hash, too", "[jobs]") {
    const store::test::temp_folder folder;
    const manual_clock clock;
    const auto store = *store::open_embedded({folder.path, {}}, clock);
    const crypto::sealer sealer{secret(std::string(32, 'm'))};
    jobs::catalog catalog(*store, sealer);
    REQUIRE(store->put({"setting", "a", 0, "{}"}).has_value());
    for (int i = 0; i < 50; ++i) {
        auth::access_key k;
        k.id = "ak_" + std::to_string(i);
        k.name = "name " + std::to_string(i);
        k.hash = crypto::sha256(std::to_string(i % 49));  // the last one as the first
        k.disabled = i % 7 == 0;
        if (i % 5 == 0) k.options.edit().group = "g";
        REQUIRE(store->put(auth::to_record(k)).has_value());
    }
    REQUIRE(*catalog.refresh());
    CHECK(catalog.access_keys().table()->size() == 49);
    store::snapshot_file file(folder.path + "/snapshot", sealer);
    REQUIRE(file.save(catalog.save()).has_value());

    jobs::catalog other(*store, sealer);
    REQUIRE(other.load(file).has_value());
    CHECK(other.from_file());
    CHECK(other.revision() == catalog.revision());
    CHECK(other.find("setting", "a") != nullptr);
    REQUIRE(other.access_keys().all().size() == 50);
    for (const auto& key : catalog.access_keys().all()) {
        const auth::access_key* same = other.access_keys().find(key->id);
        REQUIRE(same != nullptr);
        REQUIRE(*same == *key);
        CHECK(other.revision_of(auth::access_key_kind, key->id) == key->revision);
    }
    const auto shown = [](jobs::catalog& in) {
        return in.access_keys().table()->find(crypto::sha256("0"))->id;
    };
    CHECK(shown(other) == "ak_49");
    CHECK(shown(catalog) == "ak_49");

    // The store's answer replaces what came from the file.
    REQUIRE(store->erase(auth::access_key_kind, "ak_49", 0).has_value());
    CHECK(*other.refresh());
    CHECK_FALSE(other.from_file());
    CHECK(shown(other) == "ak_0");
    const auto generation = catalog.generation();
    CHECK(*catalog.refresh());
    CHECK(shown(catalog) == "ak_0");
    CHECK(catalog.generation() == generation);  // nothing but an access key changed
}
