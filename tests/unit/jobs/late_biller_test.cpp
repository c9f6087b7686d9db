// Who books long-lived work when several see it end, when one dies in between, and when the journal
// or the store is away.
#include <catch2/catch.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "jobs/late_biller.hpp"
#include "store/ledger_batch.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;

namespace {

usage::late_note note_of(const std::string& exchange) {
    usage::late_note n;
    n.kind = usage::late_kind::response;
    n.exchange_id = exchange;
    n.access_key_id = "ak_1";
    n.provider = "openai";
    n.model = "gpt-4o";
    n.input_tokens = 100;
    n.output_tokens = 50;
    return n;
}

usage::late_state ended(const std::string& id) {
    usage::late_state s;
    s.kind = usage::late_kind::response;
    s.id = id;
    s.late = s.ended = s.told = true;
    s.tokens.input = 30;
    s.tokens.output = 12;
    return s;
}

// What comes back from the desk's thread waits here until the test runs it.
struct bench {
    store::test::temp_folder folder;
    manual_clock clock;
    store::object_desk desk{*store::open_embedded_objects(folder.path, 1000, clock)};
    std::mutex mutex;
    std::condition_variable come;
    std::deque<std::function<void()>> work;
    std::vector<store::ledger_record> books;
    std::vector<std::string> counted;
    bool journal = true;
    metrics::registry registry{2};
    std::shared_ptr<jobs::kept_debts> kept =
        std::make_shared<jobs::kept_debts>(folder.path + "/late_orders", registry);

    std::unique_ptr<jobs::late_biller> make(const std::string& claimant) {
        return std::make_unique<jobs::late_biller>(jobs::late_biller::surroundings{
            .objects = desk,
            .clock = clock,
            .claimant = claimant,
            .home =
                [this](std::function<void()> w) {
                    const std::lock_guard lock(mutex);
                    work.push_back(std::move(w));
                    come.notify_one();
                },
            .prices = [] { return usage::price_table::builtin(); },
            .book =
                [this](const store::ledger_record& r, const std::function<void(bool)>& done) {
                    if (journal) books.push_back(r);
                    done(journal);
                },
            .count = [this](const store::ledger_record&,
                            const std::string& exchange) { counted.push_back(exchange); },
            .keep = [] { return std::chrono::seconds(1h); },
            .kept = kept});
    }

    void owe(const std::string& id) {
        desk.ask([id](store::object_board& b) {
            static_cast<void>(b.owe({id, usage::write_note(note_of("req_" + id)), 1h}, 1s));
        });
    }

    // Until all that was asked of the desk is answered and done.
    void settle() {
        for (int round = 0; round < 4; ++round) {
            bool done = false;
            desk.ask([&](store::object_board&) {
                const std::lock_guard lock(mutex);
                done = true;
                come.notify_one();
            });
            std::unique_lock lock(mutex);
            come.wait(lock, [&] { return done; });
            while (!work.empty()) {
                const auto next = std::move(work.front());
                work.pop_front();
                lock.unlock();
                next();
                lock.lock();
            }
        }
    }
};

}  // namespace

TEST_CASE("ended work is booked once, whoever sees it", "[jobs][late]") {
    bench b;
    const auto one = b.make("one");
    const auto other = b.make("other");
    b.owe("resp_1");
    for (int i = 0; i < 3; ++i) {
        one->seen(ended("resp_1"));
        other->seen(ended("resp_1"));
    }
    b.settle();
    b.clock.advance(1min);
    one->run_due();
    other->run_due();
    b.settle();
    REQUIRE(b.books.size() == 1);
    CHECK(b.books.front().id == store::late_id("req_resp_1"));
    CHECK(b.books.front().tokens.total() == 42);
    CHECK(b.counted == std::vector<std::string>{"req_resp_1"});
    // Not another time by a process that knows nothing of it.
    const auto third = b.make("third");
    third->seen(ended("resp_1"));
    b.settle();
    CHECK(b.books.size() == 1);
}

TEST_CASE("what was not ordered here, or has not ended, is not booked", "[jobs][late]") {
    bench b;
    const auto one = b.make("one");
    one->seen(ended("resp_of_others"));
    b.owe("resp_1");
    auto running = ended("resp_1");
    running.ended = false;
    one->seen(running);
    auto plain = ended("resp_1");
    plain.late = false;
    one->seen(plain);
    b.settle();
    CHECK(b.books.empty());
}

TEST_CASE("a journal that is full and a claimant that died are waited for", "[jobs][late]") {
    bench b;
    const auto one = b.make("one");
    b.owe("resp_1");
    b.journal = false;
    one->seen(ended("resp_1"));
    b.settle();
    CHECK(b.books.empty());
    // It has the claim and is gone; another one gets it when its time is over.
    const auto other = b.make("other");
    b.journal = true;
    other->seen(ended("resp_1"));
    b.settle();
    CHECK(b.books.empty());
    b.clock.advance(4s);
    other->run_due();
    b.settle();
    CHECK(b.books.empty());
    b.clock.advance(jobs::late_biller::claim_length);
    other->run_due();
    b.settle();
    CHECK(b.books.size() == 1);
}

TEST_CASE("what the upstream has lost is an estimate", "[jobs][late]") {
    bench b;
    const auto one = b.make("one");
    b.owe("resp_1");
    b.settle();
    b.clock.advance(2s);
    one->look_for_debts(60s);
    b.settle();
    const auto debt = one->take_debt();
    REQUIRE(debt);
    CHECK(debt->id == "resp_1");
    CHECK_FALSE(one->take_debt().has_value());
    one->lost(debt->id, debt->note.kind);
    b.settle();
    REQUIRE(b.books.size() == 1);
    CHECK(b.books.front().outcome == store::usage_outcome::estimated);
    CHECK(b.books.front().tokens.total() == 150);
}

TEST_CASE("what the store is still to be told of is claimed once it is", "[jobs][late]") {
    bench b;
    const auto one = b.make("one");
    REQUIRE(b.kept->keep({"resp_1", usage::write_note(note_of("req_resp_1")), 1h}));
    one->seen(ended("resp_1"));
    b.settle();
    CHECK(b.books.empty());
    one->tell_kept();
    b.settle();
    b.clock.advance(5s);
    one->run_due();
    b.settle();
    CHECK(b.books.size() == 1);
}

TEST_CASE("who saw it end before it was noted books it when it is looked after", "[jobs][late]") {
    bench b;
    const auto one = b.make("one");
    one->seen(ended("resp_1"));
    b.settle();
    b.owe("resp_1");
    b.settle();
    b.clock.advance(5s);
    one->look_for_debts(1s);
    b.settle();
    const auto debt = one->take_debt();
    REQUIRE(debt);
    one->seen(ended(debt->id));
    b.settle();
    CHECK(b.books.size() == 1);
}
