// Tiers, bindings, probation, caps, refusals, large pools.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace kw::pool::test;

namespace {

void two_tiers(pool_fixture& p) {
    p.groups = {make_group("second", "round-robin", 2), make_group("first", "round-robin", 1)};
    p.keys = {make_key("a", "first"), make_key("b", "first"), make_key("z", "second")};
    p.rebuild();
}

errc code_of(const pick_result& r) {
    return r ? errc::ok : r.error().code;
}

}  // namespace

TEST_CASE("the lowest tier with an eligible key serves, and serves again at once") {
    pool_fixture p;
    two_tiers(p);
    CHECK(p.once() == "a");
    limit_hints h;
    h.retry_after = 20s;
    p.apply("a", 429, {}, h);
    p.apply("b", 429, {}, h);
    CHECK(p.once() == "z");
    auto strict = p.request();
    strict.strict = true;
    CHECK(code_of(p.select.pick(*p.view, strict)) == errc::upstream_keys_rate_limited);
    p.clock.advance(20s);
    CHECK(p.once() != "z");
    p.apply("a", 429, {}, h);
    p.apply("b", 429, {}, h);
    CHECK(p.once() == "z");
    p.keys_health.set_status(p.slot("a"), key_status::active, p.clock.mono(), p.clock.wall());
    CHECK(p.once() == "a");
}

TEST_CASE("a fallback model may be asked of a key that only rests") {
    pool_fixture p;
    two_tiers(p);
    limit_hints h;
    h.retry_after = 20s;
    p.apply("a", 429, {}, h);
    h.retry_after = 10s;
    p.apply("b", 429, {}, h);
    p.keys_health.set_status(p.slot("z"), key_status::banned, p.clock.mono(), p.clock.wall());
    CHECK(code_of(p.select.pick(*p.view, p.request())) == errc::upstream_keys_rate_limited);
    auto fallback = p.request();
    fallback.resting_too = true;
    {
        const auto soonest = p.select.pick(*p.view, fallback);
        REQUIRE(code_of(soonest) == errc::ok);
        CHECK(soonest->key->id == "b");
        CHECK(soonest->resting);
        const std::array tried{p.slot("b")};
        fallback.tried = tried;
        CHECK(p.select.pick(*p.view, fallback)->key->id == "a");
        fallback.tried = {};
    }
    // Worse than resting is out, and an eligible key goes before one that rests.
    for (const auto* id : {"a", "b"})
        p.keys_health.set_status(p.slot(id), key_status::banned, p.clock.mono(), p.clock.wall());
    CHECK(code_of(p.select.pick(*p.view, fallback)) == errc::no_upstream_key);
    p.keys_health.set_status(p.slot("z"), key_status::active, p.clock.mono(), p.clock.wall());
    const auto eligible = p.select.pick(*p.view, fallback);
    REQUIRE(code_of(eligible) == errc::ok);
    CHECK(eligible->key->id == "z");
    CHECK_FALSE(eligible->resting);
}

TEST_CASE("what a refusal says") {
    pool_fixture p;
    two_tiers(p);
    p.groups[0].models = {"gpt-*"};
    p.groups[1].models = {"gpt-*"};
    p.keys[2].models = {"claude-*"};
    p.rebuild();
    CHECK(code_of(p.select.pick(*p.view, p.request("llama"))) == errc::model_not_served);
    CHECK(p.select.pick(*p.view, p.request("claude-x"))->key->id == "z");
    limit_hints h;
    h.retry_after = 7s;
    p.apply("a", 429, {}, h);
    h.retry_after = 3s;
    p.apply("b", 429, {}, h);
    auto r = p.select.pick(*p.view, p.request("gpt-1"));
    REQUIRE(code_of(r) == errc::upstream_keys_rate_limited);
    CHECK(r.error().retry_after == 3s);
    p.clock.advance(10s);
    p.apply("a", 402);
    p.keys_health.set_status(p.slot("b"), key_status::disabled, p.clock.mono(), p.clock.wall());
    CHECK(code_of(p.select.pick(*p.view, p.request("gpt-1"))) == errc::no_upstream_key);
    CHECK_FALSE(p.select.can_pick(*p.view, p.request("gpt-1")));
}

