// The journal and its shipper: order, recovery after kill -9, replay, full disks.
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>

#include "store/journal_shipper.hpp"
#include "tests/unit/store/conformance.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace kw::store;

namespace {

struct bench_store {
    test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<kw::store::store> store = *open_embedded({folder.path + "/data", {}}, clock);
    journal_options options{folder.path + "/journal", fsync_policy::no, 64U << 10U, 1U << 30U};
};

exchange_start start_of(const std::string& id) {
    exchange_start s;
    s.id = id;
    s.access_key_id = "ak1";
    s.model = "gpt-1";
    s.started = test::noon;
    s.input_tokens = 100;
    s.cost = 3;
    return s;
}

}  // namespace

TEST_CASE("what is appended is shipped once", "[store][journal]") {
    bench_store b;
    auto j = *journal::open(b.options, 2);
    journal_shipper shipper(*j, *b.store, b.clock);
    for (int i = 0; i < 100; ++i)
        for (std::size_t w = 0; w < 2; ++w) {
            const auto id = std::to_string(w) + "-" + std::to_string(i);
            REQUIRE(j->writer(w).append_start(start_of(id)) == errc::ok);
            REQUIRE(j->writer(w).append_end(test::make_record(id, "ak" + std::to_string(i % 7))) ==
                    errc::ok);
        }
    REQUIRE(shipper.flush(std::chrono::seconds(10)));
    REQUIRE(shipper.ship_once().has_value());
    CHECK(test::total(*b.store).requests == 200);
    CHECK(shipper.stats().shipped_records == 200);
    CHECK(shipper.stats().backlog_records == 0);
    // A second process is refused while this one holds the folder.
    CHECK(journal::open(b.options, 1).has_error());
}

TEST_CASE("a late record counts once, whichever journals have it", "[store][journal]") {
    bench_store b;
    const auto late = test::make_record(late_id("req_1"), "ak1");
    const auto plain = test::make_record("req_2", "ak1");
    auto mine = *journal::open(b.options, 1);
    journal_options other = b.options;
    other.folder += "-of-another";
    auto theirs = *journal::open(other, 1);
    for (journal* j : {mine.get(), theirs.get(), mine.get()}) {
        REQUIRE(j->writer(0).append_end(late, false) == errc::ok);
        journal_shipper shipper(*j, *b.store, b.clock);
        REQUIRE(shipper.flush(std::chrono::seconds(10)));
    }
    // In one batch with others, and twice in it.
    for (int i = 0; i < 2; ++i)
        REQUIRE(theirs->writer(0).append_end(late, false) == errc::ok);
    REQUIRE(theirs->writer(0).append_end(plain, false) == errc::ok);
    journal_shipper shipper(*theirs, *b.store, b.clock);
    REQUIRE(shipper.flush(std::chrono::seconds(10)));
    CHECK(shipper.stats().backlog_records == 0);
    const auto sum = test::total(*b.store);
    CHECK(sum.requests == 1);
    CHECK(sum.tokens.input == late.tokens.input + plain.tokens.input);
    CHECK(sum.cost == *late.cost + *plain.cost);
    CHECK(b.store->find_record(late.id).has_value());
}

TEST_CASE("an earlier journal is replayed identically", "[store][journal]") {
    bench_store b;
    {
        auto j = *journal::open(b.options, 1);
        REQUIRE(j->writer(0).append_end(test::make_record("r1")) == errc::ok);
        journal_shipper shipper(*j, *b.store, b.clock);
        REQUIRE(shipper.ship_once().has_value());
        REQUIRE(j->writer(0).append_end(test::make_record("r2")) == errc::ok);
        REQUIRE(j->writer(0).append_start(start_of("dead")) == errc::ok);
    }
    for (int restart = 0; restart < 3; ++restart) {
        auto j = *journal::open(b.options, 1);
        journal_shipper shipper(*j, *b.store, b.clock);
        REQUIRE(shipper.flush(std::chrono::seconds(10)));
        CHECK(test::total(*b.store).requests == 3);
        const auto dead = b.store->find_record("dead");
        REQUIRE(dead.has_value());
        CHECK(dead->outcome == usage_outcome::estimated);
        CHECK(dead->error_code == "process_died");
        CHECK(dead->tokens.input == 100);
        CHECK(shipper.stats().backlog_records == 0);
    }
}

