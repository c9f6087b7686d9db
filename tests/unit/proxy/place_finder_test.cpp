// Questions of one turn go to the board together, and each asker hears its own part.
#include "proxy/place_finder.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>

#include "tests/support/loop_runner.hpp"

using namespace kw;
using namespace kw::proxy;

namespace {

// Knows the account of each id: "of " and the id. Fails while it is away.
class board final : public store::object_board {
  public:
    std::atomic<int> finds{0};
    std::atomic<bool> away{false};

    result<std::vector<store::object_place>> find(std::span<const std::string> ids) override {
        ++finds;
        if (away) return error(errc::store_unavailable, "away", error_source::store);
        std::vector<store::object_place> out;
        for (const auto& id : ids)
            out.push_back({true, "of " + id, {}});
        return out;
    }
    result<void> bind(std::span<const store::object_binding>) override { return {}; }
    result<std::vector<std::string>> accounts_of(const std::string&) override { return {}; }
    result<void> owe(const store::object_debt&, std::chrono::seconds) override { return {}; }
    result<store::debt_claim> claim(const std::string&, const std::string&,
                                    std::chrono::seconds) override {
        return store::debt_claim{};
    }
    result<void> pay(const std::string&, std::chrono::seconds) override { return {}; }
    result<std::vector<store::object_debt>> due(std::chrono::seconds, std::size_t) override {
        return {};
    }
};

using asked = std::shared_ptr<question<place_finder::answer>>;

std::vector<asked> ask(place_finder& finder, const std::vector<std::vector<std::string>>& each) {
    std::vector<asked> all;
    for (const auto& ids : each) {
        all.push_back(std::make_shared<question<place_finder::answer>>());
        finder.ask(ids, all.back());
    }
    return all;
}

void run_until_answered(net::loop& on, const std::vector<asked>& all) {
    test::run_until(on, [&] {
        return std::ranges::all_of(all, [](const asked& q) { return q->answer.has_value(); });
    });
}

}  // namespace

TEST_CASE("objects asked for in one turn are one question", "[proxy]") {
    const system_clock_source clock;
    net::loop on(clock);
    auto made = std::make_unique<board>();
    board& known = *made;
    store::object_desk desk(std::move(made));
    place_finder finder(on, desk);

    SECTION("each hears of its own") {
        const auto all = ask(finder, {{"a", "b"}, {"c"}, {}, {"d", "e"}});
        run_until_answered(on, all);
        CHECK(known.finds == 1);
        REQUIRE(all[0]->answer->value().size() == 2);
        CHECK(all[0]->answer->value()[1].account == "of b");
        REQUIRE(all[1]->answer->value().size() == 1);
        CHECK(all[1]->answer->value()[0].account == "of c");
        CHECK(all[2]->answer->value().empty());
        REQUIRE(all[3]->answer->value().size() == 2);
        CHECK(all[3]->answer->value()[0].account == "of d");
    }
    SECTION("a board that is away is heard of by all") {
        known.away = true;
        const auto all = ask(finder, {{"a"}, {"b"}});
        run_until_answered(on, all);
        for (const auto& q : all)
            CHECK(q->answer->error().code == errc::store_unavailable);
    }
}
