// The records as the admin API lists them: decoded once, then kept level with the store by its
// change feed, so that a list of many keys costs no decryption. Holds no secret.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/access_key.hpp"
#include "auth/admin_account.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "pool/upstream_key.hpp"
#include "store/store.hpp"

namespace kw::admin {

inline constexpr std::string_view key_kind = "upstream_key";
inline constexpr std::string_view group_kind = "group";
inline constexpr std::string_view default_group = "default";

struct key_entry {
    pool::upstream_key key;  // without its value
    std::string masked;      // of the value; "" if it does not open
    crypto::digest fingerprint{};
    std::uint64_t revision = 0;
};

struct group_entry {
    std::shared_ptr<const pool::group> group;
    std::uint64_t revision = 0;
    bool declared = false;  // not a record: changed where it is declared
};

// Control thread.
class catalogue {
  public:
    using declared_source = std::function<std::vector<std::shared_ptr<const pool::group>>()>;
    catalogue(store::store& store, const crypto::sealer& sealer, const secret& pepper,
              declared_source declared);

    // Takes over what changed. Blocks on the store; what was known stays if that fails.
    result<void> sync();

    // Of access keys that name no limits.
    void set_default_limits(auth::key_limits limits);

    // By id. Records that cannot be decoded are left out.
    using key_map = std::map<std::string, key_entry, std::less<>>;
    using access_key_map = std::map<std::string, auth::access_key, std::less<>>;
    using admin_map = std::map<std::string, auth::admin_account, std::less<>>;
    using token_map = std::map<std::string, auth::admin_token, std::less<>>;
    [[nodiscard]] const key_map& keys() const noexcept { return keys_; }
    [[nodiscard]] const access_key_map& access_keys() const noexcept { return access_keys_; }
    [[nodiscard]] const admin_map& admins() const noexcept { return admins_; }
    [[nodiscard]] const token_map& tokens() const noexcept { return tokens_; }
    [[nodiscard]] const key_entry* key(std::string_view id) const;
    [[nodiscard]] const auth::access_key* access_key(std::string_view id) const;
    // Stored and declared, in the order of their tiers.
    [[nodiscard]] std::vector<group_entry> groups() const;
    [[nodiscard]] std::optional<group_entry> group(std::string_view id) const;

    [[nodiscard]] crypto::digest fingerprint(const secret& value) const;
    // The key of this group with this value; "" when there is none.
    [[nodiscard]] std::string key_with(std::string_view group, const crypto::digest& value) const;

  private:
    void take(const store::change& c);
    void forget_key(std::string_view id);

    store::store& store_;
    const crypto::sealer& sealer_;
    const secret& pepper_;
    declared_source declared_;
    mutable std::unique_ptr<crypto::hmac_sha256> hash_;
    std::uint64_t revision_ = 0;
    key_map keys_;
    access_key_map access_keys_;
    auth::key_limits default_limits_;
    admin_map admins_;
    token_map tokens_;
    std::map<std::string, group_entry, std::less<>> groups_;
    std::map<std::pair<std::string, crypto::digest>, std::string> by_value_;
};

}  // namespace kw::admin
