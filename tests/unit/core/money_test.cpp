// Decimal text into integers.
#include "core/money.hpp"

#include <catch2/catch.hpp>

using namespace kw;

TEST_CASE("decimal text is scaled exactly") {
    CHECK(parse_scaled_decimal("2.50", 9, true) == 2'500'000'000);
    CHECK(parse_scaled_decimal("1.5e-07", 15, true) == 150'000'000);
    CHECK(parse_scaled_decimal("0", 9, true) == 0);
    CHECK(parse_scaled_decimal("0.0000000004", 9, false) == 0);
    CHECK(parse_scaled_decimal("0.0000000005", 9, false) == 1);
    CHECK_FALSE(parse_scaled_decimal("0.0000000005", 9, true));
    for (const char* bad : {"", ".", "-1", "1.", "1e", "x", "1x", "99999999999999999999", "1e99"})
        CHECK_FALSE(parse_scaled_decimal(bad, 9, true));
}
