// Two replicas on one store: what one learns of a key the other knows, each use counts once.
#include "jobs/key_sharer.hpp"

#include <catch2/catch.hpp>
#include <memory>

#include "tests/unit/pool/pool_fixture.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;
using pool::key_status;
using pool::test::numbered;

namespace {

// A store that can be away, or take what it is told without saying so.
class weak_store final : public store::key_board {
  public:
    explicit weak_store(std::unique_ptr<kw::store::key_board> behind)
        : behind_(std::move(behind)) {}
    bool away = false;
    bool mute = false;  // applies, but the answer is lost
    std::size_t calls = 0;
    void replace(std::unique_ptr<kw::store::key_board> by) { behind_ = std::move(by); }

    kw::result<void> tell(const kw::store::key_batch& news) override {
        ++calls;
        if (away) return lost();
        auto done = behind_->tell(news);
        if (mute) return lost();
        return done;
    }
    kw::result<kw::store::key_standings> standings_since(kw::store::key_position at,
                                                         std::size_t limit) override {
        ++calls;
        if (away) return lost();
        return behind_->standings_since(at, limit);
    }

  private:
    static error lost() { return error(errc::store_unavailable, "away", error_source::store); }
    std::unique_ptr<kw::store::key_board> behind_;
};

struct shared_store {
    kw::store::test::temp_folder folder;
    manual_clock clock;
    weak_store store{*kw::store::open_embedded({folder.path + "/data", {}}, clock)};
    std::uint64_t seeds = 0;
};

struct replica : pool::test::pool_fixture {
    shared_store& at;
    random_source random;
    jobs::key_sharer sharer;

    explicit replica(shared_store& s, const std::string& strategy = "least-token-used",
                     int count = 3, jobs::sharing_options o = {})
        : at(s),
          random(++s.seeds),
          sharer(
              s.store, states, keys_health, clock, random,
              [this](const std::string& id) {
                  return std::ranges::any_of(keys, [&](const auto& k) { return k.id == id; });
              },
              o) {
        fill(strategy, count);
        sharer.round();
    }
    void round() {
        for (const auto& e : keys_health.drain())
            if (e.firm) sharer.decided(e.slot);
        sharer.round();
    }
    key_status status(int i) { return state(numbered(i)).status(); }
};

// As their clocks tick together.
void pass(shared_store& s, replica& a, replica& b, std::chrono::nanoseconds by) {
    s.clock.advance(by);
    a.clock.advance(by);
    b.clock.advance(by);
}

void exchange(replica& a, replica& b) {
    a.round();
    b.round();
    a.round();
}

}  // namespace

TEST_CASE("uses and tokens of all replicas add up, each once") {
    shared_store s;
    replica a(s);
    replica b(s);
    for (int i = 0; i < 30; ++i) {
        a.once(10, 20);
        b.once(5, 7);
        if (i % 7 == 0) exchange(a, b);
    }
    exchange(a, b);
    b.round();
    std::int64_t tokens = 0;
    for (int i = 0; i < 3; ++i) {
        const auto& x = a.state(numbered(i));
        const auto& y = b.state(numbered(i));
        CHECK(x.uses == y.uses);
        CHECK(x.tokens == y.tokens);
        CHECK(x.rank_tokens == y.rank_tokens);
        CHECK(x.rank_uses == y.rank_uses);
        CHECK(x.rank_tokens == x.tokens);
        tokens += x.tokens;
    }
    CHECK(tokens == 30 * 27);
    // Rounds without news change nothing.
    const auto before = a.state(numbered(0)).uses.load();
    exchange(a, b);
    exchange(a, b);
    CHECK(a.state(numbered(0)).uses == before);
}