TEST_CASE("bindings are never left") {
    pool_fixture p;
    two_tiers(p);
    auto r = p.request();
    r.bound_key = "b";
    CHECK(p.select.pick(*p.view, r)->key->id == "b");
    p.keys_health.set_status(p.slot("b"), key_status::banned, p.clock.mono(), p.clock.wall());
    CHECK(code_of(p.select.pick(*p.view, r)) == errc::bound_key_unavailable);
    r = p.request();
    r.bound_group = "second";
    CHECK(p.select.pick(*p.view, r)->key->id == "z");
    r.bound_group = "gone";
    CHECK(code_of(p.select.pick(*p.view, r)) == errc::bound_key_unavailable);
    r = p.request();
    r.only_group = "second";
    CHECK(p.select.pick(*p.view, r)->key->id == "z");
    r.only_group = {};
    r.provider = "anthropic";
    CHECK(code_of(p.select.pick(*p.view, r)) == errc::no_upstream_key);
}

TEST_CASE("tried keys are not taken again") {
    pool_fixture p;
    p.fill("least-used", 3);
    std::vector<slot_id> tried;
    std::set<std::string> seen;
    for (int i = 0; i < 3; ++i) {
        auto r = p.request();
        r.tried = tried;
        auto got = p.select.pick(*p.view, r);
        REQUIRE(got.has_value());
        seen.insert(got->key->id);
        tried.push_back(got->slot);
    }
    CHECK(seen.size() == 3);
    auto r = p.request();
    r.tried = tried;
    CHECK_FALSE(p.select.pick(*p.view, r).has_value());
    CHECK(p.select.pick(*p.view, p.request()).has_value());
}

TEST_CASE("the concurrency cap and the release of a use") {
    pool_fixture p;
    p.fill("round-robin", 1);
    p.keys[0].caps.concurrency = 2;
    p.rebuild();
    // Nothing of a cap may be used before it is leased.
    CHECK(code_of(p.select.pick(*p.view, p.request())) == errc::upstream_keys_rate_limited);
    p.lease(numbered(0), 2);
    auto one = p.select.pick(*p.view, p.request());
    auto two = p.select.pick(*p.view, p.request());
    REQUIRE(two.has_value());
    CHECK(code_of(p.select.pick(*p.view, p.request())) == errc::upstream_keys_rate_limited);
    CHECK(p.state(numbered(0)).short_of == cap_short::permits);
    CHECK_FALSE(p.select.can_pick(*p.view, p.request()));
    one->use.settle(12);
    one->use.settle(12);
    CHECK(p.state(numbered(0)).tokens == 12);
    CHECK(p.state(numbered(0)).in_flight == 1);
    auto three = p.select.pick(*p.view, p.request());
    CHECK(three.has_value());
    {
        const picked gone = std::move(*two);
    }
    CHECK(p.state(numbered(0)).in_flight == 1);
}

TEST_CASE("requests and tokens that were leased are spent, then the key is passed over") {
    pool_fixture p;
    p.fill("least-used", 2);
    p.keys[0].caps.rpm = 3;
    p.rebuild();
    p.lease(numbered(0), 100, 3);
    int capped = 0;
    for (int i = 0; i < 20; ++i)
        capped += p.once() == numbered(0) ? 1 : 0;
    CHECK(capped == 3);
    CHECK(p.state(numbered(0)).short_of == cap_short::requests);
    // Tokens go by the estimate, then by what it was; the last one may go over.
    p.fill("round-robin", 1);
    p.keys[0].caps.tpm = 100;
    p.rebuild();
    p.lease(numbered(0), 100, no_cap, 100);
    CHECK(p.once(60, 30) == numbered(0));
    CHECK(p.state(numbered(0)).minute_tokens_left == 70);
    CHECK(p.once(60, 90) == numbered(0));
    CHECK(p.state(numbered(0)).minute_tokens_left == -20);
    const auto refused = p.select.pick(*p.view, p.request());
    REQUIRE(refused.has_error());
    CHECK(refused.error().retry_after == 250ms);
    p.state(numbered(0)).drained = cap_short::minute_tokens;
    CHECK(p.select.pick(*p.view, p.request()).error().retry_after == 5s);
    p.state(numbered(0)).minute_tokens_left = 1;
    CHECK(p.once(60, 90) == numbered(0));
}

