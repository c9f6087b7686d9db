// Replicas that lease parts of a key's caps: together never more than the cap, and it goes where it
// is needed.
#include "jobs/cap_lessee.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <set>

#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace std::chrono_literals;
using pool::test::numbered;

namespace {

// A board that can be away.
class weak_board final : public store::cap_board {
  public:
    explicit weak_board(const clock_source& clock) : behind_(store::make_embedded_caps(clock)) {}
    bool away = false;
    std::size_t asks = 0;

    result<store::cap_answers> ask(const std::string& replica, std::chrono::milliseconds lease,
                                   const std::vector<store::cap_ask>& all) override {
        if (away) return error(errc::store_unavailable, "away", error_source::store);
        asks += all.size();
        return behind_->ask(replica, lease, all);
    }
    void leave(const std::string& replica) override { behind_->leave(replica); }

  private:
    std::unique_ptr<store::cap_board> behind_;
};

struct shared_board {
    manual_clock clock;
    weak_board board{clock};
    std::uint64_t seeds = 0;
};

struct replica : pool::test::pool_fixture {
    shared_board& at;
    random_source random;
    std::int64_t spent_today = 0;
    jobs::cap_lessee lessee;
    std::vector<pool::picked> flying;

    replica(shared_board& s, pool::key_caps caps)
        : at(s),
          random(++s.seeds),
          lessee(s.board, states, s.clock, random,
                 [this](const std::string&) { return spent_today; }) {
        clock = s.clock;
        fill("round-robin", 1);
        set(caps);
        lessee.round();
    }
    void set(pool::key_caps caps) {
        keys[0].caps = caps;
        rebuild();
        lessee.begin_keys();
        for (const auto& k : keys)
            lessee.see_key(k.id, k.caps);
        lessee.end_keys();
    }
    // As many as it can begin.
    int begin(int count) {
        int begun = 0;
        clock = at.clock;
        for (int i = 0; i < count; ++i) {
            auto got = select.pick(*view, request());
            if (!got) continue;
            flying.push_back(std::move(*got));
            ++begun;
        }
        return begun;
    }
    void end() { flying.clear(); }
    pool::key_state& only() { return state(numbered(0)); }
};

using replicas = std::vector<std::unique_ptr<replica>>;

replicas make(shared_board& s, int count, pool::key_caps caps) {
    replicas out;
    for (int i = 0; i < count; ++i)
        out.push_back(std::make_unique<replica>(s, caps));
    return out;
}

void rounds(shared_board& s, replicas& all, int count) {
    for (int i = 0; i < count; ++i) {
        s.clock.advance(200ms);
        for (auto& r : all)
            r->lessee.round();
    }
}

std::int64_t in_flight(replicas& all) {
    std::int64_t n = 0;
    for (auto& r : all)
        n += r->only().in_flight;
    return n;
}

pool::key_caps concurrency(std::int32_t n) {
    pool::key_caps c;
    c.concurrency = n;
    return c;
}

}  // namespace

TEST_CASE("a key without leased permits serves nobody, with them up to its cap") {
    shared_board s;
    auto all = make(s, 1, concurrency(3));
    CHECK(all[0]->begin(10) == 3);
    all[0]->end();
    rounds(s, all, 2);
    CHECK(all[0]->begin(10) == 3);
}

TEST_CASE("replicas never pass a cap together, whatever comes through whom") {
    shared_board s;
    random_source dice(3);
    for (const int cap : {1, 2, 3, 7}) {
        auto all = make(s, 3, concurrency(cap));
        std::int64_t served = 0;
        for (int step = 0; step < 2000; ++step) {
            auto& r = *all[dice.below(3)];
            switch (dice.below(4)) {
                case 0:
                    served += r.begin(static_cast<int>(dice.below(4)));
                    break;
                case 1:
                    if (!r.flying.empty()) r.flying.pop_back();
                    break;
                case 2:
                    r.lessee.round();
                    break;
                default:
                    s.clock.advance(100ms);
            }
            REQUIRE(in_flight(all) <= cap);
        }
        CHECK(served > 50);
        for (auto& r : all)
            r->lessee.leave();
    }
}

TEST_CASE("permits go where the requests come, and back to all in peace") {
    shared_board s;
    auto all = make(s, 3, concurrency(12));
    rounds(s, all, 4);
    for (auto& r : all)
        CHECK(r->only().permits == 4);
    // All of them through one.
    all[0]->begin(12);
    rounds(s, all, 2);
    all[0]->begin(12);
    rounds(s, all, 2);
    all[0]->begin(12);
    CHECK(all[0]->only().in_flight >= 10);
    CHECK(in_flight(all) <= 12);
    // The others are short now: what ends at the one goes to them.
    for (int i = 0; i < 20; ++i) {
        all[1]->begin(12);
        all[2]->begin(12);
        if (all[0]->flying.size() > 4) all[0]->flying.pop_back();
        rounds(s, all, 1);
        REQUIRE(in_flight(all) <= 12);
    }
    CHECK(all[1]->only().in_flight >= 3);
    CHECK(all[2]->only().in_flight >= 3);
    for (auto& r : all)
        r->end();
    rounds(s, all, 20);
    for (auto& r : all)
        CHECK(r->only().permits == 4);
}

