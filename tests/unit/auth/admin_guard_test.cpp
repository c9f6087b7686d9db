// The guard of the admin routes, and the pepper's record.
#include "auth/admin_guard.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "auth/pepper.hpp"

using namespace kw;
using namespace kw::auth;
using namespace std::chrono_literals;

namespace {

const std::string right = "a-long-enough-secret";
secret admin_secret() {
    return secret(right);
}

}  // namespace

TEST_CASE("a weak admin secret is for loopback only, none disables") {
    CHECK_FALSE(admin_guard::make(secret(std::string("short")), false).has_value());
    CHECK(admin_guard::make(secret(std::string("short")), true).has_value());
    CHECK(admin_guard::make(admin_secret(), false).has_value());
    auto none = admin_guard::make(secret(), false);
    REQUIRE(none.has_value());
    CHECK_FALSE(none->enabled());
    CHECK(none->check("", "a", {}).verdict == admin_verdict::disabled);
    CHECK(none->check("x", "a", {}).verdict == admin_verdict::disabled);
}

TEST_CASE("wrong guesses wait longer and longer, per source") {
    manual_clock clock;
    auto guard = admin_guard::make(admin_secret(), false).value();
    CHECK(guard.check(right, "a", clock.mono()).verdict == admin_verdict::allowed);
    CHECK(guard.check("", "a", clock.mono()).verdict == admin_verdict::missing);
    CHECK(guard.sources() == 0);

    for (std::uint32_t i = 1; i < admin_guard::free_guesses; ++i) {
        const auto a = guard.check("wrong", "a", clock.mono());
        CHECK(a.verdict == admin_verdict::wrong);
        CHECK(a.retry_after == 0ms);
    }
    auto expected = std::chrono::milliseconds(1s);
    for (int i = 0; i < 12; ++i) {
        CHECK(guard.check("wrong", "a", clock.mono()).retry_after == expected);
        const auto blocked = guard.check(right, "a", clock.mono());
        CHECK(blocked.verdict == admin_verdict::wait);
        CHECK(blocked.retry_after == expected);
        CHECK(guard.check(right, "b", clock.mono()).verdict == admin_verdict::allowed);
        clock.advance(expected);
        expected = std::min<std::chrono::milliseconds>(2 * expected, admin_guard::longest_delay);
    }
    CHECK(guard.check(right, "a", clock.mono()).verdict == admin_verdict::allowed);
    CHECK(guard.sources() == 0);
    CHECK(guard.check("wrong", "a", clock.mono()).retry_after == 0ms);
}

TEST_CASE("guesses are forgotten after a while and the memory is bounded") {
    manual_clock clock;
    auto guard = admin_guard::make(admin_secret(), false).value();
    for (int i = 0; i < 10; ++i)
        (void)guard.check("wrong", "a", clock.mono());
    CHECK(guard.check(right, "a", clock.mono()).verdict == admin_verdict::wait);
    clock.advance(admin_guard::forget_after);
    CHECK(guard.check("wrong", "a", clock.mono()).retry_after == 0ms);

    for (std::size_t i = 0; i < admin_guard::max_sources + 500; ++i) {
        clock.advance(1ms);
        (void)guard.check("wrong", "s" + std::to_string(i), clock.mono());
    }
    CHECK(guard.sources() == admin_guard::max_sources);
}

TEST_CASE("the pepper opens with its master key and nowhere else") {
    const crypto::sealer sealer(secret(std::string(32, 'm')));
    const secret pepper = make_pepper();
    CHECK(pepper.size() >= 43);
    CHECK_FALSE((pepper == make_pepper()));
    const store::record record = seal_pepper(pepper, sealer);
    CHECK(record.kind == "setting");
    CHECK(record.id == "access_key_pepper");
    CHECK(record.json.find(pepper.reveal()) == std::string::npos);
    const auto opened = open_pepper(record, sealer);
    REQUIRE(opened.has_value());
    CHECK((*opened == pepper));

    CHECK_FALSE(open_pepper(record, crypto::sealer(secret(std::string(32, 'n')))).has_value());
    store::record other = record;
    other.id = "something_else";
    CHECK_FALSE(open_pepper(other, sealer).has_value());
    for (const char* json : {"", "[]", "{}", "{\"sealed\":1}", "{\"sealed\":\"kw1.x.y\"}"}) {
        other = record;
        other.json = json;
        CHECK_FALSE(open_pepper(other, sealer).has_value());
    }
}
