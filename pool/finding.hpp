// What was found out about a key's health, in the form that replicas and restarts share.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pool/key_state.hpp"

namespace kw::pool {

struct finding {
    key_status status = key_status::active;
    block_reason reason = block_reason::none;
    std::int64_t until = 0;   // as in key_state: mono ns, `forever` of what has no end, 0 of active
    std::uint32_t level = 0;  // of the next cooldown; not compared
    friend bool operator==(const finding& a, const finding& b) noexcept {
        return a.status == b.status && a.reason == b.reason && a.until == b.until;
    }
};

// A rest by the breaker of its host is each process' own affair: such a key counts as active.
// None while a person's word holds: that is in the key's record.
[[nodiscard]] std::optional<finding> finding_of(const key_state& s) noexcept;

// "cooling rate_limit 2"; without the time, which is told as a length.
[[nodiscard]] std::string to_text(const finding& f);
// None: not such a text. A cooldown without a rest, or with none left, gives an active key.
[[nodiscard]] std::optional<finding> parse_finding(std::string_view text,
                                                   std::optional<std::chrono::nanoseconds> rest,
                                                   mono_time now) noexcept;

}  // namespace kw::pool
