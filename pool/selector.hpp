// Chooses the upstream key of a request: tiers, eligibility, the group's strategy. One selector per
// worker, used by that worker only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "pool/pool_view.hpp"

namespace kw::pool {

struct pick_request {
    std::string_view model;          // "" : the endpoint has none; every key will do
    std::string_view provider;       // "" : any; else only keys of this provider
    std::string_view bound_group;    // the access key's binding; "" : none
    std::string_view bound_key;      // id of the only key allowed; "" : none
    std::string_view only_group;     // of `model@group`; "" : none
    std::span<const slot_id> tried;  // never again in this request
    // With restricted: only these keys, whatever the strategy says; the idlest of them.
    std::span<const account_member> only;
    bool restricted = false;
    // The key that serves the client's session, if its group lets sessions of this kind have one.
    std::uint32_t session_slot = slot_id::none;
    session_policy session = session_policy::off;
    session_policy sessions = session_policy::off;  // of groups that name no policy
    std::int32_t estimated_tokens = 0;
    mono_time now{};
    bool strict = false;  // only the first tier that serves the model, no fall to the next
    // For a fallback model: when no other key is left, take one that rests (cooling, not worse).
    // Limits and overloads are mostly those of one model, not of the key.
    bool resting_too = false;
};

// Pointers are good as long as the view; hold `member_of->key` and the group's pointer to let the
// view go.
struct picked {
    const upstream_key* key = nullptr;
    const group* of = nullptr;
    const member* member_of = nullptr;
    const group_view* tier = nullptr;
    slot_id slot;
    bool resting = false;  // what it answers says nothing about why it rests
    key_use use;           // counts as in flight until settled or destroyed

    // As which account the upstream is asked: the key's own where it names any, else the group's.
    [[nodiscard]] const std::string& organization() const noexcept {
        return names_account() ? key->organization : of->organization;
    }
    [[nodiscard]] const std::string& project() const noexcept {
        return names_account() ? key->project : of->project;
    }

  private:
    [[nodiscard]] bool names_account() const noexcept {
        return !key->organization.empty() || !key->project.empty();
    }
};

// model_not_served (nobody has it at all), no_upstream_key, upstream_keys_rate_limited (every key
// that could serve rests because of rate limits: with the earliest return), bound_key_unavailable.
struct refusal {
    errc code = errc::no_upstream_key;
    std::chrono::nanoseconds retry_after{};  // 0: not known
};
[[noreturn]] void throw_exception_from_error(const refusal& r, const boost::source_location& loc);

using pick_result = boost::system::result<picked, refusal>;

class selector {
  public:
    // The random source decides samples and the random strategy; seed it in tests.
    selector(state_table& states, random_source random);
    ~selector();
    selector(selector&&) noexcept;
    selector& operator=(selector&&) noexcept;

    // No lock, no allocation once a model is known to this worker.
    [[nodiscard]] pick_result pick(const pool_view& view, const pick_request& request);
    // Whether another key could be picked now, without taking it.
    [[nodiscard]] bool can_pick(const pool_view& view, const pick_request& request);

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::pool
