// Names to addresses off the workers: getaddrinfo on helper threads, results cached per loop.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "net/address.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"

namespace kw::net {

class dns_cache;
using address_list = std::shared_ptr<const std::vector<ip_address>>;

// One per process: the helper threads and their bounded queue. Outlives the dns_caches.
class resolver {
  public:
    using lookup = std::function<result<std::vector<ip_address>>(const std::string& host)>;
    struct options {
        unsigned threads = 2;
        std::size_t max_queued = 256;  // names, not requests
        // Runs on a helper thread; empty: getaddrinfo.
        lookup look_up;
    };
    explicit resolver(options opts);
    resolver();
    resolver(const resolver&) = delete;
    resolver& operator=(const resolver&) = delete;
    // Does not wait for a lookup that hangs; its thread ends by itself.
    ~resolver();

  private:
    friend class dns_cache;
    struct state;
    std::shared_ptr<state> state_;
};

// One per loop, its thread only (construction and destruction may be elsewhere while the loop does
// not run). A hit costs one hash lookup.
class dns_cache {
  public:
    struct options {
        std::chrono::seconds fresh_for{30};
        std::chrono::seconds stale_for{300};  // served while a refresh runs or fails
        std::chrono::seconds negative_for{2};
        std::size_t max_names = 1024;
        std::size_t max_waiting = 1024;  // coroutines over all names
    };
    dns_cache(loop& on, resolver& from, const options& opts);
    dns_cache(loop& on, resolver& from);
    dns_cache(const dns_cache&) = delete;
    dns_cache& operator=(const dns_cache&) = delete;
    ~dns_cache();

    // At least one address, in the resolver's order of preference. An IP literal is answered here.
    // errc::upstream_dns_error: no such name, the lookup failed, too many wait, or the deadline.
    [[nodiscard]] task<result<address_list>> resolve(std::string host, mono_time deadline);

  private:
    friend class resolver;
    struct entry;

    void finish(const std::string& host, const result<std::vector<ip_address>>& found);
    bool refresh(const std::string& host, entry& e);

    loop& loop_;
    std::shared_ptr<resolver::state> resolver_;
    options options_;
    std::unordered_map<std::string, std::shared_ptr<entry>> entries_;
    std::size_t waiting_ = 0;
    std::shared_ptr<void> alive_;  // answers that were posted already find it gone
};

}  // namespace kw::net
