// Admission against one set of checks and against the model, in memory and in a real Redis.
#include <catch2/catch.hpp>
#include <iostream>

#include "tests/integration/store/admission_help.hpp"
#include "tests/integration/store/redis_cluster.hpp"
#include "tests/integration/store/redis_server.hpp"

using namespace kw;
using namespace kw::store;
using namespace kw::store::test;
using namespace std::chrono_literals;

namespace {

using outcome = admit_answer::outcome;

// One implementation with a clock that the test moves.
class world {
  public:
    virtual ~world() = default;
    virtual admission& it() = 0;
    void set(std::int64_t ms) {
        now_ = ms;
        clock_.set_wall(wall_time(std::chrono::milliseconds(ms)));
    }
    void advance(std::chrono::milliseconds by) {
        catch_up(it());
        set(now_ + by.count());
    }

    admit_answer ask(const admit_request& r) { return kw::store::test::ask(it(), r); }
    usage_answer look(const std::shared_ptr<const limit_set>& limits,
                      const std::string& key = "ak") {
        return kw::store::test::look(it(), {{key, limits}}).front();
    }

  protected:
    world() { set(noon_ms); }
    std::atomic<std::int64_t> now_{noon_ms};
    manual_clock clock_;
};

class memory_world final : public world {
  public:
    admission& it() override { return *made_; }

  private:
    std::unique_ptr<admission> made_ = make_embedded_admission({}, clock_);
};

class redis_world final : public world {
  public:
    explicit redis_world(bool cluster) {
        if (!cluster) server_ = std::make_unique<redis_server>();
        const auto redis = cluster ? redis_cluster::options() : server_->options();
        const auto s = *open_redis(redis, real_);
        REQUIRE(redis_server::wait_for(*s));
        admission_options o;
        o.fixed_time_ms = &now_;
        o.call_timeout = 5s;
        made_ = *open_redis_admission(redis, o, real_);
        REQUIRE(made_->health().up);
    }
    admission& it() override { return *made_; }

  private:
    std::unique_ptr<redis_server> server_;
    system_clock_source real_;
    std::unique_ptr<admission> made_;
};

enum class where { memory, redis, cluster };

std::unique_ptr<world> make_world(where w) {
    if (w == where::memory) return std::make_unique<memory_world>();
    return std::make_unique<redis_world>(w == where::cluster);
}

}  // namespace

