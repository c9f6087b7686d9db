// The thresholds that operators are told of.
#include "jobs/watcher.hpp"

#include <catch2/catch.hpp>

#include "jobs/told_notices.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;
using config::notice_kind;

TEST_CASE("a threshold that is crossed is told once, until it is well again") {
    manual_clock clock;
    std::vector<jobs::notice> told;
    jobs::watcher w(clock, [&](jobs::notice n) { told.push_back(std::move(n)); });
    const config::notification_settings by;
    jobs::readings now;
    const auto look = [&] {
        told.clear();
        w.look(now, by);
        clock.advance(1s);
        return told.size();
    };
    now.groups = {{"main", 8, 8}};
    now.free_disk = 0.5;
    now.memory = 0.2;
    CHECK(look() == 0);
    now.groups = {{"main", 1, 8}};
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::pool_low);
    CHECK(told[0].text == "1 of 8 upstream keys of the group can be used");
    CHECK(look() == 0);
    now.groups = {{"main", 2, 8}};
    CHECK(look() == 0);
    now.groups = {{"main", 0, 8}};
    CHECK(look() == 1);
    now.groups.clear();
    now.quotas = {{"k", 0.9, 10}};
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::quota_low);
    now.free_disk = 0.05;
    now.memory = 0.95;
    now.store = {.up = false, .since = clock.wall(), .latency = {}, .errors = 1, .reason = "gone"};
    CHECK(look() == 2);
    clock.advance(10s);
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::store_down);
    now.certificate_ends = clock.wall() + std::chrono::days(3);
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::certificate_expiry);
    CHECK(told[0].text == "the listener's certificate ends in 3 days");
}

TEST_CASE("rates are those of a window") {
    manual_clock clock;
    std::vector<jobs::notice> told;
    jobs::watcher w(clock, [&](jobs::notice n) { told.push_back(std::move(n)); });
    const config::notification_settings by;
    const std::vector<double> bounds{1, 10, 100};
    jobs::readings now;
    now.first_token_bounds = bounds;
    now.first_tokens.buckets = {0, 0, 0, 0};
    w.look(now, by);
    const auto pass = [&](std::chrono::seconds time) {
        for (; time > 0s; time -= 1s) {
            clock.advance(1s);
            w.look(now, by);
        }
    };
    now.requests = 19;
    now.errors = 19;
    pass(1s);
    CHECK(told.empty());  // too few
    now.requests = 100;
    now.errors = 11;
    pass(1s);
    REQUIRE(told.size() == 1);
    CHECK(told[0].kind == notice_kind::error_rate);
    CHECK(told[0].text == "11 of 100 requests ended in an error of the server");
    pass(310s);  // old errors are forgotten
    now.requests = 200;
    now.first_tokens.buckets = {97, 0, 3, 0};
    pass(1s);
    REQUIRE(told.size() == 2);
    CHECK(told[1].kind == notice_kind::latency);
    now.cpu_time = 0ns;
    for (int i = 0; i < 70; ++i) {
        now.cpu_time += 950ms;
        pass(1s);
    }
    REQUIRE(told.size() == 3);
    CHECK(told[2].subject == "cpu");
    CHECK(jobs::quantile(std::vector<std::uint64_t>{10, 10, 0, 0}, bounds, 0.5) == Approx(1));
    CHECK(jobs::quantile(std::vector<std::uint64_t>{0, 10, 0, 0}, bounds, 0.5) == Approx(5.5));
}

