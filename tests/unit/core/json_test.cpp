// JSON text: escaping of everything that can come in, and the writer's commas.
#include <catch2/catch.hpp>

#include <limits>

#include "core/json_writer.hpp"

using namespace kw;

namespace {
std::string quoted(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
}
const std::string replaced = "\xef\xbf\xbd";
}  // namespace

TEST_CASE("strings are escaped by RFC 8259") {
    CHECK(quoted("plain") == "\"plain\"");
    CHECK(quoted("") == "\"\"");
    CHECK(quoted("a\"b\\c/d") == "\"a\\\"b\\\\c/d\"");
    CHECK(quoted("\b\f\n\r\t") == "\"\\b\\f\\n\\r\\t\"");
    CHECK(quoted(std::string_view("\0\x1f\x7f", 3)) == "\"\\u0000\\u001f\x7f\"");
    CHECK(quoted("é € 😀") == "\"é € 😀\"");
}

TEST_CASE("what is not UTF-8 is replaced, part by part") {
    CHECK(quoted("a\xff"
                 "b") == "\"a" + replaced + "b\"");
    CHECK(quoted("\xc0\xaf") == "\"" + replaced + replaced + "\"");  // overlong
    CHECK(quoted("\xe2\x82") == "\"" + replaced + "\"");             // cut off
    CHECK(quoted("\xe2\x82\"") == "\"" + replaced + "\\\"\"");       // a quote is no part
    CHECK(quoted("\xed\xa0\x80") == "\"" + replaced + replaced + replaced + "\"");  // surrogate
    CHECK(quoted("\xf4\x90\x80\x80") == "\"" + replaced + replaced + replaced + replaced + "\"");
    CHECK(quoted("\xf0\x9f\x98") == "\"" + replaced + "\"");
    CHECK(quoted("\xf4\x8f\xbf\xbf") == "\"\xf4\x8f\xbf\xbf\"");
}

TEST_CASE("the writer puts commas and nothing else") {
    std::string out;
    json_writer w(out);
    w.begin_object()
        .field("a", 1)
        .field("b", "x\"y")
        .field("c", true)
        .key("d")
        .begin_array()
        .value(1.5)
        .null()
        .begin_object()
        .end_object()
        .value(std::numeric_limits<std::int64_t>::min())
        .value(std::numeric_limits<std::uint64_t>::max())
        .end_array()
        .key("e")
        .begin_object()
        .field("f", std::string("g"))
        .end_object()
        .key("h")
        .raw("[0]")
        .end_object();
    CHECK(
        out ==
        R"({"a":1,"b":"x\"y","c":true,"d":[1.5,null,{},-9223372036854775808,18446744073709551615],)"
        R"("e":{"f":"g"},"h":[0]})");
}

TEST_CASE("a double that JSON cannot say is null") {
    std::string out;
    json_writer w(out);
    w.begin_array()
        .value(std::numeric_limits<double>::infinity())
        .value(std::numeric_limits<double>::quiet_NaN())
        .value(0.1)
        .end_array();
    CHECK(out == "[null,null,0.1]");
}
