// Pages of lists: taken apart byte for byte, asked for, merged; and what a worker remembers.
#include <catch2/catch.hpp>

#include "proxy/object_cache.hpp"
#include "proxy/object_pages.hpp"

using namespace kw;
using namespace kw::proxy;
using namespace std::chrono_literals;

TEST_CASE("a page is taken apart without a change") {
    const auto p = read_page(
        R"( {"object":"list", "data" : [ {"id":"a","created_at":5,"x":{"id":"no","y":["]}\""]} } ,{"created":1e3,"id":"b"}], "has_more":true})");
    REQUIRE(p.valid);
    CHECK(p.more);
    REQUIRE(p.items.size() == 2);
    CHECK(p.items[0].id == "a");
    CHECK(p.items[0].created == 5);
    CHECK(p.items[0].json == R"({"id":"a","created_at":5,"x":{"id":"no","y":["]}\""]} })");
    CHECK(p.items[1].id == "b");
    CHECK(
        write_page(p.items, false) ==
        R"({"object":"list","data":[{"id":"a","created_at":5,"x":{"id":"no","y":["]}\""]} },{"created":1e3,"id":"b"}],"first_id":"a","last_id":"b","has_more":false})");
    const auto none = read_page(R"({"data":[],"has_more":true})");
    CHECK((none.valid && none.items.empty() && !none.more));
    CHECK(write_page({}, false) ==
          R"({"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false})");
}

TEST_CASE("what is no page") {
    for (const std::string_view text :
         {"", "{", "[]", "{}", R"({"data":{}})", R"({"data":[1]})", R"({"data":[{"id":"a")",
          R"({"data":[{"x":1}]})", R"({"data":[{"id":"a"}})", R"({"data":[{"id":"a"}] x})"})
        CHECK_FALSE(read_page(text).valid);
}

TEST_CASE("what is asked of a list") {
    auto q = read_list_query("/v1/files", "purpose=batch&after=file-1&limit=2&order=asc");
    CHECK(q.after == "file-1");
    CHECK(q.limit == 2);
    CHECK(q.ascending);
    CHECK(q.rest == "purpose=batch&order=asc");
    CHECK(read_list_query("/v1/files", "").limit == 10'000);
    q = read_list_query("/v1/batches", "limit=1000&before=b");
    CHECK(q.limit == 100);
    CHECK(q.before == "b");
    CHECK_FALSE(q.ascending);
    CHECK(read_list_query("/v1/batches", "limit=x").limit == 1);
    CHECK(read_list_query("/v1/evals", "").ascending);
}

TEST_CASE("the next item is the newest or the oldest, of equals the first account's") {
    std::vector<list_source> all(3);
    CHECK(next_source(all, false) == nullptr);
    all[0].ahead.push_back({"{}", "a", 5});
    all[1].ahead.push_back({"{}", "b", 7});
    all[2].ahead.push_back({"{}", "c", 7});
    CHECK(next_source(all, false) == &all[1]);
    CHECK(next_source(all, true) == &all[0]);
    // What two sources have is taken once.
    all[2].ahead.front().id = "b";
    CHECK(take_item(all, all[1]).id == "b");
    CHECK(all[2].ahead.empty());
    CHECK(all[1].cursor == "b");
    CHECK(all[2].cursor == "b");
    CHECK(next_source(all, false) == &all[0]);
}

TEST_CASE("a worker remembers so many objects and no more, the latest") {
    object_cache cache;
    cache.set_limit(100);
    const mono_time now{1000s};
    for (int i = 0; i < 10'000; ++i) {
        cache.put(std::to_string(i), {true, "a", "o"}, now + 10s);
        // What is met now and then stays.
        REQUIRE(cache.find("0", now) != nullptr);
    }
    CHECK(cache.size() <= 102);
    CHECK(cache.find("9999", now) != nullptr);
    CHECK(cache.find("5000", now) == nullptr);
    CHECK(cache.find("9999", now + 10s) == nullptr);
    cache.put("9999", {true, "b", "o"}, now + 10s);
    CHECK(cache.find("9999", now)->account == "b");
}
