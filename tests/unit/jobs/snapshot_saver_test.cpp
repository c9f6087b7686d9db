// When the snapshot is saved, and what becomes of a save that fails.
#include "jobs/snapshot_saver.hpp"

#include <sys/stat.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>

#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;

namespace {

struct fixture {
    store::test::temp_folder folder;
    manual_clock clock;
    metrics::registry registry{1};
    crypto::sealer sealer{secret(std::string(32, 'm'))};
    std::string path = folder.path + "/snapshot";
    std::uint64_t revision = 1;
    std::atomic<int> saves{0};
    jobs::snapshot_saver saver{path, sealer,
                               [this] {
                                   return store::snapshot{revision,
                                                          [this](const store::record_sink& to) {
                                                              ++saves;
                                                              to({"setting", "a", 1, "{}"});
                                                          }};
                               },
                               clock, registry};

    // 0: none.
    [[nodiscard]] std::uint64_t saved() const {
        const auto found = store::snapshot_file(path, sealer).load([](const store::record&) {});
        return found ? *found : 0;
    }
    [[nodiscard]] std::int64_t failures() {
        return registry.counter("keywheel_snapshot_save_failures_total", "").value();
    }
};

}  // namespace

TEST_CASE("what was not changed is not saved, and the end saves what was", "[jobs]") {
    fixture f;
    f.saver.round();
    f.saver.finish();
    CHECK(f.saves == 0);
    f.saver.note_change();
    f.saver.finish();
    CHECK(f.saves == 1);
    CHECK(f.saved() == 1);
    f.saver.finish();
    CHECK(f.saves == 1);
}

TEST_CASE("changes within a second share a save", "[jobs]") {
    fixture f;
    f.saver.note_change();
    f.saver.round();
    f.saver.finish();  // waits for it, and finds nothing more to do
    REQUIRE(f.saves == 1);
    for (int i = 0; i < 5; ++i) {
        ++f.revision;
        f.saver.note_change();
        f.clock.advance(150ms);
        f.saver.round();
    }
    CHECK(f.saves == 1);
    f.clock.advance(250ms);
    f.saver.round();
    f.saver.finish();
    CHECK(f.saves == 2);
    CHECK(f.saved() == 6);
}

TEST_CASE("a save that fails is counted and done again", "[jobs]") {
    fixture f;
    REQUIRE(::mkdir((f.path + ".tmp").c_str(), 0700) == 0);  // where its temporary file goes
    f.saver.note_change();
    f.saver.finish();
    CHECK(f.failures() == 1);
    CHECK(f.saved() == 0);
    REQUIRE(::rmdir((f.path + ".tmp").c_str()) == 0);
    f.clock.advance(1s);
    f.saver.round();
    f.saver.finish();
    CHECK(f.saved() == 1);
    CHECK(f.failures() == 1);
}