TEST_CASE("a replica prefers the keys that others used less") {
    shared_store s;
    replica a(s);
    replica b(s);
    // Only the first key is ever used at a.
    auto r = a.request();
    const auto first = numbered(0);
    r.bound_key = first;
    for (int i = 0; i < 5; ++i) {
        auto p = a.select.pick(*a.view, r);
        REQUIRE(p.has_value());
        p->use.settle(100);
    }
    exchange(a, b);
    for (int i = 0; i < 10; ++i)
        CHECK(b.once(0, 10) != numbered(0));
}

TEST_CASE("tokens in flight are no others' business") {
    shared_store s;
    replica a(s);
    replica b(s);
    auto r = a.request();
    r.estimated_tokens = 1000;
    auto p = a.select.pick(*a.view, r);
    REQUIRE(p.has_value());
    const auto id = p->key->id;
    exchange(a, b);
    CHECK(b.state(id).rank_tokens == 0);
    CHECK(b.state(id).uses == 1);
    p->use.settle(40);
    exchange(a, b);
    CHECK(b.state(id).rank_tokens == 40);
    CHECK(a.state(id).rank_tokens == 40);
}

TEST_CASE("a restart finds what was told, and what was told without an answer counts once") {
    shared_store s;
    {
        replica a(s);
        for (int i = 0; i < 3; ++i)
            a.once(0, 50);
        s.store.mute = true;
        a.round();
        a.round();
        s.store.mute = false;
        a.once(0, 50);
        a.round();
        CHECK(a.sharer.flush(1s));
    }
    replica b(s);
    std::int64_t tokens = 0;
    std::uint64_t uses = 0;
    for (int i = 0; i < 3; ++i) {
        tokens += b.state(numbered(i)).rank_tokens;
        uses += b.state(numbered(i)).uses;
        CHECK(b.state(numbered(i)).tested());
    }
    CHECK(tokens == 200);
    CHECK(uses == 4);
}

TEST_CASE("a ban, a cooldown and their ends reach the other replica") {
    shared_store s;
    replica a(s);
    replica b(s);
    a.apply(numbered(0), 402);
    pool::limit_hints h;
    h.retry_after = 30s;
    a.apply(numbered(1), 429, {}, h);
    exchange(a, b);
    CHECK(b.status(0) == a.status(0));
    CHECK((b.status(0) == key_status::quarantined || b.status(0) == key_status::banned));
    CHECK(b.status(1) == key_status::cooling);
    CHECK(b.state(numbered(1)).reason() == pool::block_reason::rate_limit);
    for (int i = 0; i < 5; ++i)
        CHECK(b.once() == numbered(2));
    // The ban that was withheld while the host might be at fault.
    pass(s, a, b, 6s);
    a.keys_health.tick(a.clock.mono(), a.clock.wall());
    exchange(a, b);
    CHECK(b.status(0) == key_status::banned);
    pass(s, a, b, 25s);
    bool back = false;
    for (int i = 0; i < 3; ++i)
        back = back || b.once() == numbered(1);
    CHECK(back);

    // A passed test at b, before a's own is due.
    b.keys_health.on_probe_result(b.slot(numbered(0)), pool::probe_outcome::passed, b.clock.mono(),
                                  b.clock.wall());
    exchange(b, a);
    CHECK(a.status(0) == key_status::active);
    CHECK(b.status(0) == key_status::active);
}

TEST_CASE("who did not find it out tests the key later") {
    shared_store s;
    replica a(s);
    replica b(s);
    a.apply(numbered(0), 401);
    exchange(a, b);
    pass(s, a, b, 31s);
    CHECK(a.keys_health.due_probes(a.clock.mono()).size() == 1);
    CHECK(b.keys_health.due_probes(b.clock.mono()).empty());
    pass(s, a, b, 30s);
    CHECK(b.keys_health.due_probes(b.clock.mono()).size() == 1);
    // A restarted process is on time.
    replica c(s);
    CHECK(c.status(0) == key_status::quarantined);
    c.clock.advance(31s);
    CHECK(c.keys_health.due_probes(c.clock.mono()).size() == 1);
}

