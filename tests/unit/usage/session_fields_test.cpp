// What bodies say of their session.
#include "usage/session_fields.hpp"

#include <catch2/catch.hpp>

using namespace kw::usage;

namespace {

std::string metadata(const std::string& body) {
    const auto f = read_request_fields(body);
    REQUIRE(f.has_value());
    return std::string(session_in_metadata(body, *f));
}

std::string beginning(const std::string& body) {
    const auto f = read_request_fields(body);
    REQUIRE(f.has_value());
    const auto [before, begin] = prompt_beginning(body, *f);
    return std::string(before) + '|' + std::string(begin);
}

}  // namespace

TEST_CASE("a session in metadata") {
    CHECK(
        metadata(
            R"({"model":"m","metadata":{"user_id":"u","a":{"session_id":"x"},"session_id":"s"}})") ==
        "s");
    CHECK(metadata(R"({"metadata":{"user_id":"u","session_id":7}})") == "u");
    CHECK(metadata(R"({"metadata":{"topic":"x"}})").empty());
    CHECK(metadata(R"({"metadata":null})").empty());
    CHECK(metadata(R"({"metadata":"s"})").empty());
    CHECK(metadata(R"({"input":{"metadata":{"session_id":"s"}}})").empty());
    CHECK(metadata("{}").empty());
}

TEST_CASE("turns of a conversation begin alike") {
    const std::string first =
        R"({"messages":[{"role":"system","content":"s"},{"content":[1],"role":"user"})";
    const std::string later = first + R"(,{"role":"assistant","content":"a"},{"role":"user"}]})";
    CHECK(beginning(first + "]}") == beginning(later));
    CHECK(beginning(later) == R"(|{"role":"system","content":"s"},{"content":[1],"role":"user"})");
    CHECK(beginning(R"({"instructions":"i","input":[ {"type":"x","content":"y"} , 7]})") ==
          R"("i"|{"type":"x","content":"y"})");
    CHECK(beginning(R"({"input":"text"})") == R"(|"text")");
    CHECK(beginning(R"({"input":"text"})") != beginning(R"({"input":"texts"})"));
    CHECK(beginning(R"({"prompt":")" + std::string(300, 'a') + "\"}") ==
          beginning(R"({"prompt":")" + std::string(3000, 'a') + "\"}"));
    CHECK(beginning(R"({"messages":[]})") == "|[]");
    CHECK(beginning("{}") == "|");
    // Whoever has a long system prompt in common only is told apart by what follows.
    const std::string system = R"({"system":"s","messages":[{"role":"user","content":")";
    CHECK(beginning(system + "a\"}]}") != beginning(system + "b\"}]}"));
}

TEST_CASE("what tells sessions may come twice") {
    CHECK(read_request_fields(R"({"metadata":1,"metadata":2,"input":1,"input":2})").has_value());
}
