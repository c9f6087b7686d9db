// The embedded store against the conformance checks, and its retention.
#include <catch2/catch.hpp>

#include "tests/unit/store/conformance.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace kw::store;

namespace {

std::unique_ptr<kw::store::store> open(const test::temp_folder& folder, const clock_source& clock,
                                       const retention& keep = {}) {
    auto s = open_embedded({folder.path + "/data", keep}, clock);
    REQUIRE(s.has_value());
    return std::move(*s);
}

}  // namespace

TEST_CASE("embedded store conforms", "[store]") {
    const test::temp_folder folder;
    const manual_clock clock;
    const auto s = open(folder, clock);
    SECTION("records") {
        test::check_records(*s);
    }
    SECTION("feed") {
        test::check_feed(*s);
        test::check_many_writes(*s);
    }
    SECTION("audit") {
        test::check_audit(*s);
    }
    SECTION("upstream keys") {
        test::check_key_counts(*s);
    }
    SECTION("findings") {
        test::check_key_findings(*s);
    }
    SECTION("batches") {
        test::check_batches(*s);
    }
    SECTION("listing") {
        test::check_listing(*s);
    }
    SECTION("exact") {
        test::check_exact(*s);
    }
}

TEST_CASE("embedded store keeps what it had", "[store]") {
    const test::temp_folder folder;
    const manual_clock clock;
    std::uint64_t revision = 0;
    {
        const auto s = open(folder, clock);
        revision = *s->put({"group", "a", 0, "{}"});
        const auto b = test::make_batch("j", 1, {test::make_record("r")});
        REQUIRE(s->apply(std::span(&b, 1)).has_value());
    }
    const auto s = open(folder, clock);
    CHECK(s->get("group", "a")->revision == revision);
    CHECK(s->changes_since(0)->revision == revision);
    CHECK(test::total(*s).requests == 1);
}

TEST_CASE("embedded store keeps so much of the audit trail", "[store]") {
    const test::temp_folder folder;
    manual_clock clock;
    clock.set_wall(test::noon);
    const auto s = open(folder, clock, {.audit = std::chrono::hours(1), .max_audit = 50});
    test::check_audit_retention(*s);
}

TEST_CASE("embedded store forgets by retention", "[store]") {
    const test::temp_folder folder;
    manual_clock clock;
    retention keep;
    keep.max_records = 2;
    const auto s = open(folder, clock, keep);
    const auto b = test::make_batch(
        "j", 1, {test::make_record("r1"), test::make_record("r2"), test::make_record("r3")});
    REQUIRE(s->apply(std::span(&b, 1)).has_value());
    CHECK(*s->clean_up() == 1);
    CHECK(s->find_record("r1").has_error());
    clock.set_wall(test::noon + std::chrono::hours(8 * 24));
    while (*s->clean_up() > 0) {
    }
    CHECK(test::total(*s, dimension::all, span::hour).requests == 0);
    CHECK(test::total(*s, dimension::all, span::day).requests == 3);
    clock.set_wall(test::noon + std::chrono::hours(401 * 24));
    while (*s->clean_up() > 0) {
    }
    CHECK(s->find_record("r3").has_error());
    CHECK(test::total(*s, dimension::all, span::day).requests == 0);
    CHECK(test::total(*s, dimension::all, span::month).requests == 3);
}
