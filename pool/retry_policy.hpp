// Whether and how a failed try is followed by another: one pure decision, made after each try.
#pragma once

#include <chrono>
#include <cstdint>

#include "pool/fault_policy.hpp"

namespace kw::pool {

struct retry_settings {
    bool enabled = true;
    std::uint16_t retries_per_model = 3;  // after the first try
    std::uint16_t tries_in_all = 6;
    nanoseconds longest_wait = std::chrono::seconds(5);       // inside a request
    nanoseconds plain_wait = std::chrono::milliseconds(250);  // same key, no Retry-After; doubles
};

struct exchange_state {
    std::uint16_t tries_on_model = 1;  // including the one that just ended
    std::uint16_t tries_in_all = 1;
    bool bytes_sent_downstream = false;
    bool other_key_available = false;  // on this model, not tried yet
    bool same_key_usable = true;       // selection would give this key now or after the wait
    bool fallback_available = false;   // the alias has another model and its condition holds
    bool body_replayable = true;       // false: streamed through, nothing to send again
    nanoseconds time_left = nanoseconds::max();  // to the exchange's total limit
};

enum class retry_step : std::uint8_t {
    give_up,           // the answer (or our error) goes to the client
    other_key,         // at once
    same_key_after,    // after `wait`
    fallback_model,    // at once
    fresh_connection,  // same key, new connection: not counted as a retry
};

struct retry_decision {
    retry_step step = retry_step::give_up;
    nanoseconds wait{};
    friend bool operator==(const retry_decision&, const retry_decision&) = default;
};

// `v` is the verdict on the try that just ended, `r` what was seen of it.
[[nodiscard]] retry_decision would_retry(const exchange_state& x, const upstream_result& r,
                                         const verdict& v, const retry_settings& s = {});

}  // namespace kw::pool
