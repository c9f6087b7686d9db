// Slots of a Redis Cluster, its map and its redirections.
#include <catch2/catch.hpp>

#include "store/redis/admission_wire.hpp"
#include "store/redis/channel.hpp"
#include "store/redis/cluster.hpp"

using namespace kw;
using namespace kw::store;
using redis::slot_of;

namespace {

redis::reply text(std::string t) {
    redis::reply r;
    r.is = redis::reply::kind::text;
    r.text = std::move(t);
    return r;
}

redis::reply number(std::int64_t n) {
    redis::reply r;
    r.is = redis::reply::kind::integer;
    r.number = n;
    return r;
}

redis::reply list(std::vector<redis::reply> items) {
    redis::reply r;
    r.is = redis::reply::kind::array;
    r.items = std::move(items);
    return r;
}

}  // namespace

TEST_CASE("a key's slot is that of its hash tag", "[store][cluster]") {
    CHECK(slot_of("123456789") == 0x31C3);
    CHECK(slot_of("") == 0);
    CHECK(slot_of("foo") == 12182);
    CHECK(slot_of("kw:{foo}:bar") == slot_of("foo"));
    CHECK(slot_of("{}foo") != slot_of(""));  // an empty tag is none
    CHECK(slot_of("{foo") != slot_of("foo"));
    CHECK(slot_of("{a}{b}") == slot_of("a"));
    for (std::size_t i = 0; i < redis::step_places; ++i)
        CHECK(slot_of("kw:" + redis::tag_of(i) + ":x") == slot_of(redis::tag_of(i)));
}

TEST_CASE("redirections of a cluster", "[store][cluster]") {
    const auto moved = redis::read_redirection("MOVED 3999 10.0.0.1:6381");
    REQUIRE(moved.has_value());
    CHECK_FALSE(moved->ask);
    CHECK(moved->slot == 3999);
    CHECK(moved->to == redis::place{"10.0.0.1", "6381"});
    CHECK(redis::read_redirection("ASK 1 h:2")->ask);
    CHECK(redis::read_redirection("MOVED 1 :6381")->to.host.empty());
    CHECK(redis::read_redirection("MOVED 1 fd00::1:6381")->to == redis::place{"fd00::1", "6381"});
    for (const auto* bad : {"MOVED", "MOVED x h:1", "MOVED 16384 h:1", "MOVED 1", "MOVED 1 h:x",
                            "ERR MOVED 1 h:1", ""})
        CHECK_FALSE(redis::read_redirection(bad).has_value());
}

TEST_CASE("the map of a cluster", "[store][cluster]") {
    const redis::place asked{"here", "7000"};
    const auto node = [](std::string host, std::int64_t port) {
        return list({text(std::move(host)), number(port), text("id")});
    };
    const auto told = list({list({number(0), number(5460), node("a", 7000), node("r", 7003)}),
                            list({number(5461), number(16382), node("", 7001)})});
    const auto map = redis::cluster_map::read(told, asked);
    REQUIRE(map.has_value());
    REQUIRE(map->at(0) != nullptr);
    CHECK(*map->at(0) == redis::place{"a", "7000"});
    CHECK(*map->at(5460) == redis::place{"a", "7000"});
    CHECK(*map->at(5461) == redis::place{"here", "7001"});  // it does not know its own name
    CHECK(map->at(16383) == nullptr);
    CHECK(map->masters.size() == 2);
    CHECK(redis::cluster_map::read(list({}), asked).has_error());
    redis::reply refused;
    refused.is = redis::reply::kind::error;
    refused.text = "ERR This instance has cluster support disabled";
    const auto none = redis::cluster_map::read(refused, asked);
    REQUIRE(none.has_error());
    CHECK(none.error().context.find("store.redis_mode") != std::string::npos);
}

TEST_CASE("the store is up again when every channel that failed is answered", "[store][cluster]") {
    manual_clock clock;
    redis::health_board board(clock, "the Cluster", true);
    const int one = 0;
    const int two = 0;
    const error why(errc::store_unavailable, "gone", error_source::store);
    board.failed(&one, why);
    board.failed(&two, why);
    board.failed(&one, why);
    CHECK_FALSE(board.now().up);
    board.answered(&one, std::chrono::microseconds(7));  // from a node that is still there
    CHECK_FALSE(board.now().up);
    CHECK(board.now().latency == std::chrono::microseconds(7));
    board.answered(&two);
    CHECK(board.now().up);
    CHECK(board.now().errors == 3);
}
