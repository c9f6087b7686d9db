// Admission in Redis: several replicas, when Redis is away, what it keeps and what it costs.
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "tests/integration/store/admission_help.hpp"
#include "tests/integration/store/redis_server.hpp"
#include "tests/support/temp_certificate.hpp"

using namespace kw;
using namespace kw::store;
using namespace kw::store::test;
using namespace std::chrono_literals;
using outcome = admit_answer::outcome;

namespace {

// What half of the scripts took at most since this was last asked, as Redis itself says: the mean
// would say how busy the machine is.
std::string median_of_scripts(const redis_server& server) {
    redis::target to;
    to.socket = server.socket();
    redis::connection c;
    const auto until = std::chrono::steady_clock::now() + 5s;
    redis::pipeline ask;
    ask.add({"INFO", "latencystats"});
    ask.add({"CONFIG", "RESETSTAT"});
    if (!c.open(to, until)) return {};
    const auto answers = c.exchange(ask, until);
    if (!answers) return {};
    const auto& text = answers->front().text;
    const std::string before = "latency_percentiles_usec_evalsha:p50=";
    const auto at = text.find(before);
    if (at == std::string::npos) return {};
    const auto begin = at + before.size();
    return text.substr(begin, text.find(',', begin) - begin) + " us";
}

}  // namespace

TEST_CASE("two replicas share limits, whatever their clocks say", "[store][admission][redis]") {
    redis_server server;
    const system_clock_source real;
    manual_clock wrong;  // some other year
    const auto s = *open_redis(server.options(), real);
    REQUIRE(redis_server::wait_for(*s));
    const auto one = *open_redis_admission(server.options(), {}, real);
    const auto two = *open_redis_admission(server.options(), {}, wrong);
    const auto limits =
        set_of({window(10), budget(15, limit_unit::requests, budget_period::month)});
    int passed = 0;
    std::vector<limit_state> last;
    for (int i = 0; i < 40; ++i) {
        const auto got = ask(i % 2 == 0 ? *one : *two, request("x" + std::to_string(i), limits));
        passed += got.admitted() ? 1 : 0;
        if (got.admitted()) last = got.states;
    }
    CHECK(passed == 10);
    CHECK(last[0].used == 10);
    CHECK(last[1].used == 10);
    const auto at_one = look(*one, {{"ak", limits}}).front().states;
    const auto at_two = look(*two, {{"ak", limits}}).front().states;
    CHECK(at_one[1].used == at_two[1].used);
    CHECK(std::chrono::abs(at_one[1].reset_in - at_two[1].reset_in) < 10s);
}

