// Ten thousand upstream keys among replicas on a real Redis: what a round costs, how many it takes.
#include <catch2/catch.hpp>
#include <cstdio>

#include "jobs/cap_lessee.hpp"
#include "jobs/key_sharer.hpp"
#include "tests/integration/store/redis_server.hpp"
#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace std::chrono_literals;
using pool::test::numbered;

namespace {

constexpr int key_count = 10'000;

struct replica : pool::test::pool_fixture {
    system_clock_source real;
    random_source random;
    std::unique_ptr<store::store> store;
    std::unique_ptr<store::cap_board> caps;
    jobs::key_sharer sharer;
    jobs::cap_lessee lessee;

    replica(const store::test::redis_server& server, std::uint64_t seed)
        : random(seed),
          store(*store::open_redis(server.options(), real)),
          caps(*store::open_redis_caps(server.options(), real)),
          sharer(*store, states, keys_health, real, random,
                 [](const std::string&) { return true; }),
          lessee(*caps, states, real, random, [](const std::string&) { return 0; }) {
        REQUIRE(store::test::redis_server::wait_for(*store));
        fill("round-robin", key_count);
        sharer.round();
    }
    void use_all() {
        for (int i = 0; i < key_count; ++i) {
            auto& s = state(numbered(i));
            s.uses.fetch_add(1);
            s.rank_uses.fetch_add(1);
            s.tokens.fetch_add(10);
            s.rank_tokens.fetch_add(10);
        }
    }
    std::int64_t tokens() {
        std::int64_t n = 0;
        for (int i = 0; i < key_count; ++i)
            n += state(numbered(i)).tokens;
        return n;
    }
};

double milliseconds(const std::function<void()>& what) {
    const auto begun = std::chrono::steady_clock::now();
    what();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun)
        .count();
}

// Microseconds that the server spent on scripts so far.
std::int64_t script_time(const store::test::redis_server& server) {
    const auto to = store::redis::parse_target(server.options());
    store::redis::connection c;
    const auto until = std::chrono::steady_clock::now() + 5s;
    REQUIRE(c.open(*to, until).has_value());
    store::redis::pipeline ask;
    ask.add({"INFO", "commandstats"});
    const auto told = c.exchange(ask, until);
    REQUIRE(told.has_value());
    const auto& text = told->front().text;
    const auto at = text.find("cmdstat_evalsha:");
    if (at == std::string::npos) return 0;
    return std::stoll(text.substr(text.find("usec=", at) + 5));
}

}  // namespace

TEST_CASE("the uses of ten thousand keys reach another replica in five rounds", "[jobs][redis]") {
    const store::test::redis_server server;
    replica a(server, 1);
    replica b(server, 2);
    a.use_all();
    const auto before = script_time(server);
    double telling = 0;
    double reading = 0;
    int rounds = 0;
    while (b.tokens() != 10LL * key_count && rounds < 50) {
        telling = std::max(telling, milliseconds([&] { a.sharer.round(); }));
        reading = std::max(reading, milliseconds([&] { b.sharer.round(); }));
        ++rounds;
    }
    CHECK(rounds <= 5);
    CHECK(a.tokens() == 10LL * key_count);
    const auto each = static_cast<double>(script_time(server) - before) / key_count;
    const double idle = milliseconds([&] { a.sharer.round(); });
    std::printf("figure: Redis' time to take and hand on the news of a key: %.1f us\n", each);
    std::printf(
        "figure: 10,000 keys used at once: told in %d rounds of 200 ms, a round that tells %.0f "
        "ms, "
        "one that reads %.0f ms, one without news %.2f ms\n",
        rounds, telling, reading, idle);
    // A restart reads all of it.
    const auto read = milliseconds([&] {
        replica c(server, 3);
        CHECK(c.tokens() == 10LL * key_count);
    });
    std::printf("figure: a start with 10,000 keys known to Redis: %.0f ms\n", read);
}

TEST_CASE("caps of ten thousand keys are leased, and cost nothing in peace", "[jobs][redis]") {
    const store::test::redis_server server;
    replica a(server, 1);
    pool::key_caps caps;
    caps.concurrency = 10;
    caps.rpm = 1000;
    a.lessee.begin_keys();
    for (int i = 0; i < key_count; ++i)
        a.lessee.see_key(numbered(i), caps);
    a.lessee.end_keys();
    int rounds = 0;
    double longest = 0;
    const auto leased = [&] {
        for (int i = 0; i < key_count; ++i)
            if (a.state(numbered(i)).permits != 10) return false;
        return true;
    };
    while (!leased() && rounds < 50) {
        longest = std::max(longest, milliseconds([&] { a.lessee.round(); }));
        ++rounds;
    }
    CHECK(rounds <= 11);
    const double idle = milliseconds([&] { a.lessee.round(); });
    std::printf(
        "figure: caps of 10,000 keys leased in %d rounds of at most %.0f ms; a round in peace "
        "%.2f ms\n",
        rounds, longest, idle);
}
