// The records as the admin API lists them: decoded once, then kept level with the store by its
// change feed, so that a list of many keys costs no decryption. Holds no secret. Access keys, of
// which there may be a million, are those that the rest of the process uses.
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

#include "auth/admin_account.hpp"
#include "auth/key_book.hpp"
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
    struct sources {
        store::store& store;
        const crypto::sealer& sealer;
        const secret& pepper;
        std::function<std::vector<std::shared_ptr<const pool::group>>()> declared;
        const auth::key_book& access_keys;
        std::function<std::uint64_t()> follow;  // as admin_services has it
    };
    explicit catalogue(sources from) : from_(std::move(from)) {}

    // Takes over what changed. Blocks on the store; what was known stays if that fails.
    result<void> sync();

    // By id. Records that cannot be decoded are left out.
    using key_map = std::map<std::string, key_entry, std::less<>>;
    using admin_map = std::map<std::string, auth::admin_account, std::less<>>;
    using token_map = std::map<std::string, auth::admin_token, std::less<>>;
    [[nodiscard]] const key_map& keys() const noexcept { return keys_; }
    // In the order of their ids, deleted ones, too. What a lease handed out is shown with the
    // leases and goes with them.
    template <class Each>
    void each_access_key(Each&& each) const {
        for (const auto& key : from_.access_keys.all())
            if (!auth::is_leased(*key)) each(*key);
    }
    [[nodiscard]] const admin_map& admins() const noexcept { return admins_; }
    [[nodiscard]] const token_map& tokens() const noexcept { return tokens_; }
    [[nodiscard]] const key_entry* key(std::string_view id) const;
    [[nodiscard]] const auth::access_key* access_key(std::string_view id) const;
    // A deleted one, too.
    [[nodiscard]] const auth::access_key* any_access_key(std::string_view id) const;
    // Stored and declared, in the order of their tiers.
    [[nodiscard]] std::vector<group_entry> groups() const;
    [[nodiscard]] std::optional<group_entry> group(std::string_view id) const;

    [[nodiscard]] crypto::digest fingerprint(const secret& value) const;
    // The key of this group with this value; "" when there is none.
    [[nodiscard]] std::string key_with(std::string_view group, const crypto::digest& value) const;

  private:
    result<void> begin(std::uint64_t revision);
    void take(const store::change& c);
    void forget_key(std::string_view id);

    sources from_;
    mutable std::unique_ptr<crypto::hmac_sha256> hash_;
    std::uint64_t revision_ = 0;
    std::uint64_t server_ = 0;  // who told it
    key_map keys_;
    admin_map admins_;
    token_map tokens_;
    std::map<std::string, group_entry, std::less<>> groups_;
    std::map<std::pair<std::string, crypto::digest>, std::string> by_value_;
};

}  // namespace kw::admin
