// Thresholds, cooldowns, probes and the guard of hosts, under a manual clock.
#include <catch2/catch.hpp>

#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace kw::pool::test;

namespace {

struct health_fixture : pool_fixture {
    explicit health_fixture(int n = 1) { fill("round-robin", n); }
    key_status status(int i = 0) { return state(numbered(i)).status(); }
    void probe(int i, probe_outcome o) {
        keys_health.on_probe_result(slot(numbered(i)), o, clock.mono(), clock.wall());
    }
    void tick() { keys_health.tick(clock.mono(), clock.wall()); }
    std::int64_t rest(int i = 0) {
        return state(numbered(i)).blocked_until.load() - mono_ns(clock.mono());
    }
};

int count(const std::vector<health_event>& events, health_event::kind_t kind,
          std::optional<key_status> to = {}) {
    int n = 0;
    for (const auto& e : events)
        n += e.kind == kind && (!to || e.to == *to);
    return n;
}

}  // namespace

TEST_CASE("a success resets the threshold") {
    health_fixture p;
    for (const int s : {500, 500, 200, 500, 500}) {
        p.apply(numbered(0), static_cast<std::uint16_t>(s));
    }
    CHECK(p.status() == key_status::active);
    p.apply(numbered(0), 500);
    CHECK(p.status() == key_status::cooling);
    CHECK(p.rest() <= std::chrono::nanoseconds(15s).count());
}

TEST_CASE("failures far apart do not add up") {
    health_fixture p;
    for (int i = 0; i < 6; ++i) {
        p.apply(numbered(0), 500);
        p.clock.advance(31s);
    }
    CHECK(p.status() == key_status::active);
}

TEST_CASE("client errors and faults elsewhere never change a key") {
    health_fixture p;
    for (const int s : {400, 403, 404, 409, 413, 422}) {
        for (int i = 0; i < 5; ++i)
            p.apply(numbered(0), static_cast<std::uint16_t>(s));
    }
    for (int i = 0; i < 5; ++i)
        p.apply(numbered(0), 404, "model_not_found");
    CHECK(p.status() == key_status::active);
    CHECK(p.state(numbered(0)).failures == 0);
    CHECK(p.keys_health.drain().empty());
}

TEST_CASE("cooldowns grow until a success") {
    health_fixture p;
    std::int64_t last = 0;
    for (int i = 0; i < 4; ++i) {
        p.apply(numbered(0), 429);
        CHECK(p.rest() > last);
        last = p.rest();
        p.apply(numbered(0), 429);  // one that was on its way
        CHECK(p.rest() == last);
        p.clock.advance(std::chrono::nanoseconds(last));
    }
    p.apply(numbered(0), 200);
    CHECK(p.status() == key_status::active);
    p.apply(numbered(0), 429);
    CHECK(p.rest() == std::chrono::nanoseconds(60s).count());
    // a late answer of an earlier exchange does not end a rate limit
    p.apply(numbered(0), 200);
    CHECK(p.status() == key_status::cooling);
}

TEST_CASE("a trial that fails after a 5xx cooldown rests again at once") {
    health_fixture p;
    for (int i = 0; i < 3; ++i)
        p.apply(numbered(0), 503);
    const auto first = p.rest();
    p.clock.advance(std::chrono::nanoseconds(first));
    p.apply(numbered(0), 503);
    CHECK(p.rest() == 2 * first);
    p.clock.advance(std::chrono::nanoseconds(2 * first));
    p.apply(numbered(0), 503);
    p.clock.advance(100s);
    p.apply(numbered(0), 503);
    CHECK(p.rest() == std::chrono::nanoseconds(25s).count());
}

TEST_CASE("a quarantined key comes back after a test, with growing pauses") {
    health_fixture p(4);
    p.apply(numbered(0), 401);
    CHECK(p.status() == key_status::quarantined);
    CHECK(p.keys_health.due_probes(p.clock.mono()).empty());
    p.clock.advance(30s);
    CHECK(p.keys_health.due_probes(p.clock.mono()).size() == 1);
    CHECK(p.keys_health.due_probes(p.clock.mono()).empty());  // one at a time
    p.probe(0, probe_outcome::failed);
    p.clock.advance(59s);
    CHECK(p.keys_health.due_probes(p.clock.mono()).empty());
    p.clock.advance(1s);
    CHECK(p.keys_health.due_probes(p.clock.mono()).size() == 1);
    p.probe(0, probe_outcome::inconclusive);
    CHECK(p.status() == key_status::quarantined);
    p.clock.advance(60s);
    CHECK(p.keys_health.due_probes(p.clock.mono()).size() == 1);
    p.probe(0, probe_outcome::passed);
    CHECK(p.status() == key_status::active);
    const auto events = p.keys_health.drain();
    REQUIRE(events.size() == 2);
    CHECK(events[0].key_id == numbered(0));
    CHECK(events[0].to == key_status::quarantined);
    CHECK(events[0].status == 401);
    CHECK(events[1].to == key_status::active);
    // a test by hand sets the state as well, an inconclusive one does not
    p.probe(1, probe_outcome::inconclusive);
    CHECK(p.status(1) == key_status::active);
    p.probe(1, probe_outcome::failed);
    CHECK(p.status(1) == key_status::quarantined);
}

