// Listeners and worker threads on real sockets.
#include "net/listener.hpp"

#include <atomic>
#include <thread>

#include "net/worker_thread.hpp"
#include "tests/integration/net/loopback.hpp"

using namespace kw;
using namespace kw::net;
using namespace kw::test;

namespace {

task<bool> reach(loop& on, dns_cache& dns, connect_options opts, bool read) {
    waiter w(on);
    auto made = co_await connect(on, w, dns, opts);
    if (!made) co_return false;
    if (!read) co_return true;
    co_await (*made)->write_all(w, "x", opts.deadline);
    const std::string back = co_await read_n(**made, w, 1, on.now() + 300ms);
    co_return back == "x";
}

task<void> connect_into(bench& b, waiter& w, connect_options opts,
                        std::vector<std::unique_ptr<stream>>& out) {
    auto made = co_await connect(b.on, w, b.dns, opts);
    if (made) out.push_back(std::move(*made));
}

}  // namespace

TEST_CASE("a paused listener leaves connections in the backlog until it goes on",
          "[net][listener]") {
    bench b;
    server srv(b.on, [&](auto s) { return echo(b.on, std::move(s), nullptr); });
    CHECK(run(b.on, reach(b.on, b.dns, b.to(srv.port()), true)));
    srv.get().pause();
    const auto before = srv.get().accepted();
    CHECK_FALSE(run(b.on, reach(b.on, b.dns, b.to(srv.port()), true)));
    CHECK(srv.get().accepted() == before);
    srv.get().resume();
    CHECK(run(b.on, reach(b.on, b.dns, b.to(srv.port()), true)));
    CHECK(srv.get().accepted() > before);
    srv.get().close();
    CHECK_FALSE(run(b.on, reach(b.on, b.dns, b.to(srv.port()), false)));
}

TEST_CASE("an address in use is refused with advice; sharing is possible where asked",
          "[net][listener]") {
    bench b;
    listen_options lo;
    lo.reuse_port = false;
    auto first = listener::open(b.on, lo, [](auto) {});
    REQUIRE(first.has_value());
    lo.port = (*first)->local().port;
    const auto second = listener::open(b.on, lo, [](auto) {});
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().context.find("another port") != std::string::npos);
    listen_options shared;
    auto one = listener::open(b.on, shared, [](auto) {});
    REQUIRE(one.has_value());
    shared.port = (*one)->local().port;
    CHECK(listener::open(b.on, shared, [](auto) {}).has_value());
    listen_options bad;
    bad.host = "localhost";
    CHECK_FALSE(listener::open(b.on, bad, [](auto) {}).has_value());
    bad.host = "203.0.113.1";
    const auto nowhere = listener::open(b.on, bad, [](auto) {});
    REQUIRE_FALSE(nowhere.has_value());
    CHECK(nowhere.error().context.find("no interface") != std::string::npos);
}

TEST_CASE("a flood of connections is accepted whole, peers known", "[net][listener]") {
    bench b;
    std::vector<std::unique_ptr<stream>> got;
    auto l =
        listener::open(b.on, {}, [&](std::unique_ptr<stream> s) { got.push_back(std::move(s)); });
    REQUIRE(l.has_value());
    std::vector<std::unique_ptr<waiter>> waiters;
    std::vector<std::unique_ptr<stream>> mine;
    for (int i = 0; i < 300; ++i) {
        waiters.push_back(std::make_unique<waiter>(b.on));
        spawn("t", connect_into(b, *waiters.back(), b.to((*l)->local().port), mine));
    }
    run_until(b.on, [&] { return got.size() == 300 && mine.size() == 300; });
    CHECK(got[0]->peer_text() == "127.0.0.1");
    CHECK(got[0]->peer().port != 0);
    mine.clear();
}

TEST_CASE("a worker thread runs its loop, hears posts and joins", "[net][worker_thread]") {
    const system_clock_source clock;
    std::atomic<int> order{0};
    {
        worker_thread t("kw-test-worker-long-name", clock, 0);
        t.start([&](loop&) { order = 1; }, [&](loop&) { order = order == 2 ? 3 : -1; });
        t.get().post([&] { order = order == 1 ? 2 : -2; });
        t.get().post([&] { t.stop(); });
        t.join();
    }
    CHECK(order == 3);
    worker_thread never("unused", clock);
}

TEST_CASE("the limit of descriptors can be raised to the hard one", "[net][listener]") {
    CHECK(raise_descriptor_limit() > 0);
}
