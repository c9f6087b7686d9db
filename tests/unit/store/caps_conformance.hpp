// What every board of caps must do, whatever the time is.
#pragma once

#include <catch2/catch.hpp>

#include "store/caps.hpp"

namespace kw::store::test {

inline constexpr std::chrono::milliseconds long_lease{60'000};

inline cap_ask make_ask(cap_unit unit, std::int64_t cap, std::int64_t want, std::int64_t used = 0,
                        std::int64_t in_use = 0) {
    cap_ask a;
    a.key = "k";
    a.unit = unit;
    a.cap = cap;
    a.want = want;
    a.used = used;
    a.in_use = in_use;
    return a;
}

inline cap_answer one(cap_board& b, const std::string& who, const cap_ask& a) {
    const auto got = b.ask(who, long_lease, {a});
    REQUIRE(got.has_value());
    REQUIRE(got->items.size() == 1);
    return got->items[0];
}

inline void check_permits(cap_board& b) {
    const auto first = b.ask("a", long_lease, {});
    REQUIRE(first.has_value());
    CHECK(first->joined);
    CHECK(first->replicas == 1);
    CHECK_FALSE(b.ask("a", long_lease, {})->joined);
    const auto unit = cap_unit::concurrent;
    auto got = one(b, "a", make_ask(unit, 5, 9));
    CHECK(got.held == 5);
    CHECK(got.free == 0);
    CHECK(one(b, "b", make_ask(unit, 5, 1)).held == 0);
    got = one(b, "a", make_ask(unit, 5, 2));
    CHECK(got.held == 2);
    CHECK(got.free == 3);
    CHECK(one(b, "b", make_ask(unit, 5, 9)).held == 3);
    CHECK(one(b, "a", make_ask(unit, 5, 9)).held == 2);
    // What is in use is held, whatever the cap has become.
    CHECK(one(b, "a", make_ask(unit, 1, 0, 0, 2)).held == 2);
    CHECK(one(b, "b", make_ask(unit, 1, 1, 0, 0)).held == 0);
    const auto both = b.ask("b", long_lease, {});
    CHECK(both->replicas == 2);
    CHECK(both->rank == 1);
    // Who ends frees all of it.
    b.leave("a");
    CHECK(one(b, "b", make_ask(unit, 5, 5)).held == 5);
    // Others hear who is short.
    auto ask = make_ask(unit, 5, 5);
    ask.short_of = true;
    CHECK(one(b, "a", ask).held == 0);
    CHECK(b.ask("a", long_lease, {})->contested.empty());
    const auto told = b.ask("b", long_lease, {});
    REQUIRE(told->contested.size() == 1);
    CHECK(told->contested[0] == std::pair(std::string("k"), unit));
}

inline void check_amounts(cap_board& b) {
    const auto unit = cap_unit::requests_a_minute;
    CHECK(one(b, "a", make_ask(unit, 10, 4)).held == 4);
    auto got = one(b, "b", make_ask(unit, 10, 4));
    CHECK(got.held == 4);
    CHECK(got.free == 2);
    // Three of four are spent; the one that is left and three more.
    CHECK(one(b, "a", make_ask(unit, 10, 4, 3)).held == 3);
    CHECK(one(b, "b", make_ask(unit, 10, 0)).held == 0);
    CHECK(one(b, "a", make_ask(unit, 10, 10, 3)).held == 4);
    CHECK(one(b, "a", make_ask(unit, 10, 10, 4)).held == 0);
    CHECK(one(b, "b", make_ask(unit, 10, 1)).held == 0);
    // One that died takes along what it held.
    const auto minute = cap_unit::tokens_a_minute;
    CHECK(one(b, "a", make_ask(minute, 100, 30)).held == 30);
    b.leave("a");
    CHECK(one(b, "b", make_ask(minute, 100, 100)).held == 70);
    CHECK(one(b, "b", make_ask(minute, 100, 100)).held == 70);
    // A day begins with what was spent before, told once.
    auto day = make_ask(cap_unit::tokens_a_day, 100, 100);
    day.day_start = 40;
    CHECK(one(b, "b", day).held == 60);
    day.used = 10;
    CHECK(one(b, "b", day).held == 50);
    // Overspent by the last one.
    day.used = 70;
    got = one(b, "b", day);
    CHECK(got.held == 0);
    CHECK(got.free == 0);
    // Many at once.
    std::vector<cap_ask> many;
    for (int i = 0; i < 200; ++i) {
        many.push_back(make_ask(cap_unit::concurrent, i, 1000));
        many.back().key = "many" + std::to_string(i);
    }
    const auto all = b.ask("b", long_lease, many);
    REQUIRE(all->items.size() == 200);
    CHECK(all->items[199].held == 199);
}

}  // namespace kw::store::test
