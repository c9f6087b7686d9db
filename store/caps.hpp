// Caps of upstream keys over all replicas: each replica holds a part of what a cap leaves and
// spends it by itself; the store sees to it that the parts never add up to more than the cap.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "store/store.hpp"

namespace kw::store {

enum class cap_unit : std::uint8_t { concurrent, requests_a_minute, tokens_a_minute, tokens_a_day };
inline constexpr std::size_t cap_units = 4;

// What a replica says of one cap and wants of it.
struct cap_ask {
    std::string key;  // id of the upstream key
    cap_unit unit = cap_unit::concurrent;
    std::int64_t cap = 0;
    std::int64_t used = 0;       // spent of what was held since the last answer; 0 of `concurrent`
    std::int64_t want = 0;       // to hold from now on
    std::int64_t in_use = 0;     // of that, what cannot be given back
    bool short_of = false;       // somebody was turned away for want of it
    std::int64_t day_start = 0;  // of `tokens_a_day`: spent before this cap was first asked for
};

struct cap_answer {
    std::int64_t held = 0;  // less than wanted if others hold the rest
    std::int64_t free = 0;  // of the cap, neither used nor held by anybody
};

struct cap_answers {
    std::uint32_t replicas = 1;  // that are alive
    std::uint32_t rank = 0;      // of this one among them
    // This replica was not known, or given up: what it held may belong to others by now.
    bool joined = false;
    std::vector<cap_answer> items;  // in the order of the asks
    // Caps that other replicas are short of: give back what is idle. A bounded part of them.
    std::vector<std::pair<std::string, cap_unit>> contested;
};

// A minute is any 60 seconds (up to five more are counted), a day is the UTC day; both by the
// board's clock. What a replica that died held of a minute or day counts as used, what it held of
// `concurrent` is free when its lease ends.
class cap_board {
  public:
    virtual ~cap_board() = default;
    // Makes the replica's lease last `lease` from now, and answers each ask. Blocks for at most the
    // call timeout. At most 200 asks.
    virtual result<cap_answers> ask(const std::string& replica, std::chrono::milliseconds lease,
                                    const std::vector<cap_ask>& asks) = 0;
    // The replica ends: all that it holds is free.
    virtual void leave(const std::string& replica) = 0;
};

// Of this process alone, in memory. The clock outlives it.
[[nodiscard]] std::unique_ptr<cap_board> make_embedded_caps(const clock_source& clock);
// errc::invalid_argument: a bad URL or CA file. The clock outlives it.
[[nodiscard]] result<std::unique_ptr<cap_board>> open_redis_caps(const redis_options& options,
                                                                 const clock_source& clock);

}  // namespace kw::store
