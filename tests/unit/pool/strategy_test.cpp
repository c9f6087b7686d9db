// Each strategy's table: order, ties, weights, the empty set; a strategy added from outside.
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace kw::pool::test;

namespace {

const char* const built_in[] = {"least-token-used", "least-used",  "max-remaining",
                                "random",           "round-robin", "weighted-score"};

class last_id final : public strategy {
  public:
    const candidate* choose(const choice& c) override {
        return best_of(
            c, [](const candidate& k) { return k.member; },
            [](std::uint32_t a, std::uint32_t b) { return a > b; });
    }
};

}  // namespace

TEST_CASE("every strategy refuses an empty set and spreads equal keys") {
    for (const auto* name : built_in) {
        INFO(name);
        pool_fixture p;
        p.fill(name, 0);
        CHECK(p.once().empty());
        p.fill(name, 5);
        std::map<std::string, int> n;
        for (int i = 0; i < 5000; ++i) {
            ++n[p.once(10, 10)];
            p.clock.advance(1ms);
        }
        CHECK(n.size() == 5);
        for (const auto& [id, count] : n)
            CHECK((count > 880 && count < 1120));
        for (int i = 0; i < 5; ++i) {
            p.keys_health.set_status(p.slot(numbered(i)), key_status::disabled, p.clock.mono(),
                                     p.clock.wall());
        }
        CHECK(p.once().empty());
    }
}

TEST_CASE("weights scale the share under every strategy but max-remaining") {
    for (const auto* name : built_in) {
        if (std::string_view(name) == "max-remaining") continue;
        INFO(name);
        pool_fixture p;
        p.groups = {make_group("g", name)};
        p.keys = {make_key("a", "g", 3), make_key("b", "g", 1)};
        p.rebuild();
        std::map<std::string, int> n;
        for (int i = 0; i < 4000; ++i) {
            ++n[p.once(10, 10)];
            p.clock.advance(1ms);
        }
        CHECK(n["a"] > 2700);
        CHECK(n["a"] < 3300);
    }
}

TEST_CASE("picks of one instant are spread as well") {
    for (const auto* name : {"least-token-used", "least-used", "max-remaining", "round-robin"}) {
        INFO(name);
        pool_fixture p;
        p.fill(name, 10);
        std::vector<picked> flying;
        std::map<std::string, int> n;
        for (int i = 0; i < 100; ++i) {
            auto r = p.request();
            r.estimated_tokens = 100;
            auto got = p.select.pick(*p.view, r);
            REQUIRE(got.has_value());
            ++n[got->key->id];
            flying.push_back(std::move(*got));
        }
        for (const auto& [id, count] : n)
            CHECK((count >= 8 && count <= 12));
        CHECK(n.size() == 10);
    }
}

TEST_CASE("round-robin goes by id and a removal serves no neighbour twice") {
    pool_fixture p;
    p.fill("round-robin", 4);
    CHECK(p.once() == numbered(0));
    CHECK(p.once() == numbered(1));
    p.keys.erase(p.keys.begin() + 1);
    p.rebuild();
    CHECK(p.once() == numbered(2));
    CHECK(p.once() == numbered(3));
    p.keys.erase(p.keys.begin());
    p.rebuild();
    CHECK(p.once() == numbered(2));
    // one that cannot serve loses its turn, its neighbour does not get it on top
    p.fill("round-robin", 4);
    p.keys_health.set_status(p.slot(numbered(1)), key_status::disabled, p.clock.mono(),
                             p.clock.wall());
    std::map<std::string, int> n;
    std::string last;
    for (int i = 0; i < 300; ++i) {
        const auto id = p.once();
        CHECK(id != last);
        last = id;
        ++n[id];
    }
    CHECK(n[numbered(2)] == 100);
}

TEST_CASE("round-robin is exact over threads") {
    pool_fixture p;
    p.fill("round-robin", 7);
    constexpr int threads = 4;
    std::array<std::map<std::string, int>, threads> n;
    {
        std::vector<std::jthread> workers;
        for (std::size_t t = 0; t < threads; ++t) {
            workers.emplace_back([&, t] {
                selector mine(p.states, random_source(t));
                for (int i = 0; i < 7000 / threads; ++i) {
                    auto r = mine.pick(*p.view, p.request());
                    if (r) ++n[t][r->key->id];
                }
            });
        }
    }
    std::map<std::string, int> sum;
    for (const auto& one : n) {
        for (const auto& [id, count] : one)
            sum[id] += count;
    }
    for (const auto& [id, count] : sum)
        CHECK((count >= 990 && count <= 1010));
    CHECK(sum.size() == 7);
    CHECK(p.state(numbered(0)).in_flight == 0);
}

