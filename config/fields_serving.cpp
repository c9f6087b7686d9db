// Settings of serving: the listener, sockets, what answers carry, and the log.
#include "config/field_tables.hpp"

namespace kw::config::tables {
namespace {

using detail::at;
using words = std::string_view;

constexpr words auto_words[] = {"auto"};  // stands for 0
constexpr words level_words[] = {"trace", "debug", "info", "warn", "error", "off"};
constexpr words format_words[] = {"json", "text"};

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
    {.name = "cors_origins",
     .at = at<&server_settings::cors_origins>,
     .help = "Origins of browsers' pages that may call `/v1`, `/api-keys` and `/release`, as "
             "`https://app.example.com`, or `*` for any; empty allows none. An access key may "
             "narrow them."},
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

constexpr field websocket_fields[] = {
    {.name = "idle_timeout",
     .at = at<&websocket_settings::idle_timeout>,
     .help = "A WebSocket in which nothing is said for so long is closed (1001).",
     .min = 1},
    {.name = "max_duration",
     .at = at<&websocket_settings::max_duration>,
     .help = "The longest life of a WebSocket; then it is closed (1001).",
     .min = 1},
    {.name = "max_message_bytes",
     .at = at<&websocket_settings::max_message_bytes>,
     .help = "Of one message, all its fragments together; a larger one ends the WebSocket (1009).",
     .min = 1024},
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
    {.name = "history_lines",
     .at = at<&log_settings::history_lines>,
     .help = "Last lines that are kept in memory for `/admin/logs/stream`, at most 4 MiB of them; "
             "with 0 it shows nothing.",
     .max = 10'000},
};

}  // namespace

constinit const std::span<const field> server = server_fields;
constinit const std::span<const field> websocket = websocket_fields;
constinit const std::span<const field> header = header_fields;
constinit const std::span<const field> log = log_fields;

}  // namespace kw::config::tables
