// Limits as people write them: both ways, and what is refused.
#include "auth/key_limits.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "auth/access_key.hpp"
#include "config/settings.hpp"

using namespace kw;
using namespace kw::auth;

namespace {

std::string round_trip(std::string_view text) {
    const auto limits = limits_from_json(boost::json::parse(text));
    if (!limits) return limits.error().context;
    std::string out;
    json_writer w(out);
    write_limits(w, *limits);
    return out;
}

}  // namespace

TEST_CASE("limits are written as they are read") {
    for (const auto* text : {
             R"([{"unit":"requests","per":"90s","cap":100}])",
             R"([{"unit":"tokens","per":"1h","cap":100000,"window":"fixed"}])",
             R"([{"unit":"cost","per":"month","cap":"12.5","utc_offset_minutes":-60}])",
             R"([{"unit":"cost","per":"total","cap":"9007199.254740993"}])",
             R"([{"unit":"concurrent","cap":10}])",
             "[]",
         })
        CHECK(round_trip(text) == text);
    CHECK(round_trip(R"([{"unit":"requests","per":"60s","cap":1,"window":"sliding"}])") ==
          R"([{"unit":"requests","per":"1m","cap":1}])");
}

TEST_CASE("no list is no limits, and equal lists are equal") {
    CHECK_FALSE(*limits_from_json(boost::json::parse("[]")));
    const auto read = [](const char* text) { return *limits_from_json(boost::json::parse(text)); };
    CHECK(read(R"([{"unit":"concurrent","cap":2}])") == read(R"([{"unit":"concurrent","cap":2}])"));
    CHECK_FALSE(read(R"([{"unit":"concurrent","cap":2}])") ==
                read(R"([{"unit":"concurrent","cap":3}])"));
    CHECK_FALSE(read("[]") == read(R"([{"unit":"concurrent","cap":3}])"));
}

TEST_CASE("a refusal names entry and field") {
    const auto refusal = [](const char* entry, const char* field) {
        const std::string text =
            round_trip(std::string(R"([{"unit":"concurrent","cap":1},)") + entry + "]");
        INFO(text);
        CHECK(text.find("limits[1]: \"" + std::string(field) + "\"") == 0);
    };
    refusal(R"({"unit":"money","per":"day","cap":1})", "unit");
    refusal(R"({"unit":"requests","per":"day","cap":0})", "cap");
    refusal(R"({"unit":"requests","per":"day","cap":"5"})", "cap");
    refusal(R"({"unit":"cost","per":"day","cap":5})", "cap");
    refusal(R"({"unit":"cost","per":"day","cap":"-5"})", "cap");
    refusal(R"({"unit":"cost","per":"day","cap":"0.0000000001"})", "cap");
    refusal(R"({"unit":"requests","cap":5})", "per");
    refusal(R"({"unit":"requests","per":"5 minutes","cap":5})", "per");
    refusal(R"({"unit":"requests","per":"day","cap":5,"window":"fixed"})", "window");
    refusal(R"({"unit":"requests","per":"60s","cap":5,"utc_offset_minutes":5})",
            "utc_offset_minutes");
    refusal(R"({"unit":"concurrent","per":"60s","cap":5})", "per");
    refusal(R"({"unit":"requests","per":"60s","cap":5,"burst":5})", "burst");
    CHECK(round_trip("5").find("list") != std::string::npos);
}

TEST_CASE("limits as texts are those of the list") {
    const auto read = [](std::vector<std::string> texts) { return limits_from_texts(texts); };
    const auto list = [](const char* text) { return *limits_from_json(boost::json::parse(text)); };
    CHECK(*read({"100 requests per 60s", "1000 tokens per 1h fixed", "10 concurrent"}) ==
          list(R"([{"unit":"requests","per":"60s","cap":100},
                   {"unit":"tokens","per":"1h","cap":1000,"window":"fixed"},
                   {"unit":"concurrent","cap":10}])"));
    CHECK(*read({"12.50 USD  per month utc-01:30"}) ==
          list(R"([{"unit":"cost","per":"month","cap":"12.50","utc_offset_minutes":-90}])"));
    CHECK(*read({"unlimited"}) == list("[]"));
    CHECK_FALSE(read({})->none);
    for (const char* wrong :
         {"", "10", "ten requests per 1m", "10 requests", "10 requests each 1m", "10 apples per 1m",
          "10 concurrent per 1m", "10 requests per 1m hourly", "10 USD per day utc+1:00",
          "-1 USD per day", "10.5 requests per 1m", "unlimited requests"}) {
        INFO(wrong);
        CHECK_FALSE(read({wrong}).has_value());
    }
    CHECK_FALSE(read({"unlimited", "10 concurrent"}).has_value());
}

TEST_CASE("default limits hold for who names none, and are no part of a record") {
    config::limit_settings settings;
    CHECK_FALSE(default_limits(settings));
    settings.defaults = {"10 concurrent"};
    settings.default_requests = 5;
    settings.default_window = std::chrono::hours(1);
    const auto fallback = default_limits(settings);
    CHECK(fallback.set->items() ==
          limits_from_texts(std::vector<std::string>{"10 concurrent", "5 requests per 1h"})
              ->set->items());
    access_key key;
    key.id = "ak_1";
    CHECK(apply_default(key.limits, fallback));
    CHECK_FALSE(apply_default(key.limits, fallback));
    CHECK(key.limits.set == fallback.set);
    CHECK(to_record(key).json.find("limits") == std::string::npos);
    CHECK(apply_default(key.limits, {}));
    CHECK_FALSE(key.limits);

    // An empty list of its own is none at all, also after it was stored.
    key.limits = *limits_from_json(boost::json::parse("[]"));
    const auto back = access_key_from(to_record(key));
    REQUIRE(back.has_value());
    key.limits = back->limits;
    CHECK_FALSE(apply_default(key.limits, fallback));
    CHECK_FALSE(key.limits);
    key.limits = *limits_from_texts(std::vector<std::string>{"3 concurrent"});
    CHECK_FALSE(apply_default(key.limits, fallback));
    CHECK(key.limits.set->items().front().cap == 3);
}
