// What is alive about keys: a table of slots with atomics, beside the immutable snapshot. A slot
// belongs to one key (index + generation) from its first snapshot until the key is gone and its
// last exchange has ended; its memory is never freed before the table is.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace kw::pool {

enum class key_status : std::uint8_t { active, cooling, quarantined, banned, disabled };
enum class block_reason : std::uint8_t {
    none,
    rate_limit,
    upstream_fault,
    overload,
    credential,  // 401, 403 by rule
    quota,       // 402, insufficient_quota
    breaker,     // the host's, not the key's own fault
    admin,
};
[[nodiscard]] std::string_view to_string(key_status s) noexcept;
[[nodiscard]] std::string_view to_string(block_reason r) noexcept;

struct slot_id {
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t index = none;
    std::uint32_t generation = 0;
    [[nodiscard]] bool valid() const noexcept { return index != none; }
    friend bool operator==(slot_id, slot_id) = default;
};

inline constexpr std::int64_t forever = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t no_cap = std::numeric_limits<std::int64_t>::max() / 4;
// What a key was short of when it was asked for.
namespace cap_short {
inline constexpr std::uint32_t permits = 1;
inline constexpr std::uint32_t requests = 2;
inline constexpr std::uint32_t minute_tokens = 4;
inline constexpr std::uint32_t day_tokens = 8;
}  // namespace cap_short
inline constexpr std::int64_t unknown_amount = std::numeric_limits<std::int64_t>::min();

[[nodiscard]] inline std::int64_t mono_ns(mono_time t) noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

// One key's live state. The first cache line is all that selection reads. Any thread may read;
// `gate` and `blocked_until` are written by `health` only, under its lock; the rest with relaxed
// atomic operations by whoever holds a key_use.
struct alignas(64) key_state {
    // 0: eligible; else mono ns until which the key rests (`forever`: until something happens).
    std::atomic<std::int64_t> blocked_until{forever};
    std::atomic<std::int64_t> last_used{0};  // mono ns, strictly growing per worker
    // Tokens of the window with the estimates in flight, plus the start that a late joiner gets.
    std::atomic<std::int64_t> rank_tokens{0};
    std::atomic<std::int64_t> header_reset{0};  // mono ns; until then header_remaining holds
    // What the provider told when it was asked last, else the configured quota less tokens booked.
    std::atomic<std::int64_t> quota_left{unknown_amount};
    std::atomic<std::int32_t> header_remaining{0};  // tokens (requests × 1,000 when only these)
    std::atomic<std::int32_t> in_flight{0};
    std::atomic<std::int32_t> estimate_in_flight{0};  // tokens
    std::atomic<std::uint32_t> rank_uses{0};          // uses of the window, plus a joiner's start
    std::atomic<float> success{1.0F};                 // decaying success rate
    // status | tested << 8 | reason << 16 | paced << 24
    std::atomic<std::uint32_t> gate{0};

    // ---- second line and on: not read by selection
    alignas(64) std::atomic<std::uint64_t> uses{0};
    std::atomic<std::uint64_t> successes{0};
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::int64_t> tokens{0};
    std::atomic<std::int64_t> told_left{unknown_amount};  // by the provider, worth in tokens
    std::atomic<std::uint32_t> outcomes{0};               // recent ones, for the weight of the next
    std::atomic<std::uint32_t> consecutive_failures{0};
    std::atomic<std::int64_t> failure_window_start{0};  // mono ns
    std::atomic<std::uint32_t> level{0};                // of the next cooldown: doubles with each
    std::atomic<std::uint32_t> generation{0};
    std::atomic<std::uint32_t> host{0};  // index of the upstream's host in the table

    // ---- what this process holds of the key's caps; looked at for keys that have caps. Nothing
    // until it is leased; `no_cap` for what has none.
    alignas(64) std::atomic<std::int32_t> permits{0};  // exchanges in flight
    std::atomic<std::int64_t> requests_left{0};        // of the minute
    std::atomic<std::int64_t> minute_tokens_left{0};   // with the estimates in flight taken off
    std::atomic<std::int64_t> day_tokens_left{0};      // likewise
    std::atomic<std::uint32_t> short_of{0};            // cap_short bits, set by selection

    // cap_short bits of what nobody has any more of: it is back with time only, not with the next
    // lease.
    std::atomic<std::uint32_t> drained{0};

    // ---- what the upstream's own headers leave until its windows end, less what was sent since;
    // looked at while the gate says so. An end that has passed: not known, anything goes.
    alignas(64) std::atomic<std::int64_t> pace_requests_end{0};  // mono ns
    std::atomic<std::int64_t> pace_tokens_end{0};
    std::atomic<std::int64_t> pace_requests{0};
    std::atomic<std::int64_t> pace_tokens{0};
    // Sent since the window of requests ended: the next one's first answer may not count them.
    std::atomic<std::int64_t> pace_unknown{0};

    [[nodiscard]] bool paced() const noexcept {
        return (gate.load(std::memory_order_relaxed) & 0x1000000U) != 0;
    }
    // When one more request is worth a try; 0: now.
    [[nodiscard]] std::int64_t paced_until(std::int64_t now) const noexcept;
    // Takes one request and the estimate, or nothing. `window` is set to the end of the window
    // that the estimate was taken off, 0 where none is known.
    [[nodiscard]] bool take_pace(std::int64_t now, std::int32_t estimate,
                                 std::int64_t& window) noexcept;

