// Settings of the books and where they lie: usage, declared prices, the store.
#include "config/field_tables.hpp"

namespace kw::config::tables {
namespace {

using detail::at;
using words = std::string_view;

constexpr words fsync_words[] = {"everysec", "always", "no"};
constexpr words full_words[] = {"refuse", "serve"};
constexpr words preflight_words[] = {"warn", "strict"};
constexpr words redis_mode_words[] = {"single", "sentinel", "cluster"};

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
    {.name = "events",
     .at = at<&usage_settings::events>,
     .help = "An event on a Redis stream for each record of the books, for outside billing "
             "(docs/usage-events.md). Needs `store.redis_url`.",
     .live = false,
     .early = true},
    {.name = "max_events",
     .at = at<&usage_settings::max_events>,
     .help = "How many events are kept, about; the oldest go first.",
     .min = 1000,
     .live = false,
     .early = true},
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

constexpr field store_fields[] = {
    {.name = "redis_url",
     .at = at<&store_settings::redis_url>,
     .help =
         "`redis://[user:password@]host[:port][,host[:port]…][/db]` or `rediss://`; empty is the "
         "embedded store. Several addresses are Sentinels or nodes of a Cluster. "
         "`REDIS_HOST`, `REDIS_PORT`, `REDIS_PASSWORD` and `REDIS_DB` make one too.",
     .aliases = "REDIS_URL",
     .live = false,
     .early = true},
    {.name = "redis_mode",
     .at = at<&store_settings::redis_mode>,
     .help =
         "What the addresses of `redis_url` are: `single` one server, `sentinel` Sentinels that "
         "know the master, `cluster` some nodes of a Redis Cluster.",
     .words = redis_mode_words,
     .live = false,
     .early = true},
    {.name = "redis_master",
     .at = at<&store_settings::redis_master>,
     .help = "Name of the master among the Sentinels.",
     .live = false,
     .early = true},
    {.name = "redis_sentinel_user",
     .at = at<&store_settings::redis_sentinel_user>,
     .help = "ACL user at the Sentinels; the one in `redis_url` is the Redis servers'.",
     .live = false,
     .early = true},
    {.name = "redis_sentinel_password",
     .at = at<&store_settings::redis_sentinel_password>,
     .help = "Password at the Sentinels; empty is none.",
     .live = false,
     .early = true},
    {.name = "redis_ca",
     .at = at<&store_settings::redis_ca>,
     .help = "PEM file of the authorities to believe for `rediss://`; empty is the system's.",
     .live = false,
     .early = true},
    {.name = "redis_cert",
     .at = at<&store_settings::redis_cert>,
     .help = "PEM file of the certificate to show Redis, with those that lead to its authority.",
     .live = false,
     .early = true},
    {.name = "redis_key",
     .at = at<&store_settings::redis_key>,
     .help = "PEM file of the private key of `redis_cert`.",
     .live = false,
     .early = true},
    {.name = "redis_tls_name",
     .at = at<&store_settings::redis_tls_name>,
     .help = "Name that the certificates of Redis must bear; empty is the address that was "
             "connected to. For Sentinels and a Cluster, which tell addresses.",
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
             "store makes one in `data_dir`. Another one takes over by `keywheel keys "
             "rotate-master`.",
     .aliases = "ENCRYPTION_KEY",
     .early = true},
    {.name = "encryption_key_old",
     .at = at<&store_settings::encryption_key_old>,
     .help = "The master key before, which opens what it has sealed until all is sealed anew.",
     .aliases = "ENCRYPTION_KEY_OLD",
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

}  // namespace

constinit const std::span<const field> usage = usage_fields;
constinit const std::span<const field> price = price_fields;
constinit const std::span<const field> store = store_fields;

}  // namespace kw::config::tables
