// Order, signs, bounds and sums of the lines in which requests wait.
#include "auth/waiting_lines.hpp"

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <semaphore>
#include <thread>

#include "core/ids.hpp"
#include "core/metrics.hpp"

using namespace kw;
using namespace std::chrono_literals;
using auth::waiting_lines;
using turn = waiting_lines::place::turn;
using end_of = waiting_lines::end;

namespace {

struct fixture {
    metrics::registry registry{1};
    waiting_lines lines{registry};
    manual_clock clock;
    std::map<int, int> woken;

    std::optional<waiting_lines::place> enter(const std::string& id, int who, std::size_t size = 10,
                                              std::size_t all = 100) {
        return lines.enter(id, size, all, lines.mark(id), clock.mono(),
                           [this, who] { ++woken[who]; });
    }
};

}  // namespace

TEST_CASE("first come, first served, each line by itself", "[auth][waiting]") {
    fixture f;
    auto a = f.enter("k", 1);
    auto b = f.enter("k", 2);
    auto other = f.enter("other", 3);
    REQUIRE((a && b && other));
    CHECK(f.lines.anyone_waits("k"));
    CHECK_FALSE(f.lines.anyone_waits("none"));
    CHECK(a->look() == turn::first);
    CHECK(b->look() == turn::behind);
    CHECK(other->look() == turn::first);

    f.lines.freed("k");
    CHECK(f.woken == std::map<int, int>{{1, 1}});
    CHECK(a->look() == turn::now);
    CHECK(a->look() == turn::first);  // a sign is said once
    f.clock.advance(40ms);
    a->leave(end_of::success, false, f.clock.mono());
    CHECK(f.woken[2] == 1);
    CHECK(b->look() == turn::first);  // nothing more is free
    b->leave(end_of::success, true, f.clock.mono());
    CHECK_FALSE(f.lines.anyone_waits("k"));
}

TEST_CASE("a sign that is not used goes to the next", "[auth][waiting]") {
    fixture f;
    auto a = f.enter("k", 1);
    auto b = f.enter("k", 2);
    auto c = f.enter("k", 3);
    f.lines.freed("k");
    SECTION("who was first goes away") {
        a->leave(end_of::cancelled, false, f.clock.mono());
    }
    SECTION("who was first is destroyed") {
        a.reset();
    }
    SECTION("a slot is freed while who is first asks") {
        CHECK(a->look() == turn::now);
        f.lines.freed("k");
        a->leave(end_of::success, false, f.clock.mono());
    }
    SECTION("more than one is free") {
        CHECK(a->look() == turn::now);
        a->leave(end_of::success, true, f.clock.mono());
    }
    CHECK(b->look() == turn::now);
    // One in the middle goes: nobody else is concerned.
    b->leave(end_of::timeout, false, f.clock.mono());
    CHECK(c->look() == turn::first);
}

TEST_CASE("slots that are freed at once are told one by one", "[auth][waiting]") {
    fixture f;
    f.lines.set_replicas(3);
    auto a = f.enter("k", 1);
    auto b = f.enter("k", 2);
    auto c = f.enter("k", 3);
    f.lines.freed("k");
    f.lines.freed("k");
    CHECK(a->look() == turn::now);
    a->leave(end_of::success, true, f.clock.mono());
    CHECK(b->look() == turn::now);
    // What else may be free is left to the other processes.
    b->leave(end_of::success, true, f.clock.mono());
    CHECK(c->look() == turn::first);
}

TEST_CASE("a slot that is freed between the question and the line is not missed",
          "[auth][waiting]") {
    fixture f;
    const auto mark = f.lines.mark("k");
    f.lines.freed("k");
    auto a = f.lines.enter("k", 1, 1, mark, f.clock.mono(), [] {});
    REQUIRE(a);
    CHECK(a->look() == turn::now);
}

TEST_CASE("lines are bounded, each and all together", "[auth][waiting]") {
    fixture f;
    auto a = f.enter("k", 1, 2);
    auto b = f.enter("k", 2, 2);
    CHECK_FALSE(f.enter("k", 3, 2));
    b.reset();
    auto c = f.enter("k", 4, 2);  // the place of one who left
    CHECK(c);
    CHECK_FALSE(f.enter("other", 5, 2, 2));
    CHECK(f.enter("other", 5, 2, 3));
    CHECK(f.lines.total().rejected == 2);
    CHECK(f.lines.total().waiting == 2);
}

