// The embedded board of objects: the conformance checks, its bound, its file; and the desk.
#include <catch2/catch.hpp>

#include <atomic>
#include <future>

#include "tests/unit/store/objects_conformance.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace kw::store;
using namespace std::chrono_literals;

TEST_CASE("embedded objects conform", "[store]") {
    const test::temp_folder folder;
    manual_clock clock;
    const auto board = *open_embedded_objects(folder.path, 1000, clock);
    SECTION("places") {
        test::check_objects(*board);
    }
    SECTION("accounts") {
        test::check_accounts(*board, clock);
    }
    SECTION("lifetimes") {
        test::check_lifetimes(*board, clock);
    }
    SECTION("debts") {
        test::check_debts(*board, clock);
    }
}

TEST_CASE("embedded objects are bounded and outlive the process", "[store]") {
    const test::temp_folder folder;
    const manual_clock clock;
    {
        const auto board = *open_embedded_objects(folder.path, 100, clock);
        for (int i = 0; i < 1000; ++i)
            REQUIRE(board
                        ->bind(std::vector{test::bound(std::to_string(i), "a", "o",
                                                       std::chrono::seconds(100 + i))})
                        .has_value());
    }
    const auto board = *open_embedded_objects(folder.path, 100, clock);
    int known = 0;
    for (int i = 0; i < 1000; ++i)
        known += test::place_of(*board, std::to_string(i)).known ? 1 : 0;
    CHECK(known == 100);
    // Those that would have ended first went.
    CHECK(test::place_of(*board, "999").known);
    CHECK_FALSE(test::place_of(*board, "10").known);
}

TEST_CASE("the desk answers in order, each once", "[store]") {
    const test::temp_folder folder;
    const manual_clock clock;
    std::atomic<int> answered{0};
    std::atomic<int> wrong{0};
    {
        object_desk desk(*open_embedded_objects(folder.path, 10'000, clock));
        for (int i = 0; i < 500; ++i) {
            const std::string id = "id" + std::to_string(i);
            desk.bind({test::bound(id, "a" + std::to_string(i), "o")}, [&](bool ok) {
                if (!ok) ++wrong;
                ++answered;
            });
            desk.find({id, "nobody's"}, [&, i](result<std::vector<object_place>> got) {
                if (!got || (*got)[0].account != "a" + std::to_string(i) || (*got)[1].known)
                    ++wrong;
                ++answered;
            });
        }
        desk.accounts_of("o", [&](result<std::vector<std::string>> got) {
            if (!got || got->size() != 64) ++wrong;
            ++answered;
        });
    }
    CHECK(answered == 1001);
    CHECK(wrong == 0);
}

TEST_CASE("debts outlive the process", "[store]") {
    const test::temp_folder folder;
    const manual_clock clock;
    {
        const auto board = *open_embedded_objects(folder.path, 100, clock);
        REQUIRE(board->owe({"a", "note", 1h}, 1s).has_value());
        REQUIRE(board->owe({"b", "note", 1h}, 1s).has_value());
        REQUIRE(board->pay("b", 1h).has_value());
    }
    const auto board = *open_embedded_objects(folder.path, 100, clock);
    CHECK(board->claim("a", "x", 1s)->is == debt_claim::outcome::yours);
    CHECK(board->claim("b", "x", 1s)->is == debt_claim::outcome::paid);
}