    // Whether one more exchange fits into what is held, and if not, what is short.
    [[nodiscard]] std::uint32_t lacks(std::int32_t flying) const noexcept;
    // Takes one request and the estimate, or nothing. `in_flight` has been counted already; it was
    // `flying` before.
    [[nodiscard]] bool take_caps(std::int32_t flying, std::int32_t estimate) noexcept;
    [[nodiscard]] key_status status() const noexcept {
        return static_cast<key_status>(gate.load(std::memory_order_relaxed) & 0xffU);
    }
    [[nodiscard]] bool tested() const noexcept {
        return (gate.load(std::memory_order_relaxed) & 0x100U) != 0;
    }
    [[nodiscard]] block_reason reason() const noexcept {
        return static_cast<block_reason>((gate.load(std::memory_order_relaxed) >> 16U) & 0xffU);
    }
    // Keeps `tested` and `paced`. Under health's lock (or before the slot is published).
    void set_gate(key_status s, block_reason r, std::int64_t until) noexcept;
};

// Counts one exchange on a key: in flight from the pick to its end, tokens settled exactly once.
// Movable, not copyable; of the thread that picked. The state outlives it (table rule).
class key_use {
  public:
    key_use() = default;
    // `capped`: the estimate was taken off the key's caps; `pace_window`: and off what its
    // upstream's headers leave in that window.
    key_use(key_state& state, std::int32_t estimate, bool capped = false,
            std::int64_t pace_window = 0) noexcept
        : state_(&state), pace_window_(pace_window), estimate_(estimate), capped_(capped) {}
    key_use(key_use&& o) noexcept
        : state_(std::exchange(o.state_, nullptr)),
          pace_window_(o.pace_window_),
          estimate_(o.estimate_),
          capped_(o.capped_) {}
    key_use& operator=(key_use&& o) noexcept {
        if (this != &o) {
            end(0);
            state_ = std::exchange(o.state_, nullptr);
            pace_window_ = o.pace_window_;
            estimate_ = o.estimate_;
            capped_ = o.capped_;
        }
        return *this;
    }
    ~key_use() { end(0); }

    // Ends the use and books the tokens that it really cost. A second call does nothing.
    void settle(std::int64_t tokens) noexcept { end(tokens); }
    [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

  private:
    void end(std::int64_t tokens) noexcept;
    key_state* state_ = nullptr;
    std::int64_t pace_window_ = 0;
    std::int32_t estimate_ = 0;
    bool capped_ = false;
};

// A shared round-robin position; see ring in pool_view.hpp.
struct alignas(64) ring_cursor {
    std::atomic<std::uint64_t> next{0};
    // The ring that used it last, so that a new ring can go on after the key served last.
    // Under state_table's lock.
    std::string ids;       // each with a line feed behind it
    std::size_t size = 0;  // how many
    std::uint64_t base = 0;
    std::uint64_t offset = 0;
};

// All slots. Adding, freeing, rolling and restoring: the control thread. Reading a state by its
// slot: any thread. At most 1,048,576 slots.
class state_table {
  public:
    state_table();
    ~state_table();
    state_table(const state_table&) = delete;
    state_table& operator=(const state_table&) = delete;

    // The slot of this key, made when there is none. Control thread.
    slot_id acquire(const std::string& key_id);
    // The key is gone: its slot may be reused once nothing is in flight on it. Control thread.
    void release(const std::string& key_id);
    [[nodiscard]] std::optional<slot_id> find(const std::string& key_id) const;
    // "" for a slot that is free or of another generation.
    [[nodiscard]] std::string key_id(slot_id slot) const;
    [[nodiscard]] std::vector<std::pair<std::string, slot_id>> all() const;
    // Grows with every slot that is given to a key or taken from it.
    [[nodiscard]] std::uint64_t changes() const;

    // Null when the slot is of another generation: the key that was meant is gone.
    [[nodiscard]] key_state* get(slot_id slot) noexcept;
    [[nodiscard]] const key_state* get(slot_id slot) const noexcept;

    // Every slot that has a key, under the table's lock: `see` must not call the table.
    void for_each(const std::function<void(slot_id, key_state&)>& see);

    // Index of a host, made when new. Control thread.
    std::uint32_t host_index(const std::string& host);
    [[nodiscard]] std::string host_name(std::uint32_t index) const;

    // The round-robin position of a set of keys of a group, under the caller's name for it.
    ring_cursor& cursor(const std::string& name);
    // Guards the cold parts of the cursors.
    [[nodiscard]] std::mutex& ring_mutex() noexcept { return ring_mutex_; }

    // Starts new windows when the UTC day has changed since the last call. Control thread.
    void roll_windows(wall_time now);

    // Grows whenever a key becomes eligible by other means than the passing of time.
    [[nodiscard]] std::uint64_t epoch() const noexcept {
        return epoch_.load(std::memory_order_acquire);
    }
    void bump_epoch() noexcept { epoch_.fetch_add(1, std::memory_order_release); }

  private:
    struct impl;
    static constexpr std::size_t chunk_size = 1024;
    static constexpr std::size_t max_chunks = 1024;
    std::array<std::atomic<key_state*>, max_chunks> chunks_{};
    std::unique_ptr<impl> impl_;
    std::mutex ring_mutex_;
    std::atomic<std::uint64_t> epoch_{0};
};

}  // namespace kw::pool
