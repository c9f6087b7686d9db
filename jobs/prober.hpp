// Tests keys that rest until a test passes: one cheap call per key with the key itself, as the
// pool's health asks for them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/connector.hpp"
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
    std::optional<net::egress_proxy> proxy;
};

struct probe_subject {
    pool::key_ptr key;
    probe_target target;
};

struct probe_answer {
    pool::probe_outcome outcome = pool::probe_outcome::inconclusive;
    int status = 0;           // 0: there was none
    errc failure = errc::ok;  // why there was none
};

// "passed", "failed", "inconclusive"
[[nodiscard]] std::string_view to_string(pool::probe_outcome outcome) noexcept;

// One call with the key and what its answer means: 200 passes, 401 and 402 fail, anything else
// says nothing about the key.
[[nodiscard]] net::task<probe_answer> probe(net::loop& on, net::dns_cache& dns,
                                            probe_subject subject,
                                            std::chrono::milliseconds timeout);

// Where a key's test goes; none for a key that is gone, has no group or did not open.
using probe_finder = std::function<std::optional<probe_subject>(const std::string& key_id)>;
// probe() with its loop and time limit.
using probe_call = std::function<net::task<probe_answer>(probe_subject)>;

// Control thread.
class prober {
  public:
    prober(pool::health& health, pool::state_table& states, const clock_source& clock,
           probe_finder find, probe_call call)
        : health_(health),
          states_(states),
          clock_(clock),
          find_(std::move(find)),
          call_(std::move(call)) {}

    // Starts the tests that are due; call it every second or so.
    void run_due();

  private:
    net::task<void> run(pool::slot_id slot, probe_subject subject);

    pool::health& health_;
    pool::state_table& states_;
    const clock_source& clock_;
    probe_finder find_;
    probe_call call_;
};

}  // namespace kw::jobs
