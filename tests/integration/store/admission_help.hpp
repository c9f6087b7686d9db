// What the tests of admission have in common: limits and requests in few words.
#pragma once

#include <latch>
#include <thread>

#include "tests/unit/store/admission_model.hpp"

namespace kw::store::test {

using namespace std::chrono_literals;

inline constexpr std::int64_t noon_ms = 1'767'268'800'000;  // 2026-01-01T12:00Z, a Thursday

inline limit window(std::int64_t cap, limit_kind kind = limit_kind::sliding,
                    limit_unit unit = limit_unit::requests) {
    limit l;
    l.kind = kind;
    l.unit = unit;
    l.cap = cap;
    return l;
}

inline limit budget(std::int64_t cap, limit_unit unit = limit_unit::cost,
                    budget_period period = budget_period::total) {
    limit l;
    l.kind = limit_kind::budget;
    l.unit = unit;
    l.cap = cap;
    l.period = period;
    return l;
}

// Until Redis has seen every step made before: it is asked in their order.
inline void catch_up(admission& a) {
    static const auto none = *limit_set::make({});
    static_cast<void>(look(a, {{"nobody", none}}));
}

inline std::shared_ptr<const limit_set> set_of(std::vector<limit> limits) {
    return *limit_set::make(std::move(limits));
}

inline admit_request request(const std::string& id, std::shared_ptr<const limit_set> limits,
                             amounts size = {}) {
    return {id, "ak", std::move(limits), size, true, 15s};
}

// How many of `tries` from several threads pass.
inline int passing(admission& a, int tries, const std::shared_ptr<const limit_set>& limits,
                   amounts size) {
    constexpr int threads = 4;
    std::atomic<int> passed{0};
    std::latch answered(tries);
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&, t] {
            for (int i = t; i < tries; i += threads)
                a.admit(request("p" + std::to_string(i), limits, size), [&](admit_answer got) {
                    if (got.admitted()) ++passed;
                    answered.count_down();
                });
        });
    answered.wait();
    for (auto& t : all)
        t.join();
    return passed;
}

}  // namespace kw::store::test
