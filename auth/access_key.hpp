// The record of an access key: what a client of keywheel presents, without its text.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/key_limits.hpp"
#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "net/address.hpp"
#include "store/types.hpp"

namespace kw::auth {

inline constexpr std::string_view access_key_kind = "access_key";
// May take leases of upstream keys.
inline constexpr std::string_view permission_lease = "lease";

// What few keys have, and what many have alike.
struct key_options {
    std::string owner_name;
    std::string owner_email;
    std::vector<std::string> tags;
    std::vector<std::string> models_allow;   // patterns; empty: all
    std::vector<std::string> models_deny;    // patterns; win over models_allow
    std::vector<std::string> endpoints;      // families ("chat", "files", …); empty: all
    std::string group;                       // bound to this group's id; "": not bound
    std::string upstream_key;                // bound to this one upstream key's id; "": not bound
    std::vector<std::string> clients_allow;  // User-Agent patterns; empty: all
    std::vector<net::cidr> ips_allow;        // client addresses; empty: all
    std::vector<std::string> origins_allow;  // of browsers' pages, of those allowed; empty: all
    // Of the text before the last one, which opens the door for some time yet.
    std::optional<crypto::digest> earlier_hash;
    wall_time earlier_until{};
    std::chrono::seconds expires_after{0};  // from the first use, which sets expires_at; 0: not
    // Of requests that wait for a slot, instead of the settings' own; a size of 0: none waits.
    std::optional<std::int64_t> queue_size;
    std::optional<std::chrono::seconds> queue_timeout;
    std::vector<std::string> permissions;  // beyond requests: permission_lease
    // Handed out by a lease: its id, and the hash of the access key that took it, by whose rules
    // and limits this one goes and to whom its use is booked.
    std::string lease;
    std::optional<crypto::digest> holder;

    friend bool operator==(const key_options&, const key_options&) = default;
};

// One pointer in each key, shared by the key's copies. A value; not written through.
class shared_options {
  public:
    [[nodiscard]] explicit operator bool() const noexcept { return held_ != nullptr; }
    [[nodiscard]] const key_options* operator->() const noexcept {
        static const key_options none;
        return held_ ? held_.get() : &none;
    }
    [[nodiscard]] const key_options& operator*() const noexcept { return *operator->(); }
    // A copy of one's own.
    [[nodiscard]] key_options& edit();

    friend bool operator==(const shared_options& a, const shared_options& b) noexcept {
        return *a.operator->() == *b.operator->();
    }

  private:
    std::shared_ptr<const key_options> held_;
};

// A plain value; inside a key_table it never changes and any thread may read it.
struct access_key {
    std::string id;         // "ak_…"
    bool disabled = false;  // these lie near the id for those who pass by a million keys
    bool deleted = false;   // can be restored; until then unknown to clients
    bool declared = false;  // from environment or file, not from the API
    shared_options options;
    std::string name;
    std::string description;
    crypto::digest hash{};  // HMAC-SHA-256 of the text under the pepper
    std::string masked;     // for lists: "sk-…wxyz"
    wall_time created{};
    std::optional<wall_time> expires_at;
    key_limits limits;
    std::int64_t multiplier_ppm = 1'000'000;  // of the rated cost
    std::uint64_t revision = 0;               // of the stored record; not part of the JSON

    friend bool operator==(const access_key&, const access_key&) = default;
};

// Lets equal options and limits of many keys be one in memory. One thread.
class common_parts {
  public:
    void share(access_key& key);

  private:
    std::unordered_map<std::string, shared_options> options_;  // by their JSON
    std::unordered_map<std::string, key_limits> limits_;
};

// The record for the store (kind access_key_kind). Fields at their default are left out.
[[nodiscard]] store::record to_record(const access_key& key);
// errc::invalid_argument names the field that is unknown, missing or malformed.
[[nodiscard]] result<access_key> access_key_from(const store::record& record);

// By the deny list first, then the allow list.
[[nodiscard]] bool may_use_model(const access_key& key, std::string_view model) noexcept;
[[nodiscard]] bool may_use_endpoint(const access_key& key, std::string_view family) noexcept;
[[nodiscard]] bool may_call_with(const access_key& key, std::string_view user_agent) noexcept;
// origin: "" where no browser's page calls.
[[nodiscard]] bool may_call_from_page(const access_key& key, std::string_view origin) noexcept;
[[nodiscard]] bool may_call_from(const access_key& key, const net::ip_address& client) noexcept;
[[nodiscard]] bool has_permission(const access_key& key, std::string_view permission) noexcept;
[[nodiscard]] inline bool is_leased(const access_key& key) noexcept {
    return key.options && key.options->holder.has_value();
}
// Its time begins with the use that finds it so.
[[nodiscard]] inline bool starts_at_first_use(const access_key& key) noexcept {
    return !key.expires_at && key.options && key.options->expires_after.count() > 0;
}
[[nodiscard]] inline bool expired(const access_key& key, wall_time now) noexcept {
    return key.expires_at && *key.expires_at <= now;
}

}  // namespace kw::auth
