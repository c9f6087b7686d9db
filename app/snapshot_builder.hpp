// Makes the snapshot that the workers read out of settings and catalog.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "config/settings.hpp"
#include "jobs/catalog.hpp"
#include "jobs/prober.hpp"
#include "net/tls.hpp"
#include "proxy/snapshot.hpp"

namespace kw::app {

// Control thread. Keeps what is costly to make anew: TLS contexts with their sessions, prices.
class snapshot_builder {
  public:
    explicit snapshot_builder(pool::state_table& states) : states_(states) {}

    // errc::invalid_argument: a setting that only shows here to be wrong (price file, CA file).
    // What is wrong with one key or group leaves that one out, with a line in the log.
    [[nodiscard]] result<std::shared_ptr<const proxy::snapshot>> build(
        std::shared_ptr<const config::settings> settings, jobs::catalog& known,
        const secret& pepper, std::vector<secret> more_peppers, bool stale);

    // Where a test of this key goes. errc::invalid_argument: a URL, CA file or egress proxy that
    // cannot be used.
    [[nodiscard]] result<jobs::probe_target> probe_target(const config::settings& settings,
                                                          const pool::upstream_key& key,
                                                          const pool::group& group);

    // How a request of keywheel's own, to others than upstreams, gets to that URL: by the proxy of
    // the upstream section; its CA file is believed beside the system's authorities.
    struct way_out {
        std::shared_ptr<net::tls_client_context> tls;  // null: plain
        std::optional<net::egress_proxy> proxy;
    };
    // errc::invalid_argument: a CA file or egress proxy that cannot be used.
    [[nodiscard]] result<way_out> way_to(const config::upstream_settings& settings,
                                         const std::string& host, bool tls);

    // As of the last build.
    [[nodiscard]] std::shared_ptr<const usage::price_table> prices() const { return prices_; }

  private:
    result<std::shared_ptr<net::tls_client_context>> tls_for(const std::string& ca_file,
                                                             bool beside_system = false);
    result<std::shared_ptr<const proxy::upstream_target>> make_target(
        const config::settings& settings, const pool::upstream_key& key, const pool::group& group);
    result<std::shared_ptr<const usage::price_table>> prices_for(const config::settings& settings);

    pool::state_table& states_;
    // By CA file, and whether the system's authorities are believed beside it.
    std::map<std::pair<std::string, bool>, std::shared_ptr<net::tls_client_context>> tls_;
    std::shared_ptr<const proxy::snapshot> last_;
    std::uint64_t made_of_ = 0;  // the catalog's generation
    std::shared_ptr<const config::settings> priced_for_;
    std::shared_ptr<const usage::price_table> prices_;
};

}  // namespace kw::app
