// The access key's record and what a key may use.
#include "auth/access_key.hpp"

#include <catch2/catch.hpp>

using namespace kw;
using namespace kw::auth;

namespace {

access_key full_key() {
    access_key k;
    k.id = "ak_1";
    k.name = "build \"bot\"";
    k.description = "zwölf";
    k.hash = crypto::sha256("x");
    k.masked = "sk-…wxyz";
    k.created = wall_time(std::chrono::milliseconds(1'767'225'600'123));
    k.expires_at = wall_time(std::chrono::milliseconds(1'767'225'700'000));
    k.disabled = true;
    k.deleted = true;
    k.declared = true;
    k.multiplier_ppm = 1'500'000;
    k.options.edit() = {.owner_name = "Ann",
                        .owner_email = "ann@example.org",
                        .tags = {"a", "b"},
                        .models_allow = {"gpt-*"},
                        .models_deny = {"gpt-4*", "o1"},
                        .endpoints = {"chat"},
                        .group = "main",
                        .upstream_key = "uk_2",
                        .clients_allow = {"curl/*"},
                        .ips_allow = {*net::cidr::parse("10.0.0.0/8"), *net::cidr::parse("::1")},
                        .origins_allow = {"https://app.example.com"},
                        .earlier_hash = crypto::sha256("w"),
                        .earlier_until = wall_time(std::chrono::milliseconds(1'767'225'600'999)),
                        .expires_after = std::chrono::seconds(60),
                        .queue_size = 7,
                        .queue_timeout = std::chrono::seconds(20),
                        .permissions = {"lease"},
                        .lease = "ls_1",
                        .holder = crypto::sha256("h")};
    k.revision = 9;
    return k;
}

store::record with_json(std::string json) {
    return {.kind = "access_key", .id = "ak_1", .revision = 1, .json = std::move(json)};
}

const std::string hash_field = "\"hash\":\"" + std::string(64, 'a') + "\"";

}  // namespace

TEST_CASE("an access key survives its record") {
    const access_key key = full_key();
    const store::record record = to_record(key);
    CHECK(record.kind == "access_key");
    CHECK(record.revision == 9);
    const auto back = access_key_from(record);
    REQUIRE(back.has_value());
    CHECK(*back == key);

    access_key plain;
    plain.id = "ak_2";
    CHECK(back->options->expires_after == std::chrono::seconds(60));

    const auto plain_back = access_key_from(to_record(plain));
    REQUIRE(plain_back.has_value());
    CHECK(*plain_back == plain);
}

TEST_CASE("a record with anything unexpected is refused by name") {
    const auto why = [](std::string json) {
        const auto r = access_key_from(with_json(std::move(json)));
        REQUIRE_FALSE(r.has_value());
        CHECK(r.error().code == errc::invalid_argument);
        return r.error().context;
    };
    const std::string good = "{" + hash_field + ",\"created_ms\":1";
    CHECK(access_key_from(with_json(good + "}")).has_value());
    CHECK(why(good + ",\"tpyo\":1}").find("unknown field \"tpyo\"") != std::string::npos);
    CHECK(why(good + ",\"disabled\":\"no\"}").find("malformed field \"disabled\"") !=
          std::string::npos);
    CHECK(why(good + ",\"tags\":[1]}").find("\"tags\"") != std::string::npos);
    CHECK(why(good + ",\"tags\":\"a\"}").find("\"tags\"") != std::string::npos);
    CHECK(why(good + ",\"multiplier_ppm\":-1}").find("\"multiplier_ppm\"") != std::string::npos);
    CHECK(why(good + ",\"expires_ms\":9223372036854775807}").find("\"expires_ms\"") !=
          std::string::npos);
    CHECK(why(good + ",\"ips_allow\":[\"10.0.0.1/8\"]}").find("\"ips_allow\"") !=
          std::string::npos);
    CHECK(why(good + ",\"earlier_hash\":\"aa\"}").find("\"earlier_hash\"") != std::string::npos);
    CHECK(why("{\"created_ms\":1}").find("missing field \"hash\"") != std::string::npos);
    CHECK(why("{\"hash\":\"aa\",\"created_ms\":1}").find("malformed field \"hash\"") !=
          std::string::npos);
    CHECK(why("{" + hash_field + "}").find("missing field \"created_ms\"") != std::string::npos);
    CHECK_FALSE(why("[]").empty());
    CHECK_FALSE(why("{").empty());
    CHECK_FALSE(access_key_from({.kind = "group", .id = "x", .revision = 1, .json = good + "}"})
                    .has_value());
}

TEST_CASE("models and endpoints that a key may use") {
    access_key k;
    CHECK(may_use_model(k, "anything"));
    CHECK(may_use_endpoint(k, "files"));
    k.options.edit().models_allow = {"gpt-*", "o1"};
    k.options.edit().models_deny = {"gpt-4*"};
    CHECK(may_use_model(k, "gpt-3.5"));
    CHECK(may_use_model(k, "o1"));
    CHECK_FALSE(may_use_model(k, "gpt-4o"));
    CHECK_FALSE(may_use_model(k, "claude"));
    CHECK_FALSE(may_use_model(k, ""));
    k.options.edit().endpoints = {"chat"};
    CHECK(may_use_endpoint(k, "chat"));
    CHECK_FALSE(may_use_endpoint(k, "files"));
}

TEST_CASE("clients and addresses that may use a key") {
    const auto ip = [](const char* text) { return *net::ip_address::parse(text); };
    access_key k;
    CHECK(may_call_with(k, ""));
    CHECK(may_call_from(k, ip("192.0.2.1")));
    k.options.edit().clients_allow = {"OpenAI/*", "curl/8.*"};
    CHECK(may_call_with(k, "OpenAI/Python 1.2"));
    CHECK_FALSE(may_call_with(k, "curl/7.1"));
    CHECK_FALSE(may_call_with(k, ""));
    CHECK(may_call_from(k, ip("192.0.2.1")));
    const access_key before = k;
    k.options.edit().ips_allow = {*net::cidr::parse("192.0.2.0/24"),
                                  *net::cidr::parse("2001:db8::/32")};
    CHECK(may_call_from(k, ip("192.0.2.200")));
    CHECK(may_call_from(k, ip("::ffff:192.0.2.200")));
    CHECK(may_call_from(k, ip("2001:db8::5")));
    CHECK_FALSE(may_call_from(k, ip("192.0.3.1")));
    CHECK_FALSE(may_call_from(k, ip("::1")));
    // A copy keeps what it had.
    CHECK(may_call_from(before, ip("192.0.3.1")));
    CHECK_FALSE(before == k);
}

TEST_CASE("a key starts at its first use until it has an end") {
    access_key k;
    CHECK_FALSE(starts_at_first_use(k));
    k.options.edit().expires_after = std::chrono::seconds(5);
    CHECK(starts_at_first_use(k));
    k.expires_at = wall_time{};
    CHECK_FALSE(starts_at_first_use(k));
}
