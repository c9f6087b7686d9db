// Budgets of memory: what is granted, who waits, and that somebody always comes to an end.
#include "proxy/memory_budget.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "net/loop.hpp"
#include "proxy/request_body.hpp"

using namespace kw;
using namespace kw::proxy;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kib = 1024;

struct fixture {
    manual_clock clock;
    net::loop loop{clock};
    memory_budget budget{1024 * kib};
    memory_queue line{budget};

    void turn(std::chrono::milliseconds later = 0ms) {
        clock.advance(later);
        // The first turn takes up the time, the second runs what it made ready.
        loop.run_turn(0);
        loop.run_turn(0);
    }
};

// One connection that waits for memory.
struct asker {
    explicit asker(fixture& f) : wait(f.loop), share(f.line), loop(f.loop) {}

    void ask(std::size_t bytes, std::chrono::milliseconds patience = 60s) {
        answer.reset();
        root.start("ask", run(*this, bytes, loop.now() + patience));
    }
    static net::task<void> run(asker& self, std::size_t bytes, mono_time deadline) {
        self.answer = co_await self.share.grow(self.wait, bytes, deadline, net::hangup_a);
    }

    net::waiter wait;
    memory_share share;
    net::loop& loop;
    std::optional<memory_answer> answer;
    net::owned_root root;
};

}  // namespace

TEST_CASE("shares add up and are given back", "[proxy][memory]") {
    fixture f;
    {
        memory_share a(f.line), b(f.line);
        CHECK(a.try_grow(100 * kib));
        CHECK(b.try_grow(200 * kib));
        CHECK(a.try_grow(1));
        CHECK(f.budget.used() == 300 * kib + 1);
        a.count(10);
        CHECK(f.budget.used() == 300 * kib + 11);
        a.count(5);
        b.release();
        CHECK(f.budget.used() == 100 * kib + 6);
        a.release();
        CHECK(f.budget.used() == 5);
    }
    CHECK(f.budget.used() == 0);
}

TEST_CASE("the last quarter is for small ones and for one that has the pass", "[proxy][memory]") {
    fixture f;
    memory_share big(f.line), other(f.line), small(f.line);
    REQUIRE(big.try_grow(768 * kib));
    CHECK_FALSE(big.has_pass());
    CHECK(small.try_grow(32 * kib));
    CHECK_FALSE(small.try_grow(1024 * kib));
    CHECK(small.has_pass());
    CHECK_FALSE(other.try_grow(64 * kib));
    CHECK(small.try_grow(100 * kib));
    small.give_pass();
    CHECK(other.try_grow(64 * kib));
    CHECK(other.has_pass());
    CHECK_FALSE(big.try_grow(64 * kib));
    CHECK(f.budget.used() <= f.budget.limit());
    other.release();
    CHECK_FALSE(other.has_pass());
}

TEST_CASE("what is only counted leaves less, but does not stop the one with the pass",
          "[proxy][memory]") {
    fixture f;
    memory_share slow(f.line), big(f.line), other(f.line);
    slow.count(2000 * kib);
    CHECK(f.budget.full());
    CHECK(big.try_grow(500 * kib));
    CHECK(big.has_pass());
    CHECK_FALSE(other.try_grow(100));
    CHECK_FALSE(big.try_grow(600 * kib));
    CHECK(big.try_grow(524 * kib));
    big.release();
    slow.count(0);
    CHECK(f.budget.used() == 0);
}

