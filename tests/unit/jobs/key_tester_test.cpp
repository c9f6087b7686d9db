// Tests of one key and of all, with upstreams that answer as the test says.
#include "jobs/key_tester.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/loop_runner.hpp"

using namespace kw;
using pool::key_status;

namespace {

struct fixture {
    manual_clock clock;
    net::loop loop{clock};
    pool::state_table states;
    pool::health health{states};
    std::map<std::string, int> answers;  // by key id: the status, 0: none
    bool wait = false;                   // each call takes a turn of the loop
    std::size_t running = 0;
    std::size_t most = 0;
    jobs::key_tester tester{health,
                            states,
                            clock,
                            [this](const std::string& id) -> std::optional<jobs::probe_subject> {
                                if (!answers.contains(id)) return std::nullopt;
                                auto key = std::make_shared<pool::upstream_key>();
                                key->id = id;
                                return jobs::probe_subject{std::move(key), {}};
                            },
                            [this](jobs::probe_subject s) { return call(std::move(s)); },
                            random_source(1)};

    net::task<jobs::probe_answer> call(jobs::probe_subject subject) {
        const int status = answers.at(subject.key->id);
        most = std::max(most, ++running);
        if (wait) {
            net::waiter own(loop);
            co_await own.yield();
        }
        --running;
        jobs::probe_answer out;
        out.status = status;
        if (status == 0) out.failure = errc::upstream_connect_error;
        if (status == 200) out.outcome = pool::probe_outcome::passed;
        if (status == 401 || status == 402) out.outcome = pool::probe_outcome::failed;
        co_return out;
    }
    void add(const std::string& id, int answer, const std::string& host = "https://a") {
        const auto slot = states.acquire(id);
        auto* s = states.get(slot);
        s->host = states.host_index(host);
        s->set_gate(key_status::active, pool::block_reason::none, 0);
        answers[id] = answer;
    }
    key_status status(const std::string& id) { return states.get(*states.find(id))->status(); }
    pool::key_test test(const std::string& id) {
        std::optional<pool::key_test> out;
        tester.test(id, [&](const pool::key_test& told) { out = told; });
        REQUIRE(out);
        return *out;
    }
    pool::test_progress test_all() {
        std::vector<std::string> ids;
        for (const auto& [id, slot] : states.all())
            ids.push_back(id);
        const auto id = tester.test_all(ids).id;
        test::run_until(loop, [&] { return tester.task(id)->ended.has_value(); });
        return *tester.task(id);
    }
};

}  // namespace

TEST_CASE("one test sets the state, or leaves it when nothing is known", "[jobs]") {
    fixture f;
    f.add("good", 200);
    f.add("bad", 401);
    f.add("unpaid", 402);
    for (const int odd : {0, 429, 500, 503, 404})
        f.add("odd" + std::to_string(odd), odd);
    CHECK(f.test("good").outcome == pool::probe_outcome::passed);
    const auto bad = f.test("bad");
    CHECK(bad.outcome == pool::probe_outcome::failed);
    CHECK(bad.status == 401);
    CHECK(bad.after == key_status::quarantined);
    CHECK(f.test("unpaid").after == key_status::quarantined);
    for (const int odd : {0, 429, 500, 503, 404}) {
        const auto told = f.test("odd" + std::to_string(odd));
        CHECK(told.outcome == pool::probe_outcome::inconclusive);
        CHECK(told.status == odd);
        CHECK(told.after == key_status::active);
    }
    // It is well again; then nothing is known.
    f.answers["bad"] = 200;
    CHECK(f.test("bad").after == key_status::active);
    f.health.set_status(*f.states.find("bad"), key_status::disabled, f.clock.mono(),
                        f.clock.wall());
    CHECK(f.test("bad").after == key_status::disabled);
    const auto gone = f.test("gone");
    CHECK(gone.outcome == pool::probe_outcome::inconclusive);
    CHECK(gone.failure == errc::store_not_found);
    CHECK_FALSE(gone.after);
}

TEST_CASE("all keys are tested, sixteen at a time, by a task that can be asked for", "[jobs]") {
    fixture f;
    f.wait = true;
    for (int i = 0; i < 100; ++i)
        f.add("k" + std::to_string(i), i % 10 == 0 ? 401 : i % 10 == 1 ? 503 : 200);
    std::vector<std::string> ids{"gone"};
    for (const auto& [id, slot] : f.states.all())
        ids.push_back(id);
    const auto begun = f.tester.test_all(ids);
    CHECK(begun.total == 101);
    CHECK_FALSE(begun.ended);
    // One at a time: a second call is told of the first.
    CHECK(f.tester.test_all({"k1"}).id == begun.id);
    test::run_until(f.loop, [&] { return f.tester.task(begun.id)->ended.has_value(); });
    const auto p = *f.tester.task(begun.id);
    CHECK(f.most == jobs::key_tester::parallel);
    CHECK(p.tested == 101);
    CHECK(p.success == 80);
    CHECK(p.failed == 10);
    CHECK(p.inconclusive == 11);
    CHECK(p.banned == 10);
    CHECK(p.withheld == 0);
    CHECK(f.status("k10") == key_status::quarantined);
    CHECK(f.status("k11") == key_status::active);
    CHECK_FALSE(f.tester.task("task_none"));
    // The next is another task; who was out already is not counted again.
    const auto next = f.test_all();
    CHECK(next.id != begun.id);
    CHECK(next.failed == 10);
    CHECK(next.banned == 0);
    CHECK(f.tester.task(begun.id));
}

TEST_CASE("no answer leaves every key as it was", "[jobs]") {
    fixture f;
    for (int i = 0; i < 40; ++i)
        f.add("k" + std::to_string(i), i % 2 == 0 ? 0 : 500);
    const auto p = f.test_all();
    CHECK(p.inconclusive == 40);
    for (int i = 0; i < 40; ++i)
        CHECK(f.status("k" + std::to_string(i)) == key_status::active);
}

TEST_CASE("a host that refuses every key is not believed", "[jobs]") {
    fixture f;
    f.add("a1", 401);
    f.add("a2", 401);
    f.add("a3", 402);
    f.add("b1", 401, "https://b");
    f.add("b2", 200, "https://b");
    f.add("c1", 401, "https://c");
    const auto p = f.test_all();
    CHECK(p.failed == 5);
    CHECK(p.withheld == 3);
    CHECK(p.banned == 2);
    for (const auto* id : {"a1", "a2", "a3", "b2"})
        CHECK(f.status(id) == key_status::active);
    CHECK(f.status("b1") == key_status::quarantined);
    CHECK(f.status("c1") == key_status::quarantined);
}

TEST_CASE("a task of no keys is done at once", "[jobs]") {
    fixture f;
    CHECK(f.tester.test_all({}).ended);
}
