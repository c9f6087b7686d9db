// CRC-32C: the figures of RFC 3720, and the two ways to compute it.
#include "core/crc32c.hpp"

#include <catch2/catch.hpp>
#include <string>

namespace kw {

TEST_CASE("crc32c gives the published figures") {
    CHECK(crc32c("") == 0);
    CHECK(crc32c("123456789") == 0xE306'9283);
    CHECK(crc32c(std::string(32, '\0')) == 0x8A91'36AA);
    CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8'AB43);
}

TEST_CASE("crc32c is the same with and without the processor's help") {
    std::string text;
    for (unsigned i = 0; i < 70; ++i) {
        CHECK(crc32c(text) == crc32c_portable(text));
        text.push_back(static_cast<char>(i * 37U));
    }
}

}  // namespace kw