TEST_CASE("no access key takes all places", "[auth][waiting]") {
    fixture f;
    std::vector<waiting_lines::place> places;
    const auto fill = [&](const std::string& id) {
        std::size_t count = 0;
        for (; count < 1000; ++count) {
            auto place = f.enter(id, 0, 1000, 100);
            if (!place) break;
            places.push_back(std::move(*place));
        }
        return count;
    };
    CHECK(fill("a") == 50);
    CHECK(fill("b") == 25);
    CHECK(fill("c") == 13);
    CHECK(f.lines.total().waiting == 88);
    places.clear();
    CHECK(fill("c") == 50);
}

TEST_CASE("some of what is freed here is left to other processes", "[auth][waiting]") {
    fixture f;
    auto a = f.enter("k", 1);
    CHECK(f.lines.poll_pause() == 250ms);
    f.lines.set_replicas(3);
    CHECK(f.lines.poll_pause() == 50ms);
    int signs = 0;
    for (int i = 0; i < 400; ++i) {
        f.lines.freed("k");
        if (a->look() == turn::now) ++signs;
    }
    CHECK(signs == 300);
}

TEST_CASE("many lines together ask a bounded number of times", "[auth][waiting]") {
    fixture f;
    f.lines.set_replicas(2);
    std::vector<waiting_lines::place> places;
    for (int i = 0; i < 1000; ++i)
        places.push_back(std::move(*f.enter("k" + std::to_string(i), i, 1, 5000)));
    CHECK(f.lines.poll_pause() == 2000ms);
}

TEST_CASE("waits are summed up by key and in all", "[auth][waiting]") {
    fixture f;
    for (int i = 1; i <= 100; ++i) {
        auto p = f.enter(i % 2 == 0 ? "even" : "odd", i);
        f.clock.advance(std::chrono::milliseconds(i * 10));
        p->leave(end_of::success, false, f.clock.mono());
    }
    const auto all = f.lines.total();
    CHECK(all.entered == 100);
    CHECK(all.success == 100);
    CHECK(all.waiting == 0);
    const auto near = [](std::chrono::milliseconds got, std::int64_t exact) {
        return got.count() >= exact && got.count() <= exact * 119 / 100 + 1;
    };
    CHECK(near(all.p50, 500));
    CHECK(near(all.p90, 900));
    CHECK(near(all.p99, 990));
    CHECK(all.p99 <= 1000ms);
    const auto by_key = f.lines.by_key();
    REQUIRE(by_key.size() == 2);
    CHECK(by_key[0].first == "even");
    CHECK(by_key[0].second.success == 50);
    CHECK(f.lines.likely_wait("even") == 1s);
    CHECK(f.lines.likely_wait("nobody") == 1s);
    CHECK(f.registry.render().find("keywheel_queue_success_total{access_key=\"odd\"} 50") !=
          std::string::npos);
}