TEST_CASE("a person's word wins over a ban that did not know of it") {
    shared_store s;
    replica a(s);
    replica b(s);
    a.apply(numbered(0), 401);
    b.keys_health.set_status(b.slot(numbered(0)), key_status::active, b.clock.mono(),
                             b.clock.wall());
    SECTION("the ban is told first") {
        exchange(a, b);
        b.round();
    }
    SECTION("the ban is told last") {
        exchange(b, a);
        a.round();
    }
    a.round();
    b.round();
    CHECK(a.status(0) == key_status::active);
    CHECK(b.status(0) == key_status::active);
    // What is found out after that counts.
    a.apply(numbered(0), 401);
    exchange(a, b);
    CHECK(b.status(0) == key_status::quarantined);
}

TEST_CASE("a cooldown does not end a ban that it did not know of") {
    shared_store s;
    replica a(s);
    replica b(s);
    a.apply(numbered(0), 401);
    b.apply(numbered(0), 429);
    CHECK(b.status(0) == key_status::cooling);
    exchange(a, b);
    b.round();
    CHECK(a.status(0) == key_status::quarantined);
    CHECK(b.status(0) == key_status::quarantined);
}

TEST_CASE("a host's breaker stays at home") {
    shared_store s;
    replica a(s);
    replica b(s);
    for (int round = 0; round < 3; ++round)
        for (int i = 0; i < 3; ++i)
            a.apply(numbered(i), 500);
    REQUIRE(a.keys_health.breaker_open(a.slot(numbered(0))));
    exchange(a, b);
    for (int i = 0; i < 3; ++i) {
        CHECK(a.status(i) == key_status::cooling);
        CHECK(b.status(i) == key_status::active);
    }
    // A ban found elsewhere holds behind an open breaker, and after it.
    b.apply(numbered(1), 402);
    exchange(b, a);
    CHECK(a.status(1) == b.status(1));
    CHECK(a.state(numbered(1)).reason() == pool::block_reason::quota);
}

TEST_CASE("with the store away each goes on and tells it later") {
    shared_store s;
    replica a(s);
    replica b(s);
    s.store.away = true;
    a.apply(numbered(0), 402);
    for (int i = 0; i < 4; ++i)
        b.once(0, 25);
    exchange(a, b);
    CHECK(b.status(0) == key_status::active);
    s.store.away = false;
    exchange(a, b);
    CHECK(b.status(0) != key_status::active);
    std::int64_t tokens = 0;
    for (int i = 0; i < 3; ++i)
        tokens += a.state(numbered(i)).tokens;
    CHECK(tokens == 100);
}

TEST_CASE("a store that was emptied hears of bans again") {
    shared_store s;
    replica a(s);
    a.apply(numbered(0), 402);
    a.round();
    const kw::store::test::temp_folder other;
    s.store.replace(*kw::store::open_embedded({other.path + "/data", {}}, s.clock));
    a.round();
    a.round();
    replica b(s);
    CHECK(b.status(0) == a.status(0));
}

TEST_CASE("a malformed finding is passed over") {
    shared_store s;
    replica a(s);
    kw::store::key_news n;
    n.id = numbered(0);
    n.finding = kw::store::key_finding{"nonsense", {}, 0, 3, true};
    REQUIRE(s.store.tell({"stranger", 1, {n}}).has_value());
    a.round();
    CHECK(a.status(0) == key_status::active);
    a.apply(numbered(0), 402);
    a.round();
    replica b(s);
    CHECK(b.status(0) == a.status(0));
}