TEST_CASE("probes of one host run one at a time") {
    health_fixture p(9);
    for (int i = 0; i < 3; ++i) {
        p.apply(numbered(i), 401);
        p.clock.advance(6s);
    }
    p.clock.advance(40s);
    CHECK(p.keys_health.due_probes(p.clock.mono()) == std::vector{p.slot(numbered(0))});
    p.probe(0, probe_outcome::passed);
    CHECK(p.keys_health.due_probes(p.clock.mono()) == std::vector{p.slot(numbered(1))});
    p.clock.advance(61s);  // never answered
    CHECK(p.keys_health.due_probes(p.clock.mono()).size() == 1);
}

TEST_CASE("a ban is withheld until it is clear that the host is not at fault") {
    health_fixture p(5);
    p.apply(numbered(0), 402);
    CHECK(p.status() == key_status::quarantined);
    p.clock.advance(4s);
    p.tick();
    CHECK(p.status() == key_status::quarantined);
    p.clock.advance(1s);
    p.tick();
    CHECK(p.status() == key_status::banned);
    p.clock.advance(15min);
    CHECK(p.keys_health.due_probes(p.clock.mono()).size() == 1);
    p.probe(0, probe_outcome::passed);
    CHECK(p.status() == key_status::active);
    // the only key of a host is banned at once
    health_fixture q(1);
    q.apply(numbered(0), 402);
    CHECK(q.status() == key_status::banned);
}

TEST_CASE("a host that answers everything alike: no ban, one alert") {
    for (const std::uint16_t code : std::initializer_list<std::uint16_t>{401, 402, 500}) {
        INFO(code);
        health_fixture p(8);
        std::vector<health_event> events;
        for (int round = 0; round < 300; ++round) {
            if (auto got = p.select.pick(*p.view, p.request())) p.apply(got->key->id, code);
            p.clock.advance(100ms);
            p.tick();
            for (auto& e : p.keys_health.drain())
                events.push_back(std::move(e));
        }
        CHECK(count(events, health_event::kind_t::breaker_opened) == 1);
        CHECK(count(events, health_event::kind_t::state_changed, key_status::banned) == 0);
        CHECK(p.keys_health.breaker_open(p.slot(numbered(0))));
        for (int i = 0; i < 8; ++i)
            CHECK(p.status(i) == key_status::cooling);
        // recovery: the first success opens the way for all
        p.clock.advance(25s);
        auto got = p.select.pick(*p.view, p.request());
        REQUIRE(got.has_value());
        p.apply(got->key->id, 200);
        for (int i = 0; i < 8; ++i)
            CHECK(p.status(i) == key_status::active);
        CHECK_FALSE(p.keys_health.breaker_open(p.slot(numbered(0))));
        CHECK(count(p.keys_health.drain(), health_event::kind_t::breaker_closed) == 1);
    }
}

TEST_CASE("rate limits of all keys are no fault of the host") {
    health_fixture p(4);
    for (int i = 0; i < 4; ++i)
        p.apply(numbered(i), 429);
    CHECK(count(p.keys_health.drain(), health_event::kind_t::breaker_opened) == 0);
}

TEST_CASE("limits that are used up let the key rest, for a short time only") {
    health_fixture p(2);
    limit_hints h;
    h.remaining_requests = 0;
    h.reset_requests = 3s;
    p.keys_health.observe_limits(p.slot(numbered(0)), h, p.clock.mono(), p.clock.wall());
    CHECK(p.rest() == std::chrono::nanoseconds(3s).count());
    h.reset_requests = 6min;
    p.keys_health.observe_limits(p.slot(numbered(1)), h, p.clock.mono(), p.clock.wall());
    CHECK(p.rest(1) == std::chrono::nanoseconds(10s).count());
}

TEST_CASE("the queue of events is bounded") {
    state_table states;
    health_settings s;
    s.max_events = 3;
    health h(states, s);
    const auto slot = states.acquire("a");
    const manual_clock clock;
    for (int i = 0; i < 5; ++i) {
        h.set_status(slot, i % 2 == 0 ? key_status::disabled : key_status::active, clock.mono(),
                     clock.wall());
    }
    CHECK(h.dropped_events() == 2);
    CHECK(h.drain().size() == 3);
    h.set_status({77, 1}, key_status::disabled, clock.mono(), clock.wall());
    CHECK(h.drain().empty());
}

TEST_CASE("other settings count from the next answer on") {
    health_fixture p;
    p.apply(numbered(0), 500);
    CHECK(p.status() == key_status::active);
    health_settings strict;
    strict.threshold = 1;
    strict.longest_upstream_cooldown = 5s;
    p.keys_health.set_settings(strict);
    p.apply(numbered(0), 500);
    CHECK(p.status() == key_status::cooling);
    CHECK(p.rest() <= std::chrono::nanoseconds(5s).count());
}
