// What an upstream's answer (or the lack of one) says about the key that was used: a table of
// rules as data, applied by a pure function. Nothing here keeps state; any thread may call it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace kw::pool {

using std::chrono::nanoseconds;

enum class fault_action : std::uint8_t {
    pass,        // hand the answer to the client, the key is as before
    cooldown,    // the key rests for a time
    quarantine,  // the key rests until a test passes
    ban,         // the key is out; it is tested again with growing pauses
    failover,    // try elsewhere, the key is as before
};

// Whose fault it was. Only `key`, `account` and `upstream` may change a key's state.
enum class fault_class : std::uint8_t { none, key, account, model, network, request, upstream };

// How an exchange with the upstream broke, when there is no complete answer.
enum class transport_failure : std::uint8_t {
    none,
    dns,
    connect,
    connect_timeout,
    tls,
    tls_timeout,
    egress_proxy,
    stale_connection,     // a kept-alive connection was closed before any response byte
    reset,                // a fresh connection was closed before any response byte
    first_byte_timeout,   // connected, sent, and silence
    first_token_timeout,  // a head came, but no first event in time
    idle_timeout,         // the body stalled
    total_timeout,
    malformed,   // not HTTP, or broken framing
    stream_cut,  // the body broke off
};

[[nodiscard]] std::string_view to_string(fault_action a) noexcept;
[[nodiscard]] std::string_view to_string(fault_class c) noexcept;
[[nodiscard]] std::string_view to_string(transport_failure t) noexcept;
[[nodiscard]] std::optional<fault_action> parse_fault_action(std::string_view name) noexcept;
[[nodiscard]] std::optional<fault_class> parse_fault_class(std::string_view name) noexcept;
[[nodiscard]] std::optional<transport_failure> parse_transport_failure(
    std::string_view name) noexcept;
// errc::ok for `none`.
[[nodiscard]] errc to_errc(transport_failure t) noexcept;

// What the rate-limit headers of an answer say. Durations count from the answer's arrival.
struct limit_hints {
    std::optional<nanoseconds> retry_after;  // Retry-After, retry-after-ms
    std::optional<std::int64_t> remaining_requests;
    std::optional<std::int64_t> remaining_tokens;
    std::optional<nanoseconds> reset_requests;
    std::optional<nanoseconds> reset_tokens;
    std::optional<bool> should_retry;  // x-should-retry
};

// Offers one response header (name in lower case) to the hints; false: not one of ours or not
// readable. Understands retry-after, retry-after-ms, x-should-retry, x-ratelimit-{remaining,reset}-
// {requests,tokens} and their anthropic-ratelimit-… forms.
bool read_limit_header(limit_hints& hints, std::string_view name, std::string_view value,
                       wall_time now) noexcept;

// "6ms", "1m2s", "1.5s", "30" (seconds), an HTTP date or an RFC 3339 time (both against `now`,
// never negative). Longer than 31 days is cut to that. nullopt: none of these.
[[nodiscard]] std::optional<nanoseconds> parse_wait(std::string_view text, wall_time now) noexcept;

// The error object of an answer, found in a prefix of its body that may be cut anywhere.
// The texts are the upstream's: for matching, never for logs.
struct error_details {
    std::string code;
    std::string type;
    std::string message;  // at most 512 bytes
};
[[nodiscard]] error_details read_error_body(std::string_view prefix);

// One row of the table. An empty field matches everything; all that are set must match.
struct fault_rule {
    std::uint16_t status_from = 0;  // 0 with status_to 0: any status
    std::uint16_t status_to = 0;    // 0: same as status_from
    transport_failure transport = transport_failure::none;
    std::string code;     // error code or type, whole text; `*` as in globs
    std::string message;  // a glob on the message, without case: "*quota*"
    fault_action action = fault_action::pass;
    fault_class fault = fault_class::none;
    // Length of a cooldown; unset: by Retry-After / reset headers, else `policy_settings`.
    std::optional<nanoseconds> duration;
    bool after_threshold = false;  // counts as one failure; acts when the threshold is reached
    bool retry = false;            // worth another key
    bool fallback = false;         // worth another model when there is no key left
    friend bool operator==(const fault_rule&, const fault_rule&) = default;
};

// Settings of the policy; each also exists per group (rules there come first).
struct policy_settings {
    bool ban_402 = true;    // false: 402 quarantines
    bool ban_401 = false;   // false: 401 quarantines until a test passes
    bool automatic = true;  // false: no answer changes a key's state
    nanoseconds rate_limit_cooldown = std::chrono::seconds(60);
    nanoseconds upstream_cooldown = std::chrono::seconds(5);  // after the threshold; at most 15 s
    nanoseconds overload_cooldown = std::chrono::seconds(5);  // 529
};

// What is known of one try. The views live as long as the caller's head and body buffers.
struct upstream_result {
    std::uint16_t status = 0;  // 0: no head came
    transport_failure transport = transport_failure::none;
    std::string_view code;
    std::string_view type;
    std::string_view message;
    limit_hints hints;
};

struct verdict {
    fault_action action = fault_action::pass;
    fault_class fault = fault_class::none;
    errc reason = errc::ok;       // for transport failures; else ok
    std::uint16_t status = 0;     // the upstream's
    nanoseconds duration{};       // cooldown: its base length
    bool exact_duration = false;  // told by the upstream: does not grow
    bool rate_limited = false;    // counts as "rate-limited" when all keys are out
    bool after_threshold = false;
    bool retry = false;                      // another key may do better
    bool fallback = false;                   // another model may do better
    bool success = false;                    // 2xx or 3xx head
    std::optional<nanoseconds> retry_after;  // the upstream's own word
};

// The built-in table, in order of precedence.
[[nodiscard]] std::span<const fault_rule> default_rules();

// First match in `overrides`, then in the built-in table; no match: pass. Pure.
[[nodiscard]] verdict classify(const upstream_result& r, std::span<const fault_rule> overrides = {},
                               const policy_settings& settings = {});

}  // namespace kw::pool