TEST_CASE("a cap below the number of replicas goes to fewer of them, in turn") {
    shared_board s;
    auto all = make(s, 3, concurrency(1));
    std::set<std::size_t> served;
    for (int i = 0; i < 200; ++i) {
        rounds(s, all, 1);
        for (std::size_t r = 0; r < 3; ++r)
            if (all[r]->begin(1) == 1) served.insert(r);
        REQUIRE(in_flight(all) <= 1);
        for (auto& r : all)
            r->end();
    }
    CHECK(served.size() == 3);
}

TEST_CASE("the part of a process that died is free after its lease") {
    shared_board s;
    auto all = make(s, 2, concurrency(2));
    rounds(s, all, 3);
    CHECK(all[1]->begin(2) == 1);
    auto dead = std::move(all[0]);
    all.erase(all.begin());
    for (int i = 0; i < 48; ++i) {
        rounds(s, all, 1);
        all[0]->begin(2);
        CHECK(all[0]->only().in_flight == 1);
    }
    rounds(s, all, 5);
    all[0]->begin(2);
    CHECK(all[0]->only().in_flight == 2);
}

TEST_CASE("requests a minute of all replicas together") {
    shared_board s;
    pool::key_caps caps;
    caps.rpm = 20;
    auto all = make(s, 3, caps);
    int served = 0;
    for (int i = 0; i < 50; ++i) {
        rounds(s, all, 1);
        for (auto& r : all)
            served += r->begin(2);
        for (auto& r : all)
            r->end();
    }
    CHECK(served <= 20);
    CHECK(served >= 18);
    CHECK(all[0]->only().drained == pool::cap_short::requests);
    s.clock.advance(66s);
    rounds(s, all, 10);
    for (auto& r : all)
        served += r->begin(20);
    CHECK(served <= 40);
    CHECK(served >= 35);
}

TEST_CASE("tokens are spent by what they were, estimates in flight count meanwhile") {
    shared_board s;
    pool::key_caps caps;
    caps.tpm = 1000;
    auto all = make(s, 2, caps);
    std::int64_t spent = 0;
    for (int i = 0; i < 100; ++i) {
        for (auto& r : all) {
            r->clock = s.clock;
            auto ask = r->request();
            ask.estimated_tokens = 50;
            auto got = r->select.pick(*r->view, ask);
            rounds(s, all, 1);
            if (!got) continue;
            got->use.settle(30);
            spent += 30;
        }
        if (i * 400 > 55'000) break;  // within the minute
    }
    CHECK(spent <= 1000 + 2 * 50);
    CHECK(spent >= 800);
}

TEST_CASE("a cap a day begins with what the books have of today") {
    shared_board s;
    pool::key_caps caps;
    caps.tokens_per_day = 100;
    auto all = make(s, 1, {});
    all[0]->spent_today = 100;
    all[0]->set(caps);
    rounds(s, all, 3);
    CHECK(all[0]->begin(1) == 0);
    s.clock.advance(24h);
    rounds(s, all, 3);
    CHECK(all[0]->begin(1) == 1);
}

TEST_CASE("with the board away permits stay and a minute has its part") {
    shared_board s;
    pool::key_caps caps;
    caps.concurrency = 4;
    caps.rpm = 10;
    auto all = make(s, 2, caps);
    rounds(s, all, 5);
    s.board.away = true;
    const auto serve = [&] {
        int served = 0;
        for (auto& r : all) {
            for (int i = 0; i < 20; ++i) {
                served += r->begin(1);
                r->end();
            }
            CHECK(r->only().permits == 2);
        }
        return served;
    };
    rounds(s, all, 60);
    const int held = serve();
    CHECK(held >= 2);
    CHECK(held <= 10);
    CHECK(serve() == 0);
    for (int minute = 0; minute < 3; ++minute) {
        s.clock.advance(65s);
        rounds(s, all, 2);
        CHECK(serve() == 10);
        CHECK(serve() == 0);
    }
    // Back again, it hears what was spent.
    s.board.away = false;
    rounds(s, all, 5);
    CHECK(serve() == 0);
    s.clock.advance(66s);
    rounds(s, all, 10);
    const int after = serve();
    CHECK(after >= 5);
    CHECK(after <= 10);
}

TEST_CASE("nothing is asked when nothing changes, and a key without caps is let alone") {
    shared_board s;
    pool::key_caps caps;
    caps.concurrency = 4;
    caps.rpm = 100;
    caps.tokens_per_day = 1000;
    auto all = make(s, 1, caps);
    rounds(s, all, 10);
    s.board.asks = 0;
    rounds(s, all, 10);
    CHECK(s.board.asks == 0);
    all[0]->set({});
    rounds(s, all, 2);
    CHECK(all[0]->begin(100) == 100);
    all[0]->end();
    // Caps that were taken away and come back hold again.
    all[0]->set(concurrency(2));
    CHECK(all[0]->begin(5) == 0);
    rounds(s, all, 1);
    CHECK(all[0]->begin(5) == 2);
}