TEST_CASE("what a dead process left is told when the store holds it", "[store][journal]") {
    bench_store b;
    std::vector<std::string> told;
    shipper_options options;
    options.recovered = [&](std::span<const ledger_record_view> records) {
        for (const auto& r : records) {
            CHECK(b.store->find_record(r.id).has_value());
            told.emplace_back(r.id);
        }
    };
    {
        auto j = *journal::open(b.options, 1);
        journal_shipper shipper(*j, *b.store, b.clock, options);
        REQUIRE(j->writer(0).append_end(test::make_record("shipped")) == errc::ok);
        REQUIRE(shipper.ship_once().has_value());
        CHECK(told.empty());  // who lives settles by itself
        REQUIRE(j->writer(0).append_end(test::make_record("ended")) == errc::ok);
        REQUIRE(j->writer(0).append_start(start_of("open")) == errc::ok);
    }
    auto j = *journal::open(b.options, 1);
    journal_shipper shipper(*j, *b.store, b.clock, options);
    REQUIRE(shipper.flush(std::chrono::seconds(10)));
    std::ranges::sort(told);
    CHECK(told == std::vector<std::string>{"ended", "open"});
    REQUIRE(shipper.ship_once().has_value());
    CHECK(told.size() == 2);
}

TEST_CASE("a store that fell back gets the kept batches again", "[store][journal]") {
    bench_store b;
    auto j = *journal::open(b.options, 1);
    journal_shipper shipper(*j, *b.store, b.clock);
    REQUIRE(j->writer(0).append_end(test::make_record("r1")) == errc::ok);
    REQUIRE(shipper.ship_once().has_value());
    const auto older = *open_embedded({b.folder.path + "/older", {}}, b.clock);
    journal_shipper after_failover(*j, *older, b.clock);
    REQUIRE(j->writer(0).append_end(test::make_record("r2")) == errc::ok);
    REQUIRE(after_failover.ship_once().has_value());
    CHECK(test::total(*older).requests == 2);
}

TEST_CASE("confirmed segments go, running exchanges are remembered", "[store][journal]") {
    bench_store b;
    {
        auto j = *journal::open(b.options, 1);
        journal_shipper shipper(*j, *b.store, b.clock);
        REQUIRE(j->writer(0).append_start(start_of("long")) == errc::ok);
        for (int round = 0; round < 20; ++round) {
            for (int i = 0; i < 100; ++i) {
                auto code = errc::journal_unavailable;
                for (int tries = 0; code != errc::ok && tries < 1000; ++tries) {
                    code = j->writer(0).append_end(test::make_record("r"));
                    if (code != errc::ok) ::usleep(1000);
                }
                REQUIRE(code == errc::ok);
            }
            REQUIRE(shipper.ship_once().has_value());
            b.clock.advance(std::chrono::minutes(11));
        }
        REQUIRE(shipper.ship_once().has_value());
        CHECK(j->disk_bytes() <= 4 * b.options.segment_bytes);
    }
    auto j = *journal::open(b.options, 1);
    journal_shipper shipper(*j, *b.store, b.clock);
    REQUIRE(shipper.flush(std::chrono::seconds(10)));
    CHECK(b.store->find_record("long").has_value());
    CHECK(test::total(*b.store).requests == 2001);
}

