// The delay of who guesses, and the memory of what was refused.
#include "auth/throttle.hpp"

#include <catch2/catch.hpp>

using namespace kw;
using namespace kw::auth;
using namespace std::chrono_literals;

TEST_CASE("guesses wait longer and longer", "[auth]") {
    manual_clock clock;
    throttle t({.free_guesses = 3, .longest_delay = 4s, .forget_after = 1min, .max_entries = 10});
    CHECK(t.wait("a", clock.mono()) == 0ms);
    CHECK(t.wrong("a", clock.mono()) == 0ms);
    CHECK(t.wrong("a", clock.mono()) == 0ms);
    CHECK(t.wait("a", clock.mono()) == 0ms);
    CHECK(t.wrong("a", clock.mono()) == 1s);
    CHECK(t.wait("a", clock.mono()) == 1s);
    CHECK(t.wait("b", clock.mono()) == 0ms);
    clock.advance(1s);
    CHECK(t.wait("a", clock.mono()) == 0ms);
    CHECK(t.wrong("a", clock.mono()) == 2s);
    CHECK(t.wrong("a", clock.mono()) == 4s);
    CHECK(t.wrong("a", clock.mono()) == 4s);
    clock.advance(1min);
    CHECK(t.wait("a", clock.mono()) == 0ms);
    CHECK(t.size() == 0);
    t.wrong("a", clock.mono());
    t.right("a");
    CHECK(t.size() == 0);
    for (int i = 0; i < 3; ++i)
        t.wrong("a", clock.mono());
    t.undo("a");  // the third was not looked at
    CHECK(t.wait("a", clock.mono()) == 0ms);
    CHECK(t.wrong("a", clock.mono()) == 1s);
    t.undo("nobody");
}

TEST_CASE("the table of guesses is bounded", "[auth]") {
    manual_clock clock;
    throttle t({.max_entries = 10});
    for (int i = 0; i < 1000; ++i) {
        clock.advance(1ms);
        t.wrong(std::to_string(i), clock.mono());
    }
    CHECK(t.size() == 10);
}

TEST_CASE("refusals are counted and bounded", "[auth]") {
    manual_clock clock;
    refusal_book book;
    book.note("192.0.2.1", "token ab", clock.wall());
    clock.advance(1s);
    book.note("192.0.2.1", "token ab", clock.wall());
    book.note("192.0.2.1", "token cd", clock.wall());
    REQUIRE(book.all().size() == 2);
    const auto& first = book.all().begin()->second;
    CHECK(first.count == 2);
    CHECK(first.last - first.first == 1s);
    for (std::size_t i = 0; i < 2 * refusal_book::max_entries; ++i) {
        clock.advance(1ms);
        book.note(std::to_string(i), "login", clock.wall());
    }
    CHECK(book.all().size() == refusal_book::max_entries);
    CHECK_FALSE(book.all().contains({"192.0.2.1", "token ab"}));
}
