// Orders that the store could not be told of: kept, also by the process that follows, told once it
// is back, and not taken for what nobody has ordered.
#include <catch2/catch.hpp>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "jobs/kept_debts.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;

namespace {

// A store that is away when asked to be.
class board final : public store::object_board {
  public:
    result<void> bind(std::span<const store::object_binding>) override { return {}; }
    result<std::vector<store::object_place>> find(std::span<const std::string>) override {
        return std::vector<store::object_place>{};
    }
    result<std::vector<std::string>> accounts_of(const std::string&) override {
        return std::vector<std::string>{};
    }
    result<void> owe(const store::object_debt& debt, std::chrono::seconds) override {
        if (away) return error(errc::store_unavailable);
        owed.push_back(debt.id + "=" + debt.note);
        return {};
    }
    result<store::debt_claim> claim(const std::string&, const std::string&,
                                    std::chrono::seconds) override {
        return store::debt_claim{};
    }
    result<void> pay(const std::string&, std::chrono::seconds) override { return {}; }
    result<std::vector<store::object_debt>> due(std::chrono::seconds, std::size_t) override {
        return std::vector<store::object_debt>{};
    }
    bool away = true;
    std::vector<std::string> owed;
};

struct bench {
    store::test::temp_folder folder;
    metrics::registry registry{2};
    board* store = new board;
    store::object_desk desk{std::unique_ptr<store::object_board>(store)};
    std::string file = folder.path + "/late_orders";

    // Until what was asked of the desk before is done.
    void settle() {
        std::mutex mutex;
        std::condition_variable come;
        bool done = false;
        desk.ask([&](store::object_board&) {
            const std::lock_guard lock(mutex);
            done = true;
            come.notify_one();
        });
        std::unique_lock lock(mutex);
        come.wait(lock, [&] { return done; });
    }
};

}  // namespace

TEST_CASE("orders are kept until the store is told", "[jobs][late]") {
    bench b;
    jobs::kept_debts kept(b.file, b.registry);
    REQUIRE(kept.keep({"batch_1", "two\nlines", 1h}));
    REQUIRE(kept.keep({"video_1", "note", 2h}));
    CHECK(kept.holds("batch_1"));
    CHECK_FALSE(kept.holds("batch_2"));
    kept.tell(b.desk, 1s);
    b.settle();
    CHECK(kept.holds("batch_1"));
    b.store->away = false;
    kept.tell(b.desk, 1s);
    b.settle();
    CHECK(b.store->owed == std::vector<std::string>{"batch_1=two\nlines", "video_1=note"});
    CHECK_FALSE(kept.holds("batch_1"));
    CHECK_FALSE(std::filesystem::exists(b.file));
    kept.tell(b.desk, 1s);
    b.settle();
    CHECK(b.store->owed.size() == 2);
}

TEST_CASE("the process that follows tells what the one before could not", "[jobs][late]") {
    bench b;
    {
        jobs::kept_debts kept(b.file, b.registry);
        REQUIRE(kept.keep({"batch_1", "n", 1h}));
    }
    // The last line of one that was killed while it wrote.
    std::FILE* out = std::fopen(b.file.c_str(), "a");
    REQUIRE(out != nullptr);
    std::fputs("3600 batch_2 6", out);
    std::fclose(out);
    jobs::kept_debts kept(b.file, b.registry);
    CHECK(kept.holds("batch_1"));
    CHECK_FALSE(kept.holds("batch_2"));
    b.store->away = false;
    kept.tell(b.desk, 1s);
    b.settle();
    CHECK(b.store->owed == std::vector<std::string>{"batch_1=n"});
}

TEST_CASE("what cannot be written down is said to be lost", "[jobs][late]") {
    bench b;
    jobs::kept_debts kept(b.folder.path + "/none/late_orders", b.registry);
    CHECK_FALSE(kept.keep({"batch_1", "n", 1h}));
    CHECK_FALSE(kept.holds("batch_1"));
    CHECK(b.registry.render().find("keywheel_late_orders_lost_total 1") != std::string::npos);
}