TEST_CASE("workers that race for the last of a cap get it once") {
    pool_fixture p;
    p.fill("round-robin", 1);
    p.keys[0].caps.rpm = 1000;
    p.rebuild();
    p.lease(numbered(0), 7, 1000);
    std::atomic<int> got{0};
    std::atomic<int> most{0};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            selector mine(p.states, random_source(t));
            for (int i = 0; i < 2000; ++i) {
                auto one = mine.pick(*p.view, p.request());
                if (!one) continue;
                const int flying = p.state(numbered(0)).in_flight;
                int seen = most;
                while (flying > seen && !most.compare_exchange_weak(seen, flying)) {
                }
                got.fetch_add(1);
            }
        });
    for (auto& t : threads)
        t.join();
    CHECK(got == 1000);
    // Those who are turned away are seen for a moment; each holds one at most.
    CHECK(most <= 7 + 4);
    CHECK(p.state(numbered(0)).in_flight == 0);
}

TEST_CASE("an untested key takes one exchange at a time, unless nothing else is eligible") {
    pool_fixture p;
    p.fill("random", 2);
    p.keys[1].last_test = test_outcome::untested;
    p.keys[1].id = "new";
    p.rebuild();
    std::vector<picked> flying;
    int fresh = 0;
    for (int i = 0; i < 50; ++i) {
        auto got = p.select.pick(*p.view, p.request());
        REQUIRE(got.has_value());
        flying.push_back(std::move(*got));
        fresh += flying.back().key->id == "new";
    }
    CHECK(fresh == 1);
    p.keys_health.set_status(p.slot(numbered(0)), key_status::disabled, p.clock.mono(),
                             p.clock.wall());
    CHECK(p.select.pick(*p.view, p.request())->key->id == "new");
    p.keys_health.set_status(p.slot(numbered(0)), key_status::active, p.clock.mono(),
                             p.clock.wall());
    p.apply("new", 200);
    fresh = 0;
    for (int i = 0; i < 50; ++i)
        fresh += p.once() == "new";
    CHECK(fresh > 5);
}

TEST_CASE("a key whose cooldown ended takes one exchange until one succeeds") {
    pool_fixture p;
    p.fill("round-robin", 1);
    limit_hints h;
    h.retry_after = 2s;
    p.apply(numbered(0), 429, {}, h);
    CHECK_FALSE(p.select.pick(*p.view, p.request()).has_value());
    p.clock.advance(2s);
    auto trial = p.select.pick(*p.view, p.request());
    REQUIRE(trial.has_value());
    CHECK_FALSE(p.select.pick(*p.view, p.request()).has_value());
    p.apply(numbered(0), 200);
    CHECK(p.select.pick(*p.view, p.request()).has_value());
}

