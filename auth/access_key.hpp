// The record of an access key: what a client of keywheel presents, without its text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/key_limits.hpp"
#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "store/types.hpp"

namespace kw::auth {

inline constexpr std::string_view access_key_kind = "access_key";

// A plain value; inside a key_table it never changes and any thread may read it.
struct access_key {
    std::string id;  // "ak_…"
    std::string name;
    std::string description;
    std::string owner_name;
    std::string owner_email;
    std::vector<std::string> tags;
    crypto::digest hash{};  // HMAC-SHA-256 of the text under the pepper
    std::string masked;     // for lists: "sk-…wxyz"
    wall_time created{};
    std::optional<wall_time> expires_at;
    bool disabled = false;
    bool deleted = false;                   // can be restored; until then unknown to clients
    bool declared = false;                  // from environment or file, not from the API
    std::vector<std::string> models_allow;  // patterns; empty: all
    std::vector<std::string> models_deny;   // patterns; win over models_allow
    std::vector<std::string> endpoints;     // families ("chat", "files", …); empty: all
    std::string group;                      // bound to this group's id; "": not bound
    std::string upstream_key;               // bound to this one upstream key's id; "": not bound
    key_limits limits;
    std::int64_t multiplier_ppm = 1'000'000;  // of the rated cost
    std::uint64_t revision = 0;               // of the stored record; not part of the JSON

    friend bool operator==(const access_key&, const access_key&) = default;
};

// The record for the store (kind access_key_kind). Fields at their default are left out.
[[nodiscard]] store::record to_record(const access_key& key);
// errc::invalid_argument names the field that is unknown, missing or malformed.
[[nodiscard]] result<access_key> access_key_from(const store::record& record);

// By the deny list first, then the allow list.
[[nodiscard]] bool may_use_model(const access_key& key, std::string_view model) noexcept;
[[nodiscard]] bool may_use_endpoint(const access_key& key, std::string_view family) noexcept;
[[nodiscard]] inline bool expired(const access_key& key, wall_time now) noexcept {
    return key.expires_at && *key.expires_at <= now;
}

}  // namespace kw::auth
