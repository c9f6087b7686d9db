// What a single value's type cannot tell: forms of addresses and URLs, names that must be known,
// settings that need one another. Also brings a few values into their one spelling.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/base_url.hpp"
#include "config/channel.hpp"
#include "config/loading.hpp"

namespace kw::config {

namespace {

constexpr std::size_t min_encryption_key = 32;

void to_lower(std::string& text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
}

// What may stand in a header field without quoting, and nothing that could end it.
[[nodiscard]] bool fits_header(const secret& s) {
    const auto text = s.reveal();
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

[[nodiscard]] bool valid_id(std::string_view id) {
    constexpr std::string_view allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return !id.empty() && id.size() <= 64 && id.find_first_not_of(allowed) == id.npos;
}

class validator {
  public:
    explicit validator(loading& l) : l_(l), s_(l.result.values) {}

    void run() {
        server();
        auth();
        admin();
        upstream(s_.upstream, "upstream", "upstream.egress_proxy");
        pool(s_.pool, "pool", "pool.strategy");
        store();
        if (s_.usage.events && s_.store.redis_url.empty())
            refuse("usage.events", "needs Redis: the embedded store has no streams",
                   "set store.redis_url (REDIS_URL), or read GET /admin/requests");
        if (s_.leases.ttl > s_.leases.max_ttl)
            refuse("leases.ttl", "is longer than leases.max_ttl", "make it at most as long");
        for (auto& group : s_.groups)
            this->group(group);
        for (const auto& alias : s_.aliases)
            this->alias(alias);
        access_keys();
        for (auto& c : s_.channels) {
            if (c.name.empty()) c.name = c.id;
            if (!valid_id(c.id))
                refuse("channels." + c.id,
                       "has an id that is too long or holds other than letters, digits, - _ .",
                       "choose a short plain id");
            if (const auto fault = fault_of(c, s_.upstream.allow_link_local))
                refuse("channels." + c.id + "." + std::string(fault->field),
                       std::string(fault->reason), "correct it", "channels." + c.id);
        }
        tracing();
    }

  private:
    void tracing() {
        for (const auto& [key, url] :
             {std::pair("tracing.endpoint", &s_.tracing.endpoint),
              std::pair("tracing.traces_endpoint", &s_.tracing.traces_endpoint)}) {
            if (!url->empty() && !parse_base_url(*url))
                refuse(key, "is no URL", "write it as http://collector:4318");
        }
        if (s_.tracing.sample_ratio.value > 1'000'000)
            refuse("tracing.sample_ratio", "is above 1", "write a share from 0 to 1");
    }

    void refuse(std::string_view key, std::string reason, std::string remedy,
                std::string_view origin_key = {}) {
        l_.report(l_.where(origin_key.empty() ? key : origin_key), std::string(key),
                  {std::move(reason), std::move(remedy)});
    }

    void server() {
        if (s_.server.tls_certificate.empty() != s_.server.tls_key.empty()) {
            const bool lacks_key = s_.server.tls_key.empty();
            refuse(lacks_key ? "server.tls_certificate" : "server.tls_key",
                   lacks_key ? "has no server.tls_key" : "has no server.tls_certificate",
                   "set both, or neither");
        }
        if (s_.server.health_port != 0 && s_.server.health_port == s_.server.port) {
            refuse("server.health_port", "is the same as server.port",
                   "choose another, or 0 to serve both on one");
        }
        if (s_.server.max_kept_bytes < s_.server.max_kept_body_bytes) {
            refuse("server.max_kept_bytes", "is less than server.max_kept_body_bytes",
                   "make it at least as large");
        }
        for (const auto& network : s_.server.trusted_proxies) {
            if (is_network(network)) continue;
            refuse("server.trusted_proxies", "holds a text that is no network",
                   "write addresses or networks whose host bits are zero, as 10.0.0.0/8");
            break;
        }
        for (auto& host : s_.server.allowed_hosts)
            to_lower(host);
        for (auto& origin : s_.server.cors_origins) {
            if (origin == "*" || is_origin(origin)) continue;
            refuse("server.cors_origins", "holds a text that is no origin",
                   "write scheme, name and port alone, as https://app.example.com, or *");
            break;
        }
    }

    void admin() {
        const auto& a = s_.admin;
        if (a.port != 0 && (a.port == s_.server.port || a.port == s_.server.health_port)) {
            refuse("admin.port", "is the port of another listener",
                   "choose another, or 0 to serve /admin on server.port");
        }
        if (a.port == 0 && !a.host.empty())
            refuse("admin.host", "has no admin.port", "set both, or neither");
        if (!std::all_of(a.allow_ips.begin(), a.allow_ips.end(),
                         [](const auto& network) { return is_network(network); })) {
            refuse("admin.allow_ips", "holds a text that is no network",
                   "write addresses or networks whose host bits are zero, as 10.0.0.0/8");
        }
        for (auto& origin : s_.admin.allow_origins) {
            if (is_origin(origin)) continue;
            refuse("admin.allow_origins", "holds a text that is no origin",
                   "write scheme, name and port alone, as https://ops.example.com");
            break;
        }
    }

    // In lower case from then on.
    static bool is_origin(std::string& origin) {
        to_lower(origin);
        const auto host = origin.find("://");
        const bool web = origin.starts_with("http://") || origin.starts_with("https://");
        return web && origin.size() > host + 3 &&
               origin.find_first_of("/? ,*", host + 3) == origin.npos;
    }

    void auth() {
        for (const auto& key : s_.auth.access_keys)
            check_secret(key, "auth.access_keys");
        check_secret(s_.auth.admin_key, "auth.admin_key");
    }

    void check_secret(const secret& s, std::string_view key, std::string_view origin_key = {}) {
        if (fits_header(s)) return;
        refuse(key, "holds blanks or characters that no key has",
               "check for stray line ends and quotes", origin_key);
    }

    void upstream(upstream_settings& u, std::string_view key, std::string_view origin_key) {
        if (u.egress_proxy.empty()) return;
        std::string text(u.egress_proxy.reveal());
        if (text.find("://") == text.npos) text = "http://" + text;
        const auto scheme = text.substr(0, text.find("://"));
        const auto host =
            text.find_last_of('@') == text.npos ? scheme.size() + 3 : text.find_last_of('@') + 1;
        if ((scheme != "http" && scheme != "https" && scheme != "socks5" && scheme != "socks5h") ||
            host >= text.size() || text[host] == '/' || text[host] == ':' ||
            !fits_header(u.egress_proxy)) {
            refuse(fmt::format("{}.egress_proxy", key), "is not a proxy's URL",
                   "write http://host:port, https://… or socks5://…", origin_key);
        }
        u.egress_proxy = secret(std::move(text));
    }

    void pool(pool_settings& p, std::string_view key, std::string_view origin_key) {
        to_lower(p.strategy);
        std::replace(p.strategy.begin(), p.strategy.end(), '_', '-');
        check_known(p.strategy, l_.known.strategies, fmt::format("{}.strategy", key), origin_key);
        const auto grows = [&](std::string_view name, milliseconds first, milliseconds longest) {
            if (longest >= first) return;
            refuse(fmt::format("{}.{}_max", key, name),
                   fmt::format("is less than {}.{}", key, name), "make it at least as long");
        };
        grows("rate_limit_cooldown", p.rate_limit_cooldown, p.rate_limit_cooldown_max);
        grows("error_cooldown", p.error_cooldown, p.error_cooldown_max);
        grows("overload_cooldown", p.overload_cooldown, p.overload_cooldown_max);
    }

    void check_known(const std::string& word, std::span<const std::string_view> known,
                     std::string_view key, std::string_view origin_key) {
        if (known.empty() || std::find(known.begin(), known.end(), word) != known.end()) return;
        refuse(key, "is not a known word", fmt::format("write one of {}", fmt::join(known, ", ")),
               origin_key);
    }

    void store() {
        const auto& store = s_.store;
        const auto url = store.redis_url.reveal();
        if (!url.empty() && !url.starts_with("redis://") && !url.starts_with("rediss://")) {
            refuse("store.redis_url", "is not a Redis URL",
                   "write redis://[user:password@]host[:port][/db], or rediss:// for TLS");
        }
        const bool several = url.find(',', url.rfind('@') + 1) != std::string_view::npos;
        if (several && store.redis_mode == redis_mode::single)
            refuse("store.redis_url", "names several servers",
                   "set store.redis_mode to sentinel or cluster, or name one");
        if (store.redis_mode == redis_mode::sentinel && store.redis_master.empty())
            refuse("store.redis_master", "is empty", "name the master that the Sentinels watch");
        if (store.redis_cert.empty() != store.redis_key.empty())
            refuse(store.redis_cert.empty() ? "store.redis_cert" : "store.redis_key", "is missing",
                   "give the certificate and its private key, or neither",
                   store.redis_cert.empty() ? "store.redis_key" : "store.redis_cert");
        if (store.key_prefix.find_first_of("{} \t\r\n*?[]") != std::string::npos) {
            refuse("store.key_prefix", "holds a character that has a meaning in Redis",
                   "use letters, digits, - _ and :");
        }
        if (store.data_dir.empty()) refuse("store.data_dir", "is empty", "name a folder");
        if (store.encryption_key.empty()) {
            if (!url.empty()) {
                refuse("store.encryption_key", "is needed with Redis: all replicas must share it",
                       "set ENCRYPTION_KEY, as from: openssl rand -base64 32", "store.redis_url");
            }
        } else if (store.encryption_key.size() < min_encryption_key) {
            refuse("store.encryption_key", "is shorter than 32 characters",
                   "make one: openssl rand -base64 32");
        }
        if (const auto size = store.encryption_key_old.size();
            size > 0 && size < min_encryption_key)
            refuse("store.encryption_key_old", "is shorter than 32 characters",
                   "give the master key that was ENCRYPTION_KEY before");
    }

    void group(group_settings& g) {
        const std::string key = "groups." + g.id;
        if (!valid_id(g.id)) {
            refuse(key, "has an id that is too long or holds other than letters, digits, - _ .",
                   "choose a short plain id");
        }
        if (g.name.empty()) g.name = g.id;
        check_known(g.provider, l_.known.providers, key + ".provider", key);
        for (const auto& k : g.keys)
            check_secret(k, key + ".keys", key);
        upstream(g.upstream, key + ".upstream", key);
        pool(g.pool, key + ".pool", key);
        base_url_of(g, key);
        quota_of(g, key);
    }

    void quota_of(const group_settings& g, const std::string& key) {
        for (const auto* pointer : {&g.quota_remaining, &g.quota_allowance, &g.quota_used}) {
            if (pointer->empty() || pointer->starts_with('/')) continue;
            refuse(key + ".quota_remaining", "stands beside a text that is no JSON pointer",
                   "write pointers as /data/limit", key);
        }
        if (g.quota_url.empty() || g.quota_url.starts_with('/')) return;
        const auto url = parse_base_url(g.quota_url);
        if (!url || (is_link_local(url->host) && !g.upstream.allow_link_local))
            refuse(key + ".quota_url", "is no URL that may be asked",
                   "write https://…, or a path behind base_url such as /key", key);
    }

    void base_url_of(group_settings& g, const std::string& key) {
        const auto url = parse_base_url(g.base_url);
        if (!url) {
            refuse(key + ".base_url", url.error().context, "write it as https://api.example.com/v1",
                   key);
            return;
        }
        if (is_link_local(url->host) && !g.upstream.allow_link_local) {
            refuse(key + ".base_url", "is a link-local or cloud metadata address",
                   "set upstream.allow_link_local: true if an upstream is truly there", key);
        }
        if (is_loopback(url->host) && url->port == s_.server.port) {
            refuse(
                key + ".base_url", "is keywheel's own address",
                "name the provider's; in a client's shell OPENAI_BASE_URL may be set to keywheel",
                key);
        }
        g.base_url = url->to_string();
    }

    void alias(const alias_settings& a) {
        const std::string key = "aliases." + a.alias;
        for (const auto& fallback : a.fallbacks) {
            const auto at = fallback.rfind('@');
            if (at != 0 && (at == fallback.npos || at + 1 < fallback.size())) continue;
            refuse(key + ".fallbacks", "holds an empty model or group",
                   "write model or model@group", key);
        }
    }

    void access_keys() {
        for (auto& a : s_.access_keys) {
            const std::string key = "access_keys." + a.name;
            check_secret(a.key, key + ".key", key);
            if (!std::ranges::all_of(a.ips_allow, is_network))
                refuse(key + ".ips_allow", "holds a text that is no network",
                       "write addresses or networks whose host bits are zero, as 10.0.0.0/8", key);
            if (!std::ranges::all_of(a.origins_allow, [](auto& text) { return is_origin(text); }))
                refuse(key + ".origins_allow", "holds a text that is no origin",
                       "write scheme, name and port alone, as https://app.example.com", key);
            if (a.expires_at && a.expires_after)
                refuse(key + ".expires_after", "stands beside expires_at", "keep one of them", key);
        }
    }

    loading& l_;
    settings& s_;
};

}  // namespace

void validate(loading& l) {
    validator(l).run();
}

}  // namespace kw::config
