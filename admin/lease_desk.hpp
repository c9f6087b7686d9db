// Leases of upstream keys: holders of access keys with the permission take one, give it back, or
// let it run out. The books lie in the store, so that all processes together give no more than a
// key may have.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/access_key.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "pool/lease_book.hpp"
#include "pool/pool_view.hpp"
#include "store/store.hpp"

namespace kw::config {
struct settings;
}

namespace kw::admin {

class trail;

struct lease_grant {
    std::string id;
    secret key;
    std::chrono::seconds expires_in{0};
    wall_time until{};
};

struct lease_end {
    std::size_t remaining = 0;  // leases of that upstream key that go on
};

struct lease_view {
    pool::lease lease;
    std::string upstream_key;
};

// Control thread. Blocks for as long as the store's calls do.
class lease_desk {
  public:
    // All of it outlives the desk.
    struct surroundings {
        store::store& store;
        trail& audit;
        pool::state_table& states;
        const clock_source& clock;
        const secret& pepper;
        const std::map<std::string, pool::key_ptr>& keys;
        const std::map<std::string, pool::group_ptr>& groups;
        std::function<std::shared_ptr<const config::settings>()> settings;
        // The books as the change feed last told them, by upstream key.
        std::function<std::vector<const store::record*>()> books;
        // Records were written.
        std::function<void()> changed;
    };
    explicit lease_desk(surroundings with) : with_(std::move(with)) {}

    enum class refusal : std::uint8_t {
        not_permitted,
        no_such_group,
        bad_ttl,
        no_key,  // none of the keys that the holder may use can be used now
        all_taken,
        unknown,    // no such lease
        not_yours,  // of another holder
        store_away,
    };
    template <class T>
    using outcome = boost::system::result<T, refusal>;

    // `group`: "" for any that the holder may use; `ttl`: 0 for the settings' own; `source`: who
    // asks, for the audit trail.
    [[nodiscard]] outcome<lease_grant> allocate(const auth::access_key& holder,
                                                const std::string& group, std::chrono::seconds ttl,
                                                const std::string& source = {});
    // By the lease's id, or by the key that was handed out. Of a lease that is over: as if it had
    // ended now. `holder` null: the operator, whose changes are audited.
    [[nodiscard]] outcome<lease_end> release(const auth::access_key* holder,
                                             const std::string& lease_id);
    [[nodiscard]] outcome<lease_end> release_key(const auth::access_key& holder, const secret& key);
    // All that go on, in the order of their upstream keys.
    [[nodiscard]] std::vector<lease_view> running() const;
    // Takes out of the store what has ended; call it every few seconds. Room for another lease is
    // there without it.
    void sweep();

    // How long until a lease of a key that this holder may use ends by itself.
    [[nodiscard]] std::chrono::seconds next_end(const auth::access_key& holder) const;

  private:
    struct candidate {
        pool::key_ptr key;
        std::size_t taken = 0;  // as far as known
        std::size_t most = 0;
    };
    enum class attempt : std::uint8_t { taken, full, away };

    [[nodiscard]] bool usable(const pool::upstream_key& key) const;
    [[nodiscard]] bool may_use(const auth::access_key& holder, const pool::upstream_key& key,
                               const std::string& group) const;
    [[nodiscard]] std::size_t most_of(const pool::upstream_key& key) const;
    attempt add(const pool::upstream_key& key, const pool::lease& lease, std::size_t most);
    bool hand_out(const auth::access_key& holder, const pool::lease& lease,
                  const pool::upstream_key& key, const secret& text);
    // The book after the change; not changed if `change` says no.
    template <class Change>
    result<pool::lease_book> edit(store::store& in, const std::string& upstream_key,
                                  const Change& change);
    // False: the store is away.
    bool end_access_key(store::store& in, const std::string& id);
    bool note_raw(const auth::access_key& holder, const pool::lease& lease,
                  const pool::upstream_key& key, const std::string& source);
    void erase_access_keys(const std::vector<pool::lease>& of);

    surroundings with_;
    // By upstream key: the revision that was looked at, and when that needs a sweep.
    std::map<std::string, std::pair<std::uint64_t, wall_time>> due_;
};

}  // namespace kw::admin
