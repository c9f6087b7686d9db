// Turns verdicts into key states: thresholds, growing cooldowns, quarantine and bans with tests
// that bring keys back, and the guard against blaming keys for their host's failure. Does no I/O:
// what others must do or know comes out as events.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "pool/fault_policy.hpp"
#include "pool/finding.hpp"
#include "pool/key_state.hpp"

namespace kw::pool {

struct health_settings {
    std::uint32_t threshold = 3;  // consecutive failures in `window`
    nanoseconds window = std::chrono::seconds(60);
    nanoseconds longest_upstream_cooldown = std::chrono::seconds(25);
    nanoseconds longest_overload_cooldown = std::chrono::seconds(60);
    nanoseconds longest_rate_limit_cooldown = std::chrono::minutes(15);
    nanoseconds first_probe = std::chrono::seconds(30);   // after quarantine; doubles
    nanoseconds first_retest = std::chrono::minutes(15);  // after a ban; doubles
    nanoseconds longest_probe_pause = std::chrono::hours(6);
    nanoseconds probe_timeout = std::chrono::seconds(60);  // then its result is not awaited
    // Guard: more than half of a host's usable keys (at least `guard_keys`) fail alike within
    // `guard_window`.
    std::uint32_t guard_keys = 2;
    nanoseconds guard_window = std::chrono::seconds(5);
    nanoseconds breaker_pause = std::chrono::seconds(5);  // doubles
    nanoseconds longest_breaker_pause = std::chrono::seconds(25);
    bool pacing = true;             // keys slow down by their upstream's headers
    std::size_t max_events = 4096;  // then the oldest goes
};

struct health_event {
    enum class kind_t : std::uint8_t { state_changed, breaker_opened, breaker_closed };
    kind_t kind = kind_t::state_changed;
    slot_id slot;        // state_changed
    std::string key_id;  // state_changed
    std::string host;    // breaker events: the host, for one alert
    key_status from = key_status::active;
    key_status to = key_status::active;
    block_reason reason = block_reason::none;
    std::uint16_t status = 0;        // the upstream's answer that led to it; 0: none
    std::optional<wall_time> until;  // cooling
    bool firm = false;               // a person's word or a passed test, not an answer
};

enum class probe_outcome : std::uint8_t {
    passed,        // 200
    failed,        // 401, 402
    inconclusive,  // time-out, 429, 5xx: nothing changes but the next date
};

// Any thread may call; a failure takes one short lock, a success takes none unless the key was not
// active.
class health {
  public:
    health(state_table& states, health_settings settings = {});
    ~health();

    // Other settings from now on; waits that run already end when they would have.
    void set_settings(const health_settings& settings);

    // A 2xx/3xx head came: ends probation and failures, brings a cooling key back. Books nothing.
    void on_success(slot_id slot, mono_time now, wall_time wall);
    // Applies the verdict (of a success too). A slot whose key is gone is ignored.
    void apply(slot_id slot, const verdict& v, mono_time now, wall_time wall);
    // Rate-limit headers of any answer: what remains, and a rest when nothing does. The exchange
    // that it answers is still in flight.
    void observe_limits(slot_id slot, const limit_hints& hints, mono_time now, wall_time wall);

    // By a person: active, disabled or banned; clears counts. `active` also ends a cooldown.
    void set_status(slot_id slot, key_status status, mono_time now, wall_time wall);

    // Takes over what another replica (or this one before its restart) found out, unless the key's
    // state is no longer what the caller saw: then false, and nothing is done. A person's word in
    // the record stands, and so does the longer rest of an open breaker. `late`: whoever found it
    // out tests the key as well, so this process waits twice as long before its first test.
    // Emits no event.
    bool adopt(slot_id slot, const finding& seen, const finding& theirs, bool late, mono_time now);

    // Control thread, every second or so: confirms withheld bans, decays success rates.
    void tick(mono_time now, wall_time wall);
    // Keys whose test is due, at most one per host and one at a time per key. Each must be answered
    // by on_probe_result.
    [[nodiscard]] std::vector<slot_id> due_probes(mono_time now);
    void on_probe_result(slot_id slot, probe_outcome outcome, mono_time now, wall_time wall);
    // Whether a breaker is open for the key's host.
    [[nodiscard]] bool breaker_open(slot_id slot) const;

    // Takes all events.
    [[nodiscard]] std::vector<health_event> drain();
    [[nodiscard]] std::uint64_t dropped_events() const noexcept;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::pool
