// Whether an access key may send one more request: one atomic step over its windows, budgets and
// concurrency, with the same meaning in memory and in Redis.
//
// admit() reserves an estimate and takes a lease; renew() keeps the lease while the answer streams;
// release() gives the lease back; settle() puts the real amounts in the estimate's place, in the
// window and period in which the request was admitted. A lease that is not renewed expires: its
// slot is free again and its reservation stays counted, until a late settle() corrects it.
// Everything is idempotent by ledger id: what is sent twice, or late, counts once.
//
// Where limits are of requests alone (limit_set::counts_only) an admission is all there is to book:
// it takes no lease, so it is no part of `leases`, also of those of a cap on concurrency that the
// access key is given while it runs, and it needs no settle() but to be taken back. Its id is known
// as long as that of a settled one, and as long as it is renewed.
#pragma once

#include <atomic>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/money.hpp"
#include "store/limits.hpp"

namespace kw::net {
class loop;
}

namespace kw::store {

struct redis_options;

// Negative amounts count as 0; amounts are cut at 10^15, so that no sum overflows.
struct amounts {
    std::int64_t requests = 1;
    std::int64_t tokens = 0;
    nanodollars cost = 0;

    friend bool operator==(const amounts&, const amounts&) = default;
};

struct admit_request {
    std::string ledger_id;
    std::string access_key_id;
    std::shared_ptr<const limit_set> limits;  // never null
    amounts reservation;
    // False: the real amounts may be larger than the reservation. Near the cap of a budget of
    // tokens or cost (a tenth of it left, or ten such reservations) such requests of an access key
    // run one at a time.
    bool bounded = true;
    std::chrono::milliseconds lease_ttl{15'000};
};

struct limit_state {
    std::int64_t used = 0;  // the reservations of what is under way included
    std::int64_t cap = 0;
    // Until nothing of it counts any more. 0: nothing does, or it never ends (total budgets,
    // concurrency).
    std::chrono::milliseconds reset_in{0};

    [[nodiscard]] std::int64_t remaining() const noexcept { return cap > used ? cap - used : 0; }
    friend bool operator==(const limit_state&, const limit_state&) = default;
};

struct admit_answer {
    enum class outcome : std::uint8_t {
        admitted,
        refused,      // by the limit `refused_by`
        waits,        // by `refused_by`: another request without a bound is under way
        unavailable,  // the store is away and the policy is to refuse
    };
    outcome is = outcome::unavailable;
    // Decided by this replica's share of the limits, as the store is away.
    bool local = false;
    std::size_t refused_by = 0;  // index into limits->items()
    // Refused: until that limit lets one more through if nothing else comes; 0: not known
    // (concurrency, total budgets).
    std::chrono::milliseconds retry_in{0};
    // One for each of limits->items(), in that order, as they are after this step.
    std::vector<limit_state> states;

    [[nodiscard]] bool admitted() const noexcept { return is == outcome::admitted; }
};
using admit_completion = std::function<void(admit_answer)>;

struct lease_ref {
    std::string access_key_id;
    std::string ledger_id;
    friend auto operator<=>(const lease_ref&, const lease_ref&) = default;
};

struct usage_question {
    std::string access_key_id;
    std::shared_ptr<const limit_set> limits;
};
struct usage_answer {
    bool known = false;  // false: the store is away; `states` is what was last seen, or empty
    // One for each of limits->items(), in that order.
    std::vector<limit_state> states;
    std::int64_t leases = 0;  // under way, whether there is a limit of them or not
};
// One answer for each question, in order.
using usage_completion = std::function<void(std::vector<usage_answer>)>;

struct admission_health {
    bool up = true;
    std::uint64_t replicas = 1;           // live ones at the last contact, this one included
    std::uint64_t decided = 0;            // by the store
    std::uint64_t local = 0;              // by this replica's share
    std::uint64_t waiting = 0;            // steps not yet confirmed by the store
    std::uint64_t dropped = 0;            // steps given up because too many waited
    std::chrono::microseconds latency{};  // of the last round trip
    std::string reason;                   // why it is down, without secrets
};

// Any thread may call anything, event loops included: no call waits for a socket or a disk.
// Completions run exactly once: at once on the caller's thread where the answer is in memory, else
// on the store's own thread, where they must be short and must not throw. Steps of one access key
// made by one thread take effect in the order in which they were made.
class admission {
  public:
    virtual ~admission() = default;
    admission() = default;
    admission(const admission&) = delete;
    admission& operator=(const admission&) = delete;

    // A ledger id that was admitted before is admitted again and counted once.
    virtual void admit(const admit_request& request, admit_completion done) = 0;
    // Replaces the reservation by what was really used, and ends the lease. Nothing happens for an
    // id that is not known (settled long ago, or never admitted). `requests` is 0 for a request
    // that shall not have counted.
    virtual void settle(const lease_ref& which, const amounts& real) = 0;
    // The slot is free; the reservation stays until settle().
    virtual void release(const lease_ref& which) = 0;
    // The leases hold for `ttl` from now. One that had expired holds again: its request is still
    // there, even if that makes more than the cap for a while.
    virtual void renew(const std::vector<lease_ref>& which, std::chrono::milliseconds ttl) = 0;
    virtual void peek(const std::vector<usage_question>& questions, usage_completion done) = 0;
    // What a budget had used in the current period before it was counted here. Ignored where
    // something is counted already.
    virtual void preload(const std::string& access_key_id, const limit& budget,
                         std::int64_t used) = 0;
    // Everything that is counted for an access key, leases included.
    virtual void forget(const std::string& access_key_id) = 0;
    // Frees the memory of what has expired; call it every few seconds. Limits hold without it.
    virtual void sweep() = 0;
    [[nodiscard]] virtual admission_health health() const = 0;

    // The same admission for one loop's thread alone, which also runs the completions; ends before
    // the loop and before this object. Null: nothing would be gained, use this object.
    [[nodiscard]] virtual std::unique_ptr<admission> lane(net::loop&) { return nullptr; }
};

struct admission_options {
    // A settled or merely counted id is remembered this long, so that a late repetition is
    // recognised.
    std::chrono::milliseconds keep_settled{60'000};
    // An expired reservation can be corrected this long.
    std::chrono::milliseconds keep_expired{3'600'000};

    // Redis only, from here on.
    std::chrono::milliseconds call_timeout{500};  // then this replica's share decides
    std::size_t max_waiting = 65'536;             // steps kept for a store that is away
    bool refuse_when_away = false;                // instead of this replica's share
    std::string replica_id;                       // unique; "": made up
    // Tests: added to Redis' clock; and, if not 0, in its place.
    std::chrono::milliseconds time_offset{0};
    const std::atomic<std::int64_t>* fixed_time_ms = nullptr;
};

// In memory: windows begin anew with the process, budgets come by preload(). The clock outlives it.
[[nodiscard]] std::unique_ptr<admission> make_embedded_admission(const admission_options& options,
                                                                 const clock_source& clock);
// One connection and one thread of its own; tries to connect for at most the connect timeout.
// errc::invalid_argument: a bad URL or CA file. The clock outlives it; only its mono() is read.
[[nodiscard]] result<std::unique_ptr<admission>> open_redis_admission(
    const redis_options& redis, const admission_options& options, const clock_source& clock);

}  // namespace kw::store
