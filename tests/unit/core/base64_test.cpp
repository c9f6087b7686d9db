// Base64: RFC 4648's examples, padding, the two characters that URLs do not take.
#include "core/base64.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <utility>

using kw::to_base64;

TEST_CASE("base64 is padded and has plus and slash") {
    using example = std::pair<std::string_view, std::string_view>;
    for (const auto& [plain, text] :
         {example{"", ""}, example{"f", "Zg=="}, example{"fo", "Zm8="}, example{"foo", "Zm9v"},
          example{"foob", "Zm9vYg=="}, example{"fooba", "Zm9vYmE="}, example{"foobar", "Zm9vYmFy"}})
        CHECK(to_base64(plain) == text);
    CHECK(to_base64(std::array<std::uint8_t, 3>{0xfb, 0xff, 0xfe}) == "+//+");
    CHECK(to_base64(std::string_view("\0\0\0\0", 4)) == "AAAAAA==");
}
