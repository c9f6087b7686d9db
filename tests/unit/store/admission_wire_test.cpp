// What is made of Redis' answers to an admission, and this replica's share of the limits.
#include <catch2/catch.hpp>
#include <limits>

#include "store/redis/admission_wire.hpp"
#include "store/redis/local_share.hpp"

using namespace kw;
using namespace kw::store;
using namespace kw::store::redis;
using namespace std::chrono_literals;

namespace {

reply numbers(const std::vector<std::int64_t>& all) {
    reply out;
    out.is = reply::kind::text;
    for (const auto n : all) {
        const auto d = static_cast<double>(n);
        out.text.append(reinterpret_cast<const char*>(&d), sizeof d);
    }
    return out;
}

std::shared_ptr<const limit_set> one_limit(std::int64_t cap) {
    limit l;
    l.cap = cap;
    return *limit_set::make({l});
}

admit_request request(int n, const std::shared_ptr<const limit_set>& limits) {
    return {std::to_string(n), "ak", limits, {}, true, 15s};
}

int passing(local_share& share, int tries, const std::shared_ptr<const limit_set>& limits) {
    static int next = 0;
    int out = 0;
    for (int i = 0; i < tries; ++i)
        out += share.admit(request(next++, limits)).admitted() ? 1 : 0;
    return out;
}

}  // namespace

TEST_CASE("answers to an admission are read, or recognised as wrong", "[store][admission]") {
    const auto limits = one_limit(10);
    admit_answer answer;
    std::int64_t leases = 0;
    const auto read = [&](const reply& r) {
        return admission_wire::read(r, *limits, answer, leases);
    };
    REQUIRE(read(numbers({2, 1, 500, 3, 9, 9'007'199, 254'740'993, 1'000})));
    CHECK(answer.is == admit_answer::outcome::refused);
    CHECK(answer.refused_by == 0);
    CHECK(answer.retry_in == 500ms);
    CHECK(leases == 3);
    CHECK(answer.states[0].used == 9'007'199'254'740'993);
    CHECK(answer.states[0].remaining() == 0);
    CHECK_FALSE(read({}));
    CHECK_FALSE(read(numbers({1, 0, 0, 1, 9})));
    CHECK_FALSE(read(numbers({2, 2, 0, 1, 9, 0, 0, 0})));
    CHECK_FALSE(read(numbers({1, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0})));
    auto spoilt = numbers({1, 0, 0, 1, 9, 0, 0, 0});
    CHECK(read(spoilt));
    CHECK_FALSE(read(numbers({4, 0, 0, 1, 9, 0, 0, 0})));
    const auto nan = std::numeric_limits<double>::quiet_NaN();
    spoilt.text.replace(2 * sizeof nan, sizeof nan, reinterpret_cast<const char*>(&nan),
                        sizeof nan);
    CHECK_FALSE(read(spoilt));
    spoilt = numbers({1, 0, 0, 1, 9, 0, 0, 0});
    spoilt.text.pop_back();
    CHECK_FALSE(read(spoilt));
    spoilt = numbers({1, 0, 0, 1, 9, 0, 0, 0});
    spoilt.is = reply::kind::error;
    CHECK_FALSE(read(spoilt));
}

TEST_CASE("the shares of all replicas are what is left", "[store][admission]") {
    manual_clock clock;
    const auto limits = one_limit(10);
    int seen_by_all = 0;
    int unseen_by_all = 0;
    for (std::uint64_t rank = 0; rank < 4; ++rank) {
        local_share share({}, clock);
        share.set_replicas(4, rank);
        unseen_by_all += passing(share, 20, limits);
        share.start_anew();
        share.saw("ak", limits, {{3, 10, 30s}});
        seen_by_all += passing(share, 20, limits);
    }
    CHECK(unseen_by_all == 10);
    CHECK(seen_by_all == 7);
}

TEST_CASE("a share has back what it gave, and is new when Redis has been told",
          "[store][admission]") {
    manual_clock clock;
    limit at_once;
    at_once.kind = limit_kind::concurrency;
    at_once.cap = 2;
    const auto limits = *limit_set::make({at_once});
    local_share share({}, clock);
    CHECK_FALSE(share.in_use());
    const auto refused_first = one_limit(1);
    share.saw("ak", refused_first, {{1, 1, 30s}});
    CHECK_FALSE(share.admit(request(900, refused_first)).admitted());
    CHECK_FALSE(share.in_use());
    CHECK(share.admit(request(901, limits)).admitted());
    CHECK(share.in_use());
    CHECK(share.admit(request(902, limits)).admitted());
    CHECK_FALSE(share.admit(request(903, limits)).admitted());
    share.settle({"ak", "901"}, {});
    CHECK(share.admit(request(904, limits)).admitted());
    share.start_anew();
    CHECK_FALSE(share.in_use());
    CHECK(share.admit(request(905, limits)).admitted());
    CHECK(share.admit(request(906, limits)).admitted());
}

TEST_CASE("a share grows to the cap's when what was seen no longer counts", "[store][admission]") {
    manual_clock clock;
    const auto limits = one_limit(10);
    local_share share({}, clock);
    share.set_replicas(2, 0);
    share.saw("ak", limits, {{10, 10, 30s}});
    CHECK(passing(share, 20, limits) == 0);
    CHECK(share.peek({"ak", limits}).states[0].used == 10);
    clock.advance(60s);
    CHECK(passing(share, 20, limits) == 0);
    clock.advance(1s);
    CHECK(passing(share, 20, limits) == 5);
    const auto refused = share.admit(request(-1, limits));
    CHECK(refused.local);
    CHECK(refused.states[0] == limit_state{10, 10, 61s});
}
