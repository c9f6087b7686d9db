// The Redis store against the conformance checks, and when Redis is away.
#include <catch2/catch.hpp>

#include "store/journal_shipper.hpp"
#include "tests/integration/store/redis_cluster.hpp"
#include "tests/integration/store/redis_server.hpp"
#include "tests/unit/store/caps_conformance.hpp"
#include "tests/unit/store/conformance.hpp"

using namespace kw;
using namespace kw::store;

TEST_CASE("redis store conforms", "[store][redis]") {
    const bool cluster = GENERATE(false, true);
    test::redis_server server;
    manual_clock clock;
    clock.set_wall(test::noon + std::chrono::minutes(5));
    const auto opened =
        open_redis(cluster ? test::redis_cluster::options() : server.options(), clock);
    REQUIRE(opened.has_value());
    auto& s = **opened;
    REQUIRE(test::redis_server::wait_for(s));
    SECTION("records") {
        test::check_records(s);
    }
    SECTION("feed") {
        test::check_feed(s);
        test::check_many_writes(s);
    }
    SECTION("audit") {
        test::check_audit(s);
    }
    SECTION("upstream keys") {
        test::check_key_counts(s);
    }
    SECTION("findings") {
        test::check_key_findings(s);
    }
    SECTION("preflight") {
        CHECK(s.preflight()->empty());
    }
}

TEST_CASE("redis store keeps so much of the audit trail", "[store][redis]") {
    test::redis_server server;
    manual_clock clock;
    clock.set_wall(test::noon);
    auto options = server.options();
    options.keep.audit = std::chrono::hours(1);
    options.keep.max_audit = 50;
    const auto s = *open_redis(options, clock);
    REQUIRE(test::redis_server::wait_for(*s));
    test::check_audit_retention(*s);
    // What comes with a change pushes out what is too much at once.
    for (int i = 0; i < 5; ++i) {
        const std::string id = "n" + std::to_string(i);
        const auto done = s->write_all(
            std::vector<change>{{{"note", id, 0, "{}"}, false, audit_entry{id, test::noon, "{}"}}});
        REQUIRE(done.front().has_value());
    }
    const auto kept = test::audit_ids(*s, {});
    CHECK(kept.size() == 50);
    CHECK(kept.front() == "n4");
}

TEST_CASE("redis store conforms in its ledger", "[store][redis]") {
    test::redis_server server;
    const system_clock_source clock;
    auto options = server.options();
    // The checks' fixed day must not expire, whatever today is.
    options.keep.hours = options.keep.days = std::chrono::hours(24 * 365 * 50);
    const auto opened = open_redis(options, clock);
    auto& s = **opened;
    REQUIRE(test::redis_server::wait_for(s));
    SECTION("batches") {
        test::check_batches(s);
    }
    SECTION("listing") {
        test::check_listing(s);
    }
    SECTION("exact") {
        test::check_exact(s);
    }
}

TEST_CASE("a line about a key that cannot be read is passed over and repaired", "[store][redis]") {
    test::redis_server server;
    const system_clock_source clock;
    const auto s = *open_redis(server.options(), clock);
    REQUIRE(test::redis_server::wait_for(*s));
    REQUIRE(s->tell({"run1", 1, {test::make_news("a", 1), test::make_news("b", 1)}}).has_value());
    redis::connection c;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    REQUIRE(c.open(*redis::parse_target(server.options()), until).has_value());
    redis::pipeline spoil;
    spoil.add({"HSET", server.options().prefix + "{m}:keys", "b", "1|2|nonsense"});
    REQUIRE(c.exchange(spoil, until).has_value());
    auto seen = s->standings_since({}, 100);
    REQUIRE(seen.has_value());
    REQUIRE(seen->items.size() == 1);
    CHECK(seen->items[0].id == "a");
    CHECK(s->standings_since(seen->at, 100)->items.empty());
    REQUIRE(s->tell({"run1", 2, {test::make_news("b", 4)}}).has_value());
    CHECK(test::standing_of(*s, "b").sums.uses == 4);
}

TEST_CASE("caps in redis conform", "[store][redis]") {
    const bool cluster = GENERATE(false, true);
    test::redis_server server;
    const auto options = cluster ? test::redis_cluster::options() : server.options();
    const system_clock_source clock;
    const auto s = *open_redis(options, clock);
    REQUIRE(test::redis_server::wait_for(*s));
    const auto board = *open_redis_caps(options, clock);
    SECTION("permits") {
        test::check_permits(*board);
    }
    SECTION("amounts") {
        test::check_amounts(*board);
    }
    SECTION("a lease that ends") {
        const auto ask = test::make_ask(cap_unit::concurrent, 2, 2);
        CHECK(board->ask("a", std::chrono::milliseconds(50), {ask})->items[0].held == 2);
        cap_answers got;
        for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
             (got.items.empty() || got.items[0].held == 0) &&
             std::chrono::steady_clock::now() < end;)
            got = *board->ask("b", test::long_lease, {ask});
        CHECK(got.items[0].held == 2);
        CHECK(board->ask("a", test::long_lease, {})->joined);
    }
    if (cluster) return;  // it serves other tests, too
    server.stop(SIGKILL);
    CHECK(board->ask("a", test::long_lease, {}).error().code == errc::store_unavailable);
}

