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
    CHECK(t->at.host == "::1");
    CHECK(t->at.port == "7000");
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

TEST_CASE("redis urls of several servers", "[store]") {
    redis_options o;
    o.url = secret("redis://me:p@one:26379,two,[fd00::3]:26380/2");
    CHECK(redis::parse_target(o).has_error());  // a single one
    o.mode = redis_mode::sentinel;
    o.master_name = "prime";
    const auto t = redis::parse_target(o);
    REQUIRE(t.has_value());
    REQUIRE(t->seeds.size() == 3);
    CHECK(t->seeds[1] == redis::place{"two", "6379"});
    CHECK(t->seeds[2] == redis::place{"fd00::3", "26380"});
    CHECK(t->db == "2");
    CHECK(t->name() == "master prime of one:26379,two:6379,fd00::3:26380");
    CHECK(t->server({"x", "1"}).name() == "x:1");
    o.mode = redis_mode::cluster;
    CHECK(redis::parse_target(o).has_error());  // has no second database
    o.url = secret("redis://one,two");
    REQUIRE(redis::parse_target(o).has_value());
    CHECK(redis::parse_target(o)->cluster != nullptr);
    o.url = secret("unix:///run/redis.sock");
    CHECK(redis::parse_target(o).has_error());
}

TEST_CASE("files of TLS are looked at when the target is read", "[store]") {
    redis_options o;
    o.url = secret("rediss://one");
    CHECK(redis::parse_target(o).has_value());
    o.ca_file = "/nonexistent/ca.pem";
    const auto t = redis::parse_target(o);
    REQUIRE(t.has_error());
    CHECK(t.error().code == errc::invalid_argument);
    CHECK(t.error().context.find("/nonexistent/ca.pem") != std::string::npos);
    CHECK(t.error().context.find("store.redis_ca") != std::string::npos);
    o.ca_file.clear();
    o.cert_file = o.key_file = "/nonexistent/cert.pem";
    CHECK(redis::parse_target(o).error().context.find("store.redis_cert") != std::string::npos);
}
