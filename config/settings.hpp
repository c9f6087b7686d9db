// Every setting of keywheel, typed, with its default. What each one means to an operator is told
// once, in fields.cpp, from which the file's reader, the environment's, check-config and
// docs/configuration.md are all made: a new setting is a member here and a line there.
//
// A `settings` is a value: loaded on the control thread, then shared as const.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "core/money.hpp"
#include "core/secret.hpp"

namespace kw::config {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

inline constexpr std::size_t kib = 1024;
inline constexpr std::size_t mib = 1024 * kib;
inline constexpr std::size_t gib = 1024 * mib;

// Enumerations: the words of each, in this order, stand in fields.cpp.
enum class tier_policy : std::uint8_t { auto_fallback, strict };
enum class disconnect_policy : std::uint8_t { cancel, drain };
enum class fsync_policy : std::uint8_t { everysec, always, no };
enum class full_policy : std::uint8_t { refuse, serve };
enum class preflight_policy : std::uint8_t { warn, strict };
enum class redis_mode : std::uint8_t { single, sentinel, cluster };
enum class object_isolation : std::uint8_t { key, group, none };
enum class session_policy : std::uint8_t { off, named, prefix };
enum class object_placement : std::uint8_t { home, spread };
enum class log_format : std::uint8_t { json, text };
enum class channel_type : std::uint8_t { webhook, slack, feishu, dingtalk, telegram, email };

// What operators are told of.
enum class notice_kind : std::uint8_t {
    key_banned,
    key_recovered,
    pool_low,
    quota_low,
    budget_warning,
    unknown_model,
    error_rate,
    latency,
    upstream_down,
    store_down,
    disk_low,
    resources,
    suspicious_access,
    certificate_expiry,
    test,  // goes to the channel that is tested, and to no other
};

// Why a request may go to the next model of its alias.
enum class fallback_cause : std::uint8_t {
    no_key,          // no upstream key is left for the model
    rate_limit,      // all tries were rate-limited
    upstream_error,  // 5xx, reset, refused connection
    timeout,         // silent upstream
    first_token,     // the first token came too late
    context_length,  // the request is too long for the model
    model,           // the upstream does not know or does not serve the model
};

// A set of an enumeration's values.
struct flags {
    std::uint32_t bits = 0;
    template <class Enum>
    [[nodiscard]] constexpr bool has(Enum e) const noexcept {
        return (bits >> static_cast<unsigned>(e) & 1U) != 0;
    }
    friend bool operator==(const flags&, const flags&) = default;
};

// A factor in millionths.
struct ppm {
    std::int64_t value = 1'000'000;
    friend bool operator==(const ppm&, const ppm&) = default;
};

struct server_settings {
    std::string host = "127.0.0.1";
    std::uint16_t port = 8080;      // 0: any free one
    std::uint16_t health_port = 0;  // 0: health and metrics on `port`
    std::uint32_t workers = 0;      // 0: by CPU quota and affinity
    std::string tls_certificate;    // PEM file; "": plain HTTP
    std::string tls_key;            // PEM file
    std::size_t max_header_bytes = 64 * kib;
    milliseconds header_timeout = 10s;
    std::size_t max_body_bytes = 1 * gib;
    milliseconds body_timeout = 60s;   // between two reads of a request's body
    milliseconds send_timeout = 300s;  // for a client that does not take its answer
    milliseconds keep_alive_timeout = 75s;
    std::uint32_t max_connections = 20'000;
    std::uint32_t max_exchanges = 10'000;
    std::size_t max_kept_body_bytes = 32 * mib;  // of one request
    std::size_t max_kept_bytes = 128 * mib;      // of all together
    std::size_t max_bytes_in_flight = 128 * mib;
    std::vector<std::string> allowed_hosts;    // empty: any
    std::vector<std::string> cors_origins;     // of browsers' pages; "*": any; empty: no CORS
    std::vector<std::string> trusted_proxies;  // CIDRs, checked
    milliseconds shutdown_timeout = 300s;
    // Unknown Bearer credentials go as they are to this group's upstream; "": they are refused.
    std::string pass_through;
    friend bool operator==(const server_settings&, const server_settings&) = default;
};

struct auth_settings {
    bool open = false;
    std::vector<secret> access_keys;
    secret admin_key;  // empty: admin is off
    // The longest that an access key made by the API lives; 0: for ever.
    milliseconds max_lifetime = std::chrono::days(365);
    friend bool operator==(const auth_settings&, const auth_settings&) = default;
};

struct admin_settings {
    std::string host;                        // of a listener of its own; "": server.host
    std::uint16_t port = 0;                  // 0: /admin on server.port
    std::vector<std::string> allow_ips;      // networks; empty: any
    std::vector<std::string> allow_origins;  // of browsers' pages served elsewhere
    milliseconds session_lifetime = 12h;
    milliseconds audit_retention = std::chrono::days(365);
    std::uint32_t audit_max_entries = 100'000;
    std::uint32_t live_logs = 4;  // streams of the log that one admin may have open
    friend bool operator==(const admin_settings&, const admin_settings&) = default;
};

struct upstream_settings {
    milliseconds dns_timeout = 5s;
    milliseconds connect_timeout = 5s;
    milliseconds tls_timeout = 5s;
    milliseconds first_byte_timeout = 600s;
    milliseconds first_token_timeout = 10s;  // only where the alias has a fallback
    milliseconds idle_timeout = 300s;        // between two reads of an answer
    milliseconds total_timeout = 3600s;
    std::string tls_ca;                       // PEM file; "": the system's
    std::uint32_t max_idle_connections = 64;  // per worker and host
    milliseconds idle_connection_timeout = 60s;
    secret egress_proxy;  // URL, may hold a password
    std::vector<std::string> no_proxy;
    bool allow_link_local = false;
    bool keep_organization_headers = false;
    friend bool operator==(const upstream_settings&, const upstream_settings&) = default;
};

struct pool_settings {
    std::string strategy = "round-robin";  // a name in pool's registry
    bool retry = true;
    std::uint32_t retry_max = 3;    // per model, beyond the first try
    std::uint32_t retry_total = 6;  // tries over all models
    milliseconds retry_delay = 0ms;
    milliseconds retry_wait_max = 5s;
    tier_policy multi_tier = tier_policy::auto_fallback;
    bool auto_ban = true;
    bool ban_401 = false;  // false: quarantine until a retest passes
    bool ban_402 = true;
    std::uint32_t error_threshold = 3;
    milliseconds error_window = 60s;
    milliseconds rate_limit_cooldown = 60s;
    milliseconds rate_limit_cooldown_max = 1h;
    milliseconds error_cooldown = 15s;
    milliseconds error_cooldown_max = 25s;
    milliseconds overload_cooldown = 5s;
    milliseconds overload_cooldown_max = 60s;
    milliseconds quarantine_retest = 30s;
    milliseconds ban_retest = 15min;
    milliseconds probe_timeout = 10s;
    milliseconds freshness = 60s;
    bool pacing = true;  // by the upstream's x-ratelimit-* headers
    session_policy sessions = session_policy::off;
    milliseconds session_lifetime = 1h;  // since the session's last request
    friend bool operator==(const pool_settings&, const pool_settings&) = default;
};

struct usage_settings {
    bool include_usage = true;
    std::string price_file;
    // For models without a price; dollars per million tokens. None: cost unknown.
    std::optional<nanodollars> default_input_price;
    std::optional<nanodollars> default_output_price;
    milliseconds record_retention = std::chrono::days(30);
    std::uint32_t max_records = 1'000'000;
    milliseconds hour_retention = std::chrono::days(7);
    milliseconds day_retention = std::chrono::days(400);
    bool events = false;                   // one on a Redis stream for each record
    std::uint32_t max_events = 1'000'000;  // that are kept, about
    friend bool operator==(const usage_settings&, const usage_settings&) = default;
};

struct disconnect_settings {
    disconnect_policy policy = disconnect_policy::cancel;
    milliseconds drain_timeout = 120s;
    std::size_t drain_bytes = 16 * mib;
    friend bool operator==(const disconnect_settings&, const disconnect_settings&) = default;
};

struct store_settings {
    secret redis_url;  // empty: the embedded store
    config::redis_mode redis_mode = config::redis_mode::single;
    std::string redis_master = "mymaster";
    std::string redis_sentinel_user;
    secret redis_sentinel_password;
    std::string redis_ca;
    std::string redis_cert;
    std::string redis_key;
    std::string redis_tls_name;  // empty: the address
    milliseconds redis_timeout = 1s;
    preflight_policy redis_preflight = preflight_policy::warn;
    std::string key_prefix = "kw:";
    std::string data_dir = "./data";
    secret encryption_key;
    secret encryption_key_old;  // opens, too; empty: none
    fsync_policy journal_fsync = fsync_policy::everysec;
    full_policy journal_full = full_policy::refuse;
    std::size_t journal_max_bytes = 1 * gib;
    friend bool operator==(const store_settings&, const store_settings&) = default;
};

struct log_settings {
    log::level level = log::level::info;
    log_format format = log_format::json;
    std::string file;  // "": standard output
    std::uint16_t keep_days = 14;
    bool http_heads = false;
    std::uint32_t history_lines = 1000;  // kept in memory, for who begins to look on
    friend bool operator==(const log_settings&, const log_settings&) = default;
};

// What limits of access keys take for what a request does not say.
struct limit_settings {
    std::uint32_t default_output_tokens = 4096;  // reserved without max_tokens
    std::optional<nanodollars> default_cost;     // reserved where no price is known; none: 0
    std::uint16_t quota_status = 402;            // of insufficient_quota
    // Requests of one access key that wait while its concurrency is used up; 0: none does. An
    // access key may have its own.
    std::uint32_t queue_size = 0;
    std::uint32_t queue_total = 1000;  // of all access keys, in one process
    milliseconds queue_timeout = std::chrono::seconds(30);
    // Of access keys that name no limits of their own, as texts: "10 concurrent".
    std::vector<std::string> defaults;
    std::uint32_t default_requests = 0;  // in any default_window; 0: any number
    milliseconds default_window = std::chrono::hours(24);
    friend bool operator==(const limit_settings&, const limit_settings&) = default;
};

// Upstream keys that clients take for a time.
struct lease_settings {
    milliseconds ttl = std::chrono::hours(1);       // of a lease that names none
    milliseconds max_ttl = std::chrono::hours(24);  // the longest that may be asked for
    std::uint32_t max_per_key = 100;                // of one upstream key at a time
    friend bool operator==(const lease_settings&, const lease_settings&) = default;
};

// What providers tell of the quotas of upstream keys.
struct quota_settings {
    milliseconds interval = std::chrono::minutes(5);  // 0: only when an admin asks
    milliseconds jitter = std::chrono::seconds(30);
    std::uint32_t parallel = 4;
    milliseconds timeout = std::chrono::seconds(10);
    friend bool operator==(const quota_settings&, const quota_settings&) = default;
};

// Files, batches, responses and whatever else an upstream account keeps and another cannot see.
struct object_settings {
    object_isolation isolation = object_isolation::key;
    object_placement placement = object_placement::home;
    bool search = true;                    // an id that nobody knows is looked for in each account
    std::uint32_t max_accounts = 16;       // asked for such an id, or for a list
    std::uint32_t max_bound = 2'000'000;   // ids kept in the store
    std::uint32_t cache_entries = 20'000;  // ids that a worker remembers
    milliseconds lifetime = std::chrono::days(400);
    milliseconds response_lifetime = std::chrono::days(31);
    milliseconds short_lifetime = std::chrono::days(2);  // uploads, containers, sessions
    // Between two looks after work whose cost nobody has asked for yet; 0: never.
    milliseconds collect_interval = std::chrono::minutes(2);
    friend bool operator==(const object_settings&, const object_settings&) = default;
};

// Clients' sessions, which stay with one upstream key; each group's policy is in its pool section.
struct session_settings {
    std::vector<std::string> headers{
        "x-session-id",    "session-id",      "session_id", "x-claude-code-session-id",
        "conversation-id", "conversation_id", "thread-id"};
    std::uint32_t max_entries = 65'536;  // remembered, of all workers
    friend bool operator==(const session_settings&, const session_settings&) = default;
};

// WebSockets; what else holds for requests (connections, sending, a graceful stop) holds for them.
struct websocket_settings {
    milliseconds idle_timeout = std::chrono::minutes(10);  // without a byte either way
    milliseconds max_duration = std::chrono::minutes(65);
    std::size_t max_message_bytes = 32 * mib;
    friend bool operator==(const websocket_settings&, const websocket_settings&) = default;
};

// What operators are told of, and how insistently. A threshold of 0 is never reached.
struct notification_settings {
    milliseconds dedup_window = 60s;  // equal events of so long are one message
    std::uint32_t retry_max = 5;
    milliseconds retry_delay = 1s;  // doubled from try to try
    milliseconds timeout = 10s;     // of one try
    std::uint32_t queue_size = 1000;
    std::uint16_t pool_low = 25;           // percent of a group's keys that can be used
    std::uint16_t quota_low = 10;          // percent of a key's allowance that is left
    std::uint16_t budget_warning = 80;     // percent of a budget that is used
    milliseconds window = 5min;            // that the next two look at
    std::uint16_t error_rate = 10;         // percent of requests
    milliseconds latency = 30s;            // of the first token, one request in a hundred
    std::uint32_t min_requests = 20;       // in the window, for these two
    milliseconds store_down = 10s;         // without an answer
    std::uint16_t disk_low = 10;           // percent that is free where the data lies
    std::uint16_t cpu = 90;                // percent of what this process may use, for a minute
    std::uint16_t memory = 90;             // likewise
    std::uint32_t suspicious_access = 20;  // refused credentials of one address in a minute
    milliseconds certificate_expiry = std::chrono::days(14);
    friend bool operator==(const notification_settings&, const notification_settings&) = default;
};

// Where notifications go: declared, or kept in the store (config/channel.hpp).
struct channel_settings {
    std::string id;
    std::string name;
    channel_type type = channel_type::webhook;
    bool disabled = false;
    flags events{0x3fff};  // of notice_kind; all but test
    secret url;            // the receiver's; may hold a token
    secret key;            // signs, is the bot's token (telegram) or the password (email)
    secret authorization;  // webhook: the value of that header
    std::string body;      // webhook: a template; "": our own document
    std::string content_type = "application/json";
    std::string chat;  // telegram
    std::string user;  // email; "": no login
    std::string from;
    std::vector<std::string> to;
    friend bool operator==(const channel_settings&, const channel_settings&) = default;
};

// Traces by OTLP over HTTP.
struct tracing_settings {
    std::string endpoint;         // a collector's base URL; both empty: off
    std::string traces_endpoint;  // the whole URL; wins
    secret headers;               // "name=value,name=value"
    ppm sample_ratio;             // of requests that come without a traceparent
    std::string service_name = "keywheel";
    std::uint32_t queue_size = 8192;  // spans
    milliseconds interval = 5s;
    milliseconds timeout = 10s;
    friend bool operator==(const tracing_settings&, const tracing_settings&) = default;
};

// Which x-keywheel-* headers an answer carries.
struct header_settings {
    bool request_id = true;
    bool key = true;
    bool attempts = true;
    bool overhead = true;
    bool cost = true;
    bool model = true;
    bool rate_limits = true;
    friend bool operator==(const header_settings&, const header_settings&) = default;
};

// A declared group of upstream keys. Its sections begin as copies of the global ones.
struct group_settings {
    std::string id;
    std::string name;
    std::string description;
    std::uint32_t priority = 0;  // tier; lower is asked first
    std::string provider = "openai";
    // Takes the place of "/v1" in a client's path; checked, without a slash at its end, never
    // without a path ("https://host" becomes "https://host/v1").
    std::string base_url;
    std::vector<secret> keys;
    std::vector<std::string> models;  // patterns; empty: all
    bool include_usage = true;
    ppm multiplier;
    std::uint32_t max_leases = 0;  // of each key at a time; 0: leases.max_per_key
    bool lease_raw = false;        // leases hand out the upstream's own key
    std::string quota_url;         // where the upstream tells a key's quota; "": nowhere
    std::string quota_remaining = "/data/limit_remaining";  // JSON pointers into its answer
    std::string quota_allowance = "/data/limit";
    std::string quota_used = "/data/usage";
    std::uint32_t quota_tokens_per_unit = 1;
    upstream_settings upstream;
    pool_settings pool;
    disconnect_settings disconnect;
    friend bool operator==(const group_settings&, const group_settings&) = default;
};

// A name that clients may ask for.
struct alias_settings {
    std::string alias;
    std::string model;                   // what is asked of the upstream
    std::string group;                   // "": any group that serves the model
    std::vector<std::string> fallbacks;  // "model" or "model@group", in order
    // None: upstream.first_token_timeout, and none at all for reasoning models.
    std::optional<milliseconds> first_token_timeout;
    flags on{0x7f};  // of fallback_cause; all
    friend bool operator==(const alias_settings&, const alias_settings&) = default;
};

// A declared access key.
struct access_key_settings {
    std::string name;
    std::string description;
    secret key;
    std::optional<wall_time> expires_at;
    bool disabled = false;
    std::vector<std::string> models_allow;  // patterns; empty: all
    std::vector<std::string> models_deny;
    std::string group;         // "": any
    std::string upstream_key;  // the id of the only one that serves it; "": any
    ppm multiplier;
    std::string owner_name;
    std::string owner_email;
    std::vector<std::string> tags;
    std::vector<std::string> endpoints;         // families; empty: all
    std::vector<std::string> permissions;       // beyond requests
    std::vector<std::string> clients_allow;     // User-Agent patterns; empty: all
    std::vector<std::string> ips_allow;         // networks, checked; empty: all
    std::vector<std::string> origins_allow;     // of browsers' pages, checked; empty: all
    std::vector<std::string> limits;            // as texts; empty: those by default
    std::optional<milliseconds> expires_after;  // from the first use
    std::optional<std::uint32_t> queue_size;
    std::optional<milliseconds> queue_timeout;
    friend bool operator==(const access_key_settings&, const access_key_settings&) = default;
};

// A price that goes before the price table's; dollars per million tokens.
struct price_settings {
    std::string model;  // pattern
    std::optional<nanodollars> input;
    std::optional<nanodollars> output;
    std::optional<nanodollars> cached_read;
    std::optional<nanodollars> cache_write_5m;
    std::optional<nanodollars> cache_write_1h;
    std::optional<nanodollars> reasoning;
    std::optional<nanodollars> audio_in;
    std::optional<nanodollars> audio_out;
    std::optional<nanodollars> image_in;
    std::optional<nanodollars> image_out;
    friend bool operator==(const price_settings&, const price_settings&) = default;
};

struct settings {
    server_settings server;
    auth_settings auth;
    admin_settings admin;
    upstream_settings upstream;
    pool_settings pool;
    usage_settings usage;
    limit_settings limits;
    lease_settings leases;
    quota_settings quota;
    websocket_settings websocket;
    session_settings sessions;
    object_settings objects;
    disconnect_settings disconnect;
    store_settings store;
    log_settings log;
    header_settings headers;
    notification_settings notifications;
    tracing_settings tracing;
    std::vector<group_settings> groups;
    std::vector<alias_settings> aliases;
    std::vector<access_key_settings> access_keys;
    std::vector<price_settings> prices;
    std::vector<channel_settings> channels;
    friend bool operator==(const settings&, const settings&) = default;
};

}  // namespace kw::config