TEST_CASE("admission conforms", "[store][admission][redis]") {
    const auto w = make_world(GENERATE(where::memory, where::redis, where::cluster));
    auto& a = w->it();

    SECTION("exactly the cap of many in parallel") {
        const auto limits = set_of({window(100)});
        CHECK(passing(a, 1'000, limits, {}) == 100);
        CHECK(w->look(limits).states[0].used == 100);
    }
    SECTION("a trailing window slides") {
        const auto limits = set_of({window(10)});
        for (int i = 0; i < 10; ++i) {
            const auto got = w->ask(request("a" + std::to_string(i), limits));
            REQUIRE(got.admitted());
            CHECK(got.states[0].used == i + 1);
            CHECK(got.states[0].remaining() == 9 - i);
            w->advance(1s);
        }
        auto refused = w->ask(request("b", limits));
        CHECK(refused.is == outcome::refused);
        CHECK(refused.refused_by == 0);
        CHECK(refused.states[0] == limit_state{10, 10, 60s});
        // The first was 10 s ago and counts for 60 to 61 s.
        CHECK(refused.retry_in == 51s);
        w->advance(refused.retry_in - 1ms);
        CHECK_FALSE(w->ask(request("c", limits)).admitted());
        w->advance(1ms);
        CHECK(w->ask(request("d", limits)).admitted());
        CHECK_FALSE(w->ask(request("e", limits)).admitted());
        w->advance(61s);
        CHECK(w->look(limits).states[0] == limit_state{0, 10, 0s});
    }
    SECTION("a fixed window begins with the first request") {
        const auto limits = set_of({window(2, limit_kind::fixed)});
        w->advance(7s);
        CHECK(w->ask(request("a", limits)).states[0].reset_in == 60s);
        w->advance(59s);
        CHECK(w->ask(request("b", limits)).states[0].reset_in == 1s);
        const auto refused = w->ask(request("c", limits));
        CHECK_FALSE(refused.admitted());
        CHECK(refused.retry_in == 1s);
        w->advance(1s);
        CHECK(w->ask(request("d", limits)).states[0] == limit_state{1, 2, 60s});
    }
    SECTION("a budget is passed by at most one request") {
        // Each reserves what it costs at most, 0.03.
        const auto limits = set_of({budget(one_dollar)});
        CHECK(passing(a, 100, limits, {1, 0, 30'000'000}) == 34);
        CHECK(w->look(limits).states[0].used == 1'020'000'000);
        for (int i = 0; i < 100; ++i)
            a.settle({"ak", "p" + std::to_string(i)}, {1, 0, 10'000'000});
        CHECK(w->look(limits).states[0].used == 340'000'000);
        CHECK(w->ask(request("next", limits, {1, 0, 30'000'000})).admitted());
    }
    SECTION("periods end") {
        const auto limits = set_of({budget(5, limit_unit::requests, budget_period::day)});
        for (int i = 0; i < 5; ++i)
            REQUIRE(w->ask(request("a" + std::to_string(i), limits)).admitted());
        const auto refused = w->ask(request("b", limits));
        CHECK(refused.states[0] == limit_state{5, 5, 12h});
        CHECK(refused.retry_in == 12h);
        w->advance(12h - 1ms);
        CHECK_FALSE(w->ask(request("c", limits)).admitted());
        w->advance(1ms);
        CHECK(w->ask(request("d", limits)).states[0] == limit_state{1, 5, 24h});
        // What belongs to yesterday changes nothing today.
        a.settle({"ak", "a0"}, {0, 0, 0});
        CHECK(w->look(limits).states[0].used == 1);
    }
    SECTION("large money keeps its last digit") {
        constexpr std::int64_t large = 9'007'199'254'740'993;  // 2^53 + 1
        const auto limits =
            set_of({budget(large + 2), window(large, limit_kind::sliding, limit_unit::cost)});
        a.preload("ak", limits->items()[0], large);
        CHECK(w->look(limits).states[0].used == large);
        CHECK(w->ask(request("a", limits, {1, 0, 1})).states[0].used == large + 1);
        CHECK(w->ask(request("b", limits, {1, 0, 1})).admitted());
        const auto refused = w->ask(request("c", limits, {1, 0, 1}));
        CHECK(refused.states[0].used == large + 2);
        CHECK_FALSE(refused.admitted());
        a.settle({"ak", "b"}, {1, 0, 0});
        CHECK(w->look(limits).states[0].used == large + 1);
        // Counted already.
        a.preload("ak", limits->items()[0], 5);
        CHECK(w->look(limits).states[0].used == large + 1);
    }
    SECTION("concurrency") {
        const auto limits = set_of({window(10, limit_kind::concurrency)});
        CHECK(passing(a, 200, limits, {}) == 10);
        CHECK(w->look(limits).leases == 10);
        const auto refused = w->ask(request("late", limits));
        CHECK(refused.is == outcome::refused);
        CHECK(refused.states[0] == limit_state{10, 10, 0s});
        for (int i = 0; i < 200; ++i)
            a.release({"ak", "p" + std::to_string(i)});
        CHECK(w->look(limits).leases == 0);
        CHECK(w->ask(request("late", limits)).admitted());
    }
    SECTION("a lease lives as long as it is renewed") {
        const auto limits = set_of({window(2, limit_kind::concurrency)});
        REQUIRE(w->ask(request("a", limits)).admitted());
        REQUIRE(w->ask(request("b", limits)).admitted());
        w->advance(10s);
        a.renew({{"ak", "a"}, {"other", "x"}, {"ak", "unknown"}}, 15s);
        w->advance(5s);
        CHECK(w->look(limits).leases == 1);
        CHECK(w->ask(request("c", limits)).admitted());
        CHECK_FALSE(w->ask(request("d", limits)).admitted());
        // Its holder was only slow: what runs is counted, even over the cap.
        a.renew({{"ak", "b"}}, 15s);
        CHECK(w->look(limits).leases == 3);
        // Given back is given back.
        a.release({"ak", "b"});
        a.renew({{"ak", "b"}}, 15s);
        CHECK(w->look(limits).leases == 2);
    }
    SECTION("what expired stays counted, and a late settlement corrects it") {
        const auto limits = set_of({budget(1'000), window(5, limit_kind::concurrency)});
        REQUIRE(w->ask(request("a", limits, {1, 0, 400})).admitted());
        w->advance(20s);
        a.sweep();
        auto seen = w->look(limits);
        CHECK(seen.leases == 0);
        CHECK(seen.states[0].used == 400);
        a.settle({"ak", "a"}, {1, 0, 150});
        CHECK(w->look(limits).states[0].used == 150);
        CHECK(w->look(limits).leases == 0);
    }
    SECTION("everything counts once") {
        const auto limits =
            set_of({window(100), budget(1'000), window(5, limit_kind::concurrency)});
        const auto r = request("a", limits, {1, 0, 400});
        for (int i = 0; i < 3; ++i)
            CHECK(w->ask(r).states[0].used == 400);
        CHECK(w->look(limits).leases == 1);
        a.release({"ak", "a"});
        a.release({"ak", "a"});
        CHECK(w->look(limits).leases == 0);
        for (int i = 0; i < 3; ++i)
            a.settle({"ak", "a"}, {1, 0, 100 + i});
        CHECK(w->ask(r).admitted());
        const auto seen = w->look(limits);
        CHECK(seen.states[0].used == 100);
        CHECK(seen.states[1].used == 1);
        CHECK(seen.leases == 0);
        a.settle({"ak", "never"}, {1, 0, 100});
        CHECK(w->look(limits).states[0].used == 100);
    }
    SECTION("a request that shall not have counted") {
        const auto limits = set_of({window(1)});
        REQUIRE(w->ask(request("a", limits)).admitted());
        a.settle({"ak", "a"}, {0, 0, 0});
        CHECK(w->ask(request("b", limits)).admitted());
    }
    SECTION("requests that are only counted hold no lease") {
        limit hour = window(3);
        hour.length = 1h;
        const auto limits = set_of({hour, window(9, limit_kind::fixed),
                                    budget(9, limit_unit::requests, budget_period::day)});
        const auto in_hour = [&] { return w->look(limits).states[2].used; };
        const auto first = request("a", limits);
        REQUIRE(w->ask(first).admitted());
        CHECK(w->look(limits).leases == 0);
        // Repeated, renewed, released and settled as they are, they count once.
        for (int i = 0; i < 3; ++i)
            CHECK(w->ask(first).states == w->look(limits).states);
        a.release({"ak", "a"});
        a.settle({"ak", "a"}, {1, 5, 5});
        CHECK(in_hour() == 1);
        // Known as long as they run.
        REQUIRE(w->ask(request("b", limits)).admitted());
        REQUIRE(w->ask(request("c", limits)).admitted());
        for (int i = 0; i < 5; ++i) {
            w->advance(10s);
            a.renew({{"ak", "b"}}, 15s);
            a.sweep();
        }
        w->advance(59s);
        a.sweep();
        // Taken back from the window and the period in which they were counted, once; not what
        // nobody knows any more.
        CHECK(in_hour() == 3);
        for (const auto* const id : {"b", "b", "c", "never"})
            a.settle({"ak", id}, {0, 0, 0});
        CHECK(in_hour() == 2);
        CHECK(w->look(limits).states[0].used == 2);
        CHECK(w->ask(request("d", limits)).admitted());
        // Beside another limit it is a lease as any other.
        const auto more = set_of({window(5), window(9, limit_kind::concurrency)});
        REQUIRE(w->ask(request("e", more)).admitted());
        CHECK(w->look(limits).leases == 1);
    }
    SECTION("the refusal names the limit that waiting helps least") {
        const auto limits = set_of(
            {window(1, limit_kind::concurrency), window(1), budget(1, limit_unit::requests)});
        REQUIRE(w->ask(request("a", limits)).admitted());
        const auto refused = w->ask(request("b", limits));
        CHECK(limits->items()[refused.refused_by].kind == limit_kind::budget);
        CHECK(refused.retry_in == 0s);
    }
    SECTION("requests without a bound run one at a time near the cap") {
        const auto limits = set_of({budget(1'000)});
        auto r = request("a", limits, {1, 0, 20});
        r.bounded = false;
        REQUIRE(w->ask(r).admitted());
        r.ledger_id = "b";  // 980 left, more than 10 of them
        REQUIRE(w->ask(r).admitted());
        a.settle({"ak", "a"}, {1, 0, 800});
        r.ledger_id = "c";
        const auto waits = w->ask(r);
        CHECK(waits.is == outcome::waits);
        CHECK(waits.refused_by == 0);
        // Those with a bound go on.
        CHECK(w->ask(request("d", limits, {1, 0, 20})).admitted());
        a.settle({"ak", "b"}, {1, 0, 20});
        CHECK(w->ask(r).admitted());
    }
    SECTION("access keys are apart, and can be forgotten") {
        const auto limits = set_of({window(1)});
        REQUIRE(w->ask(request("a", limits)).admitted());
        auto other = request("a", limits);
        other.access_key_id = "ak2";
        CHECK(w->ask(other).admitted());
        const auto both = look(a, {{"ak", limits}, {"ak2", limits}, {"ak3", limits}});
        REQUIRE(both.size() == 3);
        CHECK(both[0].states[0].used == 1);
        CHECK(both[1].states[0].used == 1);
        CHECK(both[2].states[0].used == 0);
        a.forget("ak");
        CHECK(w->look(limits).states[0].used == 0);
        CHECK(w->look(limits, "ak2").states[0].used == 1);
    }
    SECTION("a cap that is edited goes on counting") {
        REQUIRE(w->ask(request("a", set_of({window(1)}))).admitted());
        CHECK_FALSE(w->ask(request("b", set_of({window(1)}))).admitted());
        CHECK(w->ask(request("b", set_of({window(2)}))).states[0].used == 2);
    }
    SECTION("windows begin anew when the clock was set back") {
        const auto limits = set_of({window(1), budget(100)});
        w->advance(24h);
        REQUIRE(w->ask(request("a", limits, {1, 0, 5})).admitted());
        w->advance(-1s);
        CHECK_FALSE(w->ask(request("b", limits, {1, 0, 5})).admitted());
        w->advance(-23h);
        CHECK(w->ask(request("c", limits, {1, 0, 5})).states[0].used == 10);
    }
}

TEST_CASE("admission in Redis is what the model says", "[store][admission][redis]") {
    redis_server server;
    const system_clock_source clock;
    const auto s = *open_redis(server.options(), clock);
    REQUIRE(redis_server::wait_for(*s));
    std::atomic<std::int64_t> now{noon_ms};
    admission_options options;
    options.fixed_time_ms = &now;
    options.call_timeout = 5s;
    const auto a = *open_redis_admission(server.options(), options, clock);
    constexpr int steps = 20'000;
    const auto set_time = [&](std::int64_t ms) {
        catch_up(*a);
        now = ms;
    };
    compare_with_model(*a, options, set_time, steps, 11);
    CHECK(a->health().local == 0);
    std::cout << "figure: admission in Redis against the model: " << steps << " steps\n";
}
