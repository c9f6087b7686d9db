// Keys slow down by their upstream's headers before it answers 429.
#include <catch2/catch.hpp>

#include <vector>

#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace kw::pool::test;

namespace {

struct pacing_fixture : pool_fixture {
    explicit pacing_fixture(int n = 1) { fill("round-robin", n); }
    void told(int key, std::int64_t requests, std::chrono::nanoseconds reset) {
        limit_hints h;
        h.remaining_requests = requests;
        h.reset_requests = reset;
        keys_health.observe_limits(slot(numbered(key)), h, clock.mono(), clock.wall());
    }
    void told_tokens(std::int64_t tokens, std::chrono::nanoseconds reset) {
        limit_hints h;
        h.remaining_tokens = tokens;
        h.reset_tokens = reset;
        keys_health.observe_limits(slot(numbered(0)), h, clock.mono(), clock.wall());
    }
    // How many picks come through, all in flight until the end.
    int picks(int tries, std::int32_t estimate = 0) {
        int n = 0;
        std::vector<picked> held;
        for (int i = 0; i < tries; ++i) {
            auto r = request();
            r.estimated_tokens = estimate;
            auto got = select.pick(*view, r);
            if (!got) {
                last = got.error();
                continue;
            }
            ++n;
            held.push_back(std::move(*got));
        }
        return n;
    }
    refusal last;
};

}  // namespace

TEST_CASE("no more goes out than the headers leave, until the window ends") {
    pacing_fixture p;
    CHECK(p.picks(50) == 50);  // nothing is known yet
    p.told(0, 3, 20s);
    CHECK(p.picks(50) == 3);
    CHECK(p.last.code == errc::upstream_keys_rate_limited);
    CHECK(p.last.retry_after == 20s);
    p.clock.advance(19s);
    CHECK(p.picks(1) == 0);
    CHECK(p.last.retry_after == 1s);
    p.clock.advance(1s);
    CHECK(p.picks(50) == 50);
}

TEST_CASE("what is in flight counts, and late answers do not raise what is left") {
    pacing_fixture p;
    auto a = p.select.pick(*p.view, p.request());
    auto b = p.select.pick(*p.view, p.request());
    REQUIRE(a.has_value());
    REQUIRE(b.has_value());
    p.told(0, 5, 20s);  // one of both may not be in it
    CHECK(p.picks(50) == 4);
    p.told(0, 30, 20s);  // an older answer that was slower
    CHECK(p.picks(50) == 0);
    p.clock.advance(20s);
    p.told(0, 60, 60s);
    CHECK(p.picks(100) == 60);
}

TEST_CASE("tokens are paced by the estimates") {
    pacing_fixture p;
    p.told_tokens(1000, 10s);
    CHECK(p.picks(50, 300) == 4);  // the last one begins below the limit
    CHECK(p.last.retry_after == 10s);
    p.clock.advance(10s);
    CHECK(p.picks(5, 300) == 5);
}

TEST_CASE("an estimate makes place for what was really used, in its own window") {
    pacing_fixture p;
    p.told_tokens(1000, 10s);
    for (int i = 0; i < 19; ++i)
        CHECK(p.once(900, 50) == numbered(0));
    CHECK(p.state(numbered(0)).pace_tokens.load() == 50);
    auto r = p.request();
    r.estimated_tokens = 900;
    auto late = p.select.pick(*p.view, r);
    REQUIRE(late.has_value());
    p.clock.advance(10s);
    p.told_tokens(400, 10s);
    late->use.settle(10);
    CHECK(p.state(numbered(0)).pace_tokens.load() == 400);
}

TEST_CASE("what is sent before a new window is known is taken off it") {
    pacing_fixture p;
    p.told(0, 1, 10s);
    p.clock.advance(10s);
    std::vector<picked> held;
    for (int i = 0; i < 4; ++i)
        held.push_back(*p.select.pick(*p.view, p.request()));
    p.told(0, 59, 10s);  // the first of the four is answered
    CHECK(p.state(numbered(0)).pace_requests.load() == 56);
}

TEST_CASE("the others take over from a paced key") {
    pacing_fixture p(2);
    p.told(0, 1, 20s);
    CHECK(p.picks(20) == 20);
    p.told(1, 2, 5s);
    CHECK(p.picks(20) == 2);
    CHECK(p.last.retry_after == 5s);
}

TEST_CASE("a key far from its limits is not counted, and pacing can be off") {
    pacing_fixture p;
    p.told(0, 3, 20s);
    p.told(0, 9'000, 1s);
    CHECK_FALSE(p.state(numbered(0)).paced());
    p.told(0, 3, 20s);
    CHECK(p.state(numbered(0)).paced());
    pacing_fixture off;
    off.keys_health.set_settings({.pacing = false});
    off.told(0, 3, 20s);
    CHECK(off.picks(50) == 50);
}

TEST_CASE("who is refused is told when the upstream's window ends") {
    pacing_fixture p;
    p.told(0, 0, 40s);  // rests for a while, and is paced for the whole of it
    CHECK(p.picks(1) == 0);
    CHECK(p.last.code == errc::upstream_keys_rate_limited);
    CHECK(p.last.retry_after == 40s);
    p.clock.advance(15s);
    CHECK(p.picks(1) == 0);
    CHECK(p.last.retry_after == 25s);
    p.clock.advance(25s);
    // Back: one exchange shows it, and who comes meanwhile is told to come again at once.
    CHECK(p.picks(2) == 1);
    CHECK(p.last.code == errc::upstream_keys_rate_limited);
    CHECK(p.last.retry_after < 1s);
}