TEST_CASE("large pools: all strategies find the few that are left") {
    for (const auto& name : {"least-token-used", "least-used", "max-remaining", "random",
                             "round-robin", "weighted-score"}) {
        INFO(name);
        pool_fixture p;
        p.fill(name, 3000);
        std::set<std::string> seen;
        for (int i = 0; i < 3000; ++i) {
            seen.insert(p.once(10, 10));
            p.clock.advance(5ms);
        }
        CHECK(seen.size() > 900);
        for (int i = 0; i < 3000; ++i) {
            if (i == 1234 || i == 2345) continue;
            p.keys_health.set_status(p.slot(numbered(i)), key_status::disabled, p.clock.mono(),
                                     p.clock.wall());
        }
        seen.clear();
        for (int i = 0; i < 200; ++i) {
            seen.insert(p.once(10, 10));
            p.clock.advance(1ms);
        }
        CHECK(seen == std::set<std::string>{numbered(1234), numbered(2345)});
        p.keys_health.set_status(p.slot(numbered(1234)), key_status::disabled, p.clock.mono(),
                                 p.clock.wall());
        p.keys_health.set_status(p.slot(numbered(2345)), key_status::disabled, p.clock.mono(),
                                 p.clock.wall());
        CHECK(p.once().empty());
        p.keys_health.set_status(p.slot(numbered(7)), key_status::active, p.clock.mono(),
                                 p.clock.wall());
        CHECK(p.once() == numbered(7));
    }
}

TEST_CASE("lanes that are likely to be asked for are made with the view") {
    pool_fixture f;
    f.fill("round-robin", 3);
    CHECK(f.states.cursor("g\n").ids == "k000000\nk000001\nk000002\n");

    // With several lists of models it is known only from the view before.
    f.groups = {make_group("h")};
    f.keys = {make_key("a", "h"), make_key("b", "h")};
    f.keys[0].models = {"gpt-*"};
    f.keys[1].models = {"o3"};
    f.rebuild();
    const std::string lane = "h\ngpt-* ";
    CHECK(f.states.cursor(lane).ids.empty());
    CHECK(f.select.pick(*f.view, f.request("gpt-4o")).has_value());
    CHECK(f.states.cursor(lane).ids == "a\n");
    f.keys.push_back(make_key("c", "h"));
    f.keys.back().models = {"gpt-*"};
    const auto share = [](const auto& all) {
        using one = typename std::decay_t<decltype(all)>::value_type;
        std::vector<std::shared_ptr<const one>> out;
        for (const auto& x : all)
            out.push_back(std::make_shared<const one>(x));
        return out;
    };
    const auto next = build(share(f.groups), share(f.keys), f.states, f.view.get());
    CHECK(f.states.cursor(lane).ids == "a\nc\n");
    CHECK(f.states.cursor("h\no3 ").ids.empty());
}

TEST_CASE("keys that go away free their slots, but not under a running exchange") {
    pool_fixture p;
    p.fill("round-robin", 2);
    auto held = p.select.pick(*p.view, p.request());
    const auto old = held->slot;
    const auto keep = p.view;
    p.keys = {make_key("x", "g"), make_key("y", "g")};
    p.rebuild();
    CHECK(p.states.get(old) == nullptr);
    CHECK(p.slot("x").index != old.index);
    CHECK(p.slot("y").index != old.index);
    held->use.settle(5);
    p.keys.push_back(make_key("w", "g"));
    p.rebuild();
    p.keys.push_back(make_key("v", "g"));
    p.rebuild();
    CHECK((p.slot("v").index == old.index || p.slot("w").index == old.index));
    CHECK(p.state("v").in_flight == 0);
    CHECK(p.state("v").tokens == 0);
}

TEST_CASE("windows start anew with the UTC day") {
    pool_fixture p;
    p.fill("least-token-used", 2);
    p.states.roll_windows(p.clock.wall());
    p.once(0, 500);
    auto r = p.request();
    r.estimated_tokens = 30;
    auto held = p.select.pick(*p.view, r);
    p.clock.advance(24h);
    p.states.roll_windows(p.clock.wall());
    CHECK(p.state(numbered(0)).rank_tokens == 0);
    CHECK(p.state(numbered(1)).rank_tokens == 30);
    held->use.settle(40);
    CHECK(p.state(numbered(1)).rank_tokens == 40);
    CHECK(p.state(numbered(0)).tokens == 500);
}