TEST_CASE("headers' word on what is left is shared") {
    shared_store s;
    replica a(s);
    replica b(s);
    pool::limit_hints h;
    h.remaining_tokens = 1234;
    h.reset_tokens = 40s;
    a.keys_health.observe_limits(a.slot(numbered(1)), h, a.clock.mono(), a.clock.wall());
    a.once();
    a.once();
    a.once();
    exchange(a, b);
    CHECK(b.state(numbered(1)).header_remaining == 1234);
    CHECK(b.state(numbered(1)).header_reset == pool::mono_ns(b.clock.mono() + 40s));
    // b's own later word is not overwritten by what it told itself, and goes to a.
    h.remaining_tokens = 1000;
    b.keys_health.observe_limits(b.slot(numbered(1)), h, b.clock.mono(), b.clock.wall());
    b.once();
    b.once();
    b.once();
    exchange(b, a);
    CHECK(a.state(numbered(1)).header_remaining == 1000);
    CHECK(b.state(numbered(1)).header_remaining == 1000);
}

TEST_CASE("a key that joins starts in the middle at every replica, also after a restart") {
    shared_store s;
    replica a(s);
    replica b(s);
    for (int i = 0; i < 30; ++i)
        a.once(0, 100);
    exchange(a, b);
    for (replica* r : {&a, &b}) {
        r->keys.push_back(pool::test::make_key(numbered(3), "g"));
        r->rebuild();
    }
    CHECK(a.state(numbered(3)).rank_tokens == 1000);
    exchange(a, b);
    b.round();
    CHECK(a.state(numbered(3)).rank_tokens == 1000);
    CHECK(b.state(numbered(3)).rank_tokens == 1000);
    replica c(s, "least-token-used", 4);
    CHECK(c.state(numbered(3)).rank_tokens == 1000);
    CHECK(c.state(numbered(3)).tokens == 0);
}

TEST_CASE("a new day begins at nothing for all") {
    shared_store s;
    replica a(s);
    replica b(s);
    for (int i = 0; i < 3; ++i)
        a.once(0, 100);
    exchange(a, b);
    pass(s, a, b, 24h);
    exchange(a, b);
    CHECK(b.state(numbered(0)).rank_tokens == 0);
    CHECK(b.state(numbered(0)).tokens == 100);
    a.once(0, 7);
    exchange(a, b);
    std::int64_t today = 0;
    for (int i = 0; i < 3; ++i)
        today += b.state(numbered(i)).rank_tokens;
    CHECK(today == 7);
}

TEST_CASE("what is known of an erased key is forgotten, of one whose group is away it is not") {
    shared_store s;
    replica a(s);
    for (int i = 0; i < 3; ++i)
        a.once(0, 10);
    a.round();
    const auto all = a.keys;
    a.view = pool::build(std::vector<pool::group>{}, {}, a.states);
    a.round();
    CHECK(s.store.standings_since({}, 100)->items.size() == 3);
    a.keys.pop_back();
    a.rebuild();
    a.round();
    CHECK(a.state(numbered(0)).tokens == 10);
    a.keys.clear();
    a.rebuild();
    a.round();
    a.round();
    CHECK(s.store.standings_since({}, 100)->items.size() == 1);
}

TEST_CASE("a round is bounded and tells findings first") {
    shared_store s;
    jobs::sharing_options o;
    o.in_one_batch = 2;
    o.batches_in_a_round = 2;
    replica a(s, "round-robin", 12, o);
    replica b(s, "round-robin", 12);
    for (int i = 0; i < 12; ++i)
        a.once(0, 10);
    a.apply(numbered(11), 401);
    a.round();
    b.round();
    CHECK(b.status(11) == key_status::quarantined);
    const auto arrived = [&] {
        std::int64_t n = 0;
        for (int i = 0; i < 12; ++i)
            n += b.state(numbered(i)).tokens / 10;
        return n;
    };
    CHECK(arrived() == 4);
    a.round();
    b.round();
    CHECK(arrived() == 8);
    a.round();
    b.round();
    CHECK(arrived() == 12);
    // Nothing new: one look at the store.
    a.round();
    s.store.calls = 0;
    a.round();
    CHECK(s.store.calls == 1);
}