TEST_CASE("what is remembered of keys is bounded", "[auth][waiting]") {
    fixture f;
    auto kept = f.enter("kept", 0);
    for (int i = 0; i < 20'000; ++i) {
        f.clock.advance(1ms);
        (void)f.enter("k" + std::to_string(i), i);
    }
    CHECK(f.lines.by_key().size() <= 8192);
    CHECK(kept->look() == turn::first);
    CHECK(f.lines.total().cancelled == 20'000);
}

// A limit of `cap` slots, against requests that come, wait, are served, go away at random: never
// more than the cap, every free slot is found by a sign alone, in the order of arrival.
TEST_CASE("slots are neither lost nor passed on out of turn", "[auth][waiting]") {
    struct request {
        std::uint64_t number;
        waiting_lines::place place;
    };
    const auto seed = GENERATE(1U, 2U, 3U, 4U);
    random_source random(seed);
    fixture f;
    const std::size_t cap = 1 + random.below(4);
    std::size_t running = 0;
    std::uint64_t next = 0;
    std::vector<std::unique_ptr<request>> line;
    std::uint64_t served = 0;
    std::uint64_t gone = 0;
    const auto settle = [&] {
        // Each sign is followed, as an exchange would.
        for (bool any = true; any && !line.empty();) {
            any = false;
            if (line.front()->place.look() != turn::now) continue;
            any = true;
            if (running >= cap) continue;
            ++running;
            ++served;
            line.front()->place.leave(end_of::success, running < cap, f.clock.mono());
            line.erase(line.begin());
        }
    };
    for (int i = 0; i < 50'000; ++i) {
        f.clock.advance(1ms);
        switch (random.below(4)) {
            case 0:
            case 1:
                if (!f.lines.anyone_waits("k") && running < cap) {
                    ++running;
                } else if (auto place = f.enter("k", 0, 8)) {
                    line.push_back(std::make_unique<request>(request{next++, std::move(*place)}));
                }
                break;
            case 2:
                if (running > 0) {
                    --running;
                    f.lines.freed("k");
                }
                break;
            default:
                if (!line.empty()) {
                    const auto at = random.below(line.size());
                    line[at]->place.leave(
                        random.below(2) == 0 ? end_of::timeout : end_of::cancelled, false,
                        f.clock.mono());
                    line.erase(line.begin() + static_cast<std::ptrdiff_t>(at));
                    ++gone;
                }
                break;
        }
        settle();
        REQUIRE(running <= cap);
        // Nobody waits while a slot is free.
        REQUIRE((line.empty() || running == cap));
        for (std::size_t k = 1; k < line.size(); ++k)
            REQUIRE(line[k - 1]->number < line[k]->number);
    }
    const auto s = f.lines.total();
    CHECK(s.success == served);
    CHECK(s.timeout + s.cancelled == gone);
    CHECK(s.waiting == line.size());
    CHECK(s.entered == s.success + s.timeout + s.cancelled + s.waiting);
    CHECK(served > 1000);
}

// Each thread does what an exchange does: it takes a slot or lines up, follows the signs it gets,
// holds the slot for a moment and gives it back. Nobody is forgotten.
TEST_CASE("many threads share the slots of a few keys", "[auth][waiting]") {
    fixture f;
    constexpr int cap = 2;
    constexpr int keys = 3;
    constexpr int rounds = 2'000;
    std::array<std::atomic<int>, keys> running{};
    std::atomic<bool> passed{false};
    const auto take = [&](int k) {
        int now = running[static_cast<std::size_t>(k)].load();
        while (now < cap)
            if (running[static_cast<std::size_t>(k)].compare_exchange_weak(now, now + 1))
                return true;
        return false;
    };
    const auto worker = [&](unsigned seed) {
        random_source random(seed);
        std::counting_semaphore<> woken(0);
        for (int i = 0; i < rounds; ++i) {
            const int k = static_cast<int>(random.below(keys));
            const std::string id = "k" + std::to_string(k);
            const auto mark = f.lines.mark(id);
            if (f.lines.anyone_waits(id) || !take(k)) {
                auto place = f.lines.enter(id, 100, 1'000, mark, f.clock.mono(),
                                           [&woken] { woken.release(); });
                bool served = false;
                while (!served) {
                    if (place->look() != turn::now) {
                        woken.acquire();
                    } else if (take(k)) {
                        const bool more = running[static_cast<std::size_t>(k)].load() < cap;
                        place->leave(end_of::success, more, f.clock.mono());
                        served = true;
                    } else if (random.below(8) == 0) {
                        place->leave(end_of::cancelled, false, f.clock.mono());
                        break;
                    }
                }
                if (!served) continue;
            }
            if (running[static_cast<std::size_t>(k)].load() > cap) passed = true;
            for (auto n = random.below(8); n > 0; --n)
                std::this_thread::yield();
            --running[static_cast<std::size_t>(k)];
            f.lines.freed(id);
        }
    };
    {
        std::vector<std::jthread> threads;
        for (unsigned n = 0; n < 8; ++n)
            threads.emplace_back(worker, n + 1);
    }
    CHECK_FALSE(passed.load());
    const auto s = f.lines.total();
    CHECK(s.waiting == 0);
    CHECK(s.entered == s.success + s.cancelled);
    CHECK(s.rejected == 0);
    CHECK(s.success > 100);
}