TEST_CASE("a full journal refuses and never tears", "[store][journal]") {
    bench_store b;
    b.options.max_bytes = 3 * b.options.segment_bytes;
    int starts = 0;
    {
        auto j = *journal::open(b.options, 1);
        errc code = errc::ok;
        for (int dry = 0; dry < 20;) {
            code = j->writer(0).append_start(start_of("s" + std::to_string(starts)));
            if (code == errc::ok) {
                ++starts;
                dry = 0;
            } else {
                ++dry;
                ::usleep(20'000);
            }
        }
        CHECK(code == errc::journal_unavailable);
        CHECK_FALSE(j->writer(0).writable());
        // What is left is for the ends of what has begun, not for what was refused.
        CHECK(j->writer(0).append_end(test::make_record("refused"), false) ==
              errc::journal_unavailable);
        CHECK(j->writer(0).append_end(test::make_record("s0")) == errc::ok);
        CHECK_FALSE(j->healthy());
    }
    b.options.max_bytes = 1U << 30U;
    auto j = *journal::open(b.options, 1);
    journal_shipper shipper(*j, *b.store, b.clock);
    REQUIRE(shipper.flush(std::chrono::seconds(20)));
    CHECK(test::total(*b.store).requests == starts);
    CHECK(shipper.stats().corrupt_entries == 0);
}

TEST_CASE("where room is scarce, what is confirmed is given up at once", "[store][journal]") {
    bench_store b;
    b.options.max_bytes = 4 * b.options.segment_bytes;
    auto j = *journal::open(b.options, 1);
    journal_shipper shipper(*j, *b.store, b.clock);
    // Ten times what the journal may hold, and no clock that goes on.
    const int count = static_cast<int>(10 * b.options.max_bytes / 100);
    int refused = 0;
    for (int i = 0; i < count && refused < 1000;) {
        if (j->writer(0).append_end(test::make_record(std::to_string(i))) == errc::ok) {
            ++i;
            refused = 0;
            continue;
        }
        ++refused;
        REQUIRE(shipper.ship_once().has_value());
        ::usleep(1000);
    }
    CHECK(refused == 0);
    REQUIRE(shipper.flush(std::chrono::seconds(20)));
    CHECK(test::total(*b.store).requests == count);
}

TEST_CASE("kill -9 loses nothing and doubles nothing", "[store][journal]") {
    bench_store b;
    int progress[2];
    REQUIRE(::pipe(progress) == 0);
    const auto child = ::fork();
    if (child == 0) {
        auto j = journal::open(b.options, 1);
        if (!j) ::_exit(1);
        for (int i = 0;; ++i) {
            const auto id = std::to_string(i);
            if ((*j)->writer(0).append_start(start_of(id)) != errc::ok) {
                --i;
                ::usleep(500);
                continue;
            }
            if (i % 3 != 0)
                while ((*j)->writer(0).append_end(test::make_record(id)) != errc::ok)
                    ::usleep(500);
            if (::write(progress[1], &i, sizeof i) != sizeof i) ::_exit(1);
        }
    }
    ::close(progress[1]);
    int last = -1;
    while (last < 3000 && ::read(progress[0], &last, sizeof last) == sizeof last) {
    }
    ::kill(child, SIGKILL);
    while (::read(progress[0], &last, sizeof last) == sizeof last) {
    }
    ::waitpid(child, nullptr, 0);
    ::close(progress[0]);
    REQUIRE(last >= 3000);
    auto j = *journal::open(b.options, 1);
    journal_shipper shipper(*j, *b.store, b.clock);
    REQUIRE(shipper.flush(std::chrono::seconds(60)));
    const auto booked = test::total(*b.store).requests;
    // The child may have written one more than it told.
    CHECK(booked >= last + 1);
    CHECK(booked <= last + 2);
    CHECK(shipper.stats().recovered_starts >= static_cast<std::uint64_t>(last / 3));
    CHECK(shipper.stats().corrupt_entries == 0);
}

TEST_CASE("a journal on a small tmpfs", "[store][journal]") {
    bench_store b;
    const auto mount_point = b.folder.path + "/small";
    ::mkdir(mount_point.c_str(), 0700);
    if (::mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=1m") != 0) {
        WARN("skipped: mounting a tmpfs is not permitted here");
        return;
    }
    b.options.folder = mount_point + "/journal";
    int ends = 0;
    {
        auto j = *journal::open(b.options, 1);
        for (int dry = 0; dry < 20;)
            if (j->writer(0).append_end(test::make_record(std::to_string(ends))) == errc::ok) {
                ++ends;
                dry = 0;
            } else {
                ++dry;
                ::usleep(20'000);
            }
    }
    CHECK(ends > 1000);
    {
        auto j = *journal::open(b.options, 1);
        journal_shipper shipper(*j, *b.store, b.clock);
        CHECK(shipper.flush(std::chrono::seconds(10)));
        CHECK(shipper.stats().corrupt_entries == 0);
        CHECK(test::total(*b.store).requests == ends);
    }
    ::umount(mount_point.c_str());
}
