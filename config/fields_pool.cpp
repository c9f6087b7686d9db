// Settings of the choice of keys: the pool, clients' sessions, objects of accounts.
#include "config/field_tables.hpp"

namespace kw::config::tables {
namespace {

using detail::at;
using words = std::string_view;

constexpr words tier_words[] = {"auto-fallback", "strict"};
constexpr words isolation_words[] = {"key", "group", "none"};
constexpr words session_words[] = {"off", "named", "prefix"};
constexpr words placement_words[] = {"home", "spread"};

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
    {.name = "pacing",
     .at = at<&pool_settings::pacing>,
     .help =
         "Send no more on a key than its upstream's `x-ratelimit-*` headers leave, so that it is "
         "not answered 429."},
    {.name = "sessions",
     .at = at<&pool_settings::sessions>,
     .help = "Whether what belongs together goes to one key, where the upstream has cached the "
             "beginning of its prompt: `named` by a header or field that names the session, "
             "`prefix` also by how the prompt begins. The strategy chooses once for each session.",
     .words = session_words},
    {.name = "session_lifetime",
     .at = at<&pool_settings::session_lifetime>,
     .help = "How long a session keeps its key after its last request.",
     .min = second},
};

constexpr field session_fields[] = {
    {.name = "headers",
     .at = at<&session_settings::headers>,
     .help = "Headers that may name a session, the first one present counts; "
             "`x-codex-turn-state` goes before them, fields of the body come after."},
    {.name = "max_entries",
     .at = at<&session_settings::max_entries>,
     .help = "Sessions that the process remembers, 16 bytes each.",
     .min = 16,
     .max = 16'777'216,
     .live = false},
};

constexpr field object_fields[] = {
    {.name = "isolation",
     .at = at<&object_settings::isolation>,
     .help = "Who sees an object (a file, a batch, a stored response, …): the access key that made "
             "it, every access key that is bound to the same group, or with `none` everybody.",
     .words = isolation_words},
    {.name = "placement",
     .at = at<&object_settings::placement>,
     .help = "Where new objects are made that refer to no other: `home` is one account for each "
             "access key, so that what it makes can be used together; `spread` leaves it to the "
             "strategy. Responses, chat completions and videos are always spread.",
     .words = placement_words},
    {.name = "search",
     .at = at<&object_settings::search>,
     .help = "An id that nobody knows is looked for once in each account before a 404 goes out."},
    {.name = "max_accounts",
     .at = at<&object_settings::max_accounts>,
     .help = "How many accounts are asked for such an id, or for a list.",
     .min = 1,
     .max = 1'000},
    {.name = "max_bound",
     .at = at<&object_settings::max_bound>,
     .help = "Ids of objects that the store keeps; past it those go that would end first.",
     .min = 16'384,
     .live = false},
    {.name = "cache_entries",
     .at = at<&object_settings::cache_entries>,
     .help = "Ids that each worker remembers, so that the store need not be asked for them.",
     .min = 16,
     .max = 10'000'000},
    {.name = "lifetime",
     .at = at<&object_settings::lifetime>,
     .help = "How long the account of an object is known: files, batches, vector stores and all "
             "that is not named below.",
     .min = 60'000},
    {.name = "response_lifetime",
     .at = at<&object_settings::response_lifetime>,
     .help = "The same of responses and what they consist of.",
     .min = 60'000},
    {.name = "short_lifetime",
     .at = at<&object_settings::short_lifetime>,
     .help = "The same of uploads, containers and sessions.",
     .min = 60'000},
    {.name = "collect_interval",
     .at = at<&object_settings::collect_interval>,
     .help = "How often the upstream is asked for background responses, batches, fine-tuning jobs "
             "and videos whose cost no client has asked for yet; one replica asks for each. `0` "
             "turns it off: then they are booked when a client asks."},
};

}  // namespace

constinit const std::span<const field> pool = pool_fields;
constinit const std::span<const field> session = session_fields;
constinit const std::span<const field> object = object_fields;

}  // namespace kw::config::tables
