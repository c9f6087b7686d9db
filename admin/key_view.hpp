// An upstream key as the admin API shows it: the record with what is alive about it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "admin/call.hpp"
#include "pool/key_state.hpp"

namespace kw::admin {

inline constexpr std::size_t status_count = 5;  // of pool::key_status

// Read at one moment; a key that is not in the pool yet shows its record.
struct live_key {
    pool::key_status status = pool::key_status::active;
    pool::block_reason block = pool::block_reason::none;
    std::optional<wall_time> until;
    std::optional<wall_time> paced_until;  // its upstream leaves nothing until then
    std::optional<wall_time> last_used;
    std::int32_t in_flight = 0;
    std::uint64_t uses = 0;
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
    std::int64_t tokens = 0;
    double success_rate = 1;
    bool tested = false;
};
[[nodiscard]] live_key look_at(const admin_services& services, const pool::upstream_key& key);

[[nodiscard]] std::string key_json(const admin_services& services, const key_entry& entry);

// How many keys are in which status, with their uses.
struct key_counts {
    std::array<std::size_t, status_count> by_status{};
    std::size_t total = 0;
    std::int64_t in_flight = 0;
    std::uint64_t uses = 0;
    std::int64_t tokens = 0;
    void add(const live_key& k) noexcept;
    // "total", "active", "cooling", … as members of the object that is open.
    void write(json_writer& w) const;
};

// Reads the status words of the API: those of key_status, and "enabled" for active.
[[nodiscard]] std::optional<pool::key_status> parse_status(std::string_view word);

}  // namespace kw::admin
