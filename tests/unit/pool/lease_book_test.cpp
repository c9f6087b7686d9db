// The leases of one upstream key: how many run, what is over, what is remembered.
#include "pool/lease_book.hpp"

#include <catch2/catch.hpp>

#include "core/ids.hpp"

using namespace kw;
using namespace std::chrono_literals;
using pool::lease;
using pool::lease_book;

namespace {

const wall_time start = wall_time(1'900'000'000s);

lease make(const std::string& name, wall_time now, std::chrono::seconds ttl) {
    return {pool::make_lease_id(name, "uk_1"), "ak_h", "ak_" + name, now, now + ttl, false};
}

}  // namespace

TEST_CASE("a lease's id names its upstream key", "[pool][lease]") {
    CHECK(pool::make_lease_id("abc", "uk_1") == "ls_abc.uk_1");
    CHECK(pool::upstream_key_of("ls_abc.uk_1") == "uk_1");
    CHECK(pool::upstream_key_of("ls_abc").empty());
    CHECK(pool::upstream_key_of("xx_abc.uk_1").empty());
    CHECK(pool::upstream_key_of("").empty());
}

TEST_CASE("never more leases than the cap; what ends makes room", "[pool][lease]") {
    lease_book book;
    CHECK(book.add(make("a", start, 10s), 2, start));
    CHECK(book.add(make("b", start, 20s), 2, start));
    CHECK_FALSE(book.add(make("c", start, 10s), 2, start));
    CHECK(book.running(start) == 2);
    CHECK(book.running(start + 10s) == 1);
    CHECK(book.add(make("c", start + 10s, 10s), 2, start + 10s));

    CHECK(book.release("ls_b.uk_1", start + 11s));
    CHECK(book.running(start + 11s) == 1);
    CHECK(book.release("ls_b.uk_1", start + 12s));  // once more: the same answer, nothing changes
    CHECK(book.find("ls_b.uk_1")->until == start + 11s);
    CHECK(book.release("ls_a.uk_1", start + 12s));  // over by itself
    CHECK_FALSE(book.find("ls_a.uk_1")->released);
    CHECK_FALSE(book.release("ls_x.uk_1", start + 12s));
    CHECK(book.running(start + 12s) == 1);
    CHECK_FALSE(book.add(make("none", start, 10s), 0, start + 100s));
}

TEST_CASE("what is over is forgotten after a while", "[pool][lease]") {
    lease_book book;
    CHECK(book.due() == wall_time::max());
    CHECK(book.add(make("a", start, 10s), 9, start));
    CHECK(book.add(make("b", start, 100s), 9, start));
    CHECK(book.due() == start + 70s);
    CHECK(book.tidy(start + 69s).empty());
    const auto gone = book.tidy(start + 70s);
    REQUIRE(gone.size() == 1);
    CHECK(gone[0].access_key == "ak_a");
    CHECK(book.all().size() == 1);

    for (int i = 0; i < 500; ++i) {
        const auto name = "n" + std::to_string(i);
        REQUIRE(book.add(make(name, start, 100s), 9, start + 71s));
        REQUIRE(book.release(pool::make_lease_id(name, "uk_1"), start + 71s));
        (void)book.tidy(start + 71s);
        REQUIRE(book.all().size() <= lease_book::max_remembered + 1);
    }
    CHECK(book.find("ls_b.uk_1") != nullptr);
    CHECK(book.find("ls_n499.uk_1") != nullptr);
    CHECK(book.find("ls_n0.uk_1") == nullptr);
}

TEST_CASE("a book outlives its JSON", "[pool][lease]") {
    lease_book book;
    CHECK(book.add(make("a", start, 10s), 9, start));
    CHECK(book.add(make("b", start, 10s), 9, start));
    CHECK(book.release("ls_b.uk_1", start + 1s));
    const auto again = lease_book::from_json(book.to_json());
    REQUIRE(again.has_value());
    CHECK(again->all() == book.all());
    for (const char* bad :
         {"", "[]", "{}", R"({"leases":1})", R"({"leases":[1]})", R"({"leases":[{"id":"x"}]})"})
        CHECK_FALSE(lease_book::from_json(bad).has_value());
}

TEST_CASE("random leases agree with a simple count", "[pool][lease]") {
    const auto seed = GENERATE(1U, 2U, 3U);
    random_source random(seed);
    lease_book book;
    std::vector<lease> given;
    wall_time now = start;
    constexpr std::size_t cap = 5;
    for (int i = 0; i < 20'000; ++i) {
        now += std::chrono::milliseconds(random.below(3'000));
        const auto running = static_cast<std::size_t>(
            std::ranges::count_if(given, [&](const lease& l) { return lease_book::runs(l, now); }));
        REQUIRE(book.running(now) == running);
        REQUIRE(running <= cap);
        const auto what = random.below(3);
        if (what == 0) {
            auto l = make(std::to_string(i), now, std::chrono::seconds(1 + random.below(60)));
            REQUIRE(book.add(l, cap, now) == (running < cap));
            if (running < cap) given.push_back(std::move(l));
        } else if (what == 1 && !given.empty()) {
            lease& l = given[random.below(given.size())];
            const bool known = book.find(l.id) != nullptr;
            REQUIRE(book.release(l.id, now) == known);
            if (lease_book::runs(l, now)) {
                l.released = true;
                l.until = now;
            }
        } else {
            (void)book.tidy(now);
            book = *lease_book::from_json(book.to_json());
            if (given.size() > 100) given.erase(given.begin(), given.begin() + 50);
        }
    }
}
