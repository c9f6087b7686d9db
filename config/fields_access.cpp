// Settings of who may do what: credentials, admins, limits, leases, declared access keys.
#include "config/field_tables.hpp"

namespace kw::config::tables {
namespace {

using detail::at;

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
    {.name = "max_lifetime",
     .at = at<&auth_settings::max_lifetime>,
     .help = "The longest time that the admin API lets an access key live from now on, and that of "
             "one made without an end; `0` is for ever. Declared ones live as they are declared.",
     .aliases = "MAX_TOKEN_AGE:d"},
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
    {.name = "live_logs",
     .at = at<&admin_settings::live_logs>,
     .help = "Streams of the log that one admin may have open at a time.",
     .min = 1,
     .max = 64},
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
    {.name = "defaults",
     .at = at<&limit_settings::defaults>,
     .help = "Limits of each access key that names none: texts as `10 concurrent`, `100000 tokens "
             "per 1h`, `600 requests per 1m fixed`, `12.50 USD per month`."},
    {.name = "default_requests",
     .at = at<&limit_settings::default_requests>,
     .help = "Requests in any `default_window` of such an access key, beside `defaults`; `0`: any "
             "number.",
     .aliases = "DEFAULT_RATE_LIMIT"},
    {.name = "default_window",
     .at = at<&limit_settings::default_window>,
     .help = "Length of the window of `default_requests`.",
     .aliases = "RATE_LIMIT_WINDOW:s",
     .min = 1000,
     .max = 400 * day},
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
    {.name = "upstream_key",
     .at = at<&access_key_settings::upstream_key>,
     .help = "Id of the only upstream key that serves it; empty is any."},
    {.name = "multiplier",
     .at = at<&access_key_settings::multiplier>,
     .help = "Factor on the cost that is charged to it."},
    {.name = "owner_name", .at = at<&access_key_settings::owner_name>, .help = "Who has it."},
    {.name = "owner_email", .at = at<&access_key_settings::owner_email>, .help = "And where."},
    {.name = "tags", .at = at<&access_key_settings::tags>, .help = "For people."},
    {.name = "endpoints",
     .at = at<&access_key_settings::endpoints>,
     .help = "Families of endpoints that it may call, as `chat`, `files`; empty is all."},
    {.name = "permissions",
     .at = at<&access_key_settings::permissions>,
     .help = "What it may beyond requests: `lease`."},
    {.name = "clients_allow",
     .at = at<&access_key_settings::clients_allow>,
     .help = "Patterns of the `User-Agent`s that may use it; empty is all."},
    {.name = "ips_allow",
     .at = at<&access_key_settings::ips_allow>,
     .help = "Addresses and networks that may use it; empty is all."},
    {.name = "origins_allow",
     .at = at<&access_key_settings::origins_allow>,
     .help = "Origins of the browsers' pages that may use it, of those in `server.cors_origins`; "
             "empty is all."},
    {.name = "limits",
     .at = at<&access_key_settings::limits>,
     .help = "Texts as in `limits.defaults`, which hold where there are none; `unlimited` alone is "
             "none at all."},
    {.name = "expires_after",
     .at = at<&access_key_settings::expires_after>,
     .help = "How long it lives from its first use on.",
     .min = second},
    {.name = "queue_size",
     .at = at<&access_key_settings::queue_size>,
     .help = "In place of `limits.queue_size`.",
     .max = 100'000},
    {.name = "queue_timeout",
     .at = at<&access_key_settings::queue_timeout>,
     .help = "In place of `limits.queue_timeout`.",
     .min = second,
     .max = 3600 * second},
};

}  // namespace

constinit const std::span<const field> auth = auth_fields;
constinit const std::span<const field> admin = admin_fields;
constinit const std::span<const field> limit = limit_fields;
constinit const std::span<const field> lease = lease_fields;
constinit const std::span<const field> access_key = access_key_fields;

}  // namespace kw::config::tables
