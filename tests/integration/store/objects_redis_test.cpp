// The board of objects on a real Redis against the conformance checks, its bound, and its loss.
#include <catch2/catch.hpp>

#include <csignal>

#include "core/crc32c.hpp"
#include "tests/integration/store/redis_cluster.hpp"
#include "tests/integration/store/redis_server.hpp"
#include "tests/unit/store/objects_conformance.hpp"

using namespace kw;
using namespace kw::store;

TEST_CASE("objects on redis conform", "[store][redis]") {
    const bool cluster = GENERATE(false, true);
    test::redis_server server;
    const auto options = cluster ? test::redis_cluster::options() : server.options();
    manual_clock clock;
    const auto s = *open_redis(options, clock);
    REQUIRE(test::redis_server::wait_for(*s));
    const auto board = *open_redis_objects(options, 100'000, clock);
    SECTION("places") {
        test::check_objects(*board);
    }
    SECTION("accounts") {
        test::check_accounts(*board, clock);
    }
    SECTION("lifetimes") {
        test::check_lifetimes(*board, clock);
    }
    SECTION("debts") {
        test::check_debts(*board, clock);
    }
    SECTION("bound") {
        const auto small = *open_redis_objects(options, 1, clock);
        // Ids of one part, of which it keeps 8: those that end last.
        std::vector<std::string> ids;
        for (int i = 0; ids.size() < 30; ++i)
            if (crc32c(std::to_string(i)) % 16'384 == 7) ids.push_back(std::to_string(i));
        for (std::size_t i = 0; i < ids.size(); ++i)
            REQUIRE(small
                        ->bind(std::vector{
                            test::bound(ids[i], "a", "o",
                                        std::chrono::seconds(1000 + static_cast<std::int64_t>(i)))})
                        .has_value());
        const auto got = small->find(ids);
        REQUIRE(got.has_value());
        for (std::size_t i = 0; i < ids.size(); ++i)
            CHECK((*got)[i].known == (i >= ids.size() - 8));
    }
    SECTION("away") {
        if (cluster) return;  // it serves other tests, too
        server.stop(SIGKILL);
        CHECK(board->find(std::vector<std::string>{"a"}).error().code == errc::store_unavailable);
        CHECK(board->bind(std::vector{test::bound("a", "b", "c")}).error().code ==
              errc::store_unavailable);
    }
}
