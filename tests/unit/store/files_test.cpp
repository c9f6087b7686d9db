// The sealed snapshot, the data directory, and the sums and shards of batches.
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "store/data_dir.hpp"
#include "store/snapshot_file.hpp"
#include "tests/unit/store/conformance.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace kw::store;

TEST_CASE("a snapshot comes back, and only under its key", "[store]") {
    const test::temp_folder folder;
    const crypto::sealer ours(secret(std::string(32, 'a')));
    const crypto::sealer other(secret(std::string(32, 'b')));
    snapshot_file file(folder.path + "/snapshot", ours);
    std::vector<record> back;
    const auto keep = [&](const record& r) { back.push_back(r); };
    CHECK(file.load(keep).error().code == errc::store_not_found);
    const auto numbered = [](const record_sink& to) {
        for (int i = 0; i < 3000; ++i)
            to({"access_key", std::to_string(i), 7, std::string(500, 'x')});
    };
    REQUIRE(file.save({42, numbered}).has_value());
    const auto revision = file.load(keep);
    REQUIRE(revision.has_value());
    CHECK(*revision == 42);
    REQUIRE(back.size() == 3000);
    CHECK(back[2999].id == "2999");
    CHECK(back[2999].revision == 7);
    CHECK(snapshot_file(folder.path + "/snapshot", other).load(keep).error().code ==
          errc::invalid_argument);
    auto text = *read_file(folder.path + "/snapshot", 1U << 24U);
    CHECK(text.find("access_key") == std::string::npos);
    // Cut at a line's end: every line that is left is good, and yet it is noticed.
    text.resize(text.rfind('\n', text.size() - 2) + 1);
    REQUIRE(replace_file(folder.path + "/snapshot", text).has_value());
    CHECK(file.load(keep).error().code == errc::invalid_argument);
    // Without records, and where nothing can be written.
    REQUIRE(file.save({43, [](const record_sink&) {}}).has_value());
    back.clear();
    CHECK(*file.load(keep) == 43);
    CHECK(back.empty());
    snapshot_file nowhere(folder.path + "/none/snapshot", ours);
    CHECK(nowhere.save({44, numbered}).error().code == errc::internal);
}

TEST_CASE("a file that is given up half written leaves the old one", "[store]") {
    const test::temp_folder folder;
    const auto path = folder.path + "/file";
    REQUIRE(replace_file(path, "old").has_value());
    {
        auto out = file_replacement::begin(path);
        REQUIRE(out.has_value());
        out->append("half");
    }
    CHECK(*read_file(path, 100) == "old");
    CHECK(read_file(path + ".tmp", 100).error().code == errc::store_not_found);
    auto out = file_replacement::begin(path);
    out->append("old and more");
    out->begin_with("new");
    REQUIRE(out->commit().has_value());
    CHECK(*read_file(path, 100) == "new and more");
}

TEST_CASE("the encryption key is made once, for us alone", "[store]") {
    const test::temp_folder folder;
    const auto dir = folder.path + "/data";
    const auto made = load_or_make_encryption_key(dir);
    REQUIRE(made.has_value());
    CHECK(made->made);
    CHECK(made->text.size() == 43);
    struct stat info{};
    REQUIRE(::stat((dir + "/encryption.key").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777U) == 0600);
    const auto again = load_or_make_encryption_key(dir);
    CHECK_FALSE(again->made);
    CHECK(again->text == made->text);
    ::chmod((dir + "/encryption.key").c_str(), 0644);
    CHECK(load_or_make_encryption_key(dir).error().code == errc::invalid_argument);
}

TEST_CASE("shards and buckets never move", "[store]") {
    CHECK(shard_of("") == 0xcbf29ce484222325U % shard_count);
    CHECK(shard_of("ak1") == shard_of("ak1"));
    CHECK(bucket_name(span::hour, test::noon) == "2026-01-01T12");
    CHECK(bucket_name(span::day, test::noon) == "2026-01-01");
    CHECK(bucket_name(span::month, test::noon) == "2026-01");
    CHECK(bucket_name(span::all, test::noon) == "all");
    CHECK(bucket_next(span::month, test::noon) == test::noon + std::chrono::hours(31 * 24 - 12));
}

TEST_CASE("the operator's cost is in every sum, but is no request", "[store]") {
    auto tried = test::make_record("r#1");
    tried.operator_cost = true;
    tried.tokens.input = 1'000'000'000'000'000;
    for (const auto& a : test::make_batch("j", 1, {test::make_record("r"), tried}).sums) {
        if (a.by == dimension::access_key) {
            CHECK(a.requests == (a.subject == operator_subject ? 0 : 1));
        } else {
            CHECK(a.requests == 1);
            CHECK(a.cost == 2 * *tried.cost);
            CHECK(a.tokens.input == 1'000'000'000'010);
        }
    }
}