TEST_CASE("guesses of an address and budgets near their end are told of") {
    manual_clock clock;
    std::vector<jobs::notice> told;
    jobs::watcher w(clock, [&](jobs::notice n) { told.push_back(std::move(n)); });
    const config::notification_settings by;
    using what = incidents::what;
    incidents noticed;
    for (int i = 0; i < 19; ++i)
        noticed.note(what::refused_credential, "192.0.2.1");
    w.notice_all(noticed.take(), by);
    CHECK(told.empty());
    noticed.note(what::refused_credential, "192.0.2.1");
    w.notice_all(noticed.take(), by);
    noticed.note(what::refused_credential, "192.0.2.1");
    w.notice_all(noticed.take(), by);
    REQUIRE(told.size() == 1);
    CHECK(told[0].text == "20 wrong credentials within a minute");
    for (int i = 0; i < 2000; ++i)
        noticed.note(what::unknown_model, "m" + std::to_string(i));
    noticed.note(what::budget_near_end, "ak_1");
    CHECK(noticed.take().size() == 128 + 1);  // one kind takes no place from another
    noticed.note(what::unknown_model, "m");
    CHECK(noticed.take().size() == 1);

    const std::vector<store::limit> limits{{.kind = store::limit_kind::budget,
                                            .unit = store::limit_unit::requests,
                                            .cap = 10,
                                            .period = store::budget_period::day}};
    std::vector<store::limit_state> states{{.used = 7, .cap = 10}};
    told.clear();
    CHECK_FALSE(w.look_at_budgets("ak_1", "team", limits, states, by));
    states[0].used = 8;
    CHECK(w.look_at_budgets("ak_1", "team", limits, states, by));
    CHECK(w.look_at_budgets("ak_1", "team", limits, states, by));
    REQUIRE(told.size() == 1);
    CHECK(told[0].text == "access key team has used 80 % of its 10 requests a day");
    CHECK(w.near_end(store::budget_period::day) == 1);
    CHECK(w.near_end(store::budget_period::month) == 0);
    states[0].used = 0;  // the next day
    CHECK_FALSE(w.look_at_budgets("ak_1", "team", limits, states, by));
    CHECK(w.near_end(store::budget_period::day) == 0);
}

TEST_CASE("a budget that is near its end is told of once a period, however often one looks") {
    manual_clock clock;
    std::vector<jobs::notice> told;
    jobs::watcher w(clock, [&](jobs::notice n) { told.push_back(std::move(n)); });
    const config::notification_settings by;
    const std::vector<store::limit> limits{{.kind = store::limit_kind::budget,
                                            .unit = store::limit_unit::requests,
                                            .cap = 10,
                                            .period = store::budget_period::day}};
    const std::vector<store::limit_state> states{{.used = 9, .cap = 10}};
    for (int i = 0; i < 3; ++i)
        w.look_at_budgets("ak_1", "team", limits, states, by);
    CHECK(told.size() == 1);
    clock.advance(24h);  // as near in the next one, too
    for (int i = 0; i < 3; ++i)
        w.look_at_budgets("ak_1", "team", limits, states, by);
    CHECK(told.size() == 2);
    const auto crossings = w.take_crossings();
    REQUIRE(crossings.size() == 3);
    CHECK(crossings[0].now);
    CHECK(crossings[1].what == crossings[0].what);
    CHECK_FALSE(crossings[1].now);
    CHECK(crossings[2].now);
    w.forget_budgets("ak_1");
    CHECK(w.take_crossings().size() == 1);
}

TEST_CASE("what was told is not told again by the next process") {
    store::test::temp_folder folder;
    manual_clock clock;
    const auto store = *store::open_embedded({folder.path, {}}, clock);
    const config::notification_settings by;
    jobs::readings now;
    now.groups = {{"main", 1, 8}};
    now.free_disk = 0.01;
    // How many messages a process of that host begins with.
    const auto process = [&](const char* host) {
        std::size_t told = 0;
        jobs::watcher w(clock, [&](const jobs::notice&) { ++told; });
        jobs::told_notices kept(*store, clock, host);
        for (int i = 0; i < 3; ++i) {
            kept.restore(w);
            w.look(now, by);
            kept.write(w.take_crossings(), 1s);
            clock.advance(1s);
        }
        return told;
    };
    const auto records = [&] { return store->list(jobs::told_record, {})->items.size(); };
    CHECK(process("one") == 2);
    CHECK(process("one") == 0);
    CHECK(process("two") == 1);  // its own disk
    CHECK(records() == 3);
    now.groups = {{"main", 8, 8}};
    CHECK(process("one") == 0);
    CHECK(records() == 2);
    now.groups = {{"main", 0, 8}};
    CHECK(process("one") == 1);  // it had been well
    clock.advance(25h);
    CHECK(process("one") == 2);  // a reminder
    CHECK(records() == 2);
}
