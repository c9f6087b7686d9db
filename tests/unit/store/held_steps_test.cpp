// Steps of shards that are on their way between nodes of a Cluster: what waits, in which order it
// goes on, and how often it is tried.
#include <catch2/catch.hpp>

#include "store/redis/held_steps.hpp"

using namespace kw;
using namespace kw::store;
using namespace kw::store::redis;
using namespace std::chrono_literals;

namespace {

// Two access keys of different shards.
const std::string one = "ak1";
const std::string other = [] {
    for (int i = 2;; ++i)
        if (auto key = "ak" + std::to_string(i); shard_of(key) != shard_of(one)) return key;
}();

step turn(std::uint64_t n, const std::string& key = one, step_kind is = step_kind::settle) {
    step s = step_of(is, lease_ref{key, std::to_string(n)});
    s.turn = n;
    return s;
}

std::string turns(const std::deque<step>& of) {
    std::string out;
    for (const step& s : of)
        out += (out.empty() ? "" : " ") + std::to_string(s.turn);
    return out;
}

}  // namespace

TEST_CASE("steps of a shard that moves go on in the order in which they were made",
          "[store][cluster]") {
    held_steps held;
    const mono_time start{1s};
    std::deque<step> queue;
    // Several were under way when the first was refused; a later one was refused before.
    held.hold(turn(4), start);
    held.hold(turn(3), start);
    CHECK(held.must_wait(turn(7)));
    CHECK_FALSE(held.must_wait(turn(7, other)));
    CHECK_FALSE(held.must_wait(turn(7, one, step_kind::admit)));
    held.hold(turn(7), start);
    held.hold(turn(5), start);
    CHECK(held.size() == 4);
    CHECK_FALSE(held.empty());

    // One alone is tried, and nothing passes it meanwhile.
    held.try_again(start, queue);
    CHECK(queue.empty());
    held.try_again(held.next_try(), queue);
    CHECK(turns(queue) == "3");
    CHECK_FALSE(held.must_wait(queue.front()));
    CHECK(held.must_wait(turn(8)));
    CHECK(held.next_try() == mono_time::max());

    // What waits in the queue by then comes behind all that was held.
    queue.assign(1, turn(9));
    held.taken(turn(2), queue);  // another one, that was under way
    CHECK(turns(queue) == "9");
    held.taken(turn(3), queue);
    CHECK(turns(queue) == "4 5 7 9");
    CHECK(held.empty());
    CHECK(held.size() == 0);
    CHECK_FALSE(held.must_wait(turn(10)));
}

TEST_CASE("a shard that goes on moving is tried less and less often", "[store][cluster]") {
    held_steps held;
    mono_time now{1s};
    held.hold(turn(1), now);
    held.hold(turn(2), now);
    held.hold(turn(3, other), now);
    std::deque<step> queue;
    std::vector<mono_time::duration> waits;
    for (int i = 0; i < 8; ++i) {
        const auto next = held.next_try();
        waits.push_back(next - now);
        now = next;
        queue.clear();
        held.try_again(now, queue);
        REQUIRE(!queue.empty());
        // The other shard arrives at once.
        if (i == 0) {
            REQUIRE(queue.size() == 2);
            held.taken(turn(3, other), queue);
        }
        held.hold(turn(1), now);
    }
    CHECK(waits.front() == 50ms);
    CHECK(std::is_sorted(waits.begin(), waits.end()));
    CHECK(waits.back() == 1s);
    CHECK(held.size() == 2);
    queue.clear();
    held.give_back(queue);
    CHECK(turns(queue) == "1 2");
    CHECK(held.empty());
}
