// What every board of objects must do.
#pragma once

#include <catch2/catch.hpp>

#include "store/objects.hpp"

namespace kw::store::test {

inline object_binding bound(std::string id, std::string account, std::string owner,
                            std::chrono::seconds keep = std::chrono::hours(1), bool claim = false) {
    return {std::move(id), std::move(account), std::move(owner), keep, claim};
}

inline object_place place_of(object_board& b, const std::string& id) {
    const auto got = b.find(std::vector{id});
    REQUIRE(got.has_value());
    REQUIRE(got->size() == 1);
    return got->front();
}

inline void check_objects(object_board& b) {
    CHECK_FALSE(place_of(b, "file-1").known);
    REQUIRE(b.bind(std::vector{bound("file-1", "api.x/org a/p", "ak_1"), bound("vs_1", "uk_2", "")})
                .has_value());
    CHECK(place_of(b, "file-1") == object_place{true, "api.x/org a/p", "ak_1"});
    CHECK(place_of(b, "vs_1") == object_place{true, "uk_2", ""});
    const auto both = b.find(std::vector<std::string>{"vs_1", "none", "file-1", "vs_1"});
    REQUIRE(both.has_value());
    REQUIRE(both->size() == 4);
    CHECK((*both)[0].account == "uk_2");
    CHECK_FALSE((*both)[1].known);
    CHECK((*both)[2].owner == "ak_1");
    CHECK((*both)[3] == (*both)[0]);
    // A claim leaves what is known alone; anything else does not.
    REQUIRE(b.bind(std::vector{bound("file-1", "other", "ak_2", std::chrono::hours(1), true),
                               bound("file-2", "other", "ak_2", std::chrono::hours(1), true)})
                .has_value());
    CHECK(place_of(b, "file-1").owner == "ak_1");
    CHECK(place_of(b, "file-2").owner == "ak_2");
    REQUIRE(b.bind(std::vector{bound("file-1", "other", "ak_2")}).has_value());
    CHECK(place_of(b, "file-1") == object_place{true, "other", "ak_2"});
    // What is no id is not kept, and harms nothing.
    REQUIRE(b.bind(std::vector{bound("", "a", "o"), bound(std::string(1000, 'x'), "a", "o")})
                .has_value());
    CHECK_FALSE(place_of(b, std::string(1000, 'x')).known);
}

inline void check_accounts(object_board& b, manual_clock& clock) {
    CHECK(b.accounts_of("ak_1")->empty());
    REQUIRE(b.bind(std::vector{bound("1", "a", "ak_1"), bound("2", "a", "ak_2")}).has_value());
    clock.advance(std::chrono::seconds(2));
    REQUIRE(b.bind(std::vector{bound("3", "b", "ak_1"), bound("4", "b", "ak_1")}).has_value());
    CHECK(b.accounts_of("ak_1").value() == std::vector<std::string>{"b", "a"});
    CHECK(b.accounts_of("ak_2").value() == std::vector<std::string>{"a"});
}

inline void check_debts(object_board& b, manual_clock& clock) {
    using enum debt_claim::outcome;
    using std::chrono::hours;
    using std::chrono::seconds;
    const auto claimed = [&](const std::string& by, seconds length = seconds(30)) {
        const auto got = b.claim("resp_1", by, length);
        REQUIRE(got.has_value());
        return *got;
    };
    CHECK(claimed("a").is == unknown);
    REQUIRE(b.owe({"resp_1", "the first\nnote", hours(1)}, seconds(10)).has_value());
    REQUIRE(b.owe({"resp_1", "another", hours(1)}, seconds(10)).has_value());
    REQUIRE(b.owe({"batch_1", "later", hours(1)}, seconds(500)).has_value());
    // Looked after in time, and by one of those who ask.
    CHECK(b.due(seconds(60), 10)->empty());
    clock.advance(seconds(11));
    const auto first = b.due(seconds(60), 10);
    REQUIRE(first.has_value());
    REQUIRE(first->size() == 1);
    CHECK(first->front().id == "resp_1");
    CHECK(first->front().note == "the first\nnote");
    CHECK(b.due(seconds(60), 10)->empty());
    clock.advance(seconds(61));
    CHECK(b.due(seconds(60), 10)->size() == 1);
    // One claimant at a time; one that died is followed by another.
    const auto mine = claimed("a");
    CHECK(mine.is == yours);
    CHECK(mine.note == "the first\nnote");
    CHECK(claimed("b").is == anothers);
    CHECK(claimed("a").is == yours);
    clock.advance(seconds(31));
    CHECK(claimed("b").note == "the first\nnote");
    CHECK(claimed("a").is == anothers);
    // Paid once and for all.
    REQUIRE(b.pay("resp_1", hours(1)).has_value());
    CHECK(claimed("a").is == paid);
    REQUIRE(b.owe({"resp_1", "again", hours(1)}, seconds(1)).has_value());
    clock.advance(seconds(100));
    CHECK(claimed("b").is == paid);
    CHECK(b.due(seconds(60), 10)->empty());
    clock.advance(seconds(500));
    CHECK(b.due(seconds(60), 10)->size() == 1);
}

inline void check_lifetimes(object_board& b, manual_clock& clock) {
    REQUIRE(b.bind(std::vector{bound("short", "a", "o", std::chrono::seconds(10)),
                               bound("long", "a", "o", std::chrono::hours(10))})
                .has_value());
    clock.advance(std::chrono::seconds(11));
    CHECK_FALSE(place_of(b, "short").known);
    CHECK(place_of(b, "long").known);
    // What is over can be claimed.
    REQUIRE(b.bind(std::vector{bound("short", "b", "p", std::chrono::hours(1), true)}).has_value());
    CHECK(place_of(b, "short").account == "b");
}

}  // namespace kw::store::test
