// Settings of what operators are told: notifications, their channels, traces.
#include "config/field_tables.hpp"

namespace kw::config::tables {
namespace {

using detail::at;
using words = std::string_view;

constexpr words channel_words[] = {"webhook", "slack", "feishu", "dingtalk", "telegram", "email"};
// In the order of notice_kind, without `test`.
constexpr words notice_words[] = {
    "key_banned",    "key_recovered", "pool_low",          "quota_low",         "budget_warning",
    "unknown_model", "error_rate",    "latency",           "upstream_down",     "store_down",
    "disk_low",      "resources",     "suspicious_access", "certificate_expiry"};

constexpr field notification_fields[] = {
    {.name = "dedup_window",
     .at = at<&notification_settings::dedup_window>,
     .help = "Equal events of so long are one message, sent when it is over, with their number.",
     .max = 86'400 * second},
    {.name = "retry_max",
     .at = at<&notification_settings::retry_max>,
     .help = "Further tries after one that failed.",
     .max = 20},
    {.name = "retry_delay",
     .at = at<&notification_settings::retry_delay>,
     .help = "Wait before the second try; doubled from try to try, up to five minutes.",
     .min = 1,
     .max = 300 * second},
    {.name = "timeout",
     .at = at<&notification_settings::timeout>,
     .help = "Time for one try.",
     .min = 100,
     .max = 120 * second},
    {.name = "queue_size",
     .at = at<&notification_settings::queue_size>,
     .help = "Messages that wait, of all channels, an equal part for each; further ones are "
             "dropped and counted.",
     .min = 1,
     .max = 100'000},
    {.name = "pool_low",
     .at = at<&notification_settings::pool_low>,
     .help = "`pool_low`: less than so many percent of a group's keys can be used; `0` here and "
             "below is never.",
     .max = 100},
    {.name = "quota_low",
     .at = at<&notification_settings::quota_low>,
     .help = "`quota_low`: less than so many percent of what a provider allows a key are left.",
     .max = 100},
    {.name = "budget_warning",
     .at = at<&notification_settings::budget_warning>,
     .help = "`budget_warning`: so many percent of an access key's budget are used.",
     .max = 100},
    {.name = "window",
     .at = at<&notification_settings::window>,
     .help = "What `error_rate` and `latency` look at.",
     .min = 1 * second,
     .max = 3600 * second},
    {.name = "error_rate",
     .at = at<&notification_settings::error_rate>,
     .help = "`error_rate`: more than so many percent of requests end in 5xx.",
     .max = 100},
    {.name = "latency",
     .at = at<&notification_settings::latency>,
     .help = "`latency`: one request in a hundred waits longer for its first token."},
    {.name = "min_requests",
     .at = at<&notification_settings::min_requests>,
     .help = "Fewer requests in the window tell nothing of `error_rate` and `latency`.",
     .min = 1},
    {.name = "store_down",
     .at = at<&notification_settings::store_down>,
     .help = "`store_down`: the store has not answered for so long."},
    {.name = "disk_low",
     .at = at<&notification_settings::disk_low>,
     .help = "`disk_low`: less than so many percent are free where the data directory lies.",
     .max = 100},
    {.name = "cpu",
     .at = at<&notification_settings::cpu>,
     .help = "`resources`: so many percent of the CPUs that the process may use, for a minute.",
     .max = 100},
    {.name = "memory",
     .at = at<&notification_settings::memory>,
     .help = "`resources`: so many percent of the memory that it may use.",
     .max = 100},
    {.name = "suspicious_access",
     .at = at<&notification_settings::suspicious_access>,
     .help = "`suspicious_access`: so many refused credentials of one address, of IPv6 one network "
             "of 64 bits, within a minute, at one replica."},
    {.name = "certificate_expiry",
     .at = at<&notification_settings::certificate_expiry>,
     .help = "`certificate_expiry`: the listener's certificate ends within so long."},
};

constexpr field channel_fields[] = {
    {.name = "id",
     .at = at<&channel_settings::id>,
     .help = "Its lasting name: letters, digits, `-`, `_`, `.`.",
     .required = true},
    {.name = "name", .at = at<&channel_settings::name>, .help = "For people; the id if empty."},
    {.name = "type",
     .at = at<&channel_settings::type>,
     .help = "What receives.",
     .words = channel_words},
    {.name = "disabled", .at = at<&channel_settings::disabled>, .help = "Send it nothing."},
    {.name = "events",
     .at = at<&channel_settings::events>,
     .help = "What it is told of.",
     .words = notice_words},
    {.name = "url",
     .at = at<&channel_settings::url>,
     .help =
         "The receiver's URL. `email`: `smtp://host:587` (STARTTLS), `smtps://host:465`, or "
         "`smtp+plain://host:25`, without TLS. `telegram`: another server than Telegram's own."},
    {.name = "key",
     .at = at<&channel_settings::key>,
     .help = "Signs what is sent (`webhook`, `feishu`, `dingtalk`); the bot's token (`telegram`); "
             "the password (`email`)."},
    {.name = "authorization",
     .at = at<&channel_settings::authorization>,
     .help = "`webhook`: value of the header `Authorization`."},
    {.name = "body",
     .at = at<&channel_settings::body>,
     .help = "`webhook`: template of the body, as `{\"text\": \"{{text}}\"}`; empty is a JSON "
             "document."},
    {.name = "content_type",
     .at = at<&channel_settings::content_type>,
     .help = "`webhook`: type of the body; what is put into the template is encoded for it."},
    {.name = "chat", .at = at<&channel_settings::chat>, .help = "`telegram`: the chat's id."},
    {.name = "user", .at = at<&channel_settings::user>, .help = "`email`: login; empty is none."},
    {.name = "from", .at = at<&channel_settings::from>, .help = "`email`: the sender's address."},
    {.name = "to", .at = at<&channel_settings::to>, .help = "`email`: the receivers' addresses."},
};

constexpr field tracing_fields[] = {
    {.name = "endpoint",
     .at = at<&tracing_settings::endpoint>,
     .help = "Base URL of an OTLP/HTTP collector, to which `/v1/traces` is added; empty is off.",
     .aliases = "OTEL_EXPORTER_OTLP_ENDPOINT"},
    {.name = "traces_endpoint",
     .at = at<&tracing_settings::traces_endpoint>,
     .help = "The whole URL instead.",
     .aliases = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
    {.name = "headers",
     .at = at<&tracing_settings::headers>,
     .help = "Headers of the export, as `name=value,name=value`, values percent-encoded.",
     .aliases = "OTEL_EXPORTER_OTLP_TRACES_HEADERS OTEL_EXPORTER_OTLP_HEADERS"},
    {.name = "sample_ratio",
     .at = at<&tracing_settings::sample_ratio>,
     .help = "Share of requests without a `traceparent` that are traced; with one, its flag says.",
     .aliases = "OTEL_TRACES_SAMPLER_ARG"},
    {.name = "service_name",
     .at = at<&tracing_settings::service_name>,
     .help = "`service.name` of the spans.",
     .aliases = "OTEL_SERVICE_NAME"},
    {.name = "queue_size",
     .at = at<&tracing_settings::queue_size>,
     .help = "Spans that wait for their export; further ones are dropped and counted.",
     .aliases = "OTEL_BSP_MAX_QUEUE_SIZE",
     .min = 64,
     .max = 1'000'000},
    {.name = "interval",
     .at = at<&tracing_settings::interval>,
     .help = "Between two exports.",
     .aliases = "OTEL_BSP_SCHEDULE_DELAY:ms",
     .min = 50,
     .max = 300 * second},
    {.name = "timeout",
     .at = at<&tracing_settings::timeout>,
     .help = "Time for one export.",
     .aliases = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT:ms OTEL_EXPORTER_OTLP_TIMEOUT:ms",
     .min = 100,
     .max = 120 * second},
};

}  // namespace

constinit const std::span<const field> notification = notification_fields;
constinit const std::span<const field> channel = channel_fields;
constinit const std::span<const field> tracing = tracing_fields;

}  // namespace kw::config::tables
