// Every error has a name of its own, and a failed result cannot be read.
#include <catch2/catch.hpp>

#include <set>
#include <string>

#include "core/error.hpp"

using namespace kw;

TEST_CASE("names of errors are distinct") {
    std::set<std::string_view> names;
    for (int i = 0; i <= static_cast<int>(errc::internal); ++i) {
        names.insert(to_string(static_cast<errc>(i)));
    }
    CHECK(names.size() == static_cast<std::size_t>(errc::internal) + 1);
    CHECK(to_string(errc::invalid_api_key) == "invalid_api_key");
    CHECK(to_string(error_source::upstream) == "upstream");
}

TEST_CASE("the value of a failed result throws") {
    const result<int> failed = error(errc::timed_out, "waiting");
    CHECK(failed.error().code == errc::timed_out);
    CHECK_THROWS(failed.value());
}
