// Variables: our own, those in common use, and those that Kubernetes makes.
#include <catch2/catch.hpp>

#include "config/loader.hpp"
#include "config/loading.hpp"

using namespace kw;
using namespace kw::config;

namespace {

[[nodiscard]] loaded good(const environment& env, std::string_view yaml = "") {
    auto result = load_text(yaml, "k.yaml", env);
    if (!result) {
        for (const auto& p : result.error().items)
            UNSCOPED_INFO(p.to_string());
    }
    REQUIRE(result.has_value());
    return std::move(*result);
}

[[nodiscard]] std::string bad(const environment& env, std::string_view yaml = "") {
    auto result = load_text(yaml, "k.yaml", env);
    REQUIRE_FALSE(result.has_value());
    REQUIRE(result.error().items.size() == 1);
    return result.error().items[0].to_string();
}

const std::string master = "0123456789abcdef0123456789abcdef";

}  // namespace

TEST_CASE("every setting has its variable, which wins over the file") {
    const auto l = good({{"KEYWHEEL_SERVER_PORT", "9"}, {"KEYWHEEL_POOL_RETRY", "no"}},
                        "server: {port: 8, host: a}\n");
    CHECK(l.values.server.port == 9);
    CHECK(l.values.server.host == "a");
    CHECK_FALSE(l.values.pool.retry);
    CHECK(l.origins.at("server.port").to_string() == "environment KEYWHEEL_SERVER_PORT");
    CHECK(l.origins.at("server.host").to_string() == "k.yaml:1");
    CHECK(good({{"KEYWHEEL_SERVER_PORT", "9"}, {"PORT", "10"}}).values.server.port == 9);
    CHECK(good({{"KEYWHEEL_SERVER_PORT", ""}, {"PORT", "10"}}).values.server.port == 10);
    CHECK(bad({{"PORT", "x"}}).starts_with("environment PORT: server.port is not a whole number"));
}

TEST_CASE("names in common use") {
    const auto l = good({{"HOST", "::1"},
                         {"WORKERS", "3"},
                         {"DATA_DIR", "/d"},
                         {"LOG_LEVEL", "debug"},
                         {"API_ACCESS_KEY", "ak-1,ak-2"},
                         {"ADMIN_ACCESS_KEY", "admin"},
                         {"ENCRYPTION_KEY", master},
                         {"REDIS_URL", "redis://r"},
                         {"KEY_POOL_ALGORITHM", "random"},
                         {"KEY_POOL_RETRY_ENABLED", "false"},
                         {"KEY_POOL_RETRY_MAX", "5"},
                         {"KEY_POOL_RETRY_DELAY_MS", "250"},
                         {"KEY_POOL_AUTO_BAN_ENABLED", "false"},
                         {"KEY_POOL_ERROR_THRESHOLD", "7"},
                         {"KEY_POOL_BAN_402", "false"},
                         {"KEY_POOL_BAN_401", "true"},
                         {"KEY_POOL_CONCURRENT_LIMIT", "50"},
                         {"KEY_POOL_REQUEST_TIMEOUT_MS", "1500"},
                         {"TOKEN_USAGE_RETENTION", "90"},
                         {"ALLOWED_HOSTS", "a, b"},
                         {"SSL_CERT_FILE", "/ca.pem"},
                         {"HTTPS_PROXY", "proxy:3128"},
                         {"NO_PROXY", "localhost,.corp"},
                         {"PATH", "/bin"}});
    const auto& s = l.values;
    CHECK(s.server.host == "::1");
    CHECK(s.server.workers == 3);
    CHECK(s.server.max_exchanges == 50);
    CHECK(s.server.allowed_hosts == std::vector<std::string>{"a", "b"});
    CHECK(s.store.data_dir == "/d");
    CHECK(s.store.encryption_key.reveal() == master);
    CHECK(s.store.redis_url.reveal() == "redis://r");
    CHECK(s.log.level == log::level::debug);
    CHECK(s.auth.access_keys == std::vector<secret>{secret("ak-1"), secret("ak-2")});
    CHECK(s.auth.admin_key.reveal() == "admin");
    CHECK(s.pool.strategy == "random");
    CHECK_FALSE(s.pool.retry);
    CHECK(s.pool.retry_max == 5);
    CHECK(s.pool.retry_delay == 250ms);
    CHECK_FALSE(s.pool.auto_ban);
    CHECK(s.pool.error_threshold == 7);
    CHECK_FALSE(s.pool.ban_402);
    CHECK(s.pool.ban_401);
    CHECK(s.pool.probe_timeout == 1500ms);
    CHECK(s.usage.record_retention == std::chrono::days(90));
    CHECK(s.upstream.tls_ca == "/ca.pem");
    CHECK(s.upstream.egress_proxy.reveal() == "http://proxy:3128");
    CHECK(s.upstream.no_proxy == std::vector<std::string>{"localhost", ".corp"});
    CHECK(l.warnings.empty());
}

