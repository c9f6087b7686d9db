// What of a changed record may be told.
#include "admin/record_diff.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

using namespace kw;

namespace {

boost::json::object diff(std::string_view kind, std::string_view before, std::string_view after) {
    std::string out;
    json_writer w(out);
    admin::write_record_diff(w, kind, before, after);
    return boost::json::parse(out).as_object();
}

}  // namespace

TEST_CASE("a difference tells what changed, from both sides", "[admin]") {
    const auto d =
        diff("upstream_key", R"({"notes":"a","alias":"x","models":["m"],"caps":{"rpm":1}})",
             R"({"notes":"b","alias":"x","caps":{"rpm":2},"account":"acc"})");
    CHECK(d.size() == 4);
    CHECK(d.at("notes").at("before") == "a");
    CHECK(d.at("notes").at("after") == "b");
    CHECK(d.at("models").at("after").is_null());
    CHECK(d.at("caps").at("after").at("rpm") == 2);
    CHECK(d.at("account").at("before").is_null());
    // Of a new or a gone one, what says nothing is left out.
    CHECK(diff("upstream_key", "", R"({"notes":"","caps":{"rpm":0},"models":[],"alias":"x"})")
              .size() == 1);
    CHECK(diff("upstream_key", R"({"notes":"","alias":"x"})", "").at("alias").at("before") == "x");
    // Too long to tell; and what is no record at all.
    const auto large = diff("upstream_key", "{}", R"({"notes":")" + std::string(5000, 'n') + "\"}");
    CHECK(large.at("notes").at("after") == "(5002 bytes)");
    CHECK(diff("upstream_key", "{", "[]").empty());
}

TEST_CASE("a difference shows no field that may hold a secret", "[admin]") {
    const std::pair<const char*, const char*> hidden[] = {
        {"upstream_key", "sealed"}, {"upstream_key", "value"},       {"upstream_key", "new_field"},
        {"group", "egress_proxy"},  {"access_key", "hash"},          {"access_key", "earlier_hash"},
        {"admin", "password"},      {"admin", "sessions"},           {"admin_token", "hash"},
        {"unknown_kind", "name"},   {"access_key_pepper", "sealed"}, {"", "x"}};
    for (const auto& [kind, name] : hidden) {
        INFO(kind << ' ' << name);
        const std::string field(name);
        const auto d =
            diff(kind, "{\"" + field + "\":\"canary-1\"}", "{\"" + field + "\":[\"canary-2\"]}");
        CHECK(d.at(field).at("before") == "***");
        CHECK(d.at(field).at("after") == "***");
    }
}
