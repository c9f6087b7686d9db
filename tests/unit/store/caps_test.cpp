// The board of caps in memory: the conformance checks, and what time does.
#include <catch2/catch.hpp>

#include "tests/unit/store/caps_conformance.hpp"

using namespace kw;
using namespace kw::store;
using namespace std::chrono_literals;

TEST_CASE("caps in memory conform", "[store]") {
    const manual_clock clock;
    const auto board = make_embedded_caps(clock);
    SECTION("permits") {
        test::check_permits(*board);
    }
    SECTION("amounts") {
        test::check_amounts(*board);
    }
}

TEST_CASE("a replica that is not heard of loses its part of a cap", "[store]") {
    manual_clock clock;
    const auto board = make_embedded_caps(clock);
    const auto ask = test::make_ask(cap_unit::concurrent, 2, 2);
    CHECK(board->ask("a", 10s, {ask})->items[0].held == 2);
    clock.advance(9s);
    CHECK(board->ask("b", 10s, {ask})->items[0].held == 0);
    clock.advance(1s);
    const auto taken = board->ask("b", 10s, {ask});
    CHECK(taken->items[0].held == 2);
    CHECK(taken->replicas == 1);
    // It was only slow: it is told so.
    CHECK(board->ask("a", 10s, {})->joined);
}

TEST_CASE("a minute's cap comes back when the minute is over, a day's at midnight", "[store]") {
    manual_clock clock;
    const auto board = make_embedded_caps(clock);
    const auto unit = cap_unit::requests_a_minute;
    CHECK(test::one(*board, "a", test::make_ask(unit, 10, 10)).held == 10);
    CHECK(test::one(*board, "a", test::make_ask(unit, 10, 10, 6)).held == 4);
    clock.advance(30s);
    CHECK(test::one(*board, "a", test::make_ask(unit, 10, 10, 4)).held == 0);
    clock.advance(30s);
    CHECK(test::one(*board, "a", test::make_ask(unit, 10, 10)).held == 0);
    clock.advance(5s);
    CHECK(test::one(*board, "a", test::make_ask(unit, 10, 10)).held == 6);
    clock.advance(30s);
    CHECK(board->ask("a", 10s, {test::make_ask(unit, 10, 10)})->items[0].held == 10);

    const auto day = cap_unit::tokens_a_day;
    CHECK(test::one(*board, "a", test::make_ask(day, 10, 10)).held == 10);
    CHECK(test::one(*board, "a", test::make_ask(day, 10, 10, 10)).held == 0);
    clock.advance(23h);
    CHECK(test::one(*board, "a", test::make_ask(day, 10, 10)).held == 0);
    clock.advance(1h);
    CHECK(test::one(*board, "a", test::make_ask(day, 10, 10)).held == 10);
}
