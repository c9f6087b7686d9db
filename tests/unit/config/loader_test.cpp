// The file: what it sets, and everything it is refused for.
#include <unistd.h>
#include <catch2/catch.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "config/loader.hpp"

using namespace kw;
using namespace kw::config;

namespace {

[[nodiscard]] loaded good(std::string_view yaml, const environment& env = {}) {
    auto result = load_text(yaml, "k.yaml", env);
    if (!result) {
        for (const auto& p : result.error().items)
            UNSCOPED_INFO(p.to_string());
    }
    REQUIRE(result.has_value());
    return std::move(*result);
}

// The one problem that the text has.
[[nodiscard]] problem bad(std::string_view yaml, const environment& env = {},
                          const known_names& known = {}) {
    auto result = load_text(yaml, "k.yaml", env, known);
    REQUIRE_FALSE(result.has_value());
    for (const auto& p : result.error().items)
        UNSCOPED_INFO(p.to_string());
    REQUIRE(result.error().items.size() == 1);
    CHECK_FALSE(result.error().items[0].reason.empty());
    CHECK_FALSE(result.error().items[0].remedy.empty());
    return result.error().items[0];
}

class temporary_file {
  public:
    explicit temporary_file(const std::string& text) {
        char name[] = "/tmp/kw-config-XXXXXX";
        const int fd = mkstemp(name);
        REQUIRE(fd >= 0);
        close(fd);
        path_ = name;
        std::ofstream(path_) << text;
    }
    temporary_file(const temporary_file&) = delete;
    temporary_file& operator=(const temporary_file&) = delete;
    ~temporary_file() { std::remove(path_.c_str()); }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

}  // namespace

TEST_CASE("nothing at all gives the defaults") {
    CHECK(good("").values == settings{});
    CHECK(good("# only a comment\nserver:\n  # port: 1\n").values == settings{});
    CHECK(good("").origins.empty());
}

TEST_CASE("a whole file") {
    const auto l = good(R"(
server:
  host: 0.0.0.0
  port: 9000
  header_timeout: 500ms
  max_kept_bytes: 256MiB
  allowed_hosts: [API.example.com, b]
  trusted_proxies: [10.0.0.0/8, "::1"]
auth:
  admin_key: env:ADMIN
  access_keys: [plain-key, env:KEYS]
upstream: {first_byte_timeout: 5m}
pool:
  strategy: Least_Used
  multi_tier: strict
usage:
  default_input_price: 2.50
groups:
  - id: main
    base_url: HTTPS://API.Example.com:443/v1/
    keys: [env:KEYS, sk-inline]
    priority: 2
    multiplier: 1.25
    pool: {retry_max: 1}
  - {id: no, base_url: "http://[2001:db8::1]:9", name: "yes"}
aliases:
  best: {model: gpt-5, fallbacks: ["gpt-4o@main", claude], on: [timeout], first_token_timeout: 3s}
access_keys:
  - {name: ci, key: env:ADMIN, expires_at: 2027-01-31T12:00:00Z, models_deny: [o*]}
prices:
  - {model: my-*, input: 0.000000001, output: 3}
)",
                        {{"ADMIN", "admin-secret"}, {"KEYS", "sk-a, sk-b"}});
    const auto& s = l.values;
    CHECK(s.server.host == "0.0.0.0");
    CHECK(s.server.port == 9000);
    CHECK(s.server.header_timeout == 500ms);
    CHECK(s.server.max_kept_bytes == 256 * mib);
    CHECK(s.server.allowed_hosts == std::vector<std::string>{"api.example.com", "b"});
    CHECK(s.auth.admin_key.reveal() == "admin-secret");
    CHECK(s.auth.access_keys ==
          std::vector<secret>{secret("plain-key"), secret("sk-a"), secret("sk-b")});
    CHECK(s.pool.strategy == "least-used");
    CHECK(s.pool.multi_tier == tier_policy::strict);
    CHECK(s.usage.default_input_price == 2'500'000'000);
    REQUIRE(s.groups.size() == 2);
    CHECK(s.groups[0].base_url == "https://api.example.com/v1");
    CHECK(s.groups[0].keys.size() == 3);
    CHECK(s.groups[0].priority == 2);
    CHECK(s.groups[0].multiplier.value == 1'250'000);
    CHECK(s.groups[0].pool.retry_max == 1);
    CHECK(s.groups[0].pool.multi_tier == tier_policy::strict);  // from the global section
    CHECK(s.groups[0].upstream.first_byte_timeout == 5min);
    CHECK(s.groups[1].id == "no");  // text, not false
    CHECK(s.groups[1].name == "yes");
    CHECK(s.groups[1].base_url == "http://[2001:db8::1]:9/v1");
    REQUIRE(s.aliases.size() == 1);
    CHECK(s.aliases[0].alias == "best");
    CHECK(s.aliases[0].fallbacks == std::vector<std::string>{"gpt-4o@main", "claude"});
    CHECK(s.aliases[0].on.has(fallback_cause::timeout));
    CHECK_FALSE(s.aliases[0].on.has(fallback_cause::no_key));
    CHECK(s.aliases[0].first_token_timeout == 3s);
    REQUIRE(s.access_keys.size() == 1);
    CHECK(s.access_keys[0].expires_at == wall_time(std::chrono::seconds(1'801'396'800)));
    REQUIRE(s.prices.size() == 1);
    CHECK(s.prices[0].input == 1);
    CHECK(s.prices[0].output == 3 * one_dollar);
    CHECK_FALSE(s.prices[0].reasoning.has_value());

    CHECK(l.origins.at("server.port").to_string() == "k.yaml:4");
    CHECK(l.origins.at("groups.main").to_string() == "k.yaml:19");
    CHECK(l.origins.at("aliases.best").to_string() == "k.yaml:27");
}

TEST_CASE("what is wrong is told with line, key, reason and remedy") {
    struct sample {
        const char* yaml;
        const char* key;
        int line;
        const char* says;
    };
    const sample samples[] = {
        {"server:\n  prot: 1\n", "server.prot", 2, "did you mean port?"},
        {"severs: {}\n", "severs", 1, "did you mean server?"},
        {"zzzzzzzzzz: 1\n", "zzzzzzzzzz", 1, "not a known setting"},
        {"server:\n  port: 1\n  port: 2\n", "server.port", 3, "twice"},
        {"server: {}\nserver: {}\n", "server", 2, "twice"},
        {"server:\n  port: abc\n", "server.port", 2, "whole number"},
        {"server:\n  port: -1\n", "server.port", 2, "whole number"},
        {"server:\n  port: 1.5\n", "server.port", 2, "whole number"},
        {"server:\n  port: 65536\n", "server.port", 2, "out of range"},
        {"server:\n  port: 99999999999999999999999\n", "server.port", 2, "whole number"},
        {"server:\n  port: [1]\n", "server.port", 2, "single value"},
        {"server:\n  port:\n", "server.port", 2, "no value"},
        {"server: 5\n", "server", 1, "not a map"},
        {"- a\n", "", 1, "not a map"},
        {"auth:\n  open: maybe\n", "auth.open", 2, "true or false"},
        {"server:\n  header_timeout: 10\n", "server.header_timeout", 2, "10s"},
        {"server:\n  header_timeout: 0s\n", "server.header_timeout", 2, "out of range"},
        {"server:\n  header_timeout: 99999999999d\n", "server.header_timeout", 2, "out of range"},
        {"server:\n  header_timeout: 9999999999999999999d\n", "server.header_timeout", 2,
         "duration"},
        {"server:\n  max_header_bytes: 1KB\n", "server.max_header_bytes", 2, "KiB"},
        {"server:\n  max_header_bytes: 1\n", "server.max_header_bytes", 2, "from 4KiB to 1MiB"},
        {"server:\n  allowed_hosts: a\n", "server.allowed_hosts", 2, "brackets"},
        {"server:\n  allowed_hosts:\n    - [a]\n", "server.allowed_hosts[0]", 3, "single value"},
        {"server:\n  trusted_proxies: [10.0.0.1/8]\n", "server.trusted_proxies", 2, "network"},
        {"server:\n  tls_key: /k.pem\n", "server.tls_key", 2, "set both"},
        {"server:\n  health_port: 8080\n", "server.health_port", 2, "same as server.port"},
        {"log:\n  level: loud\n", "log.level", 2, "trace, debug"},
        {"pool:\n  error_cooldown: 1h\n", "pool.error_cooldown_max", 0, "error_cooldown"},
        {"usage:\n  default_input_price: -1\n", "usage.default_input_price", 2, "decimal"},
        {"auth:\n  admin_key: env:NOT_SET\n", "auth.admin_key", 2, "not set"},
        {"auth:\n  admin_key: file:/nowhere/secret\n", "auth.admin_key", 2, "cannot be read"},
        {"auth:\n  admin_key: \"a b\"\n", "auth.admin_key", 2, "blanks"},
        {"auth:\n  admin_key: ''\n", "auth.admin_key", 2, "empty"},
        {"admin:\n  port: 8080\n", "admin.port", 2, "another listener"},
        {"admin:\n  host: 127.0.0.1\n", "admin.host", 2, "no admin.port"},
        {"admin:\n  allow_ips: [10.0.0.1/8]\n", "admin.allow_ips", 2, "network"},
        {"admin:\n  allow_origins: [\"https://a.example/x\"]\n", "admin.allow_origins", 2,
         "origin"},
        {"admin:\n  allow_origins: [\"*\"]\n", "admin.allow_origins", 2, "origin"},
        {"admin:\n  session_lifetime: 0s\n", "admin.session_lifetime", 2, "out of range"},
        {"store:\n  redis_url: http://x\n  encryption_key: "
         "0123456789abcdef0123456789abcdef\n",
         "store.redis_url", 2, "redis://"},
        {"store:\n  redis_url: redis://x\n", "store.encryption_key", 2, "openssl rand"},
        {"store:\n  encryption_key: short\n", "store.encryption_key", 2, "32"},
        {"store:\n  encryption_key_old: short\n", "store.encryption_key_old", 2, "32"},
        {"store:\n  key_prefix: 'a{b}'\n", "store.key_prefix", 2, "meaning"},
        {"groups: 1\n", "groups", 1, "not a list"},
        {"groups:\n  - base_url: http://h\n", "groups[0].id", 2, "missing"},
        {"groups:\n  - id: a\n", "groups[0].base_url", 2, "missing"},
        {"groups:\n  - {id: a, base_url: http://h}\n  - {id: a, base_url: http://h}\n",
         "groups[1].id", 3, "twice"},
        {"groups:\n  - {id: 'a b', base_url: http://h}\n", "groups.a b", 2, "plain id"},
        {"groups:\n  - {id: a, base_url: http://h, port: 1}\n", "groups[0].port", 2, "known"},
        {"groups:\n  - id: a\n    base_url: http://h\n    pool: {retry_max: x}\n",
         "groups[0].pool.retry_max", 4, "whole number"},
        {"groups:\n  - {id: a, base_url: ftp://h}\n", "groups.a.base_url", 2, "http"},
        {"groups:\n  - {id: a, base_url: 'http://127.0.0.1:8080/v1'}\n", "groups.a.base_url", 2,
         "own address"},
        {"groups:\n  - {id: a, base_url: 'http://169.254.169.254'}\n", "groups.a.base_url", 2,
         "allow_link_local"},
        {"aliases:\n  a: {group: b}\n", "aliases.a.model", 2, "missing"},
        {"aliases:\n  a: {model: b, alias: c}\n", "aliases.a.alias", 2, "known"},
        {"aliases:\n  a: {model: b, on: [bad-luck]}\n", "aliases.a.on[0]", 2, "no-key"},
        {"aliases:\n  a: {model: b, fallbacks: ['x@']}\n", "aliases.a.fallbacks", 2, "model@group"},
        {"access_keys:\n  - {name: a, key: k, expires_at: 2027-02-30}\n",
         "access_keys[0].expires_at", 2, "2027-01-31"},
        {"a: 1\n---\nb: 2\n", "", 2, "second document"},
        {"server: {port: 1\n", "", 2, "not valid YAML"},
        {"server: *nothing\n", "", 1, "not valid YAML"},
    };
    for (const auto& s : samples) {
        INFO(s.yaml);
        const auto p = bad(s.yaml);
        CHECK(p.key == s.key);
        CHECK(p.where.line == s.line);
        CHECK(p.to_string().find(s.says) != std::string::npos);
        if (s.line > 0) CHECK(p.to_string().starts_with("k.yaml:" + std::to_string(s.line) + ": "));
    }
}

TEST_CASE("all problems are told at once, in bounds") {
    const auto result =
        load_text("server: {port: x, host: [a]}\nlog: {level: y}\nno: 1\n", "k", {});
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().items.size() == 4);
    std::string many = "server:\n";
    for (int i = 0; i < 5000; ++i)
        many += "  unknown" + std::to_string(i) + ": 1\n";
    const auto worse = load_text(many, "k", {});
    REQUIRE_FALSE(worse.has_value());
    CHECK(worse.error().items.size() == problem_list::max_problems);
    CHECK_THROWS_AS(worse.value(), std::logic_error);
}

TEST_CASE("no problem shows a value, which might be a secret in the wrong place") {
    for (const std::string yaml :
         {"server:\n  port: sk-canary\n", "log: {level: sk-canary}\n", "auth: {open: sk-canary}\n",
          "server: {header_timeout: sk-canary}\n", "auth: {admin_key: 'sk-canary x'}\n",
          "groups:\n  - {id: a, base_url: 'http://sk-canary@h'}\n", "server: sk-canary\n",
          "store: {encryption_key: sk-canary}\n",
          "upstream: {egress_proxy: 'gopher://sk-canary'}\n"}) {
        INFO(yaml);
        CHECK(bad(yaml).to_string().find("canary") == std::string::npos);
    }
}

TEST_CASE("names that only other layers know are checked when they are handed in") {
    constexpr std::string_view strategies[] = {"round-robin", "random"};
    constexpr std::string_view providers[] = {"openai"};
    const known_names known{strategies, providers};
    CHECK(bad("pool: {strategy: rendom}\n", {}, known).remedy.find("random") != std::string::npos);
    CHECK(bad("groups:\n  - {id: a, base_url: http://h, provider: acme}\n", {}, known).key ==
          "groups.a.provider");
    CHECK(load_text("pool: {strategy: random}\n", "k", {}, known).has_value());
}

TEST_CASE("anchors cannot blow the tree up") {
    std::string yaml = "access_keys:\n  - &i {name: a, key: k, models_deny: &l [";
    for (int i = 0; i < 2000; ++i)
        yaml += "m,";
    yaml += "]}\n";
    for (int i = 0; i < 2000; ++i)
        yaml += "  - *i\n";
    const auto result = load_text(yaml, "k", {});
    REQUIRE_FALSE(result.has_value());
    CHECK(load_text(std::string(100'000, '['), "k", {}).has_error());
}

TEST_CASE("secrets come from files, without the line's end") {
    const temporary_file key("sk-from-file\n");
    const temporary_file several("sk-1\nsk-2\n\n");
    const temporary_file config("auth:\n  admin_key: file:" + key.path() +
                                "\n  access_keys: ['file:" + several.path() + "']\n");
    const auto l = load(config.path(), {});
    REQUIRE(l.has_value());
    CHECK(l->values.auth.admin_key.reveal() == "sk-from-file");
    CHECK(l->values.auth.access_keys == std::vector<secret>{secret("sk-1"), secret("sk-2")});
    CHECK(l->files == std::vector<std::string>{config.path(), key.path(), several.path()});
}

TEST_CASE("a file that is missing is a problem, none at all is not") {
    CHECK(load("", {}).has_value());
    const auto missing = load("/nowhere/keywheel.yaml", {});
    REQUIRE_FALSE(missing.has_value());
    CHECK(
        missing.error().items[0].to_string().starts_with("/nowhere/keywheel.yaml: cannot be read"));
    CHECK(load("/tmp", {}).has_error());
}