TEST_CASE("workers") {
    CHECK(good({{"CLUSTER_WORKERS", "4"}}).values.server.workers == 4);
    CHECK(good({{"WORKERS", "auto"}}).values.server.workers == 0);
    CHECK(good({{"CLUSTER_MODE", "false"}, {"CLUSTER_WORKERS", "4"}}).values.server.workers == 1);
    CHECK(good({{"CLUSTER_MODE", "true"}, {"CLUSTER_WORKERS", "4"}}).values.server.workers == 4);
    CHECK(
        good({{"CLUSTER_MODE", "false"}, {"KEYWHEEL_SERVER_WORKERS", "2"}}).values.server.workers ==
        2);
    CHECK(bad({{"CLUSTER_MODE", "perhaps"}}).starts_with("environment CLUSTER_MODE"));
}

TEST_CASE("a provider's variable declares a group") {
    const auto one = good({{"OPENAI_API_KEY", "sk-a, sk-b"}});
    REQUIRE(one.values.groups.size() == 1);
    const auto& group = one.values.groups[0];
    CHECK(group.id == "openai");
    CHECK(group.base_url == "https://api.openai.com/v1");
    CHECK(group.keys == std::vector<secret>{secret("sk-a"), secret("sk-b")});
    CHECK(group.models.empty());
    CHECK(one.origins.at("groups.openai").to_string() == "environment OPENAI_API_KEY");

    const auto all = good({{"OPENAI_API_KEY", "a"},
                           {"OPENAI_BASE_URL", "http://localhost:9000"},
                           {"ANTHROPIC_API_KEY", "b"},
                           {"GOOGLE_API_KEY", "c,d"},
                           {"KEY_POOL_RETRY_MAX", "1"}});
    REQUIRE(all.values.groups.size() == 3);
    CHECK(all.values.groups[0].base_url == "http://localhost:9000/v1");
    CHECK(all.values.groups[1].base_url == "https://api.anthropic.com/v1");
    CHECK(all.values.groups[1].provider == "anthropic");
    CHECK(all.values.groups[2].base_url ==
          "https://generativelanguage.googleapis.com/v1beta/openai");
    CHECK(all.values.groups[2].keys.size() == 2);
    for (const auto& g : all.values.groups) {
        CHECK_FALSE(g.models.empty());  // each its own: none answers for another's models
        CHECK(g.pool.retry_max == 1);
    }
    CHECK(good({{"OPENAI_BASE_URL", "http://h"}}).values.groups[0].keys.empty());
    CHECK(bad({{"OPENAI_API_KEY", "a"}, {"OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"}})
              .find("own address") != std::string::npos);
}

TEST_CASE("declared groups keep the providers' variables for references") {
    const auto l =
        good({{"OPENAI_API_KEY", "sk-a"}},
             "groups:\n  - {id: x, base_url: 'https://h', keys: ['env:OPENAI_API_KEY']}\n");
    REQUIRE(l.values.groups.size() == 1);
    CHECK(l.values.groups[0].id == "x");
    REQUIRE(l.warnings.size() == 1);
    CHECK(l.warnings[0].find("OPENAI_API_KEY") != std::string::npos);
}

TEST_CASE("a declared list as one variable") {
    const auto l = good({{"KEYWHEEL_GROUPS", "[{id: e, base_url: 'https://h', keys: [k]}]"}},
                        "groups:\n  - {id: f, base_url: 'https://h'}\n");
    REQUIRE(l.values.groups.size() == 1);
    CHECK(l.values.groups[0].id == "e");
    CHECK(l.origins.at("groups.e").to_string() == "environment KEYWHEEL_GROUPS");
    CHECK(bad({{"KEYWHEEL_GROUPS", "[{id: e}]"}})
              .starts_with("environment KEYWHEEL_GROUPS: groups[0].base_url is missing"));
}

