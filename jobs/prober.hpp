// Tests keys that rest until a test passes: one cheap call per key with the key itself, as the
// pool's health asks for them.
#pragma once

#include <functional>
#include <memory>

#include "net/loop.hpp"
#include "net/resolver.hpp"
#include "net/tls.hpp"
#include "pool/health.hpp"
#include "pool/pool_view.hpp"

namespace kw::jobs {

// What a probe needs to know of a key's upstream.
struct probe_target {
    std::string url;           // of the list of models
    std::string header;        // where the credential goes
    std::string value_prefix;  // "Bearer "
    std::shared_ptr<net::tls_client_context> tls;
};

// Control thread.
class prober {
  public:
    prober(net::loop& on, net::dns_cache& dns, pool::health& health, pool::state_table& states,
           const clock_source& clock, std::chrono::milliseconds timeout)
        : loop_(on),
          dns_(dns),
          health_(health),
          states_(states),
          clock_(clock),
          timeout_(timeout) {}

    // Starts the tests that are due; call it every second or so. find gives a key by id.
    void run_due(const std::function<pool::key_ptr(const std::string&)>& find,
                 const std::function<probe_target(const pool::upstream_key&)>& target);

  private:
    net::task<void> probe(pool::slot_id slot, pool::key_ptr key, probe_target target);

    net::loop& loop_;
    net::dns_cache& dns_;
    pool::health& health_;
    pool::state_table& states_;
    const clock_source& clock_;
    std::chrono::milliseconds timeout_;
};

}  // namespace kw::jobs
