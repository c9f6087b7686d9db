// Coroutine tasks: values, exceptions, roots and their destruction.
#include "net/task.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "net/loop.hpp"
#include "tests/support/loop_runner.hpp"

using namespace kw;
using namespace kw::net;

namespace {

task<int> add(int a, int b) {
    co_return a + b;
}
task<int> chain(int depth) {
    if (depth == 0) co_return 0;
    const int below = co_await chain(depth - 1);
    co_return below + 1;
}
task<std::unique_ptr<std::string>> move_only() {
    co_return std::make_unique<std::string>("x");
}
task<result<int>> refuse() {
    co_return error(errc::timed_out, "late");
}
task<int> thrower() {
    throw std::runtime_error("thrown");
    co_return 1;
}
task<void> note_end(waiter& w, std::shared_ptr<int> held, bool& ended) {
    co_await w.wait(woken);
    ended = true;
}
task<void> throw_after(waiter& w) {
    co_await w.wait(woken);
    throw std::runtime_error("in a root");
}
task<void> yield_and_note(waiter& w, int id, std::string& order) {
    for (int i = 0; i < 3; ++i) {
        order += static_cast<char>('a' + id);
        co_await w.yield();
    }
}

}  // namespace

TEST_CASE("a task hands its value, move-only ones too, to who awaits it", "[net][task]") {
    manual_clock clock;
    loop on(clock);
    CHECK(test::run(on, add(2, 3)) == 5);
    CHECK(*test::run(on, move_only()) == "x");
    CHECK(test::run(on, refuse()).error().code == errc::timed_out);
}

TEST_CASE("a deep chain of tasks needs no deep stack to end", "[net][task]") {
    manual_clock clock;
    loop on(clock);
    CHECK(test::run(on, chain(2000)) == 2000);
}

TEST_CASE("an exception travels to who awaits", "[net][task]") {
    manual_clock clock;
    loop on(clock);
    CHECK_THROWS_WITH(test::run(on, thrower()), "thrown");
}

TEST_CASE("a root ends itself; an exception ends that root alone", "[net][task]") {
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    waiter v(on);
    auto held = std::make_shared<int>(1);
    bool ended = false;
    spawn("t", throw_after(v));
    spawn("t", note_end(w, held, ended));
    CHECK(held.use_count() > 1);
    v.wake();
    on.run_turn(0);
    CHECK_FALSE(ended);
    w.wake();
    on.run_turn(0);
    CHECK(ended);
    CHECK(held.use_count() == 1);
}

TEST_CASE("destroying an owned root frees what it holds", "[net][task]") {
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    auto held = std::make_shared<int>(1);
    bool ended = false;
    {
        owned_root root;
        root.start("t", note_end(w, held, ended));
        CHECK(held.use_count() > 1);
    }
    CHECK(held.use_count() == 1);
    w.wake();
    on.run_turn(0);
    CHECK_FALSE(ended);
}

TEST_CASE("an owned root that ends lets go of its parameters at once", "[net][task]") {
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    auto held = std::make_shared<int>(1);
    bool ended = false;
    owned_root root;
    root.start("t", note_end(w, held, ended));
    w.wake();
    on.run_turn(0);
    CHECK(ended);
    CHECK(held.use_count() == 1);
}

TEST_CASE("a task that is never awaited never starts and is freed", "[net][task]") {
    auto held = std::make_shared<int>(1);
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    bool ended = false;
    {
        const auto t = note_end(w, held, ended);
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("those who yield take turns", "[net][task]") {
    manual_clock clock;
    loop on(clock);
    waiter v(on);
    waiter w(on);
    std::string order;
    spawn("t", yield_and_note(v, 0, order));
    spawn("t", yield_and_note(w, 1, order));
    for (int i = 0; i < 4; ++i)
        on.run_turn(0);
    CHECK(order == "ababab");
}
