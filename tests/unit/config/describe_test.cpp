// The table of settings itself: complete, consistent, and the same as its documentation.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "config/describe.hpp"
#include "config/fields.hpp"
#include "config/values.hpp"

using namespace kw;
using namespace kw::config;

namespace {

[[nodiscard]] std::string value_of(const std::vector<row>& rows, std::string_view key,
                                   std::string_view origin) {
    for (const auto& r : rows) {
        if (r.key != key) continue;
        CHECK(r.origin == origin);
        return r.value;
    }
    return "no such row";
}

}  // namespace

TEST_CASE("names, variables and places of settings are distinct") {
    std::set<std::string> variables;
    std::set<std::string> aliases;
    std::set<const void*> places;
    settings s;
    for (const auto& one : sections()) {
        for (const auto& f : one.fields) {
            INFO(one.name << "." << f.name);
            CHECK(variables.insert(variable_name(one.name, f.name)).second);
            CHECK_FALSE(f.help.empty());
            const auto value = f.at(one.at(&s));
            const void* place = std::visit(
                []<class T>(T v) -> const void* {
                    if constexpr (std::is_same_v<T, choice>) {
                        return v.value;
                    } else {
                        return v;
                    }
                },
                value);
            CHECK(places.insert(place).second);
            if (!f.aliases.empty()) CHECK(aliases.insert(std::string(f.aliases)).second);
        }
    }
    CHECK(variables.size() > 80);
}

TEST_CASE("every default can be written in a file and read back") {
    settings s;
    settings copy;
    const environment none;
    secret_resolver secrets(none);
    for (const auto& one : sections()) {
        for (const auto& f : one.fields) {
            INFO(one.name << "." << f.name);
            const auto value = f.at(one.at(&s));
            const auto text = format_value(f, value);
            if (text.empty()) continue;
            const auto into = f.at(one.at(&copy));
            CHECK_FALSE(parse_value(f, into, text, secrets).has_value());
            CHECK(equal_values(value, into));
        }
    }
}

TEST_CASE("check-config shows every setting with its origin, secrets masked") {
    const auto l = load_text(
        "server: {port: 9}\ngroups:\n  - {id: g, base_url: 'https://h', keys: "
        "[sk-canary-0123456789-tail], pool: {retry_max: 9}}\n",
        "k.yaml", {{"ADMIN_ACCESS_KEY", "canary-admin"}});
    REQUIRE(l.has_value());
    const auto rows = describe(*l);
    CHECK(value_of(rows, "server.port", "k.yaml:1") == "9");
    CHECK(value_of(rows, "server.header_timeout", "default") == "10s");
    CHECK(value_of(rows, "auth.admin_key", "environment ADMIN_ACCESS_KEY") == "***");
    CHECK(value_of(rows, "groups.g.base_url", "k.yaml:3") == "https://h/v1");
    CHECK(value_of(rows, "groups.g.keys", "k.yaml:3") == "sk-…tail");
    CHECK(value_of(rows, "groups.g.pool.retry_max", "k.yaml:3") == "9");
    CHECK(value_of(rows, "groups.g.pool.retry_total", "") == "no such row");
    for (const auto& r : rows)
        CHECK(r.value.find("canary") == std::string::npos);
}

TEST_CASE("a reload tells what changed and what needs a restart") {
    settings before;
    settings after;
    CHECK(differences(before, after).empty());
    after.server.port = 1;
    after.log.level = log::level::debug;
    after.auth.admin_key = secret("x");
    after.groups.emplace_back();
    const auto changes = differences(before, after);
    REQUIRE(changes.size() == 4);
    CHECK((changes[0].key == "server.port" && changes[0].needs_restart));
    CHECK((changes[1].key == "auth.admin_key" && !changes[1].needs_restart));
    CHECK((changes[2].key == "log.level" && !changes[2].needs_restart));
    CHECK((changes[3].key == "groups" && !changes[3].needs_restart));
}

// Run with KW_UPDATE_DOCS=1 to write the tables anew.
TEST_CASE("docs/configuration.md has the table of settings as it is in the code") {
    const std::string here = __FILE__;
    const std::string path =
        here.substr(0, here.rfind("tests/unit/config/")) + "docs/configuration.md";
    std::ifstream in(path);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::string begin = "<!-- settings: made from config/fields.cpp -->\n";
    const std::string end = "<!-- end of settings -->";
    const auto from = text.find(begin);
    const auto to = text.find(end);
    REQUIRE(from != std::string::npos);
    REQUIRE(to != std::string::npos);
    const auto at = from + begin.size();
    if (std::getenv("KW_UPDATE_DOCS") != nullptr) {
        std::ofstream(path) << text.replace(at, to - at, "\n" + settings_reference());
    } else {
        INFO("run KW_UPDATE_DOCS=1 unit_config to write it anew");
        CHECK(text.substr(at, to - at) == "\n" + settings_reference());
    }
}