TEST_CASE("who waits is served in order, and is passed by nobody", "[proxy][memory]") {
    fixture f;
    memory_share part(f.line), full(f.line), late(f.line);
    REQUIRE(part.try_grow(400 * kib));
    REQUIRE(full.try_grow(368 * kib));
    REQUIRE_FALSE(full.try_grow(512 * kib));  // has the pass now
    std::vector<std::unique_ptr<asker>> askers;
    for (int i = 0; i < 3; ++i) {
        askers.push_back(std::make_unique<asker>(f));
        askers.back()->ask(300 * kib);
    }
    f.turn(20ms);
    CHECK(f.budget.waiting() == 3);
    CHECK_FALSE(askers[0]->answer);
    part.release();
    CHECK_FALSE(late.try_grow(64 * kib));  // there is room, but not for those who come later
    f.turn(20ms);
    CHECK(askers[0]->answer == memory_answer::granted);
    CHECK_FALSE(askers[1]->answer);
    CHECK(f.budget.used() == 668 * kib);
    full.release();
    f.turn();
    CHECK(askers[1]->answer == memory_answer::granted);
    f.turn(20ms);
    CHECK(askers[2]->answer == memory_answer::granted);  // by the pass
    CHECK(f.budget.waiting() == 0);
    CHECK(f.budget.used() == 900 * kib);
}

TEST_CASE("a wait ends with its deadline or with the client", "[proxy][memory]") {
    fixture f;
    memory_share full(f.line);
    full.count(1024 * kib);
    REQUIRE_FALSE(full.try_grow(1024 * kib + 1));  // has the pass now
    asker late(f), gone(f);
    late.ask(64 * kib, 1s);
    gone.ask(64 * kib);
    f.turn(500ms);
    CHECK_FALSE(late.answer);
    gone.wait.set(net::hangup_a);
    f.turn();
    CHECK(gone.answer == memory_answer::given_up);
    f.turn(600ms);
    CHECK(late.answer == memory_answer::too_late);
    CHECK(f.budget.waiting() == 0);
    CHECK(f.budget.used() == 1024 * kib);
}

TEST_CASE("halves that all want more come to their ends one after another", "[proxy][memory]") {
    fixture f;
    // Each has 64 KiB of its 256 KiB, and together they have all that is common.
    std::vector<std::unique_ptr<asker>> askers;
    for (int i = 0; i < 12; ++i) {
        askers.push_back(std::make_unique<asker>(f));
        REQUIRE(askers.back()->share.try_grow(64 * kib));
    }
    for (auto& a : askers)
        a->ask(192 * kib);
    std::size_t done = 0;
    for (int turns = 0; turns < 100 && done < askers.size(); ++turns) {
        f.turn(10ms);
        CHECK(f.budget.used() <= f.budget.limit());
        for (auto& a : askers) {
            if (a->answer != memory_answer::granted) continue;
            a->answer.reset();
            a->share.release();
            ++done;
        }
    }
    CHECK(done == askers.size());
    CHECK(f.budget.used() == 0);
}

TEST_CASE("a kept body counts the memory it has", "[proxy][memory]") {
    fixture f;
    kept_body body(f.line);
    CHECK(body.text().empty());
    REQUIRE(body.share().try_grow(16));
    body.enlarge(16);
    body.append("0123456789");
    CHECK(body.room() == 6);
    REQUIRE(body.share().try_grow(100));
    body.enlarge(100);
    body.append("abcdef");
    CHECK(body.text() == "0123456789abcdef");
    CHECK(body.capacity() == 116);
    CHECK(f.budget.used() == 116);
    body.release();
    CHECK(body.text().empty());
    CHECK(f.budget.used() == 0);
}

TEST_CASE("a body takes memory as it comes when there is little", "[proxy][memory]") {
    memory_budget budget(1024 * kib);
    memory_queue line(budget);
    memory_share taken(line);
    CHECK(next_growth(0, 200 * kib, true, budget) == 200 * kib);
    CHECK(next_growth(0, 500 * kib, true, budget) == 16 * kib);
    CHECK(next_growth(0, 200 * kib, false, budget) == 16 * kib);
    taken.count(600 * kib);
    CHECK(next_growth(0, 200 * kib, true, budget) == 16 * kib);
    CHECK(next_growth(0, 100, true, budget) == 100);
    CHECK(next_growth(16 * kib, 200 * kib, true, budget) == 16 * kib);
    CHECK(next_growth(64 * kib, 200 * kib, true, budget) == 64 * kib);
    CHECK(next_growth(128 * kib, 200 * kib, true, budget) == 72 * kib);
    CHECK(next_growth(200 * kib, 200 * kib, false, budget) == 0);
}
