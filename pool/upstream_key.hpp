// The records of the pool as people configure them: upstream keys and groups, and their JSON form
// in the store (kinds "upstream_key" and "group"). Plain values, immutable once in a snapshot.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "pool/fault_policy.hpp"

namespace kw::crypto {
class sealer;
}

namespace kw::pool {

inline constexpr std::uint32_t one_ppm = 1'000'000;  // a factor of 1

// What a person (or a ban) decided; the momentary state is in key_state.
enum class admin_status : std::uint8_t { enabled, disabled, banned };
enum class test_outcome : std::uint8_t { untested, success, failed };

// 0: no cap. They hold over all replicas: each spends what it leases of them (`jobs/cap_lessee`).
struct key_caps {
    std::int32_t concurrency = 0;
    std::int64_t rpm = 0;
    std::int64_t tpm = 0;
    std::int64_t tokens_per_day = 0;
    friend bool operator==(const key_caps&, const key_caps&) = default;
};

struct upstream_key {
    std::string id;     // "uk_…"; also the associated data of the sealed secret
    std::string alias;  // shown in x-keywheel-key; never secret
    std::string notes;  // at most 1,000 characters
    std::string group_id;
    std::string provider;                // "" : the group's
    std::string base_url;                // "" : the group's
    std::vector<std::string> models;     // globs; empty: the group's
    std::string account;                 // keys of one account share its limits
    std::uint32_t weight_ppm = one_ppm;  // scales the share under every strategy; at least 1
    admin_status status = admin_status::enabled;
    std::string reason;  // why it is disabled or banned
    secret value;        // the provider's key
    key_caps caps;
    std::optional<std::int64_t> quota_tokens;
    std::optional<std::uint32_t> max_leases;  // at a time; unset: the group's
    std::string organization;                 // sent as OpenAI-Organization; "" : the group's
    std::string project;                      // sent as OpenAI-Project; "" : the group's
    wall_time created{};
    bool declared = false;  // from environment or file, not from the API
    test_outcome last_test = test_outcome::untested;
};

enum class disconnect_policy : std::uint8_t { cancel, drain };
// What makes a client's session, which stays with one key: nothing; a name that the client gives;
// else how its prompt begins.
enum class session_policy : std::uint8_t { off, named, prefix };
enum class unknown_quota : std::uint8_t { median, prefer, avoid };

// Settings of the strategies; each strategy reads its own.
struct strategy_settings {
    double success_weight = 0.6;
    double freshness_weight = 0.3;
    double experience_weight = 0.1;
    nanoseconds freshness_limit = std::chrono::seconds(60);
    unknown_quota unknown = unknown_quota::median;
    friend bool operator==(const strategy_settings&, const strategy_settings&) = default;
};

// Time limits that replace the general ones; unset: general.
struct timeout_overrides {
    std::optional<nanoseconds> connect, tls, first_byte, first_token, between_chunks, total;
    friend bool operator==(const timeout_overrides&, const timeout_overrides&) = default;
};

// Where a provider tells what is left of a key, and where in its answer (JSON pointers). The
// defaults are the shape of OpenRouter's /key.
struct quota_source {
    std::string url;  // absolute, or a path behind the base URL; "" : it does not tell
    std::string remaining = "/data/limit_remaining";  // else allowance less used
    std::string allowance = "/data/limit";
    std::string used = "/data/usage";
    std::int64_t tokens_per_unit = 1;  // what one unit is worth beside other keys' quotas
    friend bool operator==(const quota_source&, const quota_source&) = default;
};
// Kind of the record of what was told, with the key's id.
inline constexpr std::string_view quota_kind = "key_quota";

struct group {
    std::string id;
    std::string name;
    std::int32_t priority = 0;  // tier: the lowest number with an eligible key wins
    std::string strategy = "round-robin";
    strategy_settings settings;
    std::string provider = "openai";
    std::string base_url;
    std::vector<std::string> models;  // globs; empty: every model
    disconnect_policy on_disconnect = disconnect_policy::cancel;
    bool include_usage = true;  // false: the server refuses stream_options.include_usage
    std::string egress_proxy;   // "" : none
    std::string tls_ca;         // path of a PEM file; "" : the system's
    timeout_overrides timeouts;
    std::vector<fault_rule> fault_rules;  // before the built-in table
    std::uint32_t multiplier_ppm = one_ppm;
    std::string organization;                 // replaces OpenAI-Organization; "" : header dropped
    std::string project;                      // replaces OpenAI-Project; "" : header dropped
    bool retry = true;                        // false: no retry inside the request
    bool automatic = true;                    // false: answers never change a key's state
    std::optional<std::uint32_t> max_leases;  // of each key at a time; unset: the settings'
    bool lease_raw = false;  // a lease hands out the upstream's own key, not an access key
    quota_source quota;
    std::optional<session_policy> sessions;       // unset: the settings'
    std::optional<nanoseconds> session_lifetime;  // since its last request; unset: the settings'
};

[[nodiscard]] std::string_view to_string(admin_status s) noexcept;
[[nodiscard]] std::string_view to_string(test_outcome t) noexcept;

// The record's JSON with the secret sealed under the key's id. Never log it all the same.
[[nodiscard]] std::string to_json(const upstream_key& key, const crypto::sealer& sealer);
// errc::invalid_argument names the field that is unknown, missing or out of range. A secret that
// does not open gives a key that is disabled with that reason and has no secret.
[[nodiscard]] result<upstream_key> key_from_json(std::string_view json,
                                                 const crypto::sealer& sealer);
[[nodiscard]] std::string to_json(const group& g);
[[nodiscard]] result<group> group_from_json(std::string_view json);

// "https://host:port" of a base URL in lower case: keys with the same one share a breaker.
[[nodiscard]] std::string host_of(std::string_view base_url);

}  // namespace kw::pool
