// What the catalog takes from the change feed, and what it leaves.
#include "jobs/catalog.hpp"

#include <catch2/catch.hpp>

#include "auth/admin_account.hpp"
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
