// The table of settings.
#include "config/fields.hpp"

#include <string>

namespace kw::config {

namespace {

using detail::at;
using detail::section_at;
using words = std::string_view;

constexpr words auto_words[] = {"auto"};  // stands for 0
constexpr words tier_words[] = {"auto-fallback", "strict"};
constexpr words disconnect_words[] = {"cancel", "drain"};
constexpr words fsync_words[] = {"everysec", "always", "no"};
constexpr words full_words[] = {"refuse", "serve"};
constexpr words preflight_words[] = {"warn", "strict"};
constexpr words level_words[] = {"trace", "debug", "info", "warn", "error", "off"};
constexpr words format_words[] = {"json", "text"};
constexpr words cause_words[] = {"no-key",      "rate-limit",     "upstream-error", "timeout",
                                 "first-token", "context-length", "model"};

constexpr std::uint64_t second = 1000;
constexpr std::uint64_t day = 86'400 * second;

constexpr field server_fields[] = {
    {.name = "host",
     .at = at<&server_settings::host>,
     .help = "Address to listen on.",
     .aliases = "HOST",
     .live = false},
    {.name = "port",
     .at = at<&server_settings::port>,
     .help = "Port to listen on; 0 takes any free one.",
     .aliases = "PORT",
     .live = false},
    {.name = "health_port",
     .at = at<&server_settings::health_port>,
     .help = "Port of health checks and metrics; 0 serves them on `port`.",
     .live = false},
    {.name = "workers",
     .at = at<&server_settings::workers>,
     .help = "Worker threads; `auto` (0) follows the CPU quota and affinity.",
     .aliases = "WORKERS CLUSTER_WORKERS",
     .words = auto_words,
     .max = 256,
     .live = false,
     .early = true},
    {.name = "tls_certificate",
     .at = at<&server_settings::tls_certificate>,
     .help = "PEM file of the listener's certificate chain; empty is plain HTTP.",
     .live = false},
    {.name = "tls_key",
     .at = at<&server_settings::tls_key>,
     .help = "PEM file of the certificate's private key.",
     .live = false},
    {.name = "max_header_bytes",
     .at = at<&server_settings::max_header_bytes>,
     .help = "Longest head of a request.",
     .min = 4 * kib,
     .max = 1 * mib},
    {.name = "header_timeout",
     .at = at<&server_settings::header_timeout>,
     .help = "Time for a request's head to arrive.",
     .min = 1},
    {.name = "max_body_bytes",
     .at = at<&server_settings::max_body_bytes>,
     .help = "Longest body of a request.",
     .min = 1},
    {.name = "body_timeout",
     .at = at<&server_settings::body_timeout>,
     .help = "Longest silence inside a request's body.",
     .min = 1},
    {.name = "send_timeout",
     .at = at<&server_settings::send_timeout>,
     .help = "Longest time a client may leave its answer unread.",
     .min = 1},
    {.name = "keep_alive_timeout",
     .at = at<&server_settings::keep_alive_timeout>,
     .help = "How long an idle client connection is kept.",
     .min = 1},
    {.name = "max_connections",
     .at = at<&server_settings::max_connections>,
     .help = "Client connections at a time; further ones wait to be accepted.",
     .min = 1},
    {.name = "max_exchanges",
     .at = at<&server_settings::max_exchanges>,
     .help = "Requests in work at a time; further ones get 503 `overloaded`.",
     .aliases = "KEY_POOL_CONCURRENT_LIMIT",
     .min = 1},
    {.name = "max_kept_body_bytes",
     .at = at<&server_settings::max_kept_body_bytes>,
     .help = "Longest body that is kept for a retry or read for its model.",
     .min = 64 * kib},
    {.name = "max_kept_bytes",
     .at = at<&server_settings::max_kept_bytes>,
     .help = "Memory of all kept bodies together; beyond it clients wait in turn, at most "
             "`body_timeout`, then get 503.",
     .min = 1 * mib},
    {.name = "max_bytes_in_flight",
     .at = at<&server_settings::max_bytes_in_flight>,
     .help = "Memory of all streams together: what slow receivers have not taken, and events that "
             "are not whole yet. Beyond it large events wait or are cut, and new requests get 503 "
             "`overloaded`.",
     .min = 1 * mib},
    {.name = "allowed_hosts",
     .at = at<&server_settings::allowed_hosts>,
     .help = "`Host` names that are served, others get 421; empty serves all.",
     .aliases = "ALLOWED_HOSTS"},
    {.name = "trusted_proxies",
     .at = at<&server_settings::trusted_proxies>,
     .help = "Networks whose `X-Forwarded-For` is believed, as `10.0.0.0/8`."},
    {.name = "shutdown_timeout",
     .at = at<&server_settings::shutdown_timeout>,
     .help = "How long running answers may go on after a stop signal."},
    {.name = "pass_through",
     .at = at<&server_settings::pass_through>,
     .help =
         "A group's id: a Bearer credential that is no access key goes as it is to that group's "
         "upstream and is booked as `pass-through`. Empty: it is refused."},
};

constexpr field auth_fields[] = {
    {.name = "open",
     .at = at<&auth_settings::open>,
     .help = "Serve without access keys, also on other than loopback addresses."},
    {.name = "access_keys",
     .at = at<&auth_settings::access_keys>,
     .help = "Declared access keys, as text or references; `access_keys` at the top level gives "
             "them names and limits.",
     .aliases = "API_ACCESS_KEY"},
    {.name = "admin_key",
     .at = at<&auth_settings::admin_key>,
     .help = "The secret for `/admin`; without it the admin API is off.",
     .aliases = "ADMIN_ACCESS_KEY"},
};

constexpr field admin_fields[] = {
    {.name = "host",
     .at = at<&admin_settings::host>,
     .help = "Address of `/admin`'s own listener; empty is that of `server.host`.",
     .live = false,
     .early = true},
    {.name = "port",
     .at = at<&admin_settings::port>,
     .help =
         "Port of a listener of its own for `/admin`, which is then nowhere else; 0 serves it on "
         "`server.port`.",
     .live = false,
     .early = true},
    {.name = "allow_ips",
     .at = at<&admin_settings::allow_ips>,
     .help = "Networks that may reach `/admin`, as `10.0.0.0/8`; empty is any. Behind "
             "`server.trusted_proxies` the client's address counts.",
     .early = true},
    {.name = "allow_origins",
     .at = at<&admin_settings::allow_origins>,
     .help = "Origins of browsers' pages that may call `/admin` from elsewhere, as "
             "`https://ops.example.com`; they send a token or a session as bearer."},
    {.name = "session_lifetime",
     .at = at<&admin_settings::session_lifetime>,
     .help = "How long a login lasts, used or not.",
     .min = second,
     .max = 30 * day},
    {.name = "audit_retention",
     .at = at<&admin_settings::audit_retention>,
     .help = "How long the audit trail is kept.",
     .min = day,
     .live = false,
     .early = true},
    {.name = "audit_max_entries",
     .at = at<&admin_settings::audit_max_entries>,
     .help = "How many entries of the audit trail are kept at most.",
     .min = 1000,
     .max = 10'000'000,
     .live = false,
     .early = true},
};

constexpr field upstream_fields[] = {
    {.name = "dns_timeout",
     .at = at<&upstream_settings::dns_timeout>,
     .help = "Time to resolve the upstream's name.",
     .min = 1},
    {.name = "connect_timeout",
     .at = at<&upstream_settings::connect_timeout>,
     .help = "Time to connect.",
     .min = 1},
    {.name = "tls_timeout",
     .at = at<&upstream_settings::tls_timeout>,
     .help = "Time for the TLS handshake.",
     .min = 1},
    {.name = "first_byte_timeout",
     .at = at<&upstream_settings::first_byte_timeout>,
     .help = "Time from the sent request to the answer's first byte.",
     .min = 1},
    {.name = "first_token_timeout",
     .at = at<&upstream_settings::first_token_timeout>,
     .help = "Time to a stream's first token, where its alias has a fallback; not for reasoning "
             "models.",
     .min = 1},
    {.name = "idle_timeout",
     .at = at<&upstream_settings::idle_timeout>,
     .help = "Longest silence inside an answer.",
     .min = 1},
    {.name = "total_timeout",
     .at = at<&upstream_settings::total_timeout>,
     .help = "Longest time for a whole answer.",
     .min = 1},
    {.name = "tls_ca",
     .at = at<&upstream_settings::tls_ca>,
     .help = "PEM file of the authorities to believe; empty is the system's.",
     .aliases = "SSL_CERT_FILE"},
    {.name = "max_idle_connections",
     .at = at<&upstream_settings::max_idle_connections>,
     .help = "Idle connections kept per worker and host.",
     .max = 10'000},
    {.name = "idle_connection_timeout",
     .at = at<&upstream_settings::idle_connection_timeout>,
     .help = "How long an idle upstream connection is kept."},
    {.name = "egress_proxy",
     .at = at<&upstream_settings::egress_proxy>,
     .help = "Proxy on the way out: `http://`, `https://` or `socks5://`, with `user:password@` if "
             "it asks for them.",
     .aliases = "HTTPS_PROXY https_proxy"},
    {.name = "no_proxy",
     .at = at<&upstream_settings::no_proxy>,
     .help = "Hosts and domains that are reached without the proxy.",
     .aliases = "NO_PROXY no_proxy"},
    {.name = "allow_link_local",
     .at = at<&upstream_settings::allow_link_local>,
     .help = "Allow upstreams at link-local and cloud metadata addresses."},
    {.name = "keep_organization_headers",
     .at = at<&upstream_settings::keep_organization_headers>,
     .help = "Pass on the client's `OpenAI-Organization` and `OpenAI-Project`."},
};

constexpr field pool_fields[] = {
    {.name = "strategy",
     .at = at<&pool_settings::strategy>,
     .help = "How a key is chosen: `round-robin`, `random`, `least-used`, `weighted-score`, "
             "`least-token-used`, `max-remaining`.",
     .aliases = "KEY_POOL_ALGORITHM"},
    {.name = "retry",
     .at = at<&pool_settings::retry>,
     .help = "Try again with another key.",
     .aliases = "KEY_POOL_RETRY_ENABLED"},
    {.name = "retry_max",
     .at = at<&pool_settings::retry_max>,
     .help = "Retries per model.",
     .aliases = "KEY_POOL_RETRY_MAX",
     .max = 20},
    {.name = "retry_total",
     .at = at<&pool_settings::retry_total>,
     .help = "Tries in all, over every model of an alias.",
     .min = 1,
     .max = 50},
    {.name = "retry_delay",
     .at = at<&pool_settings::retry_delay>,
     .help = "Pause before a retry.",
     .aliases = "KEY_POOL_RETRY_DELAY_MS:ms",
     .max = 60 * second},
    {.name = "retry_wait_max",
     .at = at<&pool_settings::retry_wait_max>,
     .help =
         "Longest `Retry-After` that is waited for inside a request, when no other key is left."},
    {.name = "multi_tier",
     .at = at<&pool_settings::multi_tier>,
     .help = "Whether groups of the next priority serve when those before are out.",
     .words = tier_words},
    {.name = "auto_ban",
     .at = at<&pool_settings::auto_ban>,
     .help = "Whether faults of a key change its state at all.",
     .aliases = "KEY_POOL_AUTO_BAN_ENABLED"},
    {.name = "ban_401",
     .at = at<&pool_settings::ban_401>,
     .help = "401 bans a key; otherwise it is quarantined until a test passes.",
     .aliases = "KEY_POOL_BAN_401"},
    {.name = "ban_402",
     .at = at<&pool_settings::ban_402>,
     .help = "402 and `insufficient_quota` ban a key.",
     .aliases = "KEY_POOL_BAN_402"},
    {.name = "error_threshold",
     .at = at<&pool_settings::error_threshold>,
     .help = "Consecutive 5xx answers that send a key into cooldown.",
     .aliases = "KEY_POOL_ERROR_THRESHOLD",
     .min = 1,
     .max = 1000},
    {.name = "error_window",
     .at = at<&pool_settings::error_window>,
     .help = "Time within which these count.",
     .min = 1},
    {.name = "rate_limit_cooldown",
     .at = at<&pool_settings::rate_limit_cooldown>,
     .help = "Cooldown after a 429 that names no time; grows.",
     .min = 1},
    {.name = "rate_limit_cooldown_max",
     .at = at<&pool_settings::rate_limit_cooldown_max>,
     .help = "Longest of these.",
     .min = 1},
    {.name = "error_cooldown",
     .at = at<&pool_settings::error_cooldown>,
     .help = "Cooldown after too many 5xx; grows.",
     .min = 1},
    {.name = "error_cooldown_max",
     .at = at<&pool_settings::error_cooldown_max>,
     .help = "Longest of these.",
     .min = 1},
    {.name = "overload_cooldown",
     .at = at<&pool_settings::overload_cooldown>,
     .help = "Cooldown after a 529; grows.",
     .min = 1},
    {.name = "overload_cooldown_max",
     .at = at<&pool_settings::overload_cooldown_max>,
     .help = "Longest of these.",
     .min = 1},
    {.name = "quarantine_retest",
     .at = at<&pool_settings::quarantine_retest>,
     .help = "Time to the first test of a quarantined key; grows.",
     .min = second},
    {.name = "ban_retest",
     .at = at<&pool_settings::ban_retest>,
     .help = "Time between tests of a banned key.",
     .min = second},
    {.name = "probe_timeout",
     .at = at<&pool_settings::probe_timeout>,
     .help = "Time limit of a key test.",
     .aliases = "KEY_POOL_REQUEST_TIMEOUT_MS:ms",
     .min = 1},
    {.name = "freshness",
     .at = at<&pool_settings::freshness>,
     .help = "Idle time after which `weighted-score` counts a key as fully rested.",
     .min = 1},
};

constexpr field usage_fields[] = {
    {.name = "include_usage",
     .at = at<&usage_settings::include_usage>,
     .help = "Ask upstreams for the usage of a stream; the extra chunk is hidden from clients that "
             "did not ask."},
    {.name = "price_file",
     .at = at<&usage_settings::price_file>,
     .help = "A price table, ours or LiteLLM's cost map; empty is the built-in one."},
    {.name = "default_input_price",
     .at = at<&usage_settings::default_input_price>,
     .help = "For models without a price, in dollars per million tokens; empty leaves their cost "
             "unknown."},
    {.name = "default_output_price",
     .at = at<&usage_settings::default_output_price>,
     .help = "The same for output."},
    {.name = "record_retention",
     .at = at<&usage_settings::record_retention>,
     .help = "How long records of single requests are kept.",
     .aliases = "TOKEN_USAGE_RETENTION:d",
     .min = 3600 * second,
     .live = false,
     .early = true},
    {.name = "max_records",
     .at = at<&usage_settings::max_records>,
     .help = "How many of them are kept.",
     .min = 1000,
     .live = false,
     .early = true},
    {.name = "hour_retention",
     .at = at<&usage_settings::hour_retention>,
     .help = "How long sums by hour are kept.",
     .min = day,
     .live = false,
     .early = true},
    {.name = "day_retention",
     .at = at<&usage_settings::day_retention>,
     .help = "How long sums by day are kept; those by month stay.",
     .min = 32 * day,
     .live = false,
     .early = true},
};

constexpr field disconnect_fields[] = {
    {.name = "policy",
     .at = at<&disconnect_settings::policy>,
     .help = "When a client goes away: `cancel` closes the upstream, `drain` reads on for the true "
             "usage.",
     .words = disconnect_words},
    {.name = "drain_timeout",
     .at = at<&disconnect_settings::drain_timeout>,
     .help = "How long `drain` reads on.",
     .min = 1},
    {.name = "drain_bytes",
     .at = at<&disconnect_settings::drain_bytes>,
     .help = "How much `drain` reads.",
     .min = 1},
};

constexpr field store_fields[] = {
    {.name = "redis_url",
     .at = at<&store_settings::redis_url>,
     .help =
         "`redis://[user:password@]host[:port][/db]` or `rediss://`; empty is the embedded store. "
         "`REDIS_HOST`, `REDIS_PORT`, `REDIS_PASSWORD` and `REDIS_DB` make one too.",
     .aliases = "REDIS_URL",
     .live = false,
     .early = true},
    {.name = "redis_ca",
     .at = at<&store_settings::redis_ca>,
     .help = "PEM file of the authorities to believe for `rediss://`; empty is the system's.",
     .live = false,
     .early = true},
    {.name = "redis_timeout",
     .at = at<&store_settings::redis_timeout>,
     .help = "Longest wait for an answer of Redis.",
     .min = 10,
     .live = false,
     .early = true},
    {.name = "redis_preflight",
     .at = at<&store_settings::redis_preflight>,
     .help = "What settings of Redis that may lose data lead to: a warning, or no start.",
     .words = preflight_words,
     .live = false,
     .early = true},
    {.name = "key_prefix",
     .at = at<&store_settings::key_prefix>,
     .help = "First part of every key in Redis.",
     .live = false,
     .early = true},
    {.name = "data_dir",
     .at = at<&store_settings::data_dir>,
     .help = "Folder of the embedded store, the journal and the snapshot.",
     .aliases = "DATA_DIR",
     .live = false,
     .early = true},
    {.name = "encryption_key",
     .at = at<&store_settings::encryption_key>,
     .help = "Master key that seals stored secrets, 32 characters or more; without it the embedded "
             "store makes one in `data_dir`.",
     .aliases = "ENCRYPTION_KEY",
     .live = false,
     .early = true},
    {.name = "journal_fsync",
     .at = at<&store_settings::journal_fsync>,
     .help = "When the journal is forced to disk.",
     .words = fsync_words,
     .live = false,
     .early = true},
    {.name = "journal_full",
     .at = at<&store_settings::journal_full>,
     .help = "When the journal cannot be written: `refuse` answers 503, `serve` warns and goes on "
             "without books.",
     .words = full_words},
    {.name = "journal_max_bytes",
     .at = at<&store_settings::journal_max_bytes>,
     .help = "How much the journal holds while the store is away.",
     .min = 16 * mib,
     .live = false,
     .early = true},
};

constexpr field log_fields[] = {
    {.name = "level",
     .at = at<&log_settings::level>,
     .help = "Least important lines that are written.",
     .aliases = "LOG_LEVEL",
     .words = level_words},
    {.name = "format",
     .at = at<&log_settings::format>,
     .help = "JSON lines or text.",
     .words = format_words,
     .live = false,
     .early = true},
    {.name = "file",
     .at = at<&log_settings::file>,
     .help = "File to write to; empty is standard output.",
     .live = false,
     .early = true},
    {.name = "keep_days",
     .at = at<&log_settings::keep_days>,
     .help = "With a file: one a day, the date in its name, and so many are kept; 0 is one file "
             "that only grows.",
     .live = false,
     .early = true},
    {.name = "http_heads",
     .at = at<&log_settings::http_heads>,
     .help = "The heads of clients' requests and upstreams' answers as lines of level `info`, "
             "without anything that can hold a secret.",
     .aliases = "DEBUG_HTTP_TRAFFIC"},
};

constexpr field header_fields[] = {
    {.name = "request_id",
     .at = at<&header_settings::request_id>,
     .help = "`x-keywheel-request-id`"},
    {.name = "key", .at = at<&header_settings::key>, .help = "`x-keywheel-key`, its alias"},
    {.name = "attempts", .at = at<&header_settings::attempts>, .help = "`x-keywheel-attempts`"},
    {.name = "overhead", .at = at<&header_settings::overhead>, .help = "`x-keywheel-overhead-us`"},
    {.name = "cost",
     .at = at<&header_settings::cost>,
     .help = "`x-keywheel-cost`, where it is known before the head leaves"},
    {.name = "model",
     .at = at<&header_settings::model>,
     .help = "`x-keywheel-model`, the one that served"},
    {.name = "rate_limits",
     .at = at<&header_settings::rate_limits>,
     .help = "`x-ratelimit-*` of the access key's own limits, in place of the upstream's"},
};

constexpr field limit_fields[] = {
    {.name = "default_output_tokens",
     .at = at<&limit_settings::default_output_tokens>,
     .help = "Output tokens that a request reserves which does not bound them itself."},
    {.name = "default_cost",
     .at = at<&limit_settings::default_cost>,
     .help = "Cost that a request reserves whose model has no known price; empty is nothing."},
    {.name = "quota_status",
     .at = at<&limit_settings::quota_status>,
     .help = "Status of an answer that says `insufficient_quota`, as 402, 403 or 429.",
     .min = 400,
     .max = 499},
    {.name = "queue_size",
     .at = at<&limit_settings::queue_size>,
     .help = "How many requests of an access key may wait, in each process, while its concurrency "
             "is used up; `0`: none, they are refused at once. An access key may have its own.",
     .max = 100'000},
    {.name = "queue_total",
     .at = at<&limit_settings::queue_total>,
     .help =
         "How many requests of all access keys together may wait so, in each process. One access "
         "key takes no more than are still free, so half of it when it is alone.",
     .min = 1,
     .max = 1'000'000},
    {.name = "queue_timeout",
     .at = at<&limit_settings::queue_timeout>,
     .help = "How long a request waits so at most; also one of unknown size for another such one "
             "near a budget's end. An access key may have its own.",
     .min = 1},
};

constexpr field lease_fields[] = {
    {.name = "ttl",
     .at = at<&lease_settings::ttl>,
     .help = "How long a lease holds that names no time.",
     .min = 1'000},
    {.name = "max_ttl",
     .at = at<&lease_settings::max_ttl>,
     .help = "The longest time that may be asked for.",
     .min = 1'000},
    {.name = "max_per_key",
     .at = at<&lease_settings::max_per_key>,
     .help = "Leases of one upstream key at a time. A group and a key may have their own.",
     .min = 1,
     .max = 1'000},
};

constexpr section all_sections[] = {
    {"server", section_at<&settings::server>, "The listener and its bounds.", server_fields},
    {"auth", section_at<&settings::auth>, "Who may call.", auth_fields},
    {"admin", section_at<&settings::admin>, "Who may administer, and the trace of it.",
     admin_fields},
    {"upstream", section_at<&settings::upstream>,
     "Connections to providers. A group may have its own `upstream` section.", upstream_fields},
    {"pool", section_at<&settings::pool>,
     "Choice of keys, retries and faults. A group may have its own `pool` section.", pool_fields},
    {"usage", section_at<&settings::usage>, "Usage, prices and how long books are kept.",
     usage_fields},
    {"limits", section_at<&settings::limits>, "Limits of access keys.", limit_fields},
    {"leases", section_at<&settings::leases>,
     "Upstream keys that holders of access keys with the permission `lease` take for a time.",
     lease_fields},
    {"disconnect", section_at<&settings::disconnect>,
     "Clients that go away. A group may have its own `disconnect` section.", disconnect_fields},
    {"store", section_at<&settings::store>, "Where state lives.", store_fields},
    {"log", section_at<&settings::log>, "Logging.", log_fields},
    {"headers", section_at<&settings::headers>, "Which headers of ours an answer carries.",
     header_fields},
};

constexpr section group_sections[] = {
    {"upstream", section_at<&group_settings::upstream>, "", upstream_fields},
    {"pool", section_at<&group_settings::pool>, "", pool_fields},
    {"disconnect", section_at<&group_settings::disconnect>, "", disconnect_fields},
};

constexpr field group_fields[] = {
    {.name = "id",
     .at = at<&group_settings::id>,
     .help = "Its lasting name: letters, digits, `-`, `_`, `.`.",
     .required = true},
    {.name = "name", .at = at<&group_settings::name>, .help = "For people; the id if empty."},
    {.name = "description", .at = at<&group_settings::description>, .help = "For people."},
    {.name = "priority",
     .at = at<&group_settings::priority>,
     .help = "Its tier; lower ones are asked first.",
     .max = 1000},
    {.name = "provider",
     .at = at<&group_settings::provider>,
     .help = "Whose API it speaks: `openai` (and all that are compatible), `anthropic`, `google`."},
    {.name = "base_url",
     .at = at<&group_settings::base_url>,
     .help = "Takes the place of `/v1` in a client's path; without a path, `/v1` is added.",
     .required = true},
    {.name = "keys",
     .at = at<&group_settings::keys>,
     .help = "Its upstream keys. A reference may hold several, by commas or lines."},
    {.name = "models",
     .at = at<&group_settings::models>,
     .help = "Patterns of the models it serves; empty is all."},
    {.name = "include_usage",
     .at = at<&group_settings::include_usage>,
     .help = "As `usage.include_usage`, which it begins with."},
    {.name = "multiplier",
     .at = at<&group_settings::multiplier>,
     .help = "Factor on the cost that is charged to access keys."},
    {.name = "max_leases",
     .at = at<&group_settings::max_leases>,
     .help = "As `leases.max_per_key`, for this group's keys; `0` is that.",
     .max = 1'000},
    {.name = "lease_raw",
     .at = at<&group_settings::lease_raw>,
     .help =
         "Leases hand out the upstream's own key. It cannot be taken back: leave it off where an "
         "access key bound to the upstream key will do."},
};

constexpr field alias_fields[] = {
    {.name = "alias",
     .at = at<&alias_settings::alias>,
     .help = "The name that clients ask for.",
     .required = true},
    {.name = "model",
     .at = at<&alias_settings::model>,
     .help = "The model that is asked of the upstream.",
     .required = true},
    {.name = "group",
     .at = at<&alias_settings::group>,
     .help = "The only group to ask; empty is any that serves the model."},
    {.name = "fallbacks",
     .at = at<&alias_settings::fallbacks>,
     .help = "What to ask next, in order: `model` or `model@group`."},
    {.name = "first_token_timeout",
     .at = at<&alias_settings::first_token_timeout>,
     .help = "Own limit for a stream's first token; set here it holds for reasoning models too.",
     .min = 1},
    {.name = "on",
     .at = at<&alias_settings::on>,
     .help = "What leads to a fallback.",
     .words = cause_words},
};

constexpr field access_key_fields[] = {
    {.name = "name",
     .at = at<&access_key_settings::name>,
     .help = "Its name, unique among the declared ones.",
     .required = true},
    {.name = "description", .at = at<&access_key_settings::description>, .help = "For people."},
    {.name = "key",
     .at = at<&access_key_settings::key>,
     .help = "The key itself, as text or reference.",
     .required = true},
    {.name = "expires_at",
     .at = at<&access_key_settings::expires_at>,
     .help = "A date (its beginning, UTC) or a time: `2027-01-31`, `2027-01-31T12:00:00Z`."},
    {.name = "disabled", .at = at<&access_key_settings::disabled>, .help = "Refuse it."},
    {.name = "models_allow",
     .at = at<&access_key_settings::models_allow>,
     .help = "Patterns of the models it may ask for; empty is all."},
    {.name = "models_deny",
     .at = at<&access_key_settings::models_deny>,
     .help = "Patterns of models it may not ask for; they win."},
    {.name = "group",
     .at = at<&access_key_settings::group>,
     .help = "The only group that serves it; empty is any."},
    {.name = "multiplier",
     .at = at<&access_key_settings::multiplier>,
     .help = "Factor on the cost that is charged to it."},
};

constexpr field price_fields[] = {
    {.name = "model",
     .at = at<&price_settings::model>,
     .help = "Pattern of model names.",
     .required = true},
    {.name = "input", .at = at<&price_settings::input>, .help = "Input."},
    {.name = "output", .at = at<&price_settings::output>, .help = "Output."},
    {.name = "cached_read", .at = at<&price_settings::cached_read>, .help = "Input from a cache."},
    {.name = "cache_write_5m",
     .at = at<&price_settings::cache_write_5m>,
     .help = "Input written to a cache for 5 minutes."},
    {.name = "cache_write_1h",
     .at = at<&price_settings::cache_write_1h>,
     .help = "Input written to a cache for an hour."},
    {.name = "reasoning", .at = at<&price_settings::reasoning>, .help = "Reasoning."},
    {.name = "audio_in", .at = at<&price_settings::audio_in>, .help = "Audio input."},
    {.name = "audio_out", .at = at<&price_settings::audio_out>, .help = "Audio output."},
    {.name = "image_in", .at = at<&price_settings::image_in>, .help = "Image input."},
    {.name = "image_out", .at = at<&price_settings::image_out>, .help = "Image output."},
};

template <auto Items>
void* append_to(settings& s) {
    return &(s.*Items).emplace_back();
}

template <auto Items>
void* item_of(settings& s, std::size_t index) {
    return index < (s.*Items).size() ? &(s.*Items)[index] : nullptr;
}

template <auto Items>
bool equal_in(const settings& a, const settings& b) {
    return a.*Items == b.*Items;
}

constexpr list all_lists[] = {
    {.name = "groups",
     .help = "Declared groups of upstream keys.",
     .fields = group_fields,
     .sections = group_sections,
     .id = "id",
     .append = [](settings& s) -> void* {
         auto& group = s.groups.emplace_back();
         group.include_usage = s.usage.include_usage;
         group.upstream = s.upstream;
         group.pool = s.pool;
         group.disconnect = s.disconnect;
         return &group;
     },
     .item = item_of<&settings::groups>,
     .equal = equal_in<&settings::groups>},
    {.name = "aliases",
     .help = "Names of models, a map: each with what is asked for it and what to fall back to.",
     .fields = alias_fields,
     .sections = {},
     .id = "alias",
     .keyed = true,
     .append = append_to<&settings::aliases>,
     .item = item_of<&settings::aliases>,
     .equal = equal_in<&settings::aliases>},
    {.name = "access_keys",
     .help = "Declared access keys.",
     .fields = access_key_fields,
     .sections = {},
     .id = "name",
     .append = append_to<&settings::access_keys>,
     .item = item_of<&settings::access_keys>,
     .equal = equal_in<&settings::access_keys>},
    {.name = "prices",
     .help = "Prices that go before the table's, in dollars per million tokens.",
     .fields = price_fields,
     .sections = {},
     .id = "model",
     .append = append_to<&settings::prices>,
     .item = item_of<&settings::prices>,
     .equal = equal_in<&settings::prices>},
};

}  // namespace

std::span<const section> sections() noexcept {
    return all_sections;
}
std::span<const list> lists() noexcept {
    return all_lists;
}

std::string variable_name(std::string_view section, std::string_view field) {
    std::string name = "KEYWHEEL_";
    name += section;
    if (!field.empty()) {
        name += '_';
        name += field;
    }
    for (char& c : name) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return name;
}

}  // namespace kw::config
