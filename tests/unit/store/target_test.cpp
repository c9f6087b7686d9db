// Redis URLs.
#include <catch2/catch.hpp>

#include "store/redis/connection.hpp"

using namespace kw;
using namespace kw::store;

TEST_CASE("redis urls", "[store]") {
    redis_options o;
    o.url = secret("rediss://me:p%40s@host.example:6390/3");
    auto t = redis::parse_target(o);
    REQUIRE(t.has_value());
    CHECK(t->tls);
    CHECK(t->user == "me");
    CHECK(t->password == secret("p@s"));
    CHECK(t->name() == "host.example:6390");
    CHECK(t->db == "3");
    o.url = secret("redis://:raw/pass@word@[::1]:7000");
    t = redis::parse_target(o);
    REQUIRE(t.has_value());
    CHECK(t->host == "::1");
    CHECK(t->port == "7000");
    CHECK(t->password == secret("raw/pass@word"));
    o.url = secret("redis://localhost");
    CHECK(redis::parse_target(o)->name() == "localhost:6379");
    o.url = secret("unix:///run/redis.sock?db=2");
    CHECK(redis::parse_target(o)->socket == "/run/redis.sock");
    CHECK(redis::parse_target(o)->db == "2");
    for (const auto* bad :
         {"", "localhost:6379", "http://x", "redis://", "redis://x:y", "redis://x/db", "unix://"}) {
        o.url = secret(bad);
        const auto failed = redis::parse_target(o);
        REQUIRE(failed.has_error());
        CHECK(failed.error().code == errc::invalid_argument);
    }
}
