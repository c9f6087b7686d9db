// Admission in memory: against the model, and the arithmetic of limits and periods.
#include <catch2/catch.hpp>
#include <iostream>

#include "tests/unit/store/admission_model.hpp"

using namespace kw;
using namespace kw::store;
using namespace std::chrono_literals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KW_SLOW_BUILD
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KW_SLOW_BUILD
#endif
#endif
#ifdef KW_SLOW_BUILD
constexpr int model_steps = 50'000;
#else
constexpr int model_steps = 1'000'000;
#endif

std::int64_t ms_of(int year, unsigned month, unsigned day, int hour = 0) {
    const std::chrono::sys_days date =
        std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
    return unix_ms(wall_time(date) + std::chrono::hours(hour));
}

limit budget(budget_period period, std::chrono::minutes offset = 0min) {
    limit l;
    l.kind = limit_kind::budget;
    l.unit = limit_unit::cost;
    l.cap = one_dollar;
    l.period = period;
    l.utc_offset = offset;
    return l;
}

}  // namespace

TEST_CASE("admission in memory is what the model says", "[store][admission]") {
    manual_clock clock;
    admission_options options;
    const auto a = make_embedded_admission(options, clock);
    const auto set_time = [&](std::int64_t ms) {
        clock.set_wall(wall_time(std::chrono::milliseconds(ms)));
    };
    test::compare_with_model(*a, options, set_time, model_steps, 7);
    std::cout << "figure: admission in memory against the model: " << model_steps << " steps\n";
}

TEST_CASE("periods of budgets", "[store][admission]") {
    const auto check = [](const limit& l, std::int64_t now, std::int64_t begin, std::int64_t end) {
        const auto got = bounds_of(l, now);
        CHECK(got.begin == begin);
        CHECK(got.end == end);
    };
    using enum budget_period;
    check(budget(day), ms_of(2026, 3, 5, 13), ms_of(2026, 3, 5), ms_of(2026, 3, 6));
    check(budget(day), ms_of(2026, 3, 5), ms_of(2026, 3, 5), ms_of(2026, 3, 6));
    // 20:00 in UTC is the next day in Shanghai.
    check(budget(day, 480min), ms_of(2026, 3, 5, 20), ms_of(2026, 3, 5, 16), ms_of(2026, 3, 6, 16));
    check(budget(day, -300min), ms_of(2026, 3, 5, 3), ms_of(2026, 3, 4, 5), ms_of(2026, 3, 5, 5));
    // 2026-11-21 is a Saturday, 2026-11-16 a Monday.
    check(budget(week), ms_of(2026, 11, 21, 9), ms_of(2026, 11, 16), ms_of(2026, 11, 23));
    check(budget(week), ms_of(2026, 11, 16), ms_of(2026, 11, 16), ms_of(2026, 11, 23));
    check(budget(week), ms_of(2026, 11, 22, 23), ms_of(2026, 11, 16), ms_of(2026, 11, 23));
    check(budget(month), ms_of(2024, 2, 29, 5), ms_of(2024, 2, 1), ms_of(2024, 3, 1));
    check(budget(month), ms_of(2026, 12, 31, 23), ms_of(2026, 12, 1), ms_of(2027, 1, 1));
    check(budget(month, 60min), ms_of(2026, 12, 31, 23), ms_of(2026, 12, 31, 23),
          ms_of(2027, 1, 31, 23));
    check(budget(total), ms_of(2026, 12, 31), 0, 0);
}

TEST_CASE("limits are put in order, and refused by name", "[store][admission]") {
    limit rpm;
    rpm.cap = 10;
    limit lower = rpm;
    lower.cap = 4;
    limit leases;
    leases.kind = limit_kind::concurrency;
    leases.cap = 2;
    const auto made = limit_set::make({leases, rpm, budget(budget_period::day), lower});
    REQUIRE(made.has_value());
    const auto& items = (*made)->items();
    REQUIRE(items.size() == 3);
    CHECK(items[0].kind == limit_kind::budget);
    CHECK(items[1].kind == limit_kind::sliding);
    CHECK(items[1].cap == 4);
    CHECK(items[2].kind == limit_kind::concurrency);
    CHECK(describe(items[0]) == "1 USD a day");
    CHECK(describe(items[1]) == "4 requests per 60 s");
    CHECK(describe(items[2]) == "2 requests at a time");
    CHECK((*made)->keep_ms() == 24 * 3'600'000);

    limit bad = rpm;
    bad.cap = 0;
    CHECK(limit_set::make({bad}).error().code == errc::invalid_argument);
    bad = rpm;
    bad.length = 999ms;
    CHECK(limit_set::make({bad}).error().code == errc::invalid_argument);
    bad = budget(budget_period::day, 15h);
    CHECK(limit_set::make({bad}).error().code == errc::invalid_argument);
    std::vector<limit> many;
    for (int i = 0; i <= static_cast<int>(max_limits); ++i) {
        rpm.length = std::chrono::seconds(i + 1);
        many.push_back(rpm);
    }
    CHECK(limit_set::make(many).error().code == errc::invalid_argument);
}

TEST_CASE("memory of what has passed is freed", "[store][admission]") {
    manual_clock clock;
    const auto a = make_embedded_admission({}, clock);
    limit rpm;
    rpm.cap = 10;
    const auto limits = *limit_set::make({rpm});
    CHECK(test::ask(*a, {"1", "ak", limits, {}, true, 15s}).admitted());
    a->settle({"ak", "1"}, {});
    clock.advance(2h);
    a->sweep();
    // The same id is a new request now.
    const auto again = test::ask(*a, {"1", "ak", limits, {}, true, 15s});
    CHECK(again.states[0].used == 1);
    CHECK(a->health().decided == 2);
}

TEST_CASE("windows begin anew when the clock was set back", "[store][admission]") {
    manual_clock clock;
    const auto a = make_embedded_admission({}, clock);
    limit rpm;
    rpm.cap = 1;
    const auto limits = *limit_set::make({rpm, budget(budget_period::total)});
    clock.advance(24h);
    CHECK(test::ask(*a, {"1", "ak", limits, {1, 0, 5}, true, 15s}).admitted());
    clock.advance(-1s);
    CHECK_FALSE(test::ask(*a, {"2", "ak", limits, {1, 0, 5}, true, 15s}).admitted());
    clock.advance(-23h);
    const auto after = test::ask(*a, {"3", "ak", limits, {1, 0, 5}, true, 15s});
    CHECK(after.admitted());
    CHECK(after.states[0].used == 10);
}