TEST_CASE("Redis by its parts") {
    const auto l = good({{"REDIS_HOST", "r"},
                         {"REDIS_PORT", "6380"},
                         {"REDIS_PASSWORD", "p@ss/w"},
                         {"REDIS_DB", "2"},
                         {"ENCRYPTION_KEY", master}});
    CHECK(l.values.store.redis_url.reveal() == "redis://:p%40ss%2Fw@r:6380/2");
    CHECK(
        good({{"REDIS_HOST", "::1"}, {"ENCRYPTION_KEY", master}}).values.store.redis_url.reveal() ==
        "redis://[::1]:6379");
    // REDIS_URL says it all
    CHECK(good({{"REDIS_URL", "redis://u"},
                {"REDIS_HOST", "r"},
                {"REDIS_PORT", "tcp://10.0.0.1:6379"},
                {"ENCRYPTION_KEY", master}})
              .values.store.redis_url.reveal() == "redis://u");
    const auto refused = bad({{"REDIS_HOST", "r"}, {"REDIS_PORT", "tcp://10.0.0.1:6379"}});
    CHECK(refused.find("Kubernetes") != std::string::npos);
    CHECK(refused.find("REDIS_URL") != std::string::npos);
    CHECK(bad({{"REDIS_PORT", "tcp://10.0.0.1:6379"}}).find("Kubernetes") != std::string::npos);
    CHECK(bad({{"REDIS_HOST", "r"}, {"REDIS_PORT", "x"}}).find("not a port") != std::string::npos);
    CHECK(good({{"REDIS_DB", "1"}}).warnings.size() == 1);
}

TEST_CASE("service links of Kubernetes are passed over") {
    const environment links = {{"KEYWHEEL_PORT", "tcp://10.0.0.1:8080"},
                               {"KEYWHEEL_SERVICE_HOST", "10.0.0.1"},
                               {"KEYWHEEL_SERVICE_PORT", "8080"},
                               {"KEYWHEEL_SERVICE_PORT_HTTP", "8080"},
                               {"KEYWHEEL_PORT_8080_TCP", "tcp://10.0.0.1:8080"},
                               {"KEYWHEEL_PORT_8080_TCP_PROTO", "tcp"},
                               {"KEYWHEEL_PORT_8080_TCP_PORT", "8080"},
                               {"KEYWHEEL_PORT_8080_TCP_ADDR", "10.0.0.1"},
                               {"KEYWHEEL_REDIS_PORT", "tcp://10.0.0.2:6379"},
                               {"KEYWHEEL_REDIS_SERVICE_HOST", "10.0.0.2"},
                               {"KEYWHEEL_SERVER_PORT", "tcp://10.0.0.3:80"}};
    CHECK(good(links).values == settings{});
    CHECK_FALSE(is_service_link("KEYWHEEL_SERVER_PORT", "8080"));
    CHECK_FALSE(is_service_link("KEYWHEEL_PORT", "8080"));
    CHECK_FALSE(is_service_link("KEYWHEEL_PORT_TCP", "x"));
    CHECK_FALSE(is_service_link("OTHER_SERVICE_HOST", "x"));
}

TEST_CASE("an unknown variable of ours is refused, with the nearest known one") {
    CHECK(bad({{"KEYWHEEL_SERVER_PROT", "1"}}).find("did you mean KEYWHEEL_SERVER_PORT?") !=
          std::string::npos);
    CHECK(bad({{"KEYWHEEL_PORT", "8080"}}).find("KEYWHEEL_PORT is not a known variable") !=
          std::string::npos);
    CHECK(good({{"KEYWHEEL_CONFIG", "/etc/k.yaml"}}).values == settings{});
    const auto l = good({{"KEY_POOL_ALGORITM", "random"}});
    REQUIRE(l.warnings.size() == 1);
    CHECK(l.warnings[0].find("KEY_POOL_ALGORITHM") != std::string::npos);
}

TEST_CASE("the process's environment") {
    const char* const envp[] = {"A=1", "B==", "broken", nullptr};
    CHECK(process_environment(envp) == environment{{"A", "1"}, {"B", "="}});
    CHECK(process_environment(nullptr).empty());
}