TEST_CASE("while Redis is away a replica uses its share", "[store][admission][redis]") {
    redis_server server;
    const system_clock_source clock;
    const auto s = *open_redis(server.options(), clock);
    REQUIRE(redis_server::wait_for(*s));
    admission_options options;
    options.call_timeout = 1s;
    options.replica_id = "a";
    const auto other = *open_redis_admission(server.options(), options, clock);
    options.replica_id = "b";
    const auto a = *open_redis_admission(server.options(), options, clock);
    CHECK(a->health().replicas == 2);
    const auto limits = set_of({window(21), window(500, limit_kind::concurrency)});
    const auto unseen = set_of({budget(9, limit_unit::requests)});
    for (int i = 0; i < 6; ++i)
        REQUIRE(ask(*a, request("before" + std::to_string(i), limits)).admitted());
    a->settle({"ak", "before0"}, {0, 0, 0});
    REQUIRE(look(*a, {{"ak", limits}})[0].states[0].used == 5);

    server.signal(SIGSTOP);
    // Half of the 16 that were left; the first waits for the deadline, the others do not.
    int passed = 0;
    for (int i = 0; i < 30; ++i) {
        const auto got = ask(*a, request("away" + std::to_string(i), limits));
        REQUIRE(got.local);
        passed += got.admitted() ? 1 : 0;
    }
    CHECK(passed == 8);
    CHECK_FALSE(a->health().up);
    // Half of 9 for one never seen; the odd one is the first replica's.
    passed = 0;
    for (int i = 0; i < 9; ++i) {
        auto r = request("u" + std::to_string(i), unseen);
        r.access_key_id = "unseen";
        passed += ask(*a, r).admitted() ? 1 : 0;
    }
    CHECK(passed == 4);
    a->settle({"ak", "away0"}, {1, 0, 0});
    a->settle({"ak", "before1"}, {0, 0, 0});
    a->release({"ak", "before2"});

    server.signal(SIGCONT);
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!a->health().up && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(10ms);
    // Redis was told what was let through, and what was settled meanwhile: once.
    const auto seen = look(*a, {{"ak", limits}, {"unseen", unseen}});
    CHECK(seen[0].states[0].used == 5 + 8 - 1);
    CHECK(seen[0].leases == 6 + 8 - 4);
    CHECK(seen[1].states[0].used == 4);
    while (a->health().waiting != 0 && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(10ms);
    CHECK(a->health().waiting == 0);
    CHECK(a->health().dropped == 0);
}

TEST_CASE("while Redis is away everything can be refused", "[store][admission][redis]") {
    redis_server server;
    const system_clock_source clock;
    auto redis = server.options();
    redis.url = secret("unix:///nowhere/redis.sock");
    admission_options options;
    options.refuse_when_away = true;
    const auto a = *open_redis_admission(redis, options, clock);
    const auto got = ask(*a, request("a", set_of({window(1)})));
    CHECK(got.is == outcome::unavailable);
    CHECK_FALSE(a->health().up);
    redis.url = secret("nonsense");
    CHECK(open_redis_admission(redis, options, clock).error().code == errc::invalid_argument);
}

TEST_CASE("Redis forgets what has passed", "[store][admission][redis]") {
    redis_server server;
    const system_clock_source clock;
    const auto s = *open_redis(server.options(), clock);
    REQUIRE(redis_server::wait_for(*s));
    std::atomic<std::int64_t> now{noon_ms};
    admission_options options;
    options.fixed_time_ms = &now;
    const auto a = *open_redis_admission(server.options(), options, clock);
    const auto limits = set_of({window(1'000), window(1'000, limit_kind::fixed)});
    for (int i = 0; i < 300; ++i)
        REQUIRE(ask(*a, request("x" + std::to_string(i), limits)).admitted());
    for (int i = 0; i < 150; ++i)
        a->settle({"ak", "x" + std::to_string(i)}, {});
    for (int i = 0; i < 5; ++i) {
        catch_up(*a);
        now += 3'600'000;
        a->sweep();
    }
    static_cast<void>(look(*a, {{"ak", limits}}));
    redis::target to;
    to.socket = server.socket();
    redis::connection c;
    const auto until = std::chrono::steady_clock::now() + 5s;
    REQUIRE(c.open(to, until).has_value());
    redis::pipeline ask;
    ask.add({"KEYS", "kw:{*}:use*"});
    ask.add({"KEYS", "kw:{*}:due*"});
    const auto left = c.exchange(ask, until);
    REQUIRE(left.has_value());
    CHECK((*left)[0].items.empty());
    CHECK((*left)[1].items.empty());
}

TEST_CASE("Redis time of an admission", "[store][admission][redis]") {
    redis_server server;
    const system_clock_source clock;
    const auto s = *open_redis(server.options(), clock);
    REQUIRE(redis_server::wait_for(*s));
    admission_options options;
    options.call_timeout = 30s;
    const auto a = *open_redis_admission(server.options(), options, clock);
    const auto one = set_of({window(1'000'000'000)});
    const auto four =
        set_of({window(1'000'000), window(1'000'000'000, limit_kind::sliding, limit_unit::tokens),
                budget(one_dollar * 1'000), window(100'000, limit_kind::concurrency)});
    constexpr int count = 5'000;
    static_cast<void>(median_of_scripts(server));
    for (const auto& [limits, what] :
         {std::pair(one, "one limit"), std::pair(four, "four limits")}) {
        a->forget("ak");
        CHECK(passing(*a, count, limits, {1, 100, 1'000}) == count);
        const auto admitted = median_of_scripts(server);
        for (int i = 0; i < count; ++i)
            a->settle({"ak", "p" + std::to_string(i)}, {1, 50, 500});
        CHECK(look(*a, {{"ak", limits}})[0].leases == 0);
        const auto settled = median_of_scripts(server);
        std::cout << "figure: Redis time of an admission, " << what << ": " << admitted << "\n"
                  << "figure: Redis time of its settlement, " << what << ": " << settled << "\n";
    }
    CHECK(look(*a, {{"ak", four}})[0].states[2].used == 50 * count);
}

TEST_CASE("admission over TLS with a password", "[store][admission][redis]") {
    const kw::test::temp_certificate certificate;
    // A port that was free a moment ago.
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(probe, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::getsockname(probe, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    ::close(probe);
    const auto port = std::to_string(ntohs(at.sin_port));
    redis_server server({"--tls-port", port, "--bind", "127.0.0.1", "--tls-cert-file",
                         certificate.certificate_file(), "--tls-key-file", certificate.key_file(),
                         "--tls-ca-cert-file", certificate.certificate_file(), "--tls-auth-clients",
                         "no", "--requirepass", "hush"});
    const system_clock_source clock;
    auto redis = server.options();
    redis.url = secret("rediss://:hush@127.0.0.1:" + port);
    redis.ca_file = certificate.certificate_file();
    redis.connect_timeout = 5s;
    const auto s = *open_redis(redis, clock);
    REQUIRE(redis_server::wait_for(*s));
    admission_options options;
    options.call_timeout = 30s;
    const auto a = *open_redis_admission(redis, options, clock);
    REQUIRE(a->health().up);
    CHECK(passing(*a, 3'000, set_of({window(1'000)}), {}) == 1'000);
    CHECK(a->health().local == 0);
}
