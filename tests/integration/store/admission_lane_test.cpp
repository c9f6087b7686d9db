// A worker's lane: the same answers as by the home, on the loop's thread, and what becomes of its
// steps when Redis goes and comes back.
#include <catch2/catch.hpp>
#include <thread>

#include "net/loop.hpp"
#include "tests/integration/store/admission_help.hpp"
#include "tests/integration/store/redis_server.hpp"

using namespace kw;
using namespace kw::store;
using namespace kw::store::test;
using namespace std::chrono_literals;

namespace {

// A home with one lane, whose loop this thread turns.
struct lane_bench {
    explicit lane_bench(redis_server& server, admission_options options = {})
        : home(opened(server, options, clock)), lane(home->lane(loop)) {}

    static std::unique_ptr<admission> opened(redis_server& server, const admission_options& options,
                                             const clock_source& clock) {
        const auto books = *open_redis(server.options(), clock);
        REQUIRE(redis_server::wait_for(*books));
        return *open_redis_admission(server.options(), options, clock);
    }

    template <class Done>
    void turn_until(Done done) {
        const auto end = std::chrono::steady_clock::now() + 20s;
        while (!done()) {
            REQUIRE(std::chrono::steady_clock::now() < end);
            loop.run_turn(10);
        }
    }
    admit_answer ask_lane(const admit_request& r) {
        std::optional<admit_answer> got;
        const auto here = std::this_thread::get_id();
        lane->admit(r, [&, here](admit_answer a) {
            on_loop = on_loop && std::this_thread::get_id() == here;
            // By the home when the lane has no connection.
            if (std::this_thread::get_id() == here)
                got = std::move(a);
            else
                loop.post([&got, a = std::move(a)] { got = a; });
        });
        turn_until([&] { return got.has_value(); });
        return *got;
    }
    // Until answers come by the lane itself.
    void until_connected() {
        int n = 0;
        turn_until([&] {
            on_loop = true;
            auto r = request("probe" + std::to_string(n++), set_of({window(10'000)}));
            r.access_key_id = "somebody";
            const auto got = ask_lane(r);
            REQUIRE(got.admitted());
            return on_loop && !got.local;
        });
    }

    system_clock_source clock;
    net::loop loop{clock};
    bool on_loop = true;
    std::unique_ptr<admission> home;
    std::unique_ptr<admission> lane;
};

std::int64_t used_at(admission& a, const std::shared_ptr<const limit_set>& limits) {
    return look(a, {{"ak", limits}}).front().states.front().used;
}

}  // namespace

TEST_CASE("a lane counts as its home does", "[store][admission][redis]") {
    redis_server server;
    lane_bench b(server);
    REQUIRE(b.lane);
    b.until_connected();
    const auto limits =
        set_of({window(10, limit_kind::concurrency), budget(20, limit_unit::tokens)});
    int passed = 0;
    for (int i = 0; i < 30; ++i) {
        auto r = request("x" + std::to_string(i), limits);
        r.reservation.tokens = 1;
        passed += b.ask_lane(r).admitted() ? 1 : 0;
    }
    CHECK(passed == 10);
    CHECK(b.on_loop);
    // What one turn makes goes out at once and in order: the slot is free for the next.
    b.lane->settle({"ak", "x0"}, {1, 5, 0});
    b.lane->release({"ak", "x1"});
    CHECK(b.ask_lane(request("y0", limits)).admitted());
    CHECK(b.ask_lane(request("y1", limits)).admitted());
    const auto seen = look(*b.home, {{"ak", limits}}).front();
    CHECK(seen.leases == 10);
    CHECK(b.home->health().decided >= 32);
}

TEST_CASE("many answers of one turn", "[store][admission][redis]") {
    redis_server server;
    lane_bench b(server);
    b.until_connected();
    const auto limits = set_of({window(300)});
    int passed = 0;
    int answers = 0;
    for (int i = 0; i < 1'000; ++i)
        b.lane->admit(request("m" + std::to_string(i), limits), [&](const admit_answer& a) {
            ++answers;
            passed += a.admitted() ? 1 : 0;
        });
    b.turn_until([&] { return answers == 1'000; });
    CHECK(passed == 300);
}

TEST_CASE("a lane whose Redis goes loses nothing", "[store][admission][redis]") {
    redis_server server;
    admission_options options;
    options.call_timeout = 300ms;
    lane_bench b(server, options);
    b.until_connected();
    const auto limits = set_of({window(1'000)});
    for (int i = 0; i < 5; ++i)
        REQUIRE(b.ask_lane(request("a" + std::to_string(i), limits)).admitted());

    server.signal(SIGSTOP);
    const auto during = b.ask_lane(request("frozen", limits));
    CHECK(during.admitted());
    CHECK(during.local);
    b.lane->settle({"ak", "a0"}, {0, 0, 0});
    CHECK(b.ask_lane(request("frozen too", limits)).admitted());
    server.signal(SIGCONT);

    b.until_connected();
    // Four of five, and two that were let through meanwhile: each once, whichever way it was told.
    b.turn_until([&] { return used_at(*b.home, limits) == 6; });
    CHECK(used_at(*b.home, limits) == 6);
}

TEST_CASE("what a lane had not sent when it ended is told", "[store][admission][redis]") {
    redis_server server;
    lane_bench b(server);
    b.until_connected();
    const auto limits = set_of({window(5, limit_kind::concurrency)});
    REQUIRE(b.ask_lane(request("one", limits)).admitted());
    b.lane->settle({"ak", "one"}, {1, 0, 0});
    bool told = false;
    b.lane->admit(request("two", limits), [&](const admit_answer&) { told = true; });
    b.lane.reset();
    CHECK_FALSE(told);
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (look(*b.home, {{"ak", limits}}).front().leases != 0)
        REQUIRE(std::chrono::steady_clock::now() < end);
}