TEST_CASE("a Redis that is away fails fast", "[store][redis]") {
    test::redis_server server;
    const system_clock_source clock;
    const auto s = *open_redis(server.options(), clock);
    REQUIRE(test::redis_server::wait_for(*s));
    server.signal(SIGSTOP);
    CHECK(s->ping().error().code == errc::store_unavailable);
    CHECK_FALSE(s->health().up);
    CHECK(s->ping().error().code == errc::store_unavailable);
    server.signal(SIGCONT);
    CHECK(test::redis_server::wait_for(*s));
    CHECK(s->health().up);
}

TEST_CASE("each reader of the feed is told all anew by another server", "[store][redis]") {
    test::redis_server server;
    manual_clock clock;
    clock.set_wall(test::noon);
    const auto opened = open_redis(server.options(), clock);
    auto& s = **opened;
    REQUIRE(test::redis_server::wait_for(s));
    REQUIRE(s.put({"thing", "a", 0, "{}"}).has_value());
    const auto known = s.changes_since(0);
    REQUIRE(known.has_value());
    CHECK_FALSE(s.changes_since(known->revision, feed_run, known->server)->reset);
    server.stop(SIGKILL);
    server.start();
    // Whoever calls first, by whichever connection, takes nothing from the others.
    while (!s.applied_numbers("j") || !s.standings_since({}, 1) || !s.changes_since(0))
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (int reader = 0; reader < 2; ++reader) {
        const auto anew = s.changes_since(known->revision, feed_run, known->server);
        CHECK(anew->reset);
        CHECK(anew->items.size() == 1);
        CHECK_FALSE(s.changes_since(anew->revision, feed_run, anew->server)->reset);
    }
}

TEST_CASE("shipping outlives a frozen and a restarted Redis", "[store][redis]") {
    test::redis_server server;
    const system_clock_source clock;
    auto options = server.options();
    options.keep.hours = options.keep.days = std::chrono::hours(24 * 365 * 50);
    const auto s = *open_redis(options, clock);
    REQUIRE(test::redis_server::wait_for(*s));
    const test::temp_folder folder;
    const auto j = *journal::open({folder.path + "/journal"}, 1);
    journal_shipper shipper(*j, *s, clock, {});
    shipper.start();
    int written = 0;
    const auto write = [&](int count) {
        for (int i = 0; i < count; ++i, ++written) {
            const auto id = "r" + std::to_string(written);
            REQUIRE(j->writer(0).append_end(test::make_record(id, "ak" + std::to_string(i % 5))) ==
                    errc::ok);
        }
    };
    write(500);
    REQUIRE(shipper.flush(std::chrono::seconds(20)));
    server.signal(SIGSTOP);
    write(500);
    CHECK_FALSE(shipper.flush(std::chrono::milliseconds(800)));
    CHECK(shipper.stats().backlog_records > 0);
    server.signal(SIGCONT);
    write(500);
    server.stop(SIGKILL);
    write(500);
    CHECK_FALSE(shipper.flush(std::chrono::milliseconds(100)));
    server.start();
    REQUIRE(test::redis_server::wait_for(*s));
    REQUIRE(shipper.flush(std::chrono::seconds(20)));
    CHECK(test::total(*s).requests == written);
    CHECK(shipper.stats().backlog_records == 0);
}

TEST_CASE("a record costs Redis little time", "[store][redis]") {
    test::redis_server server;
    const system_clock_source clock;
    const auto s = *open_redis(server.options(), clock);
    REQUIRE(test::redis_server::wait_for(*s));
    // A busy proxy's batch: several access keys, upstream keys and models in one shard.
    constexpr std::size_t size = 256;
    std::vector<std::string> keys;
    for (int i = 0; keys.size() < 8; ++i)
        if (const auto id = "ak" + std::to_string(i); shard_of(id) == 3) keys.push_back(id);
    constexpr std::uint64_t batches = 40;
    for (std::uint64_t n = 1; n <= batches; ++n) {
        std::vector<ledger_record> records;
        for (std::size_t i = 0; i < size; ++i) {
            auto& r = records.emplace_back(test::make_record("req_" + std::to_string(n * size + i),
                                                             keys[i % keys.size()], clock.wall()));
            r.upstream_key_id = "uk" + std::to_string(i % 10);
            r.model_served = "model-" + std::to_string(i % 4);
            r.tokens.cached_read = 3;
        }
        const auto b = test::make_batch("j", n, records);
        REQUIRE(s->apply(std::span(&b, 1))->front().applied);
    }
    const auto micros = server.microseconds_in_scripts();
    REQUIRE(micros > 0);
    const auto each = micros / static_cast<double>(batches * size);
    // Told, not judged: the machine may be busy.
    WARN("Redis time per ledger record: " << each << " us");
}
