// Keys whose time begins with their first use.
#include "jobs/first_uses.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;

TEST_CASE("the first use sets a key's end, once, and an edit in between is kept") {
    const store::test::temp_folder folder;
    manual_clock clock;
    const std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    const crypto::sealer sealer{secret(std::string(32, 'm'))};
    jobs::catalog known{*store, sealer};
    jobs::first_uses uses(*store);
    const auto stored = [&] { return *auth::access_key_from(*store->get("access_key", "ak_1")); };

    auth::access_key key;
    key.id = "ak_1";
    key.options.edit().expires_after = 60s;
    REQUIRE(store->put(auth::to_record(key)).has_value());
    REQUIRE(known.refresh().has_value());
    uses.write(known);
    CHECK_FALSE(stored().expires_at.has_value());

    const wall_time first = clock.wall();
    uses.note("ak_1", first + 5s);
    uses.note("ak_1", first);
    uses.note("ak_1", first + 9s);
    uses.note("ak_gone", first);
    auto edited = stored();
    edited.disabled = true;
    REQUIRE(store->put(auth::to_record(edited)).has_value());
    uses.write(known);  // as of before the edit: a conflict
    CHECK_FALSE(stored().expires_at.has_value());
    REQUIRE(known.refresh().has_value());
    uses.write(known);
    CHECK(stored().expires_at == first + 60s);
    CHECK(stored().disabled);

    REQUIRE(known.refresh().has_value());
    const auto revision = stored().revision;
    uses.note("ak_1", first + 30s);
    uses.write(known);
    CHECK(stored().revision == revision);
}
