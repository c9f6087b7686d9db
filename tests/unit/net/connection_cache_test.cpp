// The idle pool over socket pairs: order, bounds, ageing, dead peers.
#include "net/connection_cache.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/loop_runner.hpp"

using namespace kw;
using namespace kw::net;
using namespace std::chrono_literals;

namespace {

struct fixture {
    manual_clock clock;
    loop on{clock};
    connection_cache cache;
    std::vector<int> peers;

    explicit fixture(const connection_cache::options& opts = {}) : cache(on, opts) {}
    ~fixture() {
        for (const int fd : peers)
            ::close(fd);
    }
    std::unique_ptr<stream> open() {
        int fds[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        peers.push_back(fds[1]);
        auto s = std::make_unique<stream>(on, fds[0]);
        on.run_turn(0);
        return s;
    }
    void close_peer(std::size_t i) { ::shutdown(peers[i], SHUT_RDWR); }
};

}  // namespace

TEST_CASE("the connection used last is taken first, per endpoint", "[net][connection_cache]") {
    fixture f;
    const auto a = f.cache.id_for("a");
    const auto b = f.cache.id_for("b");
    CHECK(f.cache.id_for("a") == a);
    CHECK(a != b);
    CHECK(f.cache.take(a) == nullptr);
    auto one = f.open();
    auto two = f.open();
    auto three = f.open();
    const int fd_one = one->fd();
    const int fd_two = two->fd();
    const int fd_three = three->fd();
    f.cache.put(a, std::move(one));
    f.cache.put(b, std::move(three));
    f.cache.put(a, std::move(two));
    CHECK(f.cache.idle() == 3);
    CHECK(f.cache.take(a)->fd() == fd_two);
    CHECK(f.cache.take(a)->fd() == fd_one);
    CHECK(f.cache.take(a) == nullptr);
    CHECK(f.cache.take(b)->fd() == fd_three);
    CHECK(f.cache.idle() == 0);
    CHECK(f.cache.counts().reused == 3);
    CHECK(f.cache.counts().missed == 2);
}

TEST_CASE("a connection that its peer closes, or speaks on, leaves the cache",
          "[net][connection_cache]") {
    fixture f;
    const auto id = f.cache.id_for("a");
    f.cache.put(id, f.open());
    f.cache.put(id, f.open());
    f.cache.put(id, f.open());
    f.close_peer(0);
    REQUIRE(::write(f.peers[2], "x", 1) == 1);
    test::run_until(f.on, [&] { return f.cache.idle() == 1; });
    CHECK(f.cache.counts().dropped == 2);
    CHECK(f.cache.take(id) != nullptr);
}

TEST_CASE("what is not fit is not kept", "[net][connection_cache]") {
    fixture f;
    const auto id = f.cache.id_for("a");
    auto closed = f.open();
    f.close_peer(0);
    test::run_until(f.on, [&] { return closed->hung_up(); });
    f.cache.put(id, std::move(closed));
    auto unread = f.open();
    REQUIRE(::write(f.peers[1], "x", 1) == 1);
    test::run_until(f.on, [&] { return unread->handle().read_ready(); });
    f.cache.put(id, std::move(unread));
    CHECK(f.cache.idle() == 0);
}

TEST_CASE("readiness that was remembered but has nothing behind it does no harm",
          "[net][connection_cache]") {
    fixture f;
    const auto id = f.cache.id_for("a");
    auto s = f.open();
    REQUIRE(::write(f.peers[0], "xy", 2) == 2);
    test::run_until(f.on, [&] { return s->handle().read_ready(); });
    char two[2];
    REQUIRE(s->read(two).bytes == 2);  // a full buffer: readiness stays
    REQUIRE(s->handle().read_ready());
    f.cache.put(id, std::move(s));
    CHECK(f.cache.idle() == 1);
    CHECK(f.cache.take(id) != nullptr);
}

TEST_CASE("both bounds hold: an endpoint's fill is refused, the whole's oldest goes",
          "[net][connection_cache]") {
    connection_cache::options opts;
    opts.max_idle_per_endpoint = 2;
    opts.max_idle = 3;
    fixture f(opts);
    const auto a = f.cache.id_for("a");
    const auto b = f.cache.id_for("b");
    auto oldest = f.open();
    const int fd_oldest = oldest->fd();
    f.cache.put(a, std::move(oldest));
    f.cache.put(a, f.open());
    f.cache.put(a, f.open());
    CHECK(f.cache.idle() == 2);
    f.cache.put(b, f.open());
    f.cache.put(b, f.open());
    CHECK(f.cache.idle() == 3);
    auto left = f.cache.take(a);
    REQUIRE(left);
    CHECK(left->fd() != fd_oldest);
    CHECK(f.cache.take(a) == nullptr);
}

TEST_CASE("who idles too long is swept, others stay", "[net][connection_cache]") {
    connection_cache::options opts;
    opts.idle_timeout = 10s;
    fixture f(opts);
    const auto id = f.cache.id_for("a");
    f.cache.put(id, f.open());
    for (int i = 0; i < 6; ++i) {
        f.clock.advance(1s);
        f.on.run_turn(0);
    }
    f.cache.put(id, f.open());
    for (int i = 0; i < 6; ++i) {
        f.clock.advance(1s);
        f.on.run_turn(0);
    }
    CHECK(f.cache.idle() == 1);
    CHECK(f.cache.counts().expired == 1);
    f.cache.clear();
    CHECK(f.cache.idle() == 0);
}
