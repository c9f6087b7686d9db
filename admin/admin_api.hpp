// The admin API: REST under /admin behind x-admin-key, sessions of admins and tokens, and /metrics.
// One object answers all of it, and its one public entry checks the caller before a route is even
// looked for.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "auth/admin_guard.hpp"
#include "auth/role.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "core/secret.hpp"
#include "net/control_port.hpp"

namespace kw {
namespace crypto {
class sealer;
}
namespace metrics {
class registry;
}
namespace auth {
class key_book;
class master_key_keeper;
class waiting_lines;
}  // namespace auth
class incidents;
namespace config {
struct channel_settings;
struct settings;
}  // namespace config
namespace pool {
class state_table;
class health;
class key_tests;
struct group;
}  // namespace pool
namespace store {
class admission;
class store;
struct shipper_stats;
}  // namespace store
namespace usage {
class price_table;
}
}  // namespace kw

namespace kw::admin {

class trail;

class config_port;
class lease_desk;

// What the API works on; all of it outlives the admin_api. The functions are called on the control
// thread and must not block; each may be empty but `settings`.
struct admin_services {
    trail& store;  // what is written through it leaves its entry in the audit trail
    const auth::key_book& access_keys;
    // Brings the access keys level with the store as far as that answers; up to which revision of
    // the change feed they are, 0 if the store has not answered yet.
    std::function<std::uint64_t()> follow;
    const crypto::sealer& sealer;
    const secret& pepper;  // hashes access keys and tells equal upstream keys; not empty
    pool::state_table& states;
    pool::health& health;
    metrics::registry& registry;
    const clock_source& clock;
    pool::key_tests& tests;
    // Does `work` on a helper thread, then `then` on the control thread; false: too much of it
    // waits. Empty: both at once, here.
    std::function<bool(std::function<void()> work, std::function<void()> then)> aside;
    // Records were written: rebuild the snapshot soon (the change feed would tell as well).
    std::function<void()> changed;
    std::function<std::shared_ptr<const config::settings>()> settings;
    std::function<std::shared_ptr<const usage::price_table>()> prices;
    std::function<store::shipper_stats()> shipper;
    std::function<bool()> journal_healthy;
    // Groups that are in force but are not records: shown, and only changed where they are
    // declared. A record of the same id counts for less.
    std::function<std::vector<std::shared_ptr<const pool::group>>()> declared_groups;
    std::size_t workers = 0;                // for /admin/health
    store::admission* admission = nullptr;  // null: what limits have used is not shown
    config_port* config = nullptr;          // null: settings are fixed
    const auth::waiting_lines* lines = nullptr;
    lease_desk* leases = nullptr;
    auth::master_key_keeper* master_keys = nullptr;  // null: it is fixed
    // Asks providers for the quotas of all keys; for how many. Empty: none is asked.
    std::function<std::size_t()> sync_quotas = {};
    // Sends a test by this channel; the answer comes once. Empty: there are no notifications.
    std::function<void(config::channel_settings, std::function<void(result<void>)>)> test_channel =
        {};
    // How a channel's deliveries go in this process, as JSON; "": nothing is known.
    std::function<std::string(const std::string& channel_id)> deliveries_of = {};
    incidents* noticed = nullptr;
    // What a provider told of a key, as JSON; "": nothing.
    std::function<std::string(const std::string& key_id)> quota_of = {};
};

// For documentation and tests.
struct route_info {
    std::string_view method;
    std::string_view path;  // "/admin/keys/{id}"
    auth::role least;       // the lowest role that may call it
    std::string_view summary;
    bool text = false;    // its good answer is plain text, not an envelope
    bool open = false;    // it is how a caller becomes known: no credential is wanted
    bool events = false;  // its good answer is a stream of events
};

// Control thread only. handle() blocks for as long as the store's calls do.
class admin_api {
  public:
    admin_api(admin_services services, auth::admin_guard guard, random_source random = {});
    ~admin_api();
    admin_api(const admin_api&) = delete;
    admin_api& operator=(const admin_api&) = delete;

    // Any path under /admin, and /metrics. `done` is called once: before this returns, or by the
    // test of a key when its upstream has answered. Bodies above `max_body` are refused (a batch of
    // 10,000 keys has about 2 MiB).
    void handle(const net::control_request& request,
                const std::function<void(net::control_response)>& done);

    // Another admin secret after a reload; who guessed wrong still waits.
    void set_guard(auth::admin_guard guard);

    // Every second or so: writes what was refused to the audit trail, once a minute.
    void tick();

    // All routes behind the check, in the order of the documentation.
    [[nodiscard]] static std::span<const route_info> routes();

    static constexpr std::size_t max_body = std::size_t{8} << 20U;
    // Of an import alone.
    static constexpr std::size_t max_import = std::size_t{32} << 20U;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::admin
