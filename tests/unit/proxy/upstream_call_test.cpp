// What a try keeps to itself of an answer.
#include "proxy/upstream_call.hpp"

#include <catch2/catch.hpp>

using kw::proxy::upstream_call;

TEST_CASE("a quoted key is blotted out in its own length") {
    const auto blotted = [](std::string text, std::string_view key) {
        upstream_call::blot(text, key);
        return text;
    };
    CHECK(blotted("Incorrect API key provided: sk-abc.", "sk-abc") ==
          "Incorrect API key provided: ******.");
    CHECK(blotted("sk-abcsk-abc sk-ab", "sk-abc") == "************ sk-ab");
    CHECK(blotted("nothing", "sk-abc") == "nothing");
    CHECK(blotted("", "sk-abc").empty());
    CHECK(blotted("left alone", "") == "left alone");
    CHECK(blotted("***", "*") == "***");
}
