// What providers tell of quotas: reading it, when they are asked, and where it goes.
#include "jobs/quota_sync.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "pool/pool_view.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;

namespace {

struct fixture {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    crypto::sealer sealer{secret(std::string(32, 'm'))};
    jobs::catalog known{*store, sealer};
    pool::state_table states;
    std::map<std::string, result<std::string>> answers;
    std::vector<std::string> asked;
    jobs::quota_settings settings{.interval = 60s, .jitter = 0ms, .parallel = 2};
    jobs::quota_sync sync{*store,
                          known,
                          states,
                          clock,
                          [this](std::string id) { return answer(std::move(id)); },
                          random_source(1)};

    fixture() {
        pool::group g;
        g.id = "g";
        g.base_url = "https://a.example/v1";
        g.quota.url = "/key";
        g.quota.tokens_per_unit = 1000;
        REQUIRE(store->put({"group", "g", 0, pool::to_json(g)}).has_value());
        for (const char* id : {"uk_1", "uk_2"}) {
            pool::upstream_key k;
            k.id = k.alias = id;
            k.group_id = "g";
            k.value = secret("sk-0001");
            k.quota_tokens = 77;
            REQUIRE(store->put({"upstream_key", id, 0, pool::to_json(k, sealer)}).has_value());
            answers.emplace(id, std::string(R"({"data":{"limit":10,"usage":7.5}})"));
        }
        REQUIRE(known.refresh().has_value());
        std::vector<pool::group_ptr> groups{known.groups().at("g")};
        std::vector<pool::key_ptr> keys;
        for (const auto& [id, k] : known.keys())
            keys.push_back(k);
        view = pool::build(std::move(groups), std::move(keys), states);
    }
    std::shared_ptr<const pool::pool_view> view;

    net::task<result<std::string>> answer(std::string id) {
        asked.push_back(id);
        co_return answers.at(id);
    }
    // One round of the control thread.
    void round() {
        sync.run_due(settings);
        (void)known.refresh();
        sync.run_due(settings);
    }
    std::int64_t left(const std::string& id) {
        return states.get(*states.find(id))->quota_left.load();
    }
};

}  // namespace

TEST_CASE("numbers are found where the pointers say") {
    const pool::quota_source by{.url = "/key"};
    auto got = jobs::read_quota(R"({"data":{"limit":10,"usage":"2.5","limit_remaining":7}})", by);
    REQUIRE(got.has_value());
    CHECK(got->allowance == 10.0);
    CHECK(got->used == 2.5);
    CHECK(got->remaining == 7.0);
    // What is not told is worked out, and what cannot be is not there.
    CHECK(jobs::read_quota(R"({"data":{"limit":10,"usage":2}})", by)->remaining == 8.0);
    CHECK_FALSE(jobs::read_quota(R"({"data":{"limit":null,"usage":2,"limit_remaining":null}})", by)
                    ->remaining);
    for (const char* wrong : {"", "[]", "{}", R"({"data":{"limit":"much"}})", "<html>"})
        CHECK_FALSE(jobs::read_quota(wrong, by).has_value());
    const pool::quota_source own{
        .url = "/u", .remaining = "/a/1", .allowance = "", .used = "", .tokens_per_unit = 1};
    CHECK(jobs::read_quota(R"({"a":[1,5]})", own)->remaining == 5.0);
}

TEST_CASE("what is told counts before what is configured, until it is old") {
    fixture f;
    CHECK(f.left("uk_1") == 77);
    f.round();
    f.clock.advance(1s);
    f.round();
    CHECK(f.asked.size() == 2);
    CHECK(f.left("uk_1") == 2500);
    CHECK(f.sync.describe("uk_1").find("\"remaining\":2.5") != std::string::npos);
    // A use takes nothing off: the provider tells again.
    f.clock.advance(30s);
    f.round();
    CHECK(f.asked.size() == 2);
    f.answers.at("uk_1") = std::string(R"({"data":{"limit_remaining":0}})");
    f.answers.at("uk_2") = error(errc::upstream_malformed, "status 500");
    f.clock.advance(31s);
    f.round();
    CHECK(f.asked.size() == 4);
    CHECK(f.left("uk_1") == 0);
    CHECK(f.left("uk_2") == 2500);
    f.clock.advance(125s);
    f.round();
    CHECK(f.left("uk_2") == 77);
}

TEST_CASE("one replica's question serves all, and a person may ask at any time") {
    fixture f;
    f.round();
    f.clock.advance(1s);
    f.round();
    REQUIRE(f.asked.size() == 2);
    std::size_t others = 0;
    jobs::quota_sync other(*f.store, f.known, f.states, f.clock, [&](std::string id) {
        ++others;
        return f.answer(std::move(id));
    });
    for (int i = 0; i < 3; ++i) {
        other.run_due(f.settings);
        f.clock.advance(1s);
    }
    CHECK(others == 0);
    CHECK(f.sync.sync_all() == 2);
    f.round();
    CHECK(f.asked.size() == 4);
    f.settings.interval = 0ms;
    f.clock.advance(1h);
    f.round();
    CHECK(f.asked.size() == 4);
}
