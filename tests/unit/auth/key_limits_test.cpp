// Limits as people write them: both ways, and what is refused.
#include "auth/key_limits.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

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
