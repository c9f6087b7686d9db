// What the workers read: one immutable value that the control thread builds and hands to each of
// them. An exchange keeps the one it began with.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "auth/key_table.hpp"
#include "config/settings.hpp"
#include "net/address.hpp"
#include "net/connector.hpp"
#include "pool/accounts.hpp"
#include "pool/model_alias.hpp"
#include "pool/pool_view.hpp"
#include "proxy/providers/provider.hpp"
#include "usage/prices.hpp"

namespace kw::proxy {

// Time limits of one group, all set.
struct phase_limits {
    std::chrono::nanoseconds first_byte{};
    std::chrono::nanoseconds first_token{};
    std::chrono::nanoseconds idle{};
    std::chrono::nanoseconds total{};
};

// Where and how a key's requests go: shared by all keys with the same base URL and group.
struct upstream_target {
    net::connect_options connect;
    std::string identity;   // of `connect`, for the connection cache
    std::string base_path;  // of the base URL, without a trailing slash
    std::string authority;  // Host
    const provider_dialect* dialect = nullptr;
    phase_limits limits;
};

class target_table {
  public:
    void add(const pool::upstream_key* key, std::shared_ptr<const upstream_target> target) {
        targets_.insert_or_assign(key, std::move(target));
    }
    // Null: the key's base URL cannot be used; such a key should not be in the pool.
    [[nodiscard]] const upstream_target* find(const pool::upstream_key* key) const noexcept {
        const auto it = targets_.find(key);
        return it == targets_.end() ? nullptr : it->second.get();
    }

  private:
    boost::unordered_flat_map<const pool::upstream_key*, std::shared_ptr<const upstream_target>>
        targets_;
};

// Where clients' own credentials go.
struct pass_through_route {
    pool::group_ptr group;
    std::shared_ptr<const upstream_target> target;
};

struct snapshot {
    std::shared_ptr<const config::settings> settings;
    std::shared_ptr<const auth::key_table> access_keys;
    secret
        pepper;  // hashes access keys; empty before the store has been reached for the first time
    std::vector<secret> more_peppers;  // of access keys that came from other stores
    std::shared_ptr<const pool::pool_view> pool;
    std::shared_ptr<const pool::account_table> accounts;
    std::shared_ptr<const pool::alias_table> aliases;
    std::shared_ptr<const usage::price_table> prices;
    std::shared_ptr<const target_table> targets;
    std::optional<pass_through_route> pass_through;  // none: they are refused
    net::cidr_set trusted_proxies;
    pool::policy_settings policy;
    // The store cannot be asked and what we know may be old: an unknown key is then 503, not 401.
    bool stale = false;
};

}  // namespace kw::proxy