TEST_CASE("least-used: in flight, uses, idle, id; a newcomer is not flooded") {
    pool_fixture p;
    p.fill("least-used", 3);
    auto& a = p.state(numbered(0));
    auto& b = p.state(numbered(1));
    auto& c = p.state(numbered(2));
    CHECK(p.once() == numbered(0));  // all equal: id
    a.rank_uses = b.rank_uses = c.rank_uses = 5;
    a.last_used = 30, b.last_used = 10, c.last_used = 20;
    CHECK(p.once() == numbered(1));  // longest idle
    a.rank_uses = 4, b.rank_uses = 9, c.rank_uses = 9;
    CHECK(p.once() == numbered(0));  // fewest uses
    a.in_flight = 1;
    c.last_used = 0, b.last_used = 1;
    CHECK(p.once() == numbered(2));  // fewest in flight
    a.in_flight = 0;
    for (int i = 0; i < 300; ++i)
        p.once();
    p.keys.push_back(make_key("new", "g"));
    p.rebuild();
    std::map<std::string, int> n;
    for (int i = 0; i < 400; ++i)
        ++n[p.once()];
    CHECK(n["new"] <= 200);
    CHECK(n["new"] >= 50);
}

TEST_CASE("least-token-used: a newcomer starts at the median") {
    pool_fixture p;
    p.fill("least-token-used", 9);
    for (int i = 0; i < 2000; ++i)
        p.once(50, 100);
    p.keys.push_back(make_key("new", "g"));
    p.rebuild();
    int fresh = 0;
    for (int i = 0; i < 1000; ++i)
        fresh += p.once(50, 100) == "new";
    CHECK(fresh >= 50);
    CHECK(fresh <= 200);
    CHECK(p.state("new").tokens == fresh * 100);
}

TEST_CASE("weighted-score: a newcomer gets a share, a failing key less than half of one") {
    for (const auto pace : {std::chrono::nanoseconds(200us), std::chrono::nanoseconds(300ms)}) {
        pool_fixture p;
        p.fill("weighted-score", 9);
        const auto run = [&](int picks, const std::string& failing) {
            std::map<std::string, int> n;
            for (int i = 0; i < picks; ++i) {
                const auto id = p.once();
                ++n[id];
                // never two failures in a row, so the key stays active
                p.apply(id, id == failing && n[id] % 2 == 0 ? 500 : 200);
                p.clock.advance(pace);
            }
            return n;
        };
        run(5000, "");
        p.keys.push_back(make_key("new", "g"));
        p.rebuild();
        auto n = run(10000, "");
        CHECK(n["new"] >= 800);
        CHECK(n["new"] <= 1200);
        n = run(10000, "new");
        CHECK(n["new"] < 500);
        // and it is given another chance when its failures are long past
        for (int i = 0; i < 30; ++i) {
            p.clock.advance(61s);
            p.keys_health.tick(p.clock.mono(), p.clock.wall());
        }
        CHECK(run(2000, "")["new"] > 100);
    }
}

TEST_CASE("max-remaining ranks an unknown quota by its setting") {
    struct row {
        unknown_quota setting;
        const char* first;
    };
    // ten left, unknown, none left
    for (const row& r : {row{unknown_quota::prefer, "b"}, row{unknown_quota::avoid, "a"},
                         row{unknown_quota::median, "a"}}) {
        pool_fixture p;
        p.groups = {make_group("g", "max-remaining")};
        p.groups[0].settings.unknown = r.setting;
        p.keys = {make_key("a", "g"), make_key("b", "g"), make_key("c", "g")};
        p.keys[0].quota_tokens = 10;
        p.keys[2].quota_tokens = 0;
        p.rebuild();
        CHECK(p.once() == r.first);
        // without the best one the unknown one stands before the empty one, unless avoided
        p.keys_health.set_status(p.slot(r.first), key_status::disabled, p.clock.mono(),
                                 p.clock.wall());
        p.clock.advance(60ms);
        CHECK(p.once() == (r.setting == unknown_quota::prefer ? "a" : "b"));
    }
    pool_fixture p;
    p.fill("max-remaining", 3);
    limit_hints few;
    few.remaining_tokens = 100;
    few.reset_tokens = 10s;
    limit_hints many = few;
    many.remaining_tokens = 900;
    for (int i = 0; i < 3; ++i) {
        p.keys_health.observe_limits(p.slot(numbered(i)), i == 2 ? many : few, p.clock.mono(),
                                     p.clock.wall());
    }
    CHECK(p.once() == numbered(2));
    auto r = p.request();
    r.estimated_tokens = 850;
    auto held = p.select.pick(*p.view, r);
    CHECK(held->key->id == numbered(2));
    CHECK(p.once() != numbered(2));  // less what is in flight
}

TEST_CASE("a strategy from outside joins by one call and is chosen by name") {
    CHECK_FALSE(strategies::make("last-id", {}));
    strategies::add("last-id",
                    [](const strategy_settings&) { return std::make_unique<last_id>(); });
    CHECK(strategies::known("last-id"));
    CHECK(strategies::names().size() == 7);
    pool_fixture p;
    p.fill("last-id", 5);
    CHECK(p.once() == numbered(4));
    p.groups[0].strategy = "round-robin";  // changed while running
    p.rebuild();
    CHECK(p.once() == numbered(0));
}
