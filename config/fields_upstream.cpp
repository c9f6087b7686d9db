// Settings of providers: connections, clients that leave, quotas, declared groups and aliases.
#include "config/field_tables.hpp"

namespace kw::config::tables {
namespace {

using detail::at;
using words = std::string_view;

constexpr words disconnect_words[] = {"cancel", "drain"};
constexpr words cause_words[] = {"no-key",      "rate-limit",     "upstream-error", "timeout",
                                 "first-token", "context-length", "model"};

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
     .help = "PEM file of the authorities to believe; empty is the system's. Receivers of "
             "notifications and traces are believed by the system's beside it.",
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

constexpr field quota_fields[] = {
    {.name = "interval",
     .at = at<&quota_settings::interval>,
     .help = "How often providers with a `quota_url` are asked for each key; `0`: only by "
             "`POST /admin/token/sync`."},
    {.name = "jitter",
     .at = at<&quota_settings::jitter>,
     .help = "At most so much later, by chance, so that keys are not asked for at once.",
     .max = 3600 * second},
    {.name = "parallel",
     .at = at<&quota_settings::parallel>,
     .help = "How many are asked at a time.",
     .min = 1,
     .max = 16},
    {.name = "timeout",
     .at = at<&quota_settings::timeout>,
     .help = "How long an answer may take.",
     .min = 100,
     .max = 60 * second},
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
    {.name = "quota_url",
     .at = at<&group_settings::quota_url>,
     .help =
         "Where the provider tells what is left of a key: a URL, or a path behind `base_url` such "
         "as `/key`; empty is nowhere. `max-remaining` goes by it."},
    {.name = "quota_remaining",
     .at = at<&group_settings::quota_remaining>,
     .help = "JSON pointer to what is left; where there is nothing, allowance less used."},
    {.name = "quota_allowance",
     .at = at<&group_settings::quota_allowance>,
     .help = "JSON pointer to the allowance."},
    {.name = "quota_used",
     .at = at<&group_settings::quota_used>,
     .help = "JSON pointer to what is used of it."},
    {.name = "quota_tokens_per_unit",
     .at = at<&group_settings::quota_tokens_per_unit>,
     .help = "What a unit of these is worth in tokens, beside keys whose quota is known otherwise.",
     .min = 1},
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

}  // namespace

constinit const std::span<const field> upstream = upstream_fields;
constinit const std::span<const field> disconnect = disconnect_fields;
constinit const std::span<const field> quota = quota_fields;
constinit const std::span<const field> group = group_fields;
constinit const std::span<const field> alias = alias_fields;

}  // namespace kw::config::tables
