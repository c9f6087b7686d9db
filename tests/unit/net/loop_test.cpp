// Timers, waiters, posting and descriptors of the event loop.
#include "net/loop.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/task.hpp"
#include "tests/support/loop_runner.hpp"

using namespace kw;
using namespace kw::net;
using namespace std::chrono_literals;

namespace {

struct socket_pair {
    int a = -1;
    int b = -1;
    socket_pair() {
        int fds[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        a = fds[0];
        b = fds[1];
    }
};

task<void> wait_once(waiter& w, events mask, mono_time deadline, std::vector<events>& got) {
    got.push_back(co_await w.wait(mask, deadline));
}

task<void> sleep_and_note(loop& on, mono_time until, int id, std::vector<int>& order) {
    waiter w(on);
    co_await sleep_until(w, until);
    order.push_back(id);
}

}  // namespace

TEST_CASE("a timer fires when its time has come and not before", "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    std::vector<events> got;
    owned_root root;
    root.start("t", wait_once(w, read_a, clock.mono() + 100ms, got));
    clock.advance(99ms);
    on.run_turn(0);
    CHECK(got.empty());
    clock.advance(10ms);
    on.run_turn(0);
    REQUIRE(got.size() == 1);
    CHECK(got[0] == timed_out);
}

TEST_CASE("timers fire in the order of their times, over several turns of the wheel",
          "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    std::vector<int> order;
    std::vector<std::unique_ptr<owned_root>> roots;
    const auto at = [&](mono_time::duration d, int id) {
        roots.push_back(std::make_unique<owned_root>());
        roots.back()->start("t", sleep_and_note(on, clock.mono() + d, id, order));
    };
    at(120s, 4);  // beyond one turn of the wheel (about 33 s)
    at(20ms, 1);
    at(40s, 3);
    at(1s, 2);
    at(-1s, 0);  // already past
    for (int i = 0; i < 130'000 / 50; ++i) {
        clock.advance(50ms);
        on.run_turn(0);
    }
    CHECK(order == std::vector{0, 1, 2, 3, 4});
}

TEST_CASE("a clock that jumps far fires all that is due in one turn", "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    std::vector<int> order;
    owned_root a;
    owned_root b;
    a.start("t", sleep_and_note(on, clock.mono() + 5s, 1, order));
    b.start("t", sleep_and_note(on, clock.mono() + 500s, 2, order));
    clock.advance(3600s);
    on.run_turn(0);
    on.run_turn(0);
    CHECK(order.size() == 2);
}

TEST_CASE("a bit beats the clock and a later deadline replaces an earlier one", "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    std::vector<events> got;
    owned_root first;
    first.start("t", wait_once(w, read_a, clock.mono() + 50ms, got));
    w.set(read_a | write_a);
    clock.advance(1s);
    on.run_turn(0);
    REQUIRE(got.size() == 1);
    CHECK(got[0] == read_a);
    CHECK((w.ready() & write_a) != 0);

    w.clear(read_a);
    owned_root second;
    second.start("t", wait_once(w, read_a, clock.mono() + 10s, got));
    clock.advance(5s);  // the first wait's slot in the wheel has long come round
    on.run_turn(0);
    CHECK(got.size() == 1);
    clock.advance(6s);
    on.run_turn(0);
    REQUIRE(got.size() == 2);
    CHECK(got[1] == timed_out);

    // An earlier deadline than the one before it fires at its own time.
    owned_root third;
    third.start("t", wait_once(w, read_a, clock.mono() + 20s, got));
    w.set(read_a);
    on.run_turn(0);
    w.clear(read_a);
    REQUIRE(got.size() == 3);
    owned_root fourth;
    fourth.start("t", wait_once(w, read_a, clock.mono() + 100ms, got));
    clock.advance(120ms);
    on.run_turn(0);
    REQUIRE(got.size() == 4);
    CHECK(got[3] == timed_out);
}

TEST_CASE("a wake is not lost to a wait for something else", "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    std::vector<events> got;
    w.wake();
    w.set(read_a);
    owned_root first;
    first.start("t", wait_once(w, read_a, no_deadline, got));
    owned_root second;
    second.start("t", wait_once(w, woken, no_deadline, got));
    REQUIRE(got == std::vector<events>{read_a, woken});
    // Reported, so taken.
    owned_root third;
    third.start("t", wait_once(w, woken, no_deadline, got));
    on.run_turn(0);
    CHECK(got.size() == 2);
}

TEST_CASE("a coroutine may be destroyed in mid-wait, its waiter living on", "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    waiter w(on);
    std::vector<events> got;
    {
        owned_root root;
        root.start("t", wait_once(w, read_a, clock.mono() + 50ms, got));
    }
    w.set(read_a);
    clock.advance(1s);
    on.run_turn(0);
    CHECK(got.empty());
    // Queued to be resumed, then destroyed.
    w.clear(read_a);
    {
        owned_root root;
        root.start("t", wait_once(w, read_a, no_deadline, got));
        w.set(read_a);
    }
    on.run_turn(0);
    CHECK(got.empty());
}

namespace {

task<void> note_when(waiter& w, events mask, int id, std::vector<int>& order, waiter* wakes) {
    co_await w.wait(mask);
    order.push_back(id);
    if (wakes != nullptr) wakes->wake();
}

task<void> yield_and_note(waiter& w, int id, std::vector<int>& order) {
    co_await w.yield();
    order.push_back(id);
}

}  // namespace

TEST_CASE("who is woken goes on in the same turn, who yields in the next", "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    std::vector<int> order;
    waiter a(on);
    waiter b(on);
    waiter c(on);
    owned_root first;
    owned_root second;
    owned_root third;
    first.start("t", note_when(a, read_a, 1, order, &b));
    second.start("t", note_when(b, woken, 2, order, &c));
    third.start("t", note_when(c, woken, 3, order, nullptr));
    a.set(read_a);
    on.run_turn(0);
    CHECK(order == std::vector{1, 2, 3});

    order.clear();
    waiter d(on);
    owned_root fourth;
    on.post([&] { fourth.start("t", yield_and_note(d, 4, order)); });
    on.run_turn(0);  // posted work runs first, and what has yielded in it waits for epoll
    CHECK(order == std::vector{4});
    owned_root fifth;
    owned_root sixth;
    waiter e(on);
    fifth.start("t", yield_and_note(e, 5, order));
    {
        waiter gone(on);
        sixth.start("t", yield_and_note(gone, 6, order));
        sixth.reset();
    }
    on.run_turn(0);
    CHECK(order == std::vector{4, 5});
}

TEST_CASE("of many that are ready, those that the first have woken do not wait for the last",
          "[net][loop]") {
    manual_clock clock;
    loop on(clock);
    constexpr int many = 200;
    std::vector<int> order;
    std::vector<std::unique_ptr<waiter>> waiters;
    std::vector<std::unique_ptr<owned_root>> roots;
    waiter sender(on);
    owned_root sending;
    sending.start("t", note_when(sender, woken, -1, order, nullptr));
    for (int i = 0; i < many; ++i) {
        waiters.push_back(std::make_unique<waiter>(on));
        roots.push_back(std::make_unique<owned_root>());
        roots.back()->start("t", note_when(*waiters.back(), read_a, i, order, &sender));
    }
    for (auto& w : waiters)
        w->set(read_a);
    on.run_turn(0);
    REQUIRE(order.size() == many + 1);
    const auto sent = std::ranges::find(order, -1) - order.begin();
    CHECK(sent > 0);
    CHECK(sent < many / 2);
}

TEST_CASE("posted work runs in order, also from other threads", "[net][loop]") {
    const system_clock_source clock;
    loop on(clock);
    std::vector<int> seen;
    for (int i = 0; i < 3; ++i)
        on.post([&seen, i] { seen.push_back(i); });
    on.post([&] { on.post([&] { seen.push_back(100); }); });
    std::size_t from_threads = 0;
    const auto post_many = [&] {
        for (int i = 0; i < 1000; ++i)
            on.post([&] { ++from_threads; });
    };
    std::thread first(post_many);
    std::thread second(post_many);
    std::thread stopper([&] {
        first.join();
        second.join();
        // Behind what was posted by something posted.
        on.post([&] { on.post([&] { on.stop(); }); });
    });
    on.run();
    stopper.join();
    CHECK(from_threads == 2000);
    CHECK(seen == std::vector{0, 1, 2, 100});
}

TEST_CASE("a stop that came before run ends it after one turn", "[net][loop]") {
    const system_clock_source clock;
    loop on(clock);
    int turns = 0;
    on.after_turn = [&] { ++turns; };
    on.stop();
    on.run();
    CHECK(turns <= 1);
}

TEST_CASE("readiness is remembered, cleared by who drains, and follows the attachment",
          "[net][loop]") {
    const system_clock_source clock;
    loop on(clock);
    socket_pair pair;
    descriptor d(on, pair.a);
    on.run_turn(0);
    CHECK(d.write_ready());
    CHECK_FALSE(d.read_ready());
    REQUIRE(::write(pair.b, "x", 1) == 1);
    test::run_until(on, [&] { return d.read_ready(); });

    waiter w(on);
    d.attach(&w, read_b, write_b, hangup_b);
    CHECK(w.ready() == (read_b | write_b));
    d.clear_read();
    CHECK(w.ready() == write_b);
    d.mark_read();
    CHECK((w.ready() & read_b) != 0);
    d.clear_read();

    waiter other(on);
    d.attach(&other, read_a, write_a);
    CHECK(w.ready() == 0);
    CHECK(other.ready() == write_a);

    ::close(pair.b);
    test::run_until(on, [&] { return d.hung_up(); });
    d.clear_read();
    CHECK((other.ready() & read_a) != 0);  // the end must still be read
}

TEST_CASE("a waiter that goes first leaves its descriptors detached", "[net][loop]") {
    const system_clock_source clock;
    loop on(clock);
    socket_pair one;
    socket_pair two;
    descriptor a(on, one.a);
    descriptor b(on, two.a);
    on.run_turn(0);
    waiter last(on);
    {
        waiter w(on);
        a.attach(&w, read_a, write_a);
        b.attach(&w, read_b, write_b);
        a.attach(&w, read_b, write_b);
        b.attach(nullptr, 0, 0);
        b.attach(&w, read_a, write_a);
        a.attach(&last, read_b, write_b);
    }
    b.clear_write();  // reaches nobody
    b.attach(&last, read_a, write_a);
    CHECK(last.ready() == write_b);
    ::close(one.b);
    ::close(two.b);
}

TEST_CASE("an idle descriptor tells of its peer's end and may be destroyed by that",
          "[net][loop]") {
    const system_clock_source clock;
    loop on(clock);
    socket_pair pair;
    auto d = std::make_unique<descriptor>(on, pair.a);
    on.run_turn(0);
    int calls = 0;
    d->on_idle_event = [&] {
        ++calls;
        d.reset();
    };
    ::close(pair.b);
    test::run_until(on, [&] { return !d; });
    CHECK(calls == 1);
}

TEST_CASE("events of a descriptor that was closed in the same turn reach nobody", "[net][loop]") {
    const system_clock_source clock;
    loop on(clock);
    socket_pair one;
    socket_pair two;
    std::unique_ptr<descriptor> a = std::make_unique<descriptor>(on, one.a);
    std::unique_ptr<descriptor> b = std::make_unique<descriptor>(on, two.a);
    on.run_turn(0);
    int calls = 0;
    // Whichever comes first destroys the other, and another takes over the number and the slot.
    std::unique_ptr<descriptor> heir;
    int heirs_peer = -1;
    const auto kill = [&](std::unique_ptr<descriptor>& victim) {
        ++calls;
        victim.reset();
        int fds[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        heir = std::make_unique<descriptor>(on, fds[0]);
        heir->on_idle_event = [&] { calls += 100; };
        heirs_peer = fds[1];
    };
    a->on_idle_event = [&] { kill(b); };
    b->on_idle_event = [&] { kill(a); };
    REQUIRE(::write(one.b, "x", 1) == 1);
    REQUIRE(::write(two.b, "x", 1) == 1);
    on.run_turn(1000);
    CHECK(calls == 1);
    ::close(heirs_peer);
    ::close(one.b);
    ::close(two.b);
}

TEST_CASE("an epoll that refuses a descriptor closes it", "[net][loop]") {
    const system_clock_source clock;
    loop on(clock);
    char name[] = "/tmp/kw-loop-XXXXXX";
    const int file = ::mkstemp(name);  // a regular file cannot be polled
    REQUIRE(file >= 0);
    ::unlink(name);
    CHECK_THROWS_AS(descriptor(on, file), std::system_error);
    CHECK(::fcntl(file, F_GETFD) == -1);
}
