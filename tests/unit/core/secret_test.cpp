// Secrets, money, identifiers, globs.
#include <catch2/catch.hpp>

#include <set>

#include "core/glob.hpp"
#include "core/ids.hpp"
#include "core/money.hpp"
#include "core/secret.hpp"

using namespace kw;

TEST_CASE("a secret prints masked and compares by its text") {
    const secret key("sk-proj-0123456789wxyz");
    CHECK(key.masked() == "sk-…wxyz");
    CHECK(secret("0123456789012345678").masked() == "***");
    CHECK(secret("01234567890123456789").masked() == "012…6789");
    CHECK(secret().masked() == "***");
    CHECK(key == secret("sk-proj-0123456789wxyz"));
    CHECK_FALSE(key == secret("sk-proj-0123456789wxyZ"));
    CHECK_FALSE(key == secret("sk"));
    CHECK(equal_constant_time("", ""));
}

TEST_CASE("a moved-from secret is empty") {
    secret a("short");
    const secret b(std::move(a));
    CHECK(a.empty());  // NOLINT(bugprone-use-after-move)
    CHECK(b.reveal() == "short");
    secret c("a text that is too long for the string's own buffer");
    c = secret("other");
    CHECK(c.reveal() == "other");
    const secret& self = c;
    c = self;
    CHECK(c.reveal() == "other");
}

TEST_CASE("dollars have no trailing zeros") {
    CHECK(format_dollars(0) == "0");
    CHECK(format_dollars(500'000'000) == "0.5");
    CHECK(format_dollars(12 * one_dollar) == "12");
    CHECK(format_dollars(1'234'567'890) == "1.23456789");
    CHECK(format_dollars(1) == "0.000000001");
    CHECK(format_dollars(-1'500'000'000) == "-1.5");
    CHECK(format_dollars(std::numeric_limits<nanodollars>::min()) == "-9223372036.854775808");
}

TEST_CASE("identifiers sort by time and differ") {
    manual_clock clock;
    random_source random(7);
    std::set<std::string> seen;
    std::string last;
    for (int i = 0; i < 1000; ++i) {
        const auto id = make_id("req_", clock.wall(), random);
        CHECK(id.size() == 4 + 21);
        CHECK(id.find_first_not_of("req_0123456789abcdefghjkmnpqrstvwxyz") == std::string::npos);
        CHECK(id.substr(0, 12) > last);
        last = id.substr(0, 12);
        seen.insert(id);
        clock.advance(std::chrono::milliseconds(1));
    }
    CHECK(seen.size() == 1000);
}

TEST_CASE("a seeded source repeats itself and stays below its bound") {
    random_source a(42);
    random_source b(42);
    random_source other(43);
    CHECK(a.next() == b.next());
    CHECK(a.next() != other.next());
    std::array<int, 7> counts{};
    for (int i = 0; i < 70'000; ++i)
        ++counts[a.below(7)];
    for (const int n : counts)
        CHECK(std::abs(n - 10'000) < 500);
    CHECK(a.below(1) == 0);
    CHECK(random_source().next() != random_source().next());
}

TEST_CASE("globs") {
    CHECK(glob_match("gpt-4o", "gpt-4o"));
    CHECK_FALSE(glob_match("gpt-4o", "gpt-4o-mini"));
    CHECK(glob_match("gpt-*", "gpt-4o-mini"));
    CHECK(glob_match("gpt-*", "gpt-"));
    CHECK(glob_match("*", ""));
    CHECK(glob_match("", ""));
    CHECK_FALSE(glob_match("", "a"));
    CHECK(glob_match("*-mini", "a-mini-mini"));
    CHECK(glob_match("a*b*c", "a-b-b-c-c"));
    CHECK_FALSE(glob_match("a*b*c", "a-c-b"));
    CHECK(glob_match("**a**", "bab"));
    CHECK_FALSE(glob_match("GPT*", "gpt"));
    CHECK_FALSE(glob_match("g?t", "gpt"));
    // Linear in text × stars: exponential matching would not come back.
    CHECK_FALSE(glob_match("*a*a*a*a*a*a*a*a*a*a*a*ab", std::string(5000, 'a')));
}
